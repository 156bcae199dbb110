//! The loop that asks Superset whether it answers, and says whether this instance is entitled to lead.
//!
//! Only an instance whose own Superset answered lately may stand for election; a leader without one for [`RESIGN_AFTER`]
//! resigns, so that another with a living Superset takes over. Superset being down changes nothing else.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::model::instance::SupersetSeen;
use crate::world::{Health, SupersetVersion};

/// How long a leader's Superset may be silent.
pub const RESIGN_AFTER: Duration = Duration::from_secs(30);
const EVERY: Duration = Duration::from_secs(10);
/// While Superset does not answer it is asked more often, so that its return is noticed.
const EVERY_WHILE_DOWN: Duration = Duration::from_secs(2);

/// The loop and what it needs.
pub struct HealthLoop<A> {
    /// Superset.
    pub superset: A,
    /// Whether this instance pushes at all.
    pub pushes: bool,
    /// What is seen of Superset.
    pub seen: watch::Sender<SupersetSeen>,
    /// Whether this instance may stand for election.
    pub entitled: watch::Sender<bool>,
}

impl<A: Health> HealthLoop<A> {
    /// Runs until cancelled.
    pub async fn run(self, cancel: CancellationToken) {
        let mut last_answer = None;
        loop {
            let answer = tokio::select! {
                () = cancel.cancelled() => return,
                answer = self.superset.ask() => answer,
            };
            let healthy = answer.is_some();
            if healthy {
                last_answer = Some(Instant::now());
            }
            self.note(answer);
            let entitled = self.pushes && last_answer.is_some_and(|at| at.elapsed() < RESIGN_AFTER);
            self.entitled.send_if_modified(|before| std::mem::replace(before, entitled) != entitled);
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(if healthy { EVERY } else { EVERY_WHILE_DOWN }) => {}
            }
        }
    }

    fn note(&self, answer: Option<SupersetVersion>) {
        self.seen.send_if_modified(|seen| {
            let healthy = answer.is_some();
            let version = answer.and_then(|answer| answer.0).or_else(|| seen.version.clone());
            let next = SupersetSeen { url: seen.url.clone(), healthy, version };
            let is_new = *seen != next;
            match (seen.healthy, healthy) {
                (false, true) => info!(url = seen.url, "superset answers"),
                (true, false) => warn!(url = seen.url, "superset does not answer"),
                _ => {}
            }
            *seen = next;
            is_new
        });
    }
}
