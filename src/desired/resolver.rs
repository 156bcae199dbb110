//! The resolver: snapshot by snapshot, what this instance should be.
//!
//! It owns what it remembers: the snapshot before, and what became of each node. A new snapshot is compared with that one
//! ([`Branch::changes_since`]), only nodes whose bytes differ are read again, and what comes out shares everything else with
//! what came out before (law 12). Restarted, it comes to the same from the snapshot alone.

use std::sync::Arc;

use super::config::{Config, Fragments};
use super::datasources::{Datasources, Invalid, Valid};
use super::guard::{self, Inventory};
use super::lens::Lens;
use super::problems::Problems;
use super::{Held, NodeName};
use crate::catalogue::Edition;
use crate::model::datasource::DatasourceName;
use crate::model::digest::{DigestKey, Release, TreeDigest};
use crate::model::problem::Problem;
use crate::model::rollout::Rollout;
use crate::model::snapshot::{Branch, Change, Content, Node, Snapshot};

/// What a snapshot comes to for this instance. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Resolution {
    /// The config tree as published, before labels select.
    pub release: Release,
    /// The whole tree, datasources included: what `rollout confirm` confirms.
    pub tree: TreeDigest,
    /// The config of this instance, or why the last good one stays.
    pub config: Result<Arc<Config>, Held>,
    /// Why there is nothing to run yet: nobody has published any config.
    pub nothing: Option<Held>,
    /// The valid datasources.
    pub datasources: Valid,
    /// The invalid ones, with everything that is wrong with each.
    pub invalid: Invalid,
    /// Everything wrong in the tree.
    pub problems: Problems,
    /// What the guard compares.
    pub inventory: Inventory,
    /// The cluster's rollout record; empty where it cannot be read.
    pub rollout: Rollout,
    /// Whether it cannot be read.
    pub rollout_is_unreadable: bool,
}

impl Resolution {
    /// Every datasource's name, valid or not.
    pub fn names(&self) -> impl Iterator<Item = &DatasourceName> {
        self.datasources.keys().chain(self.invalid.keys())
    }
}

/// Resolves snapshots, each at the cost of its difference from the one before.
pub struct Resolver {
    lens: Lens,
    before: Snapshot,
    /// Tells a changed key, under which every digest is another.
    key_mark: [u8; 32],
    fragments: Fragments,
    /// Whether fragments are to be judged again although none changed.
    stale: bool,
    datasources: Datasources,
    inventory: Inventory,
    rollout: (Rollout, Vec<Problem>),
    nested: Problems,
}

impl Resolver {
    /// Remembers nothing yet.
    #[must_use]
    pub fn new(lens: Lens) -> Self {
        Self {
            lens,
            before: Snapshot::default(),
            key_mark: [0; 32],
            fragments: Fragments::bounded(),
            stale: false,
            datasources: Datasources::default(),
            inventory: Inventory::default(),
            rollout: Default::default(),
            nested: Problems::default(),
        }
    }

    /// The same for one look, which tells every warning, however many there are.
    #[must_use]
    pub fn telling_all(self) -> Self {
        Self { fragments: Fragments::default(), ..self }
    }

    /// Takes it that this is the Superset beside us. True where another was taken so far: the tree is to be resolved again then,
    /// every fragment of it, once.
    pub fn learn(&mut self, superset: Edition) -> bool {
        let is_new = self.lens.superset != superset;
        self.lens.superset = superset;
        self.stale |= is_new;
        is_new
    }

    /// Resolves a snapshot.
    pub fn resolve(&mut self, key: &DigestKey, snapshot: &Snapshot) -> Resolution {
        let mark = key.digest("mark").full();
        if mark != self.key_mark {
            let fragments = self.fragments.emptied();
            *self = Self { key_mark: mark, fragments, ..Self::new(std::mem::take(&mut self.lens)) };
        }
        let before = std::mem::replace(&mut self.before, snapshot.clone());
        self.take_config(&before.config, &snapshot.config, key);
        self.take_datasources(&before.datasources, &snapshot.datasources, key);
        if before.rollout != snapshot.rollout {
            self.rollout = guard::read_rollout(snapshot.rollout.as_ref());
        }
        self.resolution(key)
    }

    /// The fragments, for who explains or looks into a config that is held.
    #[must_use]
    pub fn fragments(&self) -> &Fragments {
        &self.fragments
    }

    fn take_config(&mut self, before: &Branch, now: &Branch, key: &DigestKey) {
        let nothing = Branch::default();
        let mut changed = changes(before, now, |_| true);
        if std::mem::take(&mut self.stale) {
            changed.extend(changes(&nothing, now, |_| true));
        }
        for (name, node) in changed {
            if self.is_nested(&name, before, node) {
                continue;
            }
            match node {
                Some(node) => self.fragments.put(&name, node, key, &self.lens),
                None => self.fragments.gone(&name),
            }
        }
        self.fragments.merge();
        self.inventory.config = self.fragments.filled();
    }

    fn take_datasources(&mut self, before: &Branch, now: &Branch, key: &DigestKey) {
        for (name, node) in changes(before, now, Node::is_filled) {
            if self.is_nested(&name, before, node) {
                continue;
            }
            let known: Arc<str> = name.clone().unwrap_or_default();
            if let Some(node) = node {
                self.datasources.put(&name, node, key, &self.lens);
                self.inventory.datasources.insert(known);
            } else {
                self.datasources.gone(&name);
                self.inventory.datasources.remove(&known);
            }
        }
        self.datasources.judge();
    }

    /// Whether a node lies deeper than anything that is read, of which its author is told.
    fn is_nested(&mut self, name: &NodeName, before: &Branch, node: Option<&Node>) -> bool {
        let Some(name) = name.as_deref().filter(|name| name.contains('/')) else { return false };
        if let Some(node) = node {
            let warning = Problem::warning(&node.origin, "lies deeper than one level below its tree, where nothing is read");
            self.nested.set(&node.origin, vec![warning]);
        } else if let Some(node) = before.children.get(name) {
            self.nested.set(&node.origin, Vec::new());
        }
        true
    }

    /// Nobody has said anything yet, which is not the same as a config without settings.
    fn nothing_published(&self) -> Held {
        let root = self.before.config.root.as_ref().map_or("config", |root| root.origin.as_str());
        Held::new(format!("nothing is published yet: write settings into {root} or a fragment below it ({{}} for none)"))
    }

    fn resolution(&self, key: &DigestKey) -> Resolution {
        let (config, datasources) = (self.fragments.digest(), self.datasources.digest());
        let (mut release, mut tree) = (key.digest("release"), key.digest("tree"));
        config.write(&mut release);
        config.write(&mut tree);
        datasources.write(&mut tree);
        let mut problems = self.fragments.problems().and(self.datasources.problems()).and(&self.nested);
        if let Some(origin) = self.before.rollout.as_ref().map(|node| &node.origin) {
            problems.set(origin, self.rollout.1.clone());
        }
        let tree = TreeDigest::new(tree.short());
        let is_confirmed = self.rollout.0.confirmed.as_deref() == Some(tree.as_str());
        let is_nothing = self.inventory.config == 0 && !is_confirmed;
        Resolution {
            release: Release::new(release.short()),
            tree,
            config: self.fragments.config(),
            nothing: is_nothing.then(|| self.nothing_published()),
            datasources: self.datasources.valid().clone(),
            invalid: self.datasources.invalid().clone(),
            problems,
            inventory: self.inventory.clone(),
            rollout: self.rollout.0.clone(),
            rollout_is_unreadable: !self.rollout.1.is_empty(),
        }
    }
}

/// The nodes whose bytes differ, the root among them; `None` for one that is gone or that `root_counts` leaves out.
fn changes<'a>(before: &'a Branch, now: &'a Branch, root_counts: fn(&Node) -> bool) -> Vec<(NodeName, Option<&'a Node>)> {
    let root = |branch: &'a Branch| branch.root.as_ref().filter(|node| root_counts(node));
    let (old_root, new_root) = (root(before), root(now));
    let mut changes = Vec::new();
    if old_root.map(told) != new_root.map(told) {
        changes.push((None, new_root));
    }
    for change in now.changes_since(before) {
        match change {
            Change::Put(name, node) if before.children.get(name).map(told) == Some(told(node)) => {}
            Change::Put(name, node) => changes.push((Some(Arc::clone(name)), Some(node))),
            Change::Gone(name) => changes.push((Some(Arc::clone(name)), None)),
        }
    }
    changes
}

/// What of a node tells two apart: a version without other bytes is no change.
fn told(node: &Node) -> (&crate::model::snapshot::Origin, &Content) {
    (&node.origin, &node.content)
}

#[cfg(test)]
mod tests;
