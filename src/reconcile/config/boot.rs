//! What Superset is started from, where a supervisor of ours starts it and nothing could be had in time.
//!
//! A release that is had in time starts it as any other release is installed. After `boot.wait` the last good revision is
//! better than no Superset, and where there is none, `boot.fallback`. Where there is neither, it waits on.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tracing::{error, warn};

use super::Running;
use super::candidate::wanted;
use crate::model::digest::Revision;
use crate::plan::files::FileWanted;
use crate::render::renderer::Target;
use crate::world::{Board, Fault, FaultKind, Host};

/// How long until a start that failed is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// The rule of `boot`.
#[derive(Clone, Debug)]
pub struct Boot {
    /// How long to wait for a release.
    pub wait: Duration,
    /// The file to start from where nothing else is there.
    pub fallback: Option<PathBuf>,
    /// Where Superset's config lies.
    pub target: Target,
    /// When the wait is over; `None` once Superset was started.
    pub over_at: Option<Instant>,
}

impl Boot {
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        self.over_at
    }
}

impl<H: Host, B: Board> Running<H, B> {
    /// Starts Superset from what there is, once the wait for something better is over; says whether it did.
    pub(super) async fn boot(&mut self) -> bool {
        let Some(boot) = self.given.boot.as_mut() else { return false };
        if boot.over_at.is_none_or(|at| at > Instant::now()) {
            return false;
        }
        boot.over_at = Some(Instant::now() + AGAIN);
        let boot = boot.clone();
        let good = self.given.memory.borrow().applied.clone();
        let started = match (&good.version.revision, &boot.fallback) {
            (Some(revision), _) => self.start_from(&wanted(&good)).await.map(|()| revision.clone()),
            (None, Some(path)) => self.start_from_fallback(&boot.target, path).await,
            (None, None) => return false,
        };
        let Some(boot) = self.given.boot.as_mut() else { return false };
        match started {
            Ok(revision) => {
                let wait = boot.wait;
                boot.over_at = None;
                self.course.found(&revision, true);
                self.note_journal();
                if revision.is_unnamed() {
                    warn!(?wait, "no release could be had in time; started superset from boot.fallback");
                } else {
                    warn!(%revision, ?wait, "nothing new could be rendered in time; started superset from the last good revision");
                }
            }
            Err(fault) => {
                error!(error = %fault, "failed to start superset");
                return false;
            }
        }
        true
    }

    async fn start_from_fallback(&mut self, target: &Target, path: &std::path::Path) -> Result<Revision, Fault> {
        let read = |error| Fault {
            kind: FaultKind::Refused,
            message: format!("failed to read boot.fallback {}: {error}", path.display()),
        };
        let bytes = std::fs::read(path).map_err(read)?;
        let file = FileWanted { path: target.path.clone(), mode: target.mode, bytes: bytes.into() };
        self.start_from(std::slice::from_ref(&file)).await?;
        self.take_as_found(std::slice::from_ref(&file));
        Ok(Revision::unnamed())
    }

    async fn start_from(&mut self, files: &[FileWanted]) -> Result<(), Fault> {
        self.given.host.install(files).await?;
        self.given.host.start().await
    }
}
