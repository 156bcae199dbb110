//! The tree at one moment, as a source read it: two branches, `config` and `datasources`.
//!
//! A snapshot is cheap to clone and cheap to compare: its branches are persistent maps, so that two
//! snapshots which differ in one znode share the rest, and [`Branch::changes_since`] costs in proportion to
//! what changed (law 12). A node that exists but could not be read is kept as such: unreadable is not absent (law 2).
//! Nothing here knows where the tree comes from; an [`Origin`] is what a person would look for.

use std::fmt;
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;

use super::digest::DigestKey;
use super::pause::Pause;

/// Where a node lives, as its author would name it: a znode's full path or a file's path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(Arc<str>);

impl Origin {
    /// Names the znode or file at `path`.
    #[must_use]
    pub fn new(path: impl AsRef<str>) -> Self {
        Self(Arc::from(path.as_ref()))
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Its bytes, as stored.
    Bytes(Arc<[u8]>),
    /// It exists, and reading it failed for this reason (no right to read it, say).
    Unreadable(Arc<str>),
}

/// One znode or file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it lives.
    pub origin: Origin,
    /// What it holds.
    pub content: Content,
    /// Changes whenever the content may have changed: the znode's `mzxid`, or a counter of the directory source.
    pub version: i64,
}

impl Node {
    /// A node with content, as tests and sources make it.
    #[must_use]
    pub fn new(origin: Origin, bytes: impl AsRef<[u8]>, version: i64) -> Self {
        Self { origin, content: Content::Bytes(Arc::from(bytes.as_ref())), version }
    }

    /// Whether it holds more than blanks; what cannot be read may.
    #[must_use]
    pub fn is_filled(&self) -> bool {
        match &self.content {
            Content::Bytes(bytes) => !bytes.trim_ascii().is_empty(),
            Content::Unreadable(_) => true,
        }
    }
}

/// A root node and the nodes below it, by their path relative to it (`10-base`; a `/` in it means a grandchild,
/// which nothing uses and which is reported).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Branch {
    /// The branch's own node; `None` where it does not exist.
    pub root: Option<Node>,
    /// The nodes below it, in byte order of their names.
    pub children: OrdMap<Arc<str>, Node>,
}

/// What became of one name between two snapshots of a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// It is new, or its content may differ.
    Put(&'a Arc<str>, &'a Node),
    /// It is gone.
    Gone(&'a Arc<str>),
}

impl Branch {
    /// Whether there is nothing at all: no child, and no root or an empty one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let root_is_empty = self.root.as_ref().is_none_or(|root| matches!(&root.content, Content::Bytes(b) if b.is_empty()));
        self.children.is_empty() && root_is_empty
    }

    /// The children that differ from `earlier`; the root is the caller's to compare.
    pub fn changes_since<'a>(&'a self, earlier: &'a Self) -> impl Iterator<Item = Change<'a>> {
        earlier.children.diff(&self.children).map(|item| match item {
            DiffItem::Add(name, node) | DiffItem::Update { new: (name, node), .. } => Change::Put(name, node),
            DiffItem::Remove(name, _) => Change::Gone(name),
        })
    }
}

/// The whole tree at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The config fragments; the root is the base fragment.
    pub config: Branch,
    /// The datasources; a root with content is one datasource of its own.
    pub datasources: Branch,
    /// The cluster's rollout record, where the source has one.
    pub rollout: Option<Node>,
}

/// What a source publishes: the tree, and the key under which it is digested.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The cluster's key.
    pub key: Arc<DigestKey>,
    /// The tree.
    pub snapshot: Snapshot,
    /// A person's pause, whether or not it still holds.
    pub pause: Option<Pause>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn branch(nodes: &[(&str, &str, i64)]) -> Branch {
        let children = nodes.iter().map(|(name, text, version)| (Arc::from(*name), Node::new(Origin::new(name), text, *version)));
        Branch { root: None, children: children.collect() }
    }

    #[test]
    fn changes_name_what_was_put_and_what_is_gone_and_nothing_else() {
        let before = branch(&[("a", "1", 1), ("b", "1", 2), ("c", "1", 3)]);
        let after = branch(&[("a", "1", 1), ("b", "2", 4), ("d", "1", 5)]);
        let seen: Vec<_> = after
            .changes_since(&before)
            .map(|change| match change {
                Change::Put(name, _) => format!("+{name}"),
                Change::Gone(name) => format!("-{name}"),
            })
            .collect();
        assert_eq!(seen, ["+b", "-c", "+d"]);
    }

    #[test]
    fn a_branch_with_an_empty_root_and_no_child_is_empty() {
        let mut branch = Branch { root: Some(Node::new(Origin::new("/config"), "", 1)), ..Branch::default() };
        assert!(branch.is_empty());
        branch.root = Some(Node::new(Origin::new("/config"), "A: 1", 2));
        assert!(!branch.is_empty());
    }
}
