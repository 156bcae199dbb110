//! Tells systemd how this instance fares, where it runs as a unit.
//!
//! Ready is the agent once its config loop has turned for the first time: the settings are sound, the state folder and the
//! address are taken, every part runs. It does not wait for ZooKeeper, without which it does its work too. Beside a supervisor the
//! unit is Superset's, and ready when Superset answers. The watchdog is fed by the loop's own heartbeat and by nothing else, so
//! that a loop that hangs is noticed; beside a supervisor systemd waits for none of ours, since a hanging agent is no
//! reason to end Superset.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::http::Report;
use crate::model::instance::{Instance, State};
use crate::systemd;

/// A loop that turns faster is fed no oftener.
const FEED_EVERY: Duration = Duration::from_secs(1);

/// The herald, and what it reads.
pub(super) struct Herald {
    /// When the config loop last turned.
    pub heartbeat: watch::Receiver<Instant>,
    /// How this instance fares.
    pub report: watch::Receiver<Arc<Report>>,
    /// Whether the unit's main process is our supervisor.
    pub is_supervised: bool,
}

/// What was told already.
#[derive(Default)]
struct Told {
    has_turned: bool,
    is_ready: bool,
    status: String,
    fed: Option<Instant>,
}

impl Herald {
    /// Runs until cancelled.
    pub(super) async fn run(mut self, cancel: CancellationToken) {
        if systemd::listens() {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = self.tell() => {}
            }
        }
        // A part that ends stops the agent, and there is nothing wrong.
        cancel.cancelled().await;
    }

    /// Tells what is new until a writer is gone, which means that the agent stops.
    async fn tell(&mut self) {
        let (mut told, feeds) = (Told::default(), systemd::watchdog().is_some());
        loop {
            let gone = tokio::select! {
                turned = self.heartbeat.changed() => {
                    told.turned(feeds && turned.is_ok());
                    turned.is_err()
                }
                changed = self.report.changed() => changed.is_err(),
            };
            if gone {
                return;
            }
            let report = Arc::clone(&self.report.borrow());
            told.fares(&report.instance, self.is_supervised);
        }
    }
}

impl Told {
    fn turned(&mut self, feeds: bool) {
        self.has_turned = true;
        if feeds && self.fed.is_none_or(|fed| fed.elapsed() >= FEED_EVERY) {
            self.fed = Some(Instant::now());
            systemd::turns();
        }
    }

    fn fares(&mut self, instance: &Instance, is_supervised: bool) {
        let status = status(instance);
        if status != self.status {
            systemd::status(&status);
            self.status = status;
        }
        let answers = instance.superset.healthy || instance.state == State::InSync;
        let is_up = if is_supervised { answers } else { self.has_turned };
        if is_up && !self.is_ready {
            self.is_ready = true;
            systemd::ready();
        }
    }
}

/// One line: what the instance does, which release it runs, and what is wrong.
fn status(instance: &Instance) -> String {
    let word = |value: serde_json::Result<serde_json::Value>| {
        value.ok().and_then(|value| value.as_str().map(ToOwned::to_owned)).unwrap_or_default()
    };
    let (state, role) = (word(serde_json::to_value(instance.state)), word(serde_json::to_value(instance.role)));
    let release = instance.applied.release.as_ref().map_or("no release".to_owned(), |release| format!("release {release}"));
    let error = instance.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    format!("{state}, {role}, {release}{error}")
}
