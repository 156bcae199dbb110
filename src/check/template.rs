//! The migrated `SQLite` database of which each check gets a copy, made once for each Superset in the state folder.
//!
//! It is keyed by what its content depends on: the Python, the version, the migrations, the framework that keeps the users. An older
//! one would answer `/login/` with 500 (measured on 6.1.0). Made by `superset db upgrade` in a scratch folder, within limits, and
//! renamed into its place when it is complete; a lock lets one check make it while the others wait.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::json;
use sha2::{Digest as _, Sha256};
use tracing::info;

use super::error::CheckError;
use super::interpret;
use super::process::{Environment, Job, run, told};
use super::programs;
use super::scratch::{Scratch, make_folder};
use crate::files::lock::{FolderLock, LockError};

/// Migrating takes some ten seconds where a check takes three: it has this long, whatever a check has.
const LEAST: Duration = Duration::from_secs(180);
/// It takes up to 340 MB; this is room enough, whatever a check has.
const LEAST_MEMORY: u64 = 600_000_000;
/// How often a check looks whether the one that makes the template is done.
const PAUSE: Duration = Duration::from_millis(200);
/// How many are kept: Superset may be upgraded and taken back.
const KEPT: usize = 4;

/// Which Superset a Python has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superset {
    /// Its Python.
    pub python: PathBuf,
    /// Its version.
    pub version: String,
    pub(super) schema: Vec<String>,
}

impl Superset {
    /// The name of its template.
    fn template(&self) -> String {
        let mut digest = Sha256::new();
        for part in self.schema.iter().map(String::as_str).chain([told(&self.python).as_str()]) {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        let digest: String = digest.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+');
        format!("{}-{digest}.db", self.version.chars().filter(is_plain).take(40).collect::<String>())
    }
}

/// What making a template takes.
pub(super) struct Making<'a> {
    pub(super) superset: &'a Superset,
    /// Where templates lie, and where scratch folders are made.
    pub(super) templates: PathBuf,
    pub(super) scratches: PathBuf,
    pub(super) environment: &'a Environment,
    pub(super) limit: Duration,
    pub(super) memory: u64,
}

impl Making<'_> {
    /// The template's path, once it lies there.
    pub(super) async fn ensure(&self) -> Result<PathBuf, CheckError> {
        let path = self.templates.join(self.superset.template());
        if path.exists() {
            return Ok(path);
        }
        let limit = self.limit.max(LEAST);
        make_folder(&self.templates).map_err(|source| CheckError::Scratch { path: self.templates.clone(), source })?;
        let lock = tokio::time::timeout(limit, self.lock()).await.map_err(|_| CheckError::TemplateBusy)??;
        if !path.exists() {
            self.make(&path, limit).await?;
            prune(&self.templates, &path);
        }
        drop(lock);
        Ok(path)
    }

    async fn lock(&self) -> Result<FolderLock, CheckError> {
        loop {
            match FolderLock::take(&self.templates) {
                Ok(lock) => return Ok(lock),
                Err(LockError::InUse { .. }) => tokio::time::sleep(PAUSE).await,
                Err(error) => {
                    let source = std::io::Error::other(error);
                    return Err(CheckError::Scratch { path: self.templates.clone(), source });
                }
            }
        }
    }

    async fn make(&self, path: &Path, limit: Duration) -> Result<(), CheckError> {
        info!(superset = %self.superset.version, "making the database that checks of this version start from");
        let scratch = Scratch::make(&self.scratches)?;
        let made = scratch.path("template.db");
        let job = Job {
            python: &self.superset.python,
            program: programs::TEMPLATE,
            scratch: &scratch,
            environment: self.environment.clone(),
            limit,
            memory: self.memory.max(LEAST_MEMORY),
            told: json!({"home": told(&scratch.path("home")), "template": told(&made)}),
        };
        let ended = run(job).await?;
        if !ended.answers.made {
            let scrub = interpret::scrub(std::iter::empty(), self.environment);
            return Err(CheckError::Silent {
                what: "make the database that a check starts from",
                why: interpret::how(ended.how, limit),
                last_lines: interpret::last_lines(&ended.said, &scrub),
            });
        }
        let place = || File::open(&made)?.sync_all().and_then(|()| fs::rename(&made, path));
        place().map_err(|source| CheckError::Scratch { path: path.to_owned(), source })
    }
}

/// Removes all but the newest, and never `keep`. What cannot be removed costs a megabyte.
fn prune(templates: &Path, keep: &Path) {
    let entries = fs::read_dir(templates).into_iter().flatten().flatten().map(|entry| entry.path());
    let age = |path: &PathBuf| path.metadata().and_then(|seen| seen.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    let mut old: Vec<_> = entries.filter(|path| path.extension().is_some_and(|it| it == "db") && path != keep).collect();
    old.sort_by_key(|path| std::cmp::Reverse(age(path)));
    for path in old.into_iter().skip(KEPT - 1) {
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_for_one_superset_with_one_schema() {
        let superset = |python: &str, version: &str, schema: &[&str]| Superset {
            python: PathBuf::from(python),
            version: version.to_owned(),
            schema: schema.iter().map(ToString::to_string).collect(),
        };
        let one = superset("/a/python", "6.1.0", &["x", "y"]).template();
        assert!(one.starts_with("6.1.0-") && one.len() == "6.1.0-.db".len() + 16, "{one}");
        assert_eq!(one, superset("/a/python", "6.1.0", &["x", "y"]).template());
        for other in [
            superset("/b/python", "6.1.0", &["x", "y"]),
            superset("/a/python", "6.1.1", &["x", "y"]),
            superset("/a/python", "6.1.0", &["x", "yz"]),
        ] {
            assert_ne!(one, other.template());
        }
        assert!(!superset("/a", "../1/0", &[]).template().contains('/'));
    }

    #[test]
    fn old_templates_go() {
        let folder = tempfile::tempdir().unwrap();
        for n in 0..8 {
            let file = File::create(folder.path().join(format!("{n}.db"))).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(n)).unwrap();
        }
        File::create(folder.path().join("lock")).unwrap();
        prune(folder.path(), &folder.path().join("0.db"));
        let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["0.db", "5.db", "6.db", "7.db", "lock"]);
    }
}
