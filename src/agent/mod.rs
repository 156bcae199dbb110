//! The agent: builds the loops, starts them in order, and stops them in order.
//!
//! ```text
//! source ─tree▶ resolve ─resolution▶ config ─outcome▶ report ─record▶ source (instances/<id>)
//!   │                         └────▶ connections ─statuses▶ source (status/datasources)
//!   └─standing▶ connections              ▲ entitled ◀─ health ◀─ Superset       report ▶ HTTP
//! ```
//!
//! Every arrow is a `tokio::sync::watch` with one writer; the newest value wins. Stopping goes with the flow: first the loops end, each
//! finishing the step in hand; then the source gives up leadership, removes the record and closes the session; HTTP goes
//! last, so that whoever watches sees how it ended. A loop that ends by itself stops the agent with an error: a
//! supervisor's restart is better than an agent of which one part is dead.

mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::report::{Reporter, SourceSeen};
use crate::desired::{Lens, Resolution, Resolver};
use crate::files::state::{LastGood, StateDir};
use crate::http::{self, Report};
use crate::live::machine::{Keeper, Machine, restore_missing};
use crate::live::superset::Superset;
use crate::model::instance::{Instance, Role, Standing, State, SupersetSeen, Version};
use crate::model::snapshot::Tree;
use crate::model::status::ClusterStatus;
use crate::plan::connections::Pruning;
use crate::reconcile::config::{ConfigLoop, Memory, Outcome};
use crate::reconcile::connections::{self, ConnectionsLoop, Statuses};
use crate::reconcile::health::HealthLoop;
use crate::reconcile::ledger::Rules;
use crate::reconcile::resolve::ResolveLoop;
use crate::render::Renderer;
use crate::secrets::{self, Secrets};
use crate::settings::{Settings, Source};
use crate::superset::client::Client;
use crate::superset::reload::Way;
use crate::zookeeper::access::Access;
use crate::zookeeper::cluster::Cluster;
use crate::zookeeper::link::Link;
use crate::{directory, zookeeper};

/// How long each stage of stopping may take.
const STOP_LIMIT: Duration = Duration::from_secs(15);
/// How often secret files are looked at although the kernel told nothing.
const SECRETS_EVERY: Duration = Duration::from_secs(60);
/// How old the config loop's last turn may be before the agent counts as stuck: a reload command may take two minutes.
const HEARTBEAT_LIMIT: Duration = Duration::from_secs(180);
/// With a directory source this instance leads for as long as it runs.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Runs the agent until `stop` is cancelled, or until one of its parts ends.
pub async fn run(settings: Settings, stop: CancellationToken) -> anyhow::Result<()> {
    let state = Arc::new(StateDir::open(&settings.state_dir).context("failed to open state_dir")?);
    let last_good = remembered(&state)?;
    let listener = http::bind(settings.http).await?;
    for path in restore_missing(&last_good).await? {
        info!(path = %path.display(), "restored a missing file from the last good revision");
    }
    let mut agent = Agent::new(settings, state, last_good);
    let stages = Stages::default();
    let mut tasks = JoinSet::new();
    agent.start(&mut tasks, &stages, listener).await?;
    info!(instance = %agent.settings.instance.id, "started");

    let ended = tokio::select! {
        () = stop.cancelled() => Ok(()),
        ended = tasks.join_next() => Err(early_end(ended)),
    };
    info!("stopping");
    stages.stop(&mut tasks, &agent.running).await;
    ended
}

fn remembered(state: &StateDir) -> anyhow::Result<LastGood> {
    let loaded = state.last_good().context("failed to read the last good revision")?;
    if let Some(problem) = loaded.problem {
        warn!(problem = %problem, "the last good revision cannot be used");
    }
    Ok(loaded.value.unwrap_or_default())
}

fn early_end(ended: Option<Result<(&'static str, anyhow::Result<()>), tokio::task::JoinError>>) -> anyhow::Error {
    match ended {
        Some(Ok((part, Ok(())))) => anyhow::anyhow!("the {part} ended by itself"),
        Some(Ok((part, Err(error)))) => error.context(format!("the {part} failed")),
        Some(Err(error)) => anyhow::anyhow!("a part of the agent died: {error}"),
        None => anyhow::anyhow!("the agent has no parts"),
    }
}
