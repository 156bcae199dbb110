//! The agent: builds the loops, starts them in order, and stops them in order.
//!
//! ```text
//! source ─tree▶ resolve ─resolved▶ config ─account▶ report ─record▶ source (instances/<id>)
//!   │                       └────▶ connections ─statuses▶ source (status/datasources)
//!   └─standing▶ connections              ▲ entitled ◀─ health ◀─ Superset       report ▶ HTTP
//! ```
//!
//! Every arrow is a `tokio::sync::watch` with one writer; the newest value wins. Stopping goes with the flow: first the loops end, each
//! finishing the step in hand; then the source gives up leadership, removes the record and closes the session; HTTP goes
//! last, so that whoever watches sees how it ended. A loop that ends by itself stops the agent with an error: a
//! supervisor's restart is better than an agent of which one part is dead.

mod archivist;
mod credentials;
mod herald;
mod report;
mod stages;
mod wiring;

use std::sync::Arc;

use anyhow::Context;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::credentials::Passwords;
use self::stages::{Parts, Stages};
use self::wiring::Wiring;
use crate::files::lock::TargetLocks;
use crate::files::state::{LastGood, StateDir};
use crate::http;
use crate::live::machine::{restore_missing, sweep};
use crate::settings::{Render, Settings};
use crate::supervise::asking::Asking;
use crate::systemd;

/// Whether the agent could tell Superset to reload, under the supervisor of this number.
pub fn can_reload(settings: &Settings, supervisor: i32) -> anyhow::Result<()> {
    wiring::way(settings, Some(supervisor)).map(drop)
}

/// Runs the agent until `stop` is cancelled, or until one of its parts ends; beside a supervisor it also says when Superset may be
/// started.
pub async fn run(settings: Settings, supervisor: Option<Asking>, stop: CancellationToken) -> anyhow::Result<()> {
    let state = Arc::new(StateDir::open(&settings.state_dir).context("failed to open state_dir")?);
    let _targets = hold_targets(&settings.render)?;
    let last_good = remembered(&state)?;
    let listener = http::bind(settings.http).await?;
    sweep(&settings.render)?;
    for path in restore_missing(&last_good).await? {
        info!(path = %path.display(), "restored a missing file from the last good revision");
    }
    let (stages, is_supervised) = (Stages::default(), supervisor.is_some());
    let mut parts = Parts::new();
    let passwords = Passwords::first(&settings).await?;
    Wiring::new(&settings, supervisor, state, passwords, last_good).start(&mut parts, &stages, listener)?;
    info!(instance = %settings.instance.id, "started");
    serve(parts, &stages, stop, is_supervised).await
}

/// Lets the parts run until the agent is to stop, or until one of them ends or dies; then ends the others in their order.
async fn serve(mut parts: Parts, stages: &Stages, stop: CancellationToken, is_supervised: bool) -> anyhow::Result<()> {
    let early = tokio::select! {
        () = stop.cancelled() => None,
        ended = parts.join_next() => ended,
    };
    info!("stopping");
    // The unit of a supervisor does not stop because its agent does.
    if !is_supervised {
        systemd::stops();
    }
    let ended_already = early.as_ref().and_then(|ended| ended.as_ref().ok()).map(|(part, _)| *part);
    stages.stop(&mut parts, ended_already).await;
    early.map_or(Ok(()), |ended| Err(early_end(ended)))
}

/// Two agents that render one file would undo each other's work for ever.
fn hold_targets(render: &Render) -> anyhow::Result<TargetLocks> {
    TargetLocks::take(render.targets()).map_err(|error| match error.hint() {
        Some(hint) => anyhow::anyhow!("{error} ({hint})"),
        None => error.into(),
    })
}

fn remembered(state: &StateDir) -> anyhow::Result<LastGood> {
    let loaded = state.last_good().context("failed to read the last good revision")?;
    if let Some(problem) = loaded.problem {
        warn!(%problem, "the last good revision cannot be used");
    }
    Ok(loaded.value.unwrap_or_default())
}

fn early_end(ended: Result<(&'static str, anyhow::Result<()>), JoinError>) -> anyhow::Error {
    match ended {
        Ok((part, Ok(()))) => anyhow::anyhow!("the {part} ended by itself"),
        Ok((part, Err(error))) => error.context(format!("the {part} failed")),
        Err(error) => anyhow::Error::new(error).context("a part of the agent died"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::stages::part;
    use super::*;

    /// Parts of which the others end when they are asked to, and say so.
    fn parts(
        stages: &Stages,
        config_loop: impl Future<Output = ()> + Send + 'static,
    ) -> (Parts, tokio::sync::watch::Receiver<Vec<&'static str>>) {
        let (mut parts, ended) = (Parts::new(), tokio::sync::watch::Sender::new(Vec::new()));
        let told = ended.subscribe();
        parts.spawn(part("config loop", config_loop));
        for (name, token) in [("resolve loop", &stages.loops), ("source", &stages.source), ("http server", &stages.http)] {
            let (token, ended) = (token.clone(), ended.clone());
            parts.spawn(part(name, async move {
                token.cancelled().await;
                ended.send_modify(|ended| ended.push(name));
            }));
        }
        (parts, told)
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_in_a_loop_ends_the_agent_in_good_order_and_with_an_error() {
        let stages = Stages::default();
        let (running, ended) = parts(&stages, async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            panic!("a mistake in the config loop");
        });
        let error = serve(running, &stages, CancellationToken::new(), true).await.unwrap_err();
        let causes: Vec<_> = error.chain().map(ToString::to_string).collect();
        assert_eq!(causes[0], "a part of the agent died");
        assert!(causes.iter().any(|cause| cause.contains("a mistake in the config loop")), "{causes:?}");
        assert_eq!(*ended.borrow(), ["resolve loop", "source", "http server"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_ends_by_itself_is_an_error_and_being_told_to_stop_is_none() {
        let (stages, stop) = (Stages::default(), CancellationToken::new());
        let (running, _) = parts(&stages, async {});
        let error = serve(running, &stages, stop.clone(), true).await.unwrap_err();
        assert_eq!(error.to_string(), "the config loop ended by itself");

        let stages = Stages::default();
        let told = stages.loops.clone();
        let (running, ended) = parts(&stages, async move { told.cancelled().await });
        stop.cancel();
        serve(running, &stages, stop, true).await.unwrap();
        assert_eq!(ended.borrow().len(), 3);
    }
}
