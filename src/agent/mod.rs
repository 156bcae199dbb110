//! The agent: builds the loops, starts them in order, and stops them in order.
//!
//! ```text
//! source ─tree▶ resolve ─resolved▶ config ─outcome▶ report ─record▶ source (instances/<id>)
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
