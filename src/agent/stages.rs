//! The parts of the agent while they run, and the order in which they are asked to stop.
//!
//! Each part ends with the token of its stage; a part that does not end in time is abandoned rather than waited for.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How long each stage of stopping may take.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// The parts of the agent: each with its name and how it ended.
pub(super) type Parts = JoinSet<(&'static str, anyhow::Result<()>)>;

/// The stages of stopping, in order; each has its token.
#[derive(Default)]
pub(super) struct Stages {
    pub loops: CancellationToken,
    pub source: CancellationToken,
    pub http: CancellationToken,
}

const LOOPS: &[&str] = &["resolve loop", "config loop", "connections loop", "health loop", "secrets watch", "archivist"];
const SOURCE: &[&str] = &["source", "reporter", "keeper", "credentials", "herald"];

impl Stages {
    pub(super) async fn stop(&self, parts: &mut Parts, ended_already: Option<&'static str>) {
        let mut left: BTreeSet<_> = LOOPS.iter().chain(SOURCE).copied().chain(["http server"]).collect();
        if let Some(part) = ended_already {
            left.remove(part);
        }
        for (token, names) in [(&self.loops, LOOPS), (&self.source, SOURCE), (&self.http, &["http server"])] {
            token.cancel();
            let ended = async {
                while names.iter().any(|name| left.contains(name)) {
                    match parts.join_next().await {
                        Some(Ok((name, _))) => drop(left.remove(name)),
                        Some(Err(_)) => {}
                        None => return,
                    }
                }
            };
            if tokio::time::timeout(STOP_LIMIT, ended).await.is_err() {
                warn!(parts = names.join(", "), "these did not end in time and are abandoned");
            }
        }
    }
}

/// A part that cannot fail, with its name.
pub(super) async fn part(name: &'static str, run: impl Future<Output = ()>) -> (&'static str, anyhow::Result<()>) {
    run.await;
    (name, Ok(()))
}
