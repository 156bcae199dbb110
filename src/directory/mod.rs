//! The tree from a folder, for one machine without ZooKeeper: `config.yaml`, `config/*.yaml`, `datasources/*.yaml`.
//!
//! In: a path and a [`Layout`]. Out: the newest [`Tree`] whenever its content changed, and a [`Status`] that says why there is no
//! newer one. Watch is a hint, reading is the truth: after any hint, and on a clock, everything is looked at and what may have
//! changed is read. A folder that is missing or cannot be listed is not an empty one (law 2): the last tree stays and the
//! status says why. Here alone writers are given a moment to finish, since editors write in place.
//! What the files mean is not looked at; nor is there anybody to elect: the instance leads itself.

mod read;
mod scan;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::files::hints::{Hints, Watched};
use crate::files::stage::{self, Wanted};
use crate::files::{FilesError, off_thread};
use crate::model::digest::DigestKey;
use crate::model::snapshot::{Snapshot, Tree};
use crate::settings::Layout;
use read::{COMPLETE, Reader};
pub use scan::ScanError;

/// How long a steady stream of changes can put a new tree off.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often everything is looked at without a hint.
const RESYNC: Duration = Duration::from_secs(30);
/// How often it is looked at while the folder is missing or the kernel gives no hints.
const RETRY: Duration = Duration::from_secs(1);

/// The file beside the branches that holds the rollout record, as the znode of that name does.
pub const ROLLOUT: &str = "rollout.json";

/// Why the directory source cannot start, or failed to read.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// A path of the layout leads out of the folder.
    #[error("layout.{key}: {value} is not a path within the source's folder")]
    Outside {
        /// `config` or `datasources`.
        key: &'static str,
        /// What it is set to.
        value: String,
    },
    /// The tree could not be read.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// The thread that read it ended before its time.
    #[error(transparent)]
    Files(#[from] FilesError),
}

/// How reading the folder fares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// When the folder was last read as a whole.
    pub last_read: Option<Instant>,
    /// Why it cannot be read now, one line.
    pub error: Option<String>,
    /// Whether the kernel tells of changes; if not, they are found on the clock.
    pub hinted: bool,
}

/// Where the two branches lie.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Roots {
    folder: PathBuf,
    /// Without an extension: `config` stands for the folder `config` and the file `config.yaml`.
    config: PathBuf,
    datasources: PathBuf,
}

impl Roots {
    fn new(folder: &Path, layout: &Layout) -> Result<Self, DirectoryError> {
        Ok(Self {
            folder: folder.to_owned(),
            config: folder.join(within("config", layout.config.as_deref())?),
            datasources: folder.join(within("datasources", layout.datasources.as_deref())?),
        })
    }
}

fn within(key: &'static str, value: Option<&str>) -> Result<PathBuf, DirectoryError> {
    let value = value.unwrap_or(key);
    let path = Path::new(value);
    let stays = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if !stays || path.file_name().is_none() {
        return Err(DirectoryError::Outside { key, value: value.to_owned() });
    }
    Ok(if scan::is_readable_name(value) { path.with_extension("") } else { path.to_owned() })
}

/// Reads the tree once, as commands do.
pub async fn read(path: &Path, layout: &Layout) -> Result<Snapshot, DirectoryError> {
    let mut reader = Reader::new(Roots::new(path, layout)?);
    off_thread(move || {
        reader.read(true)?;
        Ok(reader.snapshot().clone())
    })
    .await
}

/// Notes that a person confirmed the tree of this digest.
pub async fn confirm(path: &Path, digest: &str) -> Result<(), DirectoryError> {
    let bytes = format!("{}\n", serde_json::json!({"confirmed": digest})).into_bytes();
    stage::install(vec![Wanted { path: path.join(ROLLOUT), bytes, mode: 0o644 }]).await?;
    Ok(())
}

/// Keeps `outputs` at the newest tree of the folder `path` until `cancel`.
pub async fn run(
    path: &Path,
    layout: &Layout,
    key: Arc<DigestKey>,
    outputs: watch::Sender<Option<Tree>>,
    status: watch::Sender<Status>,
    cancel: CancellationToken,
) -> Result<(), DirectoryError> {
    let mut task = Task::new(Roots::new(path, layout)?, key, outputs, status);
    cancel.run_until_cancelled(task.turn()).await.unwrap_or(Ok(()))
}

struct Task {
    /// `None` only while a thread reads with it.
    reader: Option<Reader>,
    roots: Roots,
    key: Arc<DigestKey>,
    outputs: watch::Sender<Option<Tree>>,
    status: watch::Sender<Status>,
    bell: Arc<Notify>,
    hints: Hints,
}

impl Task {
    fn new(roots: Roots, key: Arc<DigestKey>, outputs: watch::Sender<Option<Tree>>, status: watch::Sender<Status>) -> Self {
        let bell = Arc::new(Notify::new());
        let hints = Hints::on(Watched::default(), Arc::clone(&bell));
        Self { reader: Some(Reader::new(roots.clone())), roots, key, outputs, status, bell, hints }
    }

    async fn turn(&mut self) -> Result<(), DirectoryError> {
        let mut restless_since = None;
        loop {
            let hurry = restless_since.is_some_and(|since: Instant| since.elapsed() > PATIENCE);
            let pass = self.pass(hurry).await?;
            if !matches!(pass, Pass::Restless) {
                restless_since = None;
            }
            match pass {
                // Something may have changed between the reading and the new watches: look once more, now that they stand.
                Pass::Rewatched => tokio::time::sleep(COMPLETE).await,
                Pass::Restless => {
                    restless_since = restless_since.or_else(|| Some(Instant::now()));
                    tokio::time::sleep(COMPLETE).await;
                }
                Pass::Doubtful => self.wait(RETRY).await,
                Pass::Whole => self.wait(RESYNC).await,
            }
        }
    }

    /// Waits for a hint, and then until no more come for a moment; at most `limit` for the first of them.
    async fn wait(&self, limit: Duration) {
        if tokio::time::timeout(limit, self.bell.notified()).await.is_err() {
            return;
        }
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < deadline && tokio::time::timeout(COMPLETE, self.bell.notified()).await.is_ok() {}
    }

    async fn pass(&mut self, hurry: bool) -> Result<Pass, DirectoryError> {
        let mut reader = self.reader.take().unwrap_or_else(|| Reader::new(self.roots.clone()));
        let (reader, outcome, watched) = off_thread(move || {
            let outcome = reader.read(hurry);
            let watched = reader.watched();
            Ok::<_, FilesError>((reader, outcome, watched))
        })
        .await?;
        let rewatched = !self.hints.cover(&watched);
        if rewatched {
            self.hints = Hints::on(watched, Arc::clone(&self.bell));
        }
        if let Ok(true) = outcome {
            self.publish(&reader);
        }
        self.reader = Some(reader);
        self.tell(outcome.as_ref().err());
        Ok(match outcome {
            Ok(false) => Pass::Restless,
            _ if rewatched => Pass::Rewatched,
            Ok(true) if !self.hints.incomplete() => Pass::Whole,
            _ => Pass::Doubtful,
        })
    }

    fn publish(&self, reader: &Reader) {
        self.outputs.send_if_modified(|tree| {
            let same = tree.as_ref().is_some_and(|tree| tree.snapshot == *reader.snapshot());
            if !same {
                *tree = Some(Tree { key: Arc::clone(&self.key), snapshot: reader.snapshot().clone(), pause: None });
            }
            !same
        });
    }

    fn tell(&self, error: Option<&ScanError>) {
        let error = error.map(ScanError::with_cause);
        self.status.send_if_modified(|status| {
            match (&status.error, &error) {
                (before, Some(error)) if before.as_ref() != Some(error) => {
                    warn!(error, "the tree's folder cannot be read; the last tree stays");
                }
                (Some(_), None) => info!("the tree's folder can be read again"),
                _ => {}
            }
            let last_read = if error.is_none() { Some(Instant::now()) } else { status.last_read };
            let changed = status.error != error || status.hinted == self.hints.incomplete() || status.last_read.is_none();
            *status = Status { last_read, error, hinted: !self.hints.incomplete() };
            changed
        });
    }
}

/// What one pass came to.
enum Pass {
    /// The tree was read, and watches stand on all of it.
    Whole,
    /// It could not be read, or cannot be watched as a whole.
    Doubtful,
    /// It was changing.
    Restless,
    /// The watches had to be set anew.
    Rewatched,
}

#[cfg(test)]
mod tests;
