//! Publishing whole branches: one transaction where they fit, an announced edit in parts where they do not.
//!
//! In: what was seen and what shall be. Out: the changes that were made. An edit in parts that breaks off leaves `publishing` where
//! it is, and agents keep the tree before it; the same command with `--takeover` goes on from whatever is there. What is
//! published through here is kept as a release at once, with who did it and why.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep;

use super::apply::changes;
use super::change::{self, Change};
use super::given;
use super::tree::{self, Digests, Seen};
use crate::model::digest::Release;
use crate::model::pause::Publishing;
use crate::model::snapshot::{Branch, Snapshot};
use crate::output::{self, Advice};
use crate::settings::Settings;
use crate::zookeeper::cluster::Cluster;
use crate::zookeeper::edit::{Edit, Expect};
use crate::zookeeper::error::{Error, REQUEST_LIMIT};
use crate::zookeeper::publishing::Publisher;
use crate::zookeeper::releases::archive::Said;

/// How often an edit in parts is gone on with after its connection was lost.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(500);

/// What a node costs in a request besides its content, at most.
const OVERHEAD: usize = 1024;

/// What shall be published; a branch that is not named stays as it is.
#[derive(Clone, Default)]
pub(super) struct Wanted {
    /// The config.
    pub config: Option<Branch>,
    /// The datasources.
    pub datasources: Option<Branch>,
}

/// How it is published.
#[derive(Clone, Copy, Default)]
pub(super) struct Manner<'a> {
    /// What is said of it.
    pub message: Option<&'a str>,
    /// Whether somebody else's edit in parts is taken over.
    pub takeover: bool,
}

impl Wanted {
    /// What has to change for it.
    pub fn changes(&self, cluster: &Cluster, seen: &Snapshot) -> Vec<Change> {
        let (paths, none) = (cluster.paths(), Vec::new);
        let config = self.config.as_ref().map_or_else(none, |wanted| changes(paths.config(), &seen.config, wanted));
        let datasources =
            self.datasources.as_ref().map_or_else(none, |wanted| changes(paths.datasources(), &seen.datasources, wanted));
        [config, datasources].concat()
    }

    /// The whole tree as it would be.
    pub fn over(&self, seen: &Snapshot) -> Snapshot {
        let config = self.config.clone().unwrap_or_else(|| seen.config.clone());
        let datasources = self.datasources.clone().unwrap_or_else(|| seen.datasources.clone());
        Snapshot { config, datasources, rollout: seen.rollout.clone() }
    }
}

/// Publishes it, and says what changed.
pub(super) async fn publish(
    settings: &Settings,
    cluster: &Cluster,
    seen: &Seen,
    wanted: &Wanted,
    manner: Manner<'_>,
) -> anyhow::Result<Vec<Change>> {
    let changes = wanted.changes(cluster, &seen.snapshot);
    if manner.takeover {
        in_parts(cluster, wanted, &changes, true).await?;
    } else if !changes.is_empty() {
        let edits = change::edits(cluster, &changes).await?;
        match cluster.apply(&edits).await {
            Err(Error::TooLarge { .. }) => in_parts(cluster, wanted, &changes, false).await?,
            answer => answer.map_err(|error| change::refused(&error))?,
        }
    }
    announce(settings, cluster, seen, manner.message).await;
    Ok(changes)
}

fn too_large(change: &Change) -> Option<Error> {
    let size = change.path.len() + change.after.as_ref().map_or(0, |after| after.len()) + OVERHEAD;
    (size > REQUEST_LIMIT).then(|| Error::TooLarge { what: change.path.clone(), size })
}

async fn in_parts(cluster: &Cluster, wanted: &Wanted, changes: &[Change], takeover: bool) -> anyhow::Result<()> {
    if let Some(large) = changes.iter().find_map(too_large) {
        return Err(tree::failed(&large));
    }
    let edit = Publishing {
        by: Some(given::user()),
        host: Some(given::host_name()),
        at: Some(Timestamp::now()),
        edit: Some(format!("{:016x}", rand::random::<u64>())),
    };
    let publisher =
        patiently(async || cluster.begin_publishing(&edit, takeover).await).await.map_err(|error| tree::failed(&error))?;
    if !takeover && let Err(overtaken) = change::edits_within(cluster, changes).await {
        // Nothing is written yet, so nothing is half done.
        publisher.finish(cluster).await.map_err(|error| tree::failed(&error))?;
        return Err(overtaken);
    }
    output::say("publishing in parts: agents keep the tree before it until all of it is there");
    let written = patiently(async || write(cluster, &publisher, wanted).await).await;
    written.map_err(|error| {
        let hint = "agents keep the tree before it: run the same command with --takeover to finish it".to_owned();
        tree::failed(&error).context(Advice { message: "failed to publish all of it".to_owned(), hint })
    })
}

/// Makes the tree what is wanted, whatever of it is there already, and ends the edit.
async fn write(cluster: &Cluster, publisher: &Publisher, wanted: &Wanted) -> Result<(), Error> {
    loop {
        let now = cluster.snapshot().await?;
        let edits: Vec<_> = wanted.changes(cluster, &now).into_iter().map(edit).collect();
        if edits.is_empty() {
            return publisher.finish(cluster).await;
        }
        let bar = output::progress("publishing", edits.len());
        let written = publisher.write(cluster, &edits, |made| bar.inc(u64::try_from(made).unwrap_or_default())).await;
        bar.finish_and_clear();
        written?;
    }
}

/// Nobody else writes now, so it matters only what shall be.
fn edit(change: Change) -> Edit {
    match change.after {
        Some(after) => Edit::Put { path: change.path, bytes: after.to_vec(), expect: Expect::Anything },
        None => Edit::Delete { path: change.path, version: None },
    }
}

/// Tries again while the connection is lost.
async fn patiently<T>(mut work: impl AsyncFnMut() -> Result<T, Error>) -> Result<T, Error> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        match work().await {
            Err(error) if error.is_loss() && attempts < ATTEMPTS => sleep(PAUSE).await,
            answer => return answer,
        }
    }
}

/// Keeps the config as it is now as a release, with who published it; `before` is the tree as it was. What is published
/// counts whether or not this works: an agent keeps it too, only without a name.
pub(super) async fn announce(settings: &Settings, cluster: &Cluster, before: &Seen, message: Option<&str>) {
    if let Err(error) = keep(settings, cluster, before, message).await {
        output::say(&format!("warning: it is published, but not noted as yours: {error:#}"));
    }
}

async fn keep(settings: &Settings, cluster: &Cluster, before: &Seen, message: Option<&str>) -> anyhow::Result<()> {
    let seen = Seen::of(cluster).await?;
    if !matches!((&seen.digests, &before.digests), (Digests::Known, Digests::Known)) {
        return Ok(());
    }
    let release = release(settings, &seen, &seen.snapshot);
    if release == self::release(settings, before, &before.snapshot) {
        return Ok(());
    }
    let by = format!("{}@{}", given::user(), given::host_name());
    let said = Said { by: Some(&by), message };
    let kept = cluster.archive(&release, &seen.snapshot.config, said).await;
    kept.map(drop).map_err(|error| tree::failed(&error))
}

fn release(settings: &Settings, seen: &Seen, snapshot: &Snapshot) -> Release {
    tree::resolve(settings, &seen.key, snapshot).1.release
}
