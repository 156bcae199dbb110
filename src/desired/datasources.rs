//! All datasources, kept up to date at the cost of what changed.
//!
//! In go changed nodes; out come the valid ones by name, and the invalid ones with their problems. Two that claim one
//! `database_name` are both invalid: which of them Superset would show is nobody's to guess.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::OrdMap;

use super::NodeName;
use super::config::digest_node;
use super::datasource::{self, Read};
use super::lens::Lens;
use super::problems::Problems;
use crate::model::datasource::{Datasource, DatasourceName};
use crate::model::digest::{DigestKey, DigestSum};
use crate::model::problem::Problem;
use crate::model::snapshot::{Node, Origin};

/// Valid datasources by name.
pub type Valid = OrdMap<DatasourceName, Arc<Datasource>>;
/// What is wrong with the invalid ones, by name.
pub type Invalid = OrdMap<DatasourceName, Arc<[Problem]>>;

#[derive(Debug)]
struct Kept {
    origin: Origin,
    name: DatasourceName,
    datasource: Option<Arc<Datasource>>,
    problems: Vec<Problem>,
    digest: DigestSum,
}

/// Which nodes hold which name. That is one node a name but for clashes, so they are kept in pairs: a set for each name takes
/// ten times the room.
#[derive(Debug)]
struct Holders<K>(BTreeSet<(K, NodeName)>);

impl<K> Default for Holders<K> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

impl<K: Ord + Clone> Holders<K> {
    fn of<'a>(&'a self, name: &'a K) -> impl Iterator<Item = &'a NodeName> {
        let from = self.0.range((name.clone(), None)..);
        from.take_while(move |(other, _)| other == name).map(|(_, node_name)| node_name)
    }

    /// Adds a node; whoever holds the name is to be judged again.
    fn take(&mut self, name: &K, node_name: &NodeName, touched: &mut BTreeSet<NodeName>) {
        self.0.insert((name.clone(), node_name.clone()));
        touched.extend(self.of(name).cloned());
    }

    /// Takes a node out; whoever still holds the name is to be judged again.
    fn release(&mut self, name: K, node_name: &NodeName, touched: &mut BTreeSet<NodeName>) {
        let pair = (name, node_name.clone());
        if self.0.remove(&pair) {
            touched.extend(self.of(&pair.0).cloned());
        }
    }
}

/// All datasources.
#[derive(Debug, Default)]
pub struct Datasources {
    nodes: BTreeMap<NodeName, Kept>,
    claims: Holders<Arc<str>>,
    named: Holders<DatasourceName>,
    valid: Valid,
    invalid: Invalid,
    problems: Problems,
    digest: DigestSum,
    touched: BTreeSet<NodeName>,
}

impl Datasources {
    /// Takes a node that is new or changed.
    pub fn put(&mut self, node_name: &NodeName, node: &Node, key: &DigestKey, lens: &Lens) {
        self.gone(node_name);
        let Read { name, datasource, problems } = datasource::read(node_name, node, lens);
        let digest = DigestSum::of(digest_node(key, "datasources", node_name, node));
        self.digest.add(digest);
        if let Some(datasource) = &datasource {
            self.claims.take(&datasource.database_name, node_name, &mut self.touched);
        }
        self.named.take(&name, node_name, &mut self.touched);
        let kept = Kept { origin: node.origin.clone(), name, datasource: datasource.map(Arc::new), problems, digest };
        self.nodes.insert(node_name.clone(), kept);
    }

    /// Forgets a node.
    pub fn gone(&mut self, node_name: &NodeName) {
        let Some(kept) = self.nodes.remove(node_name) else { return };
        self.digest.take(kept.digest);
        self.problems.set(&kept.origin, Vec::new());
        self.valid.remove(&kept.name);
        self.invalid.remove(&kept.name);
        self.touched.remove(node_name);
        if let Some(datasource) = &kept.datasource {
            self.claims.release(Arc::clone(&datasource.database_name), node_name, &mut self.touched);
        }
        self.named.release(kept.name, node_name, &mut self.touched);
    }

    /// Judges again what changed since the last call, and whatever clashed or clashes with it.
    pub fn judge(&mut self) {
        for node_name in std::mem::take(&mut self.touched) {
            let Some(kept) = self.nodes.get(&node_name) else { continue };
            let mut problems = kept.problems.clone();
            problems.extend(self.clash(&node_name, kept));
            let is_valid = !problems.iter().any(Problem::is_error);
            if let Some(datasource) = kept.datasource.as_ref().filter(|_| is_valid) {
                self.invalid.remove(&kept.name);
                self.valid.insert(kept.name.clone(), datasource.clone());
            } else {
                self.valid.remove(&kept.name);
                self.invalid.insert(kept.name.clone(), problems.clone().into());
            }
            self.problems.set(&kept.origin, problems);
        }
    }

    fn clash(&self, node_name: &NodeName, kept: &Kept) -> Option<Problem> {
        let origin = |other: &NodeName| Some(self.nodes.get(other)?.origin.clone());
        let others = |other: &&NodeName| *other != node_name;
        if let Some(other) = self.named.of(&kept.name).find(others).and_then(origin) {
            return Some(Problem::error(&kept.origin, format!("{other} is named `{}` too", kept.name)).field("name"));
        }
        let datasource = kept.datasource.as_ref()?;
        let other = self.claims.of(&datasource.database_name).find(others).and_then(origin)?;
        let message =
            format!("{other} has this database_name too; Superset takes one connection of a name, so neither is pushed");
        Some(Problem::error(&kept.origin, message).field("database_name"))
    }

    /// The valid ones.
    #[must_use]
    pub fn valid(&self) -> &Valid {
        &self.valid
    }

    /// The invalid ones.
    #[must_use]
    pub fn invalid(&self) -> &Invalid {
        &self.invalid
    }

    /// The problems of all nodes.
    #[must_use]
    pub fn problems(&self) -> &Problems {
        &self.problems
    }

    /// The digest of all nodes.
    #[must_use]
    pub fn digest(&self) -> DigestSum {
        self.digest
    }
}
