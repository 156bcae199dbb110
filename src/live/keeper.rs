//! The keeper: writes down what survives a restart, a moment after it changed.
//!
//! A burst of changes costs one copy and never delays a file itself. What must be durable before something begins is not left
//! to it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::line;
use crate::desired::guard::Inventory;
use crate::files::off_thread;
use crate::files::state::{LastGood, StateDir};

/// How long to wait for the next change before what was applied is written down.
const QUIET: Duration = Duration::from_millis(100);
/// How long until what could not be written down is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// Writes down what is to be remembered, once it has stood still for a moment, and again until that succeeds.
pub struct Keeper {
    /// Where.
    pub state: Arc<StateDir>,
    /// What was applied.
    pub memory: watch::Receiver<LastGood>,
    /// What the tree held that was accepted last.
    pub accepted: watch::Receiver<Option<Inventory>>,
}

impl Keeper {
    /// Runs until cancelled, and writes what is left then.
    pub async fn run(mut self, cancel: CancellationToken) {
        let (mut goes_on, mut is_saved) = (true, true);
        while goes_on {
            goes_on = tokio::select! {
                goes_on = self.changed(&cancel) => goes_on,
                () = tokio::time::sleep(AGAIN), if !is_saved => true,
            };
            while goes_on {
                tokio::select! {
                    more = self.changed(&cancel) => goes_on = more,
                    () = tokio::time::sleep(QUIET) => break,
                }
            }
            is_saved = self.save(is_saved).await;
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

    /// Whether it was written down; why not is told once.
    async fn save(&mut self, tell: bool) -> bool {
        let (state, mut memory) = (Arc::clone(&self.state), self.memory.borrow_and_update().clone());
        let accepted = self.accepted.borrow_and_update().clone();
        let saved = off_thread(move || {
            memory.inventory = accepted.and_then(|accepted| serde_json::to_value(accepted).ok()).unwrap_or_default();
            state.save(&memory)
        });
        match saved.await {
            Ok(_) => true,
            Err(error) => {
                if tell {
                    error!(
                        error = line(&error),
                        "failed to remember the last good revision; a restart without zookeeper would not find it"
                    );
                }
                false
            }
        }
    }
}
