//! The problems of a whole tree by node, kept up to date at the cost of what changed.

use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;

use crate::model::problem::Problem;
use crate::model::snapshot::Origin;

/// Problems by node, cheap to clone, in the order of the nodes' paths and of the lines in each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(OrdMap<Origin, Arc<[Problem]>>);

impl Problems {
    /// Replaces the problems of one node.
    pub fn set(&mut self, origin: &Origin, problems: Vec<Problem>) {
        if problems.is_empty() {
            self.0.remove(origin);
        } else {
            self.0.insert(origin.clone(), problems.into());
        }
    }

    /// All problems.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.values().flat_map(|problems| problems.iter())
    }

    /// Those of nodes whose problems were others in `earlier`.
    pub fn new_since<'a>(&'a self, earlier: &'a Self) -> impl Iterator<Item = &'a Problem> {
        let changed = earlier.0.diff(&self.0).filter_map(|item| match item {
            DiffItem::Add(_, problems) | DiffItem::Update { new: (_, problems), .. } => Some(problems),
            DiffItem::Remove(..) => None,
        });
        changed.flat_map(|problems| problems.iter())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These and those.
    #[must_use]
    pub fn and(&self, others: &Self) -> Self {
        let join = |a: Arc<[Problem]>, b: Arc<[Problem]>| {
            let mut both = [&a[..], &b[..]].concat();
            both.sort();
            both.into()
        };
        Self(self.0.clone().union_with(others.0.clone(), join))
    }
}
