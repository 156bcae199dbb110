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

/// All datasources.
#[derive(Debug, Default)]
pub struct Datasources {
    nodes: BTreeMap<NodeName, Kept>,
    claims: BTreeMap<String, BTreeSet<NodeName>>,
    named: BTreeMap<DatasourceName, BTreeSet<NodeName>>,
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
        let Read { name, datasource, problems } = datasource::read(node_name.as_deref(), node, lens);
        let digest = DigestSum::of(digest_node(key, "datasources", node_name, node));
        self.digest.add(digest);
        if let Some(datasource) = &datasource {
            let claims = self.claims.entry(datasource.database_name.clone()).or_default();
            claims.insert(node_name.clone());
            self.touched.extend(claims.iter().cloned());
        }
        let named = self.named.entry(name.clone()).or_default();
        named.insert(node_name.clone());
        self.touched.extend(named.iter().cloned());
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
            release(&mut self.claims, &datasource.database_name, node_name, &mut self.touched);
        }
        release(&mut self.named, &kept.name, node_name, &mut self.touched);
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
        let other = |names: Option<&BTreeSet<NodeName>>| {
            let other = names?.iter().find(|other| *other != node_name)?;
            Some(self.nodes.get(other)?.origin.clone())
        };
        if let Some(other) = other(self.named.get(&kept.name)) {
            return Some(Problem::error(&kept.origin, format!("{other} is named `{}` too", kept.name)).field("name"));
        }
        let datasource = kept.datasource.as_ref()?;
        let other = other(self.claims.get(&datasource.database_name))?;
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

/// Takes a node out of an index; who shares the entry is to be judged again.
fn release<K: Ord>(index: &mut BTreeMap<K, BTreeSet<NodeName>>, key: &K, node_name: &NodeName, touched: &mut BTreeSet<NodeName>) {
    let Some(names) = index.get_mut(key) else { return };
    names.remove(node_name);
    touched.extend(names.iter().cloned());
    if names.is_empty() {
        index.remove(key);
    }
}
