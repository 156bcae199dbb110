//! Following the tree: watches armed, everything read, then exactly what each event names.
//!
//! Out: a new [`Tree`] whenever something changed, and nothing otherwise. A single change is read at once; a burst folds:
//! whatever has been announced by the time an answer arrives is read before anything is published, so that what is
//! published is the tree at the moment of the last answer, multis whole. This relies on ZooKeeper delivering the event of a
//! change before any answer that shows it.
//!
//! Every call of [`follow`] arms every watch and reads everything. It must be called anew for each connection, because the
//! client's persistent watches die silently when it reconnects, and because ZooKeeper itself loses events in between
//! (ZOOKEEPER-4698). On any doubt it returns, for the same reason.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::info;
use zookeeper_client as zk;

use super::error::Error;
use super::link::{Concern, Reporter};
use super::session::Session;
use super::{prepare, read};
use crate::model::digest::DigestKey;
use crate::model::snapshot::{Branch, Content, Node, Snapshot, Tree};

/// How often the tree's listing is compared although nothing was announced, give or take a fifth.
const RESYNC: Duration = Duration::from_mins(5);

/// Every how many comparisons everything is read.
const FULL_RESYNC: u32 = 12;

/// How many bursts in a row are folded before what is known is published anyway.
const FOLDS: usize = 16;

/// What is known of the tree; it outlives connections and sessions, so that reconnecting publishes nothing that was
/// published before (law 10).
#[derive(Debug, Default)]
pub(super) struct Known {
    snapshot: Snapshot,
    key: Option<Arc<DigestKey>>,
    armed: bool,
}

/// The three watches. Dropping them removes them.
struct Watches {
    config: zk::PersistentWatcher,
    datasources: zk::PersistentWatcher,
    rollout: zk::PersistentWatcher,
}

impl Watches {
    async fn arm(session: &Session) -> Result<Self, Error> {
        let rollout = session.paths.rollout();
        let (config, datasources) = (session.paths.config(), session.paths.datasources());
        let arm = |path, mode| session.ask("watch", path, session.client.watch(path, mode));
        let (config, datasources, rollout) = tokio::try_join!(
            arm(config, zk::AddWatchMode::PersistentRecursive),
            arm(datasources, zk::AddWatchMode::PersistentRecursive),
            arm(&rollout, zk::AddWatchMode::Persistent),
        )?;
        Ok(Self { config, datasources, rollout })
    }

    /// The path of the next event. A session event is a doubt, and the watches must not be asked again after one.
    async fn next(&mut self) -> Result<String, Error> {
        let event = tokio::select! {
            event = self.config.changed() => event,
            event = self.datasources.changed() => event,
            event = self.rollout.changed() => event,
        };
        match event.event_type {
            zk::EventType::Session => Err(Error::Lost),
            _ => Ok(event.path),
        }
    }

    /// The paths of all events that have arrived already, added to `paths`.
    async fn drain(&mut self, paths: &mut BTreeSet<String>) -> Result<(), Error> {
        loop {
            tokio::select! {
                biased;
                path = self.next() => paths.insert(path?),
                () = std::future::ready(()) => return Ok(()),
            };
        }
    }
}

/// Follows the tree for as long as the connection lives.
pub(super) async fn follow(
    session: &Session,
    known: &mut Known,
    tree: &watch::Sender<Option<Tree>>,
    link: &Reporter,
) -> Result<Infallible, Error> {
    // Asked for in this order, in one go: the server catches up before it reads anything for us.
    let ((), mut watches, key) = tokio::try_join!(session.catch_up(), Watches::arm(session), prepare::existing_key(session))?;
    link.armed(std::mem::replace(&mut known.armed, true));
    let key = match key {
        Some(key) => key,
        None => prepare::key(session).await?,
    };
    let mut changed = known.key.as_deref().map(fingerprint) != Some(fingerprint(&key));
    known.key = Some(Arc::new(key));
    changed |= read_all(session, &mut known.snapshot).await?;
    changed |= fold(session, &mut watches, &mut known.snapshot, BTreeSet::new()).await?;
    publish(known, tree, changed);
    link.works(Concern::Tree);
    let mut resyncs = 0;
    let mut resync = next_resync();
    loop {
        let changed = tokio::select! {
            path = watches.next() => {
                let paths = BTreeSet::from([path?]);
                fold(session, &mut watches, &mut known.snapshot, paths).await?
            }
            () = sleep_until(resync) => {
                resyncs += 1;
                resync = next_resync();
                compare(session, &mut watches, &mut known.snapshot, resyncs % FULL_RESYNC == 0).await?
            }
        };
        link.seen();
        publish(known, tree, changed);
    }
}

/// What tells two keys apart without being one.
fn fingerprint(key: &DigestKey) -> String {
    key.digest("fingerprint").short()
}

fn next_resync() -> Instant {
    Instant::now() + RESYNC.mul_f64(rand::random_range(0.8..1.2))
}

fn publish(known: &Known, tree: &watch::Sender<Option<Tree>>, changed: bool) {
    if let (true, Some(key)) = (changed, &known.key) {
        tree.send_replace(Some(Tree { key: key.clone(), snapshot: known.snapshot.clone() }));
    }
}

/// The whole tree as it is now, sharing with `before` whatever is still the same.
pub(super) async fn everything(session: &Session, before: &Snapshot) -> Result<Snapshot, Error> {
    let paths = &session.paths;
    let rollout = paths.rollout();
    let (config, datasources, rollout) = tokio::try_join!(
        read::branch(session, paths.config(), &before.config),
        read::branch(session, paths.datasources(), &before.datasources),
        read::node(session, &rollout),
    )?;
    Ok(Snapshot { config, datasources, rollout: rollout.map(|found| found.node) })
}

/// Reads the whole tree, and says whether it differs from what was known.
async fn read_all(session: &Session, snapshot: &mut Snapshot) -> Result<bool, Error> {
    let now = everything(session, snapshot).await?;
    let changed = now != *snapshot;
    *snapshot = now;
    Ok(changed)
}

/// Reads `paths` and whatever is announced meanwhile, and says whether that changed anything.
async fn fold(
    session: &Session,
    watches: &mut Watches,
    snapshot: &mut Snapshot,
    mut paths: BTreeSet<String>,
) -> Result<bool, Error> {
    let mut changed = false;
    for _ in 0..FOLDS {
        watches.drain(&mut paths).await?;
        if paths.is_empty() {
            break;
        }
        let batch: Vec<_> = std::mem::take(&mut paths).into_iter().collect();
        let found = read::nodes(session, &batch).await?.found;
        for (path, found) in batch.iter().zip(found) {
            changed |= apply(session, snapshot, path, found.map(|found| found.node).as_ref());
        }
    }
    Ok(changed)
}

/// Puts one node where it belongs; the two branches may lie within each other.
fn apply(session: &Session, snapshot: &mut Snapshot, path: &str, node: Option<&Node>) -> bool {
    let mut changed = read::put_path(&mut snapshot.config, session.paths.config(), path, node);
    changed |= read::put_path(&mut snapshot.datasources, session.paths.datasources(), path, node);
    if path == session.paths.rollout() && snapshot.rollout.as_ref() != node {
        snapshot.rollout = node.cloned();
        changed = true;
    }
    changed
}

/// Compares the listing, and looks again at what could not be read: a changed ACL is announced to nobody. A difference
/// means that an event was missed, so everything is read; so it is when `full` asks for it.
async fn compare(session: &Session, watches: &mut Watches, snapshot: &mut Snapshot, full: bool) -> Result<bool, Error> {
    let denied = [&snapshot.config, &snapshot.datasources].into_iter().flat_map(unreadable).collect();
    let listed = (listed(session, session.paths.config()).await?, listed(session, session.paths.datasources()).await?);
    let mut changed = fold(session, watches, snapshot, denied).await?;
    if full || listed != (held(&snapshot.config), held(&snapshot.datasources)) {
        let missed = read_all(session, snapshot).await?;
        if missed {
            info!("a change of the tree was found by comparing");
        }
        changed |= missed;
    }
    Ok(changed)
}

fn unreadable(branch: &Branch) -> impl Iterator<Item = String> {
    let nodes = branch.root.iter().chain(branch.children.values());
    nodes.filter(|node| matches!(node.content, Content::Unreadable(_))).map(|node| node.origin.as_str().to_owned())
}

async fn listed(session: &Session, root: &str) -> Result<BTreeSet<String>, Error> {
    match session.children(root).await {
        Ok(names) => Ok(names.unwrap_or_default().into_iter().collect()),
        Err(error) if error.code() == Some(&zk::Error::NoAuth) => Ok(BTreeSet::new()),
        Err(error) => Err(error),
    }
}

fn held(branch: &Branch) -> BTreeSet<String> {
    branch.children.keys().filter(|name| !name.contains('/')).map(|name| name.to_string()).collect()
}
