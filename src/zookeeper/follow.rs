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
use super::paths::Paths;
use super::session::Session;
use super::{prepare, read};
use crate::model::digest::DigestKey;
use crate::model::snapshot::{Node, Snapshot, Tree};

/// How long changes that come without a pause are folded before what is known is published anyway.
const FOLD: Duration = Duration::from_secs(1);

/// What is known of the tree; it outlives connections and sessions, so that reconnecting publishes nothing that was
/// published before (law 10).
#[derive(Debug, Default)]
pub(super) struct Known {
    snapshot: Snapshot,
    key: Option<Arc<DigestKey>>,
    /// Whether it differs from what was published: also over a connection that broke in between.
    changed: bool,
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

/// Follows the tree for as long as the connection lives. Everything is read again every `resync`, give or take a fifth, although
/// nothing was announced: an event may have been missed; and of what changed while we had no right to read it, and of a right
/// that is given back, ZooKeeper tells nobody.
pub(super) async fn follow(
    session: &Session,
    known: &mut Known,
    tree: &watch::Sender<Option<Tree>>,
    link: &Reporter,
    resync: Duration,
) -> Result<Infallible, Error> {
    // Asked for in this order, in one go: the server catches up before it reads anything for us.
    let (catch_up, format, key) = (session.catch_up(), prepare::known_format(session), prepare::existing_key(session));
    let ((), mut watches, _, key) = tokio::try_join!(catch_up, Watches::arm(session), format, key)?;
    link.armed(std::mem::replace(&mut known.armed, true));
    take_key(session, known, key).await?;
    read_all(session, known).await?;
    fold(session, &mut watches, known, BTreeSet::new()).await?;
    publish(known, tree);
    link.works(Concern::Tree);
    let mut next = next_resync(resync);
    loop {
        tokio::select! {
            path = watches.next() => {
                let paths = BTreeSet::from([path?]);
                fold(session, &mut watches, known, paths).await?;
            }
            () = sleep_until(next) => {
                next = next_resync(resync);
                let key = prepare::existing_key(session).await?;
                let is_other = take_key(session, known, key).await?;
                if read_all(session, known).await? || is_other {
                    info!("found a change of the tree that nothing had announced");
                }
            }
        }
        link.seen();
        publish(known, tree);
    }
}

/// Takes the cluster's key, or makes one where it is gone (others would make another), and says whether it is another one.
async fn take_key(session: &Session, known: &mut Known, found: Option<DigestKey>) -> Result<bool, Error> {
    let key = match found {
        Some(key) => key,
        None => prepare::key(session).await?,
    };
    let is_other = known.key.as_deref().map(fingerprint) != Some(fingerprint(&key));
    known.changed |= is_other;
    known.key = Some(Arc::new(key));
    Ok(is_other)
}

/// What tells two keys apart without being one.
fn fingerprint(key: &DigestKey) -> String {
    key.digest("fingerprint").short()
}

fn next_resync(resync: Duration) -> Instant {
    Instant::now() + resync.mul_f64(rand::random_range(0.8..1.2))
}

fn publish(known: &mut Known, tree: &watch::Sender<Option<Tree>>) {
    if let (true, Some(key)) = (known.changed, &known.key) {
        tree.send_replace(Some(Tree { key: key.clone(), snapshot: known.snapshot.clone() }));
        known.changed = false;
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
async fn read_all(session: &Session, known: &mut Known) -> Result<bool, Error> {
    let now = everything(session, &known.snapshot).await?;
    let differs = now != known.snapshot;
    known.snapshot = now;
    known.changed |= differs;
    Ok(differs)
}

/// Reads `paths` and whatever is announced meanwhile.
async fn fold(session: &Session, watches: &mut Watches, known: &mut Known, mut paths: BTreeSet<String>) -> Result<(), Error> {
    let began = Instant::now();
    while began.elapsed() < FOLD {
        watches.drain(&mut paths).await?;
        if paths.is_empty() {
            break;
        }
        let batch: Vec<_> = std::mem::take(&mut paths).into_iter().collect();
        let found = read::nodes(session, &batch).await?.found;
        for (path, found) in batch.iter().zip(found) {
            known.apply(&session.paths, path, found.map(|found| found.node).as_ref());
        }
    }
    Ok(())
}

impl Known {
    /// Puts one node where it belongs; the two branches may lie within each other.
    fn apply(&mut self, paths: &Paths, path: &str, node: Option<&Node>) {
        self.changed |= read::put_path(&mut self.snapshot.config, paths.config(), path, node);
        self.changed |= read::put_path(&mut self.snapshot.datasources, paths.datasources(), path, node);
        if path == paths.rollout() && self.snapshot.rollout.as_ref() != node {
            self.snapshot.rollout = node.cloned();
            self.changed = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::snapshot::Origin;
    use crate::settings::Layout;

    #[test]
    fn what_was_read_and_not_yet_published_is_not_forgotten() {
        let paths = Paths::new("/s", &Layout { config: None, datasources: None, max_loss: 0.5 });
        let (sender, mut receiver) = watch::channel(None);
        let mut known = Known { key: DigestKey::from_bytes(&[1; 32]).map(Arc::new), ..Known::default() };
        let node = Node::new(Origin::new("/s/config/a"), "A: 1", 1);
        known.apply(&paths, "/s/config/a", Some(&node));
        // Here a connection may break; the next one reads the same again.
        known.apply(&paths, "/s/config/a", Some(&node));
        publish(&mut known, &sender);
        assert!(receiver.borrow_and_update().as_ref().is_some_and(|tree| tree.snapshot.config.children.len() == 1));
        known.apply(&paths, "/s/config/a", Some(&node));
        publish(&mut known, &sender);
        assert!(!receiver.has_changed().unwrap(), "law 10: nothing is published twice");
    }
}
