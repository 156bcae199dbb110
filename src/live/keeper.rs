//! The keeper: writes down what survives a restart, a moment after it changed.
//!
//! A burst of changes costs one copy and never delays a file itself. What must be durable before something begins is not left
//! to it. Somebody may delete what was written, or all of the folder: it is looked after, and made again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::line;
use crate::desired::guard::Inventory;
use crate::files::off_thread;
use crate::files::state::{LastGood, StateDir, StateError};
use crate::model::digest::DigestKey;

/// How long to wait for the next change before what was applied is written down.
const QUIET: Duration = Duration::from_millis(100);
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
            Err(error) => {
                let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
                Some(format!("failed to remember the last good revision: {}{hint}", line(&error)))
            }
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
