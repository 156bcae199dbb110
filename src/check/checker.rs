//! Checks candidates, one call each: finds Superset's Python, makes the scratch folder and the template, runs the probe.
//!
//! Superset's environment is the agent's own without what is the agent's alone, and over it what `check.env_file` says.
//! Whatever keeps a check from being made is an inconclusive report, never an error: nothing is then known about the candidate.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::attempts::AttemptKey;
use super::error::CheckError;
use super::process::{Environment, Job, run, told};
use super::report::Report;
use super::scratch::{Scratch, make_folder, sweep};
use super::template::{Making, Superset};
use super::{env_file, interpret, programs, python};
use crate::model::digest::{DigestKey, Revision};
use crate::model::secret::{SECRET_WORDS, SecretText};
use crate::settings::release::CheckRequired;
use crate::settings::{Reference, Settings, Source};

/// The folder of the state folder in which everything of checks lies.
const FOLDER: &str = "check";

/// Variables that are the agent's alone, besides its secrets: its supervisor must not hear from a candidate.
const OWN: [&str; 5] = ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_PID"];

/// Variables that are other ones at each start, and mean nothing to Superset.
const VOLATILE: [&str; 7] = ["INVOCATION_ID", "JOURNAL_STREAM", "SYSTEMD_EXEC_PID", "PWD", "OLDPWD", "SHLVL", "_"];

/// How much is proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The candidate parses.
    Syntax,
    /// Superset builds its app from it and answers, and its parts are sound.
    App,
}

impl Level {
    /// The level that the settings ask for; `None` where nothing is to be proved.
    #[must_use]
    pub fn from_settings(settings: &Settings) -> Option<Self> {
        match settings.check.require {
            CheckRequired::Syntax => Some(Self::Syntax),
            // Where `auto` finds nobody to be told, nobody asks for a check.
            CheckRequired::App | CheckRequired::Auto => Some(Self::App),
            CheckRequired::None => None,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::App => "app",
        }
    }
}

/// What is checked.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Where it would lie: its `__file__`, and what its errors name.
    pub path: PathBuf,
    /// The whole file.
    pub text: SecretText,
    /// The secrets that are known to stand in it.
    pub secrets: Vec<SecretText>,
}

/// Checks candidates for one Superset.
pub struct Checker {
    level: Level,
    python: Option<PathBuf>,
    env_file: Option<PathBuf>,
    limit: Duration,
    memory: u64,
    folder: PathBuf,
    inherited: Environment,
}

impl Checker {
    /// Checks at `level` as the settings say; `environment` is the agent's own.
    ///
    /// Ends and removes what earlier checks left that were cut off.
    #[must_use]
    pub fn new(level: Level, settings: &Settings, environment: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let folder = settings.state_dir.join(FOLDER);
        sweep(&folder.join("scratch"));
        Self {
            level,
            python: settings.check.python.clone(),
            env_file: settings.check.env_file.clone(),
            limit: settings.check.timeout,
            memory: settings.check.memory,
            folder,
            inherited: inherited(settings, environment),
        }
    }

    /// Checks one candidate. `key` makes the digests of what is protected; it does not leave this process.
    pub async fn check(&self, key: &DigestKey, candidate: &Candidate) -> Report {
        self.try_check(key, candidate).await.unwrap_or_else(CheckError::report)
    }

    /// Which Superset the candidates are for.
    pub async fn superset(&self) -> Result<Superset, CheckError> {
        self.identify(&self.environment()?).await
    }

    /// What a check's outcome depends on: the revision, the level and bounds, Superset's environment and version.
    pub async fn attempt_key(&self, key: &DigestKey, revision: &Revision) -> Result<AttemptKey, CheckError> {
        let environment = self.environment()?;
        let superset = match self.level {
            Level::App => self.identify(&environment).await?.version,
            Level::Syntax => String::new(),
        };
        let mut digest = key.digest("inputs of a check");
        digest.field(self.level.word().as_bytes());
        digest.field(told(&self.python(&environment)?).as_bytes());
        digest.field(&self.limit.as_millis().to_le_bytes());
        digest.field(&self.memory.to_le_bytes());
        for (name, value) in environment.iter().filter(|(name, _)| !VOLATILE.iter().any(|volatile| name == volatile)) {
            digest.field(name.as_encoded_bytes());
            digest.field(value.as_encoded_bytes());
        }
        Ok(AttemptKey { revision: revision.clone(), inputs: digest.short(), superset })
    }

    /// Where everything of checks lies.
    pub(super) fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    async fn try_check(&self, key: &DigestKey, candidate: &Candidate) -> Result<Report, CheckError> {
        let path = self.path(candidate)?;
        let mut environment = self.environment()?;
        let python = self.python(&environment)?;
        let template = match self.level {
            Level::App => Some(self.template(&environment).await?),
            Level::Syntax => None,
        };
        let scratch = self.scratch()?;
        let database = scratch.path("home/setkeeper.db");
        if let Some(template) = template {
            fs::copy(template, &database).map_err(|source| CheckError::Scratch { path: database.clone(), source })?;
        }
        scratch.write("candidate", candidate.text.expose().as_bytes())?;
        let shim = OsString::from(programs::SHIM_MODULE);
        let config_module = environment.insert("SUPERSET_CONFIG".into(), shim).filter(|module| !module.is_empty());
        environment.insert("SUPERSET_CONFIG_PATH".into(), OsString::from(&path));
        let told = json!({
            "level": self.level.word(),
            "candidate": told(&scratch.path("candidate")),
            "path": path,
            "secret_words": SECRET_WORDS,
            "config_module": config_module.map_or_else(|| "superset.config".into(), |module| module.to_string_lossy().into_owned()),
            "database": told(&database),
            "home": told(&scratch.path("home")),
        });
        let ended = run(Job {
            python: &python,
            program: programs::PROBE,
            scratch: &scratch,
            environment: environment.clone(),
            limit: self.limit,
            memory: self.memory,
            told,
        });
        Ok(interpret::report(&ended.await?, &candidate.secrets, &environment, key, self.limit))
    }

    /// The candidate's path, in full, as Superset's loader will ask for it.
    fn path(&self, candidate: &Candidate) -> Result<String, CheckError> {
        let path = &candidate.path;
        let path = std::path::absolute(path).map_err(|source| CheckError::Scratch { path: path.clone(), source })?;
        if self.level == Level::App && path.extension().is_none_or(|extension| extension != "py") {
            return Err(CheckError::NotPython { path });
        }
        Ok(told(&path))
    }

    async fn template(&self, environment: &Environment) -> Result<PathBuf, CheckError> {
        let superset = self.identify(environment).await?;
        let making = Making {
            superset: &superset,
            templates: self.folder.join("templates"),
            scratches: self.scratches()?,
            environment,
            limit: self.limit,
            memory: self.memory,
        };
        making.ensure().await
    }

    async fn identify(&self, environment: &Environment) -> Result<Superset, CheckError> {
        let python = self.python(environment)?;
        let scratch = self.scratch()?;
        let ended = run(Job {
            python: &python,
            program: programs::IDENTIFY,
            scratch: &scratch,
            environment: environment.clone(),
            limit: self.limit,
            memory: self.memory,
            told: json!({}),
        })
        .await?;
        match (ended.answers.version, ended.answers.begun) {
            (Some(version), _) => Ok(Superset { python, version, schema: ended.answers.schema }),
            (None, true) if ended.how == super::process::How::Exited(0) => Err(CheckError::NoSuperset { python }),
            (None, _) => Err(CheckError::Silent {
                what: "ask Superset's Python for Superset's version",
                why: interpret::how(ended.how, self.limit),
                last_lines: interpret::last_lines(&ended.said, &interpret::scrub(std::iter::empty(), environment)),
            }),
        }
    }

    fn scratch(&self) -> Result<Scratch, CheckError> {
        Scratch::make(&self.scratches()?)
    }

    fn scratches(&self) -> Result<PathBuf, CheckError> {
        let room = self.folder.join("scratch");
        make_folder(&room).map_err(|source| CheckError::Scratch { path: room.clone(), source })?;
        // Python is told full paths: the candidate may change the folder it works in.
        room.canonicalize().map_err(|source| CheckError::Scratch { path: room, source })
    }

    fn python(&self, environment: &Environment) -> Result<PathBuf, CheckError> {
        match &self.python {
            Some(python) => Ok(python.clone()),
            None => python::find(environment.get(&OsString::from("PATH")).map(OsString::as_os_str)),
        }
    }

    fn environment(&self) -> Result<Environment, CheckError> {
        let mut environment = self.inherited.clone();
        if let Some(path) = &self.env_file {
            let text = fs::read_to_string(path).map_err(|source| CheckError::EnvFile { path: path.clone(), source })?;
            let listed = env_file::parse(&text).map_err(|source| CheckError::EnvLines { path: path.clone(), source })?;
            environment.extend(listed.into_iter().map(|(name, value)| (name.into(), value.expose().into())));
        }
        Ok(environment)
    }
}

/// The agent's environment without its secrets, and without what ties it to its supervisor.
fn inherited(settings: &Settings, environment: impl IntoIterator<Item = (OsString, OsString)>) -> Environment {
    let auth = match &settings.source {
        Source::Zookeeper(zookeeper) => zookeeper.auth.as_ref().map(|auth| &auth.password),
        Source::Directory { .. } => None,
    };
    let named = |name: &OsString| {
        let is_named = |reference: &Reference| matches!(reference, Reference::Env(env) if name == env.as_str());
        is_named(&settings.superset.password) || auth.is_some_and(is_named)
    };
    let is_own = |name: &OsString| name.as_encoded_bytes().starts_with(b"SETKEEPER_") || OWN.iter().any(|own| name == own);
    environment.into_iter().filter(|(name, _)| !is_own(name) && !named(name)).collect()
}

#[cfg(test)]
mod tests;
