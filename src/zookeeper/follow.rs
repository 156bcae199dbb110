//! Following the tree: watches armed, everything read, then exactly what each event names.
//!
//! Out: a new [`Tree`] whenever something changed, and nothing otherwise. A single change is read at once; a burst folds:
//! whatever has been announced by the time an answer arrives is read before anything is published, so that what is
//! published is the tree at the moment of the last answer, multis whole. This relies on ZooKeeper delivering the event of a
//! change before any answer that shows it.
//!
//! While `publishing` exists, the last snapshot stays, for config and datasources alike: what is read meanwhile is kept back, and
//! published as a whole once the edit is done. The rollout record and a pause go on counting.
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
use crate::model::pause::Pause;
use crate::model::snapshot::{Content, Node, Snapshot, Tree};

/// How long changes that come without a pause are folded before what is known is published anyway.
const FOLD: Duration = Duration::from_secs(1);

/// The same where an edit in parts is or was in progress, whose last changes must be read before it counts.
const FOLD_EDIT: Duration = Duration::from_secs(30);

/// What is known of the tree; it outlives connections and sessions, so that reconnecting publishes nothing that was
/// published before (law 10).
#[derive(Debug, Default)]
pub(super) struct Known {
    snapshot: Snapshot,
    /// What was published last.
    published: Option<Snapshot>,
    pause: Option<Node>,
    publishing: Option<Node>,
    key: Option<Arc<DigestKey>>,
    /// Whether the tree or the key differs from what was published: also over a connection that broke in between.
    changed: bool,
    /// Whether what counts during an edit too differs from what was published.
    beside: bool,
    armed: bool,
}

/// The watches. Dropping them removes them.
struct Watches {
    config: zk::PersistentWatcher,
    datasources: zk::PersistentWatcher,
    rollout: zk::PersistentWatcher,
    pause: zk::PersistentWatcher,
    publishing: zk::PersistentWatcher,
}

impl Watches {
    async fn arm(session: &Session) -> Result<Self, Error> {
        let [rollout, pause, publishing] = beside(&session.paths);
        let (config, datasources) = (session.paths.config(), session.paths.datasources());
        let arm = |path, mode| session.ask("watch", path, session.client.watch(path, mode));
        let (config, datasources, rollout, pause, publishing) = tokio::try_join!(
            arm(config, zk::AddWatchMode::PersistentRecursive),
            arm(datasources, zk::AddWatchMode::PersistentRecursive),
            arm(&rollout, zk::AddWatchMode::Persistent),
            arm(&pause, zk::AddWatchMode::Persistent),
            arm(&publishing, zk::AddWatchMode::Persistent),
        )?;
        Ok(Self { config, datasources, rollout, pause, publishing })
    }

    /// The path of the next event. A session event is a doubt, and the watches must not be asked again after one.
    async fn next(&mut self) -> Result<String, Error> {
        let event = tokio::select! {
            event = self.config.changed() => event,
            event = self.datasources.changed() => event,
            event = self.rollout.changed() => event,
            event = self.pause.changed() => event,
            event = self.publishing.changed() => event,
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
                // What an edit in parts changed meanwhile is announced, and must not be published by halves.
                fold(session, &mut watches, known, BTreeSet::new()).await?;
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

/// The nodes that are watched besides the two branches.
fn beside(paths: &Paths) -> [String; 3] {
    [paths.rollout(), paths.pause(), paths.publishing()]
}

fn publish(known: &mut Known, tree: &watch::Sender<Option<Tree>>) {
    let Some(key) = known.key.clone() else { return };
    let is_held_back = known.publishing.is_some();
    if !known.beside && (is_held_back || !known.changed) {
        return;
    }
    let snapshot = match &known.published {
        Some(last) if is_held_back => Snapshot { rollout: known.snapshot.rollout.clone(), ..last.clone() },
        // Half an edit is no first tree either.
        None if is_held_back => return,
        _ => {
            known.changed = false;
            known.snapshot.clone()
        }
    };
    known.beside = false;
    known.published = Some(snapshot.clone());
    tree.send_replace(Some(Tree { key, snapshot, pause: known.pause.as_ref().map(pause) }));
}

/// A pause that cannot be read is one all the same.
fn pause(node: &Node) -> Pause {
    match &node.content {
        Content::Bytes(bytes) => Pause::read(bytes),
        Content::Unreadable(_) => Pause::default(),
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
    let (config, datasources) = (now.config != known.snapshot.config, now.datasources != known.snapshot.datasources);
    let differs = config || datasources;
    let rollout = now.rollout.clone();
    known.snapshot = Snapshot { rollout: known.snapshot.rollout.take(), ..now };
    known.changed |= differs;
    known.put_beside(&session.paths.rollout(), &session.paths, rollout.as_ref());
    // After the tree: an edit that began while it was read is seen here, and one that ended is announced by a watch.
    let [_, pause, publishing] = beside(&session.paths);
    for (path, found) in [pause.clone(), publishing.clone()].iter().zip(read::nodes(session, &[pause, publishing]).await?.found) {
        known.put_beside(path, &session.paths, found.map(|found| found.node).as_ref());
    }
    Ok(differs)
}

/// Reads `paths` and whatever is announced meanwhile. The end of an edit is waited for with more patience: what is published
/// then must be all of it.
async fn fold(session: &Session, watches: &mut Watches, known: &mut Known, mut paths: BTreeSet<String>) -> Result<(), Error> {
    let began = Instant::now();
    let publishing = session.paths.publishing();
    let mut patience = FOLD;
    while began.elapsed() < patience {
        watches.drain(&mut paths).await?;
        if known.publishing.is_some() || paths.contains(&publishing) {
            patience = FOLD_EDIT;
        }
        if paths.is_empty() {
            break;
        }
        // Read last and always: whoever sees a change of an edit sees the edit.
        paths.remove(&publishing);
        let batch: Vec<_> = std::mem::take(&mut paths).into_iter().chain([publishing.clone()]).collect();
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
        self.put_beside(path, paths, node);
    }

    /// Puts one of the nodes besides the branches where it belongs.
    fn put_beside(&mut self, path: &str, paths: &Paths, node: Option<&Node>) {
        let [rollout, pause, publishing] = beside(paths);
        let place = match path {
            _ if path == rollout => &mut self.snapshot.rollout,
            _ if path == pause => &mut self.pause,
            _ if path == publishing => &mut self.publishing,
            _ => return,
        };
        if place.as_ref() != node {
            *place = node.cloned();
            self.beside |= path != publishing;
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

    #[test]
    fn law_2_half_an_edit_is_never_published_and_a_pause_and_the_rollout_record_are() {
        let paths = Paths::new("/s", &Layout { config: None, datasources: None, max_loss: 0.5 });
        let (sender, receiver) = watch::channel(None);
        let mut known = Known { key: DigestKey::from_bytes(&[1; 32]).map(Arc::new), ..Known::default() };
        let node = |path: &str, text: &str| Node::new(Origin::new(path), text, 1);
        let seen = |known: &mut Known| {
            publish(known, &sender);
            let tree = receiver.borrow();
            tree.as_ref()
                .map(|tree: &Tree| (tree.snapshot.config.children.len(), tree.snapshot.rollout.is_some(), tree.pause.is_some()))
        };
        known.apply(&paths, "/s/publishing", Some(&node("/s/publishing", "{}")));
        known.apply(&paths, "/s/config/a", Some(&node("/s/config/a", "A: 1")));
        assert_eq!(seen(&mut known), None, "half an edit is no first tree either");
        known.apply(&paths, "/s/publishing", None);
        assert_eq!(seen(&mut known), Some((1, false, false)));
        known.apply(&paths, "/s/publishing", Some(&node("/s/publishing", "{}")));
        known.apply(&paths, "/s/config/b", Some(&node("/s/config/b", "B: 1")));
        assert_eq!(seen(&mut known), Some((1, false, false)));
        known.apply(&paths, "/s/pause", Some(&node("/s/pause", "")));
        assert_eq!(seen(&mut known), Some((1, false, true)));
        known.apply(&paths, "/s/rollout", Some(&node("/s/rollout", "{}")));
        assert_eq!(seen(&mut known), Some((1, true, true)));
        known.apply(&paths, "/s/publishing", None);
        assert_eq!(seen(&mut known), Some((2, true, true)));
    }
}
