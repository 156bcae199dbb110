//! The loop that resolves each new tree into what should be true.
//!
//! Reads the newest tree of the source, and which version Superset turns out to be; sends the newest [`Resolved`]. It owns the resolver, which remembers what it read, so
//! that a change costs in proportion to what changed (law 12), and the inventory of the tree that was accepted last: a tree
//! that lost too much at once is held, and everything stays as it was (law 2).

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::catalogue::Edition;
use crate::desired::Held;
use crate::desired::config::Config;
use crate::desired::datasources::{Invalid, Valid};
use crate::desired::guard::{self, Inventory};
use crate::desired::resolver::{Resolution, Resolver};
use crate::model::digest::DigestKey;
use crate::model::instance::SupersetSeen;
use crate::model::pause::Pause;
use crate::model::snapshot::{Branch, Tree};

/// What should be true, by the newest tree.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Under which everything is digested that counts.
    pub key: Arc<DigestKey>,
    /// What the newest tree comes to.
    pub resolution: Resolution,
    /// Why the tree as a whole is held.
    pub held: Option<Held>,
    /// A person's pause, whether or not it still holds.
    pub pause: Option<Pause>,
    /// The config as it was published.
    pub published: Branch,
    /// The datasources of the newest tree that was accepted; none before there was one.
    datasources: Option<(Valid, Invalid)>,
}

impl Resolved {
    /// The config, or why the last good one stays.
    pub fn config(&self) -> Result<&Arc<Config>, &Held> {
        match self.held.as_ref().or(self.resolution.nothing.as_ref()) {
            Some(held) => Err(held),
            None => self.resolution.config.as_ref(),
        }
    }

    /// The valid and the invalid datasources of the newest accepted tree.
    #[must_use]
    pub fn datasources(&self) -> Option<(&Valid, &Invalid)> {
        self.datasources.as_ref().map(|(valid, invalid)| (valid, invalid))
    }
}

/// The loop and what it needs.
pub struct ResolveLoop {
    /// What the source publishes.
    pub tree: watch::Receiver<Option<Tree>>,
    /// What is seen of Superset: its version decides which settings are right.
    pub superset: watch::Receiver<SupersetSeen>,
    /// Turns a tree into what should be true.
    pub resolver: Resolver,
    /// The share of its datasources that a tree may lose at once.
    pub max_loss: f64,
    /// What the tree held that was accepted last.
    pub accepted: watch::Sender<Option<Inventory>>,
    /// What should be true.
    pub resolved: watch::Sender<Option<Arc<Resolved>>>,
}

impl ResolveLoop {
    /// Runs until cancelled.
    pub async fn run(mut self, cancel: CancellationToken) {
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                changed = self.tree.changed() => if changed.is_err() { return },
                changed = self.superset.changed() => if changed.is_err() { return } else if !self.learn() { continue },
            }
            let Some(tree) = self.tree.borrow_and_update().clone() else { continue };
            let resolved = self.resolve(tree);
            self.resolved.send_replace(Some(Arc::new(resolved)));
        }
    }

    /// Whether Superset turned out to be of another version than it was taken for so far.
    fn learn(&mut self) -> bool {
        let version = self.superset.borrow_and_update().version.clone();
        self.resolver.learn(Edition::of(version.as_deref()))
    }

    fn resolve(&mut self, tree: Tree) -> Resolved {
        let mut resolution = self.resolver.resolve(&tree.key, &tree.snapshot);
        let before = self.resolved.borrow().clone();
        if let Some(before) = before.as_ref().filter(|_| resolution.rollout_is_unreadable) {
            // It says nothing new then: what was barred stays barred.
            resolution.rollout.clone_from(&before.resolution.rollout);
        }
        let held = self.judge(&resolution, before.as_ref().is_some_and(|before| before.held.is_some())).err();
        let datasources = match &held {
            Some(_) => before.as_ref().and_then(|before| before.datasources.clone()),
            None => Some((resolution.datasources.clone(), resolution.invalid.clone())),
        };
        // What stays is digested as it was: under another key, as a ZooKeeper has it that lost everything, all of it would look new.
        let key = before.as_ref().filter(|_| held.is_some()).map_or(tree.key, |before| Arc::clone(&before.key));
        let (pause, published) = (tree.pause, tree.snapshot.config);
        let resolved = Resolved { key, resolution, held, pause, published, datasources };
        if resolved.held.is_none() {
            self.accept(&resolved.resolution.inventory);
        }
        log(before.as_deref(), &resolved);
        resolved
    }

    fn judge(&self, resolution: &Resolution, was_held: bool) -> Result<(), Held> {
        let accepted = self.accepted.borrow();
        let Resolution { inventory, tree, rollout, .. } = resolution;
        if was_held {
            guard::release(accepted.as_ref(), inventory, tree, rollout)
        } else {
            guard::admit(accepted.as_ref(), inventory, tree, rollout, self.max_loss)
        }
    }

    fn accept(&self, inventory: &Inventory) {
        self.accepted.send_if_modified(|accepted| {
            let is_new = accepted.as_ref().is_none_or(|accepted| differs(accepted, inventory));
            if is_new {
                *accepted = Some(inventory.clone());
            }
            is_new
        });
    }
}

/// Whether two inventories differ, at the cost of their difference.
fn differs(one: &Inventory, other: &Inventory) -> bool {
    one.config != other.config || one.datasources.diff(&other.datasources).next().is_some()
}

fn log(before: Option<&Resolved>, now: &Resolved) {
    let known = before.map(|before| before.resolution.problems.clone()).unwrap_or_default();
    for problem in now.resolution.problems.new_since(&known) {
        warn!(znode = problem.znode, line = problem.line, field = problem.field, "problem in the tree: {}", problem.message);
    }
    match (before.and_then(|before| before.pause.as_ref()), &now.pause) {
        (before, Some(pause)) if before != Some(pause) => info!(%pause, "a person paused the cluster"),
        (Some(_), None) => info!("a person resumed the cluster"),
        _ => {}
    }
    match (before.and_then(|before| before.held.as_ref()), &now.held) {
        (None, Some(held)) => warn!(reason = %held, "the tree is held"),
        (Some(_), None) => info!("the tree is no longer held"),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::desired::lens::Lens;
    use crate::model::snapshot::{Branch, Node, Origin, Snapshot};

    fn tree(text: &str) -> Tree {
        let node = Node::new(Origin::new("/superset/config/10-a"), text, 1);
        let config = Branch { root: None, children: [(Arc::from("10-a"), node)].into_iter().collect() };
        let key = Arc::new(DigestKey::from_bytes(&[1; 32]).unwrap());
        Tree { key, snapshot: Snapshot { config, ..Snapshot::default() }, pause: None }
    }

    /// The loop, not started, and what it is fed with.
    fn lone_loop(superset: &watch::Sender<SupersetSeen>) -> (ResolveLoop, watch::Sender<Option<Tree>>) {
        let trees = watch::Sender::default();
        let run = ResolveLoop {
            tree: trees.subscribe(),
            superset: superset.subscribe(),
            resolver: Resolver::new(Lens::default()),
            max_loss: 0.5,
            accepted: watch::Sender::default(),
            resolved: watch::Sender::default(),
        };
        (run, trees)
    }

    async fn next(resolved: &mut watch::Receiver<Option<Arc<Resolved>>>) -> Vec<String> {
        tokio::time::timeout(Duration::from_secs(5), resolved.changed()).await.unwrap().unwrap();
        let resolved = resolved.borrow_and_update().clone().unwrap();
        resolved.resolution.problems.iter().map(ToString::to_string).collect()
    }

    #[tokio::test]
    async fn the_tree_is_judged_again_when_superset_turns_out_to_be_of_another_version() {
        let seen = |version: Option<&str>| SupersetSeen {
            url: String::new(),
            healthy: version.is_some(),
            version: version.map(ToOwned::to_owned),
        };
        let superset = watch::Sender::new(seen(None));
        let (run, trees) = lone_loop(&superset);
        let cancel = CancellationToken::new();
        let (mut told, task) = (run.resolved.subscribe(), tokio::spawn(run.run(cancel.clone())));
        trees.send_replace(Some(tree("THEME_DEFAULT: {}")));
        assert_eq!(next(&mut told).await, [""; 0]);
        superset.send_replace(seen(Some("5.0.0")));
        let problem = "/superset/config/10-a:1: THEME_DEFAULT: Superset 5.0.0 has no such setting, but 6.1.0 has";
        assert_eq!(next(&mut told).await, [problem]);
        // An upgrade, and then news that change nothing.
        superset.send_replace(seen(Some("6.1.0")));
        assert_eq!(next(&mut told).await, [""; 0]);
        superset.send_replace(seen(Some("6.1.1")));
        trees.send_replace(Some(tree("THEME_DARK: 1")));
        assert_eq!(next(&mut told).await.len(), 1);
        assert!(!told.has_changed().unwrap());
        cancel.cancel();
        task.await.unwrap();
    }

    #[test]
    fn law_2_a_tree_that_lost_everything_even_its_key_leaves_all_as_it_was() {
        let superset = watch::Sender::default();
        let (mut run, _trees) = lone_loop(&superset);
        let node = Node::new(Origin::new("/superset/datasources/sales"), "sqlalchemy_uri: duckdb://", 1);
        let datasources = Branch { root: None, children: [(Arc::from("sales"), node)].into_iter().collect() };
        let whole = |key: &Arc<DigestKey>| {
            let tree = tree("ROW_LIMIT: 1");
            Tree { key: Arc::clone(key), snapshot: Snapshot { datasources: datasources.clone(), ..tree.snapshot }, ..tree }
        };
        let [old, new] = [1, 2].map(|byte| Arc::new(DigestKey::from_bytes(&[byte; 32]).unwrap()));
        let mut resolve = |tree: Tree| {
            let resolved = Arc::new(run.resolve(tree));
            run.resolved.send_replace(Some(Arc::clone(&resolved)));
            resolved
        };
        let before = resolve(whole(&old));
        let lost = resolve(Tree { key: Arc::clone(&new), snapshot: Snapshot::default(), pause: None });
        assert!(before.held.is_none() && lost.held.is_some());
        assert!(Arc::ptr_eq(&lost.key, &old), "under another key everything would be pushed once more");
        assert_eq!(lost.datasources().map(|(valid, _)| valid.len()), Some(1));
        let restored = resolve(whole(&new));
        assert!(restored.held.is_none() && Arc::ptr_eq(&restored.key, &new));
    }
}
