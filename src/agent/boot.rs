//! What Superset starts from, where a supervisor of ours starts it, when nothing could be rendered in time.
//!
//! The config loop lets Superset start as soon as its files are what the tree wants. Where that has not come within `boot.wait` (ZooKeeper
//! is away, or the tree is held), the last good revision is better than no Superset; its files were brought back before any
//! loop began. Where nothing is remembered it waits on.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::files::state::LastGood;
use crate::supervise::asking::{AskError, Asking};

/// Runs until cancelled.
pub(super) async fn run(
    supervisor: Option<Asking>,
    wait: Duration,
    memory: watch::Receiver<LastGood>,
    cancel: CancellationToken,
) {
    let in_time = tokio::time::timeout(wait, cancel.cancelled()).await.is_ok();
    let last_good = memory.borrow().applied.version.revision.clone();
    if !in_time && let (Some(supervisor), Some(revision)) = (supervisor, last_good) {
        match supervisor.start().await {
            Ok(true) => {
                warn!(%revision, ?wait, "nothing new could be rendered in time; started superset from the last good revision");
            }
            Ok(false) | Err(AskError::Stopping) => {}
            Err(error) => error!(%error, "failed to start superset from the last good revision"),
        }
    }
    cancel.cancelled().await;
}
