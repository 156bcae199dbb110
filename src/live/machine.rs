//! This machine: the rendered files, the check of a candidate, the reload, and the proof that it worked.
//!
//! Carries out what it is told and says what is known afterwards; when to do what is decided elsewhere.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::line;
use super::superset::Superset;
use crate::check::checker::{Candidate, Checker};
use crate::check::report::{Outcome, Report};
use crate::desired::guard::Inventory;
use crate::files::stage::{self, Wanted};
use crate::files::state::{FileCopy, LastGood, StateDir};
use crate::files::{self, off_thread};
use crate::model::digest::{DigestKey, Revision};
use crate::model::problem::Problem;
use crate::model::secret::SecretText;
use crate::model::snapshot::Origin;
use crate::plan::files::{FileSeen, FileWanted};
use crate::processes::awake;
use crate::processes::clock::Moment;
use crate::render::renderer::{Source, Sources, Target as RenderTarget};
use crate::rollout::job::{ReloadFailed, Suspect, Target};
use crate::settings::Render;
use crate::superset::gunicorn;
use crate::superset::handoff::{HandoffError, Terms};
use crate::superset::reload::{ReloadError, Way};
use crate::superset::verify::{self, Verifier};
use crate::supervise::asking::Asking;
use crate::world::{Fault, FaultKind, Host, Proof};

/// The file in the state directory that has what a reload command said before it failed.
const LAST_WORDS: &str = "reload.log";
/// What is left of a reload's time for its last part, which is not cut off.
const LAST_PART: Duration = Duration::from_secs(10);
/// How large a base or a template may be.
const LARGEST_SOURCE: u64 = 4 << 20;

/// This machine.
pub struct Machine {
    /// What is rendered.
    pub render: Render,
    /// What Superset does here: `web`, `worker`, `beat`.
    pub role: String,
    /// How Superset is told.
    pub way: Way,
    /// Who starts Superset, where that is ours.
    pub supervisor: Option<Asking>,
    /// Whether it is known to have been started.
    pub has_started: bool,
    /// Whether there ever was a Superset to be told.
    pub was_told: bool,
    /// The beat that ran before the last reload.
    pub beat: Option<i32>,
    /// Checks candidates, where anything is to be proved.
    pub checker: Option<Checker>,
    /// Asks Superset which revision it runs.
    pub verifier: Verifier,
    /// Asked whether it runs, and what it has stored.
    pub superset: Arc<Superset>,
    /// Where things are remembered.
    pub state: Arc<StateDir>,
    /// What the tree held that was accepted last, which is remembered too.
    pub accepted: watch::Receiver<Option<Inventory>>,
}

impl Host for Machine {
    fn sources(&self) -> Result<Sources, Vec<Problem>> {
        sources(&self.render)
    }

    fn observe(&self, wanted: &[FileWanted]) -> Result<Vec<Option<FileSeen>>, Fault> {
        let look = |file: &FileWanted| {
            let seen = files::observe(&file.path).map_err(|error| fault(&error, error.hint()))?;
            Ok(seen.map(|seen| FileSeen { mode: seen.mode, bytes: seen.bytes }))
        };
        wanted.iter().map(look).collect()
    }

    async fn target(&mut self) -> Target {
        if let Some(supervisor) = &self.supervisor
            && !self.has_started
        {
            match supervisor.running().await {
                Ok(pids) if pids.is_empty() => return Target::Unstarted,
                Ok(_) => self.has_started = true,
                Err(error) => {
                    debug!(%error, "failed to ask the supervisor whether superset was started");
                    return Target::Unknown;
                }
            }
        }
        if !self.way.tells() {
            // One that was seen once and is gone loads what lies there when it comes back.
            let is_gone = self.was_told && self.way != Way::None && self.superset.client.health().await.is_err();
            if is_gone { Target::Absent } else { Target::Nobody }
        } else if self.is_absent().await {
            Target::Absent
        } else {
            self.was_told = true;
            Target::Running
        }
    }

    async fn save(&self, memory: LastGood) -> Result<(), Fault> {
        let (state, mut memory) = (Arc::clone(&self.state), memory);
        if let Some(accepted) = &*self.accepted.borrow() {
            memory.inventory = serde_json::to_value(accepted).unwrap_or_default();
        }
        off_thread(move || state.save(&memory)).await.map(drop).map_err(|error| fault(&error, error.hint()))
    }

    async fn check(&self, key: &DigestKey, revision: &Revision, files: &Proof<'_>) -> Report {
        self.ask(files, async |checker, candidate| {
            let report = checker.check_once(key, revision, &candidate).await;
            report.unwrap_or_else(|error| Report::inconclusive(line(&error)))
        })
        .await
    }

    async fn check_anew(&self, key: &DigestKey, files: &Proof<'_>) -> Report {
        self.ask(files, async |checker, candidate| checker.check(key, &candidate).await).await
    }

    async fn forget(&self, revision: &Revision) {
        if let Some(checker) = &self.checker
            && let Err(error) = checker.forget(revision).await
        {
            warn!(error = line(&error), "failed to forget a check");
        }
    }

    async fn install(&mut self, files: &[FileWanted]) -> Result<(), Fault> {
        let wanted = files.iter().map(|file| Wanted { path: file.path.clone(), bytes: file.bytes.to_vec(), mode: file.mode });
        stage::install(wanted.collect()).await.map(drop).map_err(|error| fault(&error, error.hint()))
    }

    async fn start(&mut self) -> Result<(), Fault> {
        let Some(supervisor) = &self.supervisor else { return Ok(()) };
        supervisor.start().await.map_err(|error| fault(&error, None))?;
        self.has_started = true;
        Ok(())
    }

    async fn reload(&mut self, revision: &Revision) -> Result<(), ReloadFailed> {
        self.beat = (self.role == "beat").then(|| verify::beat_below(self.supervisor.as_ref().map(|by| by.pid))).flatten();
        let limit = reload_limit(self.verifier.limit());
        match awake::timeout(limit, self.tell(revision)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                let place = self.keep_last_words(&error).await;
                let (unaffected, suspect) = (error.leaves_superset_alone(), error.suspect());
                let why = fault(&error, place.or_else(|| error.hint().map(ToOwned::to_owned))).message;
                Err(ReloadFailed { why, unaffected, suspect })
            }
            Err(_) => {
                let why = format!("the reload did not end within {limit:?}");
                Err(ReloadFailed { why, unaffected: false, suspect: Suspect::Host })
            }
        }
    }

    async fn verify(&mut self, revision: &Revision) -> Result<(), Fault> {
        if self.way == Way::None || self.verifier.asks_nothing() {
            return Ok(());
        }
        let below = self.supervisor.as_ref().map(|supervisor| supervisor.pid);
        let verified = match self.role.as_str() {
            "worker" => self.verifier.worker(&self.worker()).await,
            "beat" => self.verifier.beat(below, self.beat).await,
            _ => self.verifier.web(revision, Some(&self.superset.client)).await,
        };
        verified.map_err(|error| fault(&error, None))
    }
}

/// The longest that a reload may take: until the new config answers, and until the old one has ended.
#[must_use]
pub fn reload_limit(verify_limit: Duration) -> Duration {
    2 * verify_limit
}

/// Where nothing is to be proved, everything is.
fn unasked() -> Report {
    Report { outcome: Outcome::Proven, ..Report::inconclusive("nothing is to be proved") }
}

fn candidate(proof: &Proof<'_>) -> Result<Candidate, String> {
    let file = proof.files.first().ok_or("there is nothing to check")?;
    let text = str::from_utf8(&file.bytes).map_err(|_| format!("{} is not UTF-8 text", file.path.display()))?;
    Ok(Candidate { path: file.path.clone(), text: SecretText::new(text), secrets: proof.secrets.to_vec() })
}

impl Machine {
    /// What the checker says of these files, where there is one.
    async fn ask(&self, files: &Proof<'_>, check: impl AsyncFnOnce(&Checker, Candidate) -> Report) -> Report {
        match (&self.checker, candidate(files)) {
            (None, _) => unasked(),
            (Some(_), Err(why)) => Report::inconclusive(why),
            (Some(checker), Ok(candidate)) => check(checker, candidate).await,
        }
    }

    /// Whether no Superset runs here: no process of it is found, and nobody answers in its place.
    async fn is_absent(&self) -> bool {
        let found = match &self.way {
            _ if self.supervisor.is_some() => return false,
            Way::Hup(target) | Way::Best(target) | Way::Handoff(target) => gunicorn::master(target),
            Way::Worker(target) => gunicorn::worker(target),
            Way::None | Way::Again | Way::Unit(_) | Way::Command(_) => return false,
        };
        let is_web = !matches!(self.way, Way::Worker(_));
        found.is_err_and(|error| error.finds_nobody()) && !(is_web && self.superset.client.health().await.is_ok())
    }

    async fn tell(&self, revision: &Revision) -> Result<(), ReloadError> {
        let limit = self.verifier.limit();
        let changed =
            self.render.targets().filter_map(|path| files::changed(path).ok()).max().map_or_else(Moment::now, Moment::at);
        let until = Instant::now() + reload_limit(limit).saturating_sub(LAST_PART);
        let supervisor = self.supervisor.as_ref();
        let terms = Terms { answers: limit, until, changed };
        let reloaded = self.way.reload(terms, supervisor, || self.verifier.answers(revision)).await;
        match reloaded {
            Err(error) if error.finds_nobody() => match (self.superset.client.health().await, &self.way, supervisor) {
                // A process that is not there yet loads what is installed when it starts.
                (Err(_), ..) => {
                    info!("superset does not run; it loads the new files when it starts");
                    Ok(())
                }
                // What we have started ourselves need not be a gunicorn; otherwise one that answers and cannot be found is a
                // mistake in the settings.
                (Ok(()), Way::Best(_), Some(supervisor)) => Ok(supervisor.restart().await?),
                (Ok(()), ..) => Err(error),
            },
            Err(ReloadError::Handoff(error @ HandoffError::Lingers { .. })) => {
                warn!(%error, hint = error.hint(), "the handoff is done");
                Ok(())
            }
            reloaded => reloaded,
        }
    }

    /// The worker that is asked whether it runs.
    fn worker(&self) -> gunicorn::Target {
        match &self.way {
            Way::Worker(target) => target.clone(),
            _ => match &self.supervisor {
                Some(supervisor) => gunicorn::Target::Below(supervisor.pid),
                None => gunicorn::Target::Only(self.render.superset_config.path.clone()),
            },
        }
    }

    /// Writes down what a reload command said before it failed, where only the agent's own user can read it, and says where: it
    /// may hold secrets, so it goes into no log and no status (law 9).
    async fn keep_last_words(&self, error: &ReloadError) -> Option<String> {
        let words = error.last_words()?;
        let path = self.state.path().join(LAST_WORDS);
        let file = Wanted { path: path.clone(), bytes: words.expose().as_bytes().to_vec(), mode: 0o600 };
        stage::install(vec![file]).await.ok()?;
        Some(format!("what it said last is in {}", path.display()))
    }
}

/// Clears what an earlier run that was killed left beside the files that are rendered.
pub fn sweep(render: &Render) -> Result<(), Fault> {
    let swept = stage::sweep(render.targets()).map_err(|error| fault(&error, error.hint()))?;
    if swept > 0 {
        info!(files = swept, "removed half-written files of an earlier run");
    }
    Ok(())
}

/// Reads what is rendered besides the tree: the base and the templates.
pub fn sources(render: &Render) -> Result<Sources, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut read = |path: &Path| {
        let text = read_text(path).map_err(|problem| problems.push(problem)).ok()?;
        Some(Source { origin: Origin::new(path.to_string_lossy()), text: text.into() })
    };
    let base = render.superset_config.base.as_deref().and_then(&mut read);
    let templates = render.templates.iter().filter_map(|template| {
        Some((read(&template.source)?, RenderTarget { path: template.path.clone(), mode: template.mode }))
    });
    let sources = Sources { base, templates: templates.collect() };
    if problems.is_empty() { Ok(sources) } else { Err(problems) }
}

fn fault(error: &(dyn std::error::Error + 'static), hint: Option<String>) -> Fault {
    let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
    Fault { kind: FaultKind::Refused, message: format!("{}{hint}", line(error)) }
}

fn read_text(path: &Path) -> Result<String, Problem> {
    let problem = |message: String| Problem::error(&Origin::new(path.to_string_lossy()), message);
    let length = std::fs::metadata(path).map_err(|error| problem(format!("failed to read it: {error}")))?.len();
    if length > LARGEST_SOURCE {
        return Err(problem(format!("it has {length} bytes; at most {LARGEST_SOURCE} are rendered")));
    }
    std::fs::read_to_string(path).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => problem("it is not UTF-8 text".to_owned()),
        _ => problem(format!("failed to read it: {error}")),
    })
}

/// Brings back those files of the last good revision that are missing altogether: Superset may be waiting for them while
/// ZooKeeper is away. A file that exists is left alone, whatever it holds.
pub async fn restore_missing(last_good: &LastGood) -> Result<Vec<PathBuf>, Fault> {
    let missing: Vec<_> = last_good
        .applied
        .files
        .iter()
        .filter(|file| matches!(files::observe(&file.path), Ok(None)))
        .map(FileCopy::wanted)
        .collect();
    let paths = missing.iter().map(|file| file.path.clone()).collect();
    stage::install(missing).await.map_err(|error| fault(&error, error.hint()))?;
    Ok(paths)
}
