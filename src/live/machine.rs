//! This machine: the rendered files, the reload, and what survives a restart.
//!
//! Files are installed before anything is remembered. What is remembered is written a moment later by the [`Keeper`], so that a
//! burst of changes costs one copy and never delays the file itself; only the mark that a reload is under way is durable
//! before the reload begins.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::line;
use super::superset::Superset;
use crate::desired::guard::Inventory;
use crate::files::stage::{self, Installed, Wanted};
use crate::files::state::{Applied, FileCopy, LastGood, StateDir, StateError};
use crate::files::{self, off_thread};
use crate::model::digest::{DigestKey, Revision};
use crate::model::instance::Version;
use crate::model::problem::Problem;
use crate::model::snapshot::Origin;
use crate::plan::files::{FileSeen, FileStep, FileWanted};
use crate::render::renderer::{Source, Sources, Target};
use crate::settings::Render;
use crate::superset::handoff::Limits;
use crate::superset::reload::{ReloadError, Way};
use crate::superset::verify::Verifier;
use crate::supervise::asking::Asking;
use crate::world::{Fault, FaultKind, Host};

/// How long a reload command may take.
const RELOAD_LIMIT: Duration = Duration::from_secs(120);
/// How long to wait for the next change before what was applied is written down.
const QUIET: Duration = Duration::from_millis(100);
/// The file in the state directory that has what a reload command said before it failed.
const LAST_WORDS: &str = "reload.log";
/// How large a base or a template may be.
const LARGEST_SOURCE: u64 = 4 << 20;

/// This machine.
pub struct Machine {
    /// What is rendered.
    pub render: Render,
    /// How Superset is told.
    pub way: Way,
    /// Who starts Superset, where that is ours.
    pub supervisor: Option<Asking>,
    /// Asks Superset which revision it runs.
    pub verifier: Verifier,
    /// Asked whether it runs, where nobody can be told.
    pub superset: Arc<Superset>,
    /// Where things are remembered.
    pub state: Arc<StateDir>,
    /// What is to be remembered.
    pub memory: watch::Sender<LastGood>,
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

    fn reloads(&self) -> bool {
        self.way.tells()
    }

    async fn intend(&mut self) -> Result<(), Fault> {
        self.memory.send_modify(|memory| memory.reloading = true);
        let (state, memory) = (Arc::clone(&self.state), self.memory.borrow().clone());
        off_thread(move || state.save(&memory)).await.map(drop).map_err(|error| fault(&error, error.hint()))
    }

    async fn apply(&mut self, step: &FileStep) -> Result<(), Fault> {
        match step {
            FileStep::Install(files) => {
                let wanted =
                    files.iter().map(|file| Wanted { path: file.path.clone(), bytes: file.bytes.to_vec(), mode: file.mode });
                let installed = stage::install(wanted.collect()).await.map_err(|error| fault(&error, error.hint()))?;
                self.keep_what_was_there(&installed);
                Ok(())
            }
            FileStep::Reload(revision) => match self.reload(revision).await {
                Ok(()) => Ok(()),
                Err(error) => {
                    let place = self.keep_last_words(&error).await;
                    Err(fault(&error, place.or_else(|| error.hint().map(ToOwned::to_owned))))
                }
            },
        }
    }

    async fn serve(&mut self) -> Result<(), Fault> {
        let Some(supervisor) = &self.supervisor else { return Ok(()) };
        supervisor.start().await.map(drop).map_err(|error| fault(&error, None))
    }

    fn remember(&mut self, version: &Version, files: &[FileWanted]) {
        let files = files.iter().map(|file| FileCopy::new(&file.path, file.mode, file.bytes.to_vec())).collect();
        self.memory.send_modify(|memory| {
            memory.reloading = false;
            memory.advance(Applied { version: version.clone(), files });
        });
    }
}

impl Machine {
    async fn reload(&self, revision: &Revision) -> Result<(), ReloadError> {
        if let Some(supervisor) = &self.supervisor
            && supervisor.start().await?
        {
            return Ok(());
        }
        let limits = Limits { answers: self.verifier.limit(), ends: RELOAD_LIMIT };
        let supervisor = self.supervisor.as_ref();
        let reloaded = self.way.reload(limits, supervisor, || self.verifier.answers(revision)).await;
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
            reloaded => reloaded,
        }
    }

    /// What lay there before the first install was nobody's but its owner's: it is kept as the previous revision.
    fn keep_what_was_there(&self, installed: &Installed) {
        self.memory.send_if_modified(|memory| {
            if memory.applied.files.is_empty() {
                memory.applied.files = installed.replaced.iter().filter_map(FileCopy::of_previous).collect();
            }
            // It is written down together with what was installed.
            false
        });
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
    let templates = render
        .templates
        .iter()
        .filter_map(|template| Some((read(&template.source)?, Target { path: template.path.clone(), mode: template.mode })));
    let sources = Sources { base, templates: templates.collect() };
    if problems.is_empty() { Ok(sources) } else { Err(problems) }
}

impl Machine {
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

/// How often it is looked whether what is remembered is still there, and what could not be written down is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// Writes down what is to be remembered, once it has stood still for a moment, and again until that succeeds, or once somebody
/// has deleted it.
pub struct Keeper {
    /// Where.
    pub state: Arc<StateDir>,
    /// What was applied.
    pub memory: watch::Receiver<LastGood>,
    /// What the tree held that was accepted last.
    pub accepted: watch::Receiver<Option<Inventory>>,
    /// The key that is kept here, where it is.
    pub key: Option<Arc<DigestKey>>,
    /// Why it cannot be written down.
    pub trouble: watch::Sender<Option<String>>,
}

impl Keeper {
    /// Runs until cancelled, and writes what is left then.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut goes_on = true;
        while goes_on {
            goes_on = tokio::select! {
                goes_on = self.changed(&cancel) => goes_on,
                () = tokio::time::sleep(AGAIN) => {
                    if self.trouble.borrow().is_none() && self.state.is_in_place() {
                        continue;
                    }
                    true
                }
            };
            while goes_on {
                tokio::select! {
                    more = self.changed(&cancel) => goes_on = more,
                    () = tokio::time::sleep(QUIET) => break,
                }
            }
            self.keep().await;
        }
    }

    /// Waits for a change; `false` once there will be no more.
    async fn changed(&mut self, cancel: &CancellationToken) -> bool {
        tokio::select! {
            changed = self.memory.changed() => changed.is_ok(),
            changed = self.accepted.changed() => changed.is_ok(),
            () = cancel.cancelled() => false,
        }
    }

    /// Writes it down; why that fails is logged once, and told for as long as it does.
    async fn keep(&mut self) {
        let trouble = match self.save().await {
            Ok(()) => None,
            Err(error) => Some(format!("failed to remember the last good revision: {}", fault(&error, error.hint()))),
        };
        self.trouble.send_if_modified(|before| {
            match (&before, &trouble) {
                (None, Some(error)) => error!(error, "a restart without the tree would not find the last good revision"),
                (Some(_), None) => info!("the last good revision is remembered again"),
                _ => {}
            }
            let is_new = *before != trouble;
            *before = trouble;
            is_new
        });
    }

    async fn save(&mut self) -> Result<(), StateError> {
        let (state, mut memory) = (Arc::clone(&self.state), self.memory.borrow_and_update().clone());
        let (accepted, key) = (self.accepted.borrow_and_update().clone(), self.key.clone());
        self.state = off_thread(move || {
            let state = if state.is_in_place() {
                state
            } else {
                warn!(path = %state.path().display(), "the state folder is gone; it is made again");
                Arc::new(StateDir::open(state.path())?)
            };
            key.map_or(Ok(()), |key| state.keep_key(&key))?;
            memory.inventory = accepted.and_then(|accepted| serde_json::to_value(accepted).ok()).unwrap_or_default();
            state.save(&memory)?;
            Ok::<_, StateError>(state)
        })
        .await?;
        Ok(())
    }
}
