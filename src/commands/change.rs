//! Changes of the tree as commands make them: over what was seen and nothing else, all or none.
//!
//! In: nodes, each with what it held when it was looked at and what it shall hold. Out: one transaction that the server refuses
//! as a whole where any of them was changed meanwhile, which is said with the node's path. Nodes that are not among them are
//! not watched over: what somebody does to those counts as done afterwards.

use std::sync::Arc;

use super::tree;
use crate::model::snapshot::{Branch, Content, Node, Origin};
use crate::output::Advice;
use crate::zookeeper::cluster::Cluster;
use crate::zookeeper::edit::{Edit, Expect};
use crate::zookeeper::error::Error;

/// What becomes of one node.
#[derive(Clone)]
pub(super) struct Change {
    /// Its path.
    pub path: String,
    /// What it held; `None` where it did not exist.
    pub before: Option<Arc<[u8]>>,
    /// What it shall hold; `None` where it shall not exist.
    pub after: Option<Arc<[u8]>>,
}

impl Change {
    /// What this does, in a word.
    pub fn verb(&self) -> &'static str {
        match (&self.before, &self.after) {
            (None, Some(_)) => "create",
            (_, Some(_)) => "update",
            (_, None) => "delete",
        }
    }
}

/// Makes all changes or none.
pub(super) async fn commit(cluster: &Cluster, changes: &[Change]) -> anyhow::Result<()> {
    let edits = edits(cluster, changes).await?;
    cluster.apply(&edits).await.map_err(|error| refused(&error))
}

/// The edits that make these changes of what is there now; refused where that is not what was seen, or where somebody is amid
/// an edit in parts.
pub(super) async fn edits(cluster: &Cluster, changes: &[Change]) -> anyhow::Result<Vec<Edit>> {
    if let Some(edit) = cluster.publishing().await.map_err(|error| tree::failed(&error))? {
        return Err(tree::failed(&Error::Publishing { edit: Box::new(edit) }));
    }
    edits_within(cluster, changes).await
}

/// The same amid an edit of our own.
pub(super) async fn edits_within(cluster: &Cluster, changes: &[Change]) -> anyhow::Result<Vec<Edit>> {
    let paths: Vec<_> = changes.iter().map(|change| change.path.clone()).collect();
    let stored = cluster.read_all(&paths).await.map_err(|error| tree::failed(&error))?;
    let mut edits = Vec::with_capacity(changes.len());
    for (change, stored) in changes.iter().zip(stored) {
        if stored.as_ref().map(|stored| &*stored.bytes) != change.before.as_deref() {
            return Err(overtaken(&change.path));
        }
        let (path, version) = (change.path.clone(), stored.map(|stored| stored.version));
        edits.push(match &change.after {
            Some(after) => Edit::Put { path, bytes: after.to_vec(), expect: version.map_or(Expect::Absent, Expect::Version) },
            None => Edit::Delete { path, version },
        });
    }
    Ok(edits)
}

/// Why a transaction was refused.
pub(super) fn refused(error: &Error) -> anyhow::Error {
    match error {
        Error::Request { path, .. } if error.is_conflict() => overtaken(path),
        _ => tree::failed(error),
    }
}

/// Somebody else was faster.
fn overtaken(path: &str) -> anyhow::Error {
    let message = format!("{path} was changed by somebody else meanwhile; nothing is written");
    Advice { message, hint: "look at what they did, then run the command again".to_owned() }.into()
}

/// A branch's node: its own, or the child of this name.
pub(super) fn node<'b>(branch: &'b Branch, name: Option<&str>) -> Option<&'b Node> {
    match name {
        Some(name) => branch.children.get(name),
        None => branch.root.as_ref(),
    }
}

/// What a node holds, where it can be read.
pub(super) fn bytes(node: &Node) -> Option<Arc<[u8]>> {
    match &node.content {
        Content::Bytes(bytes) => Some(Arc::clone(bytes)),
        Content::Unreadable(_) => None,
    }
}

/// The path of a branch's node.
pub(super) fn path(root: &str, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("{}/{name}", root.trim_end_matches('/')),
        None => root.to_owned(),
    }
}

/// The branch as it would be with this node; its own node is emptied, not deleted.
pub(super) fn with(branch: &Branch, root: &str, name: Option<&str>, after: Option<&Arc<[u8]>>) -> Branch {
    let mut branch = branch.clone();
    let made = after.map(|bytes| Node::new(Origin::new(path(root, name)), bytes, -1));
    match (name, made) {
        (None, made) => branch.root = made,
        (Some(name), Some(made)) => drop(branch.children.insert(Arc::from(name), made)),
        (Some(name), None) => drop(branch.children.remove(name)),
    }
    branch
}

/// Whether a znode may have this name.
pub(super) fn check_name(name: &str) -> anyhow::Result<()> {
    let fits = !name.is_empty() && name != "." && name != ".." && !name.contains('/') && !name.contains(char::is_control);
    if fits {
        return Ok(());
    }
    let message = format!("{name:?} cannot be the name of a znode");
    Err(Advice { message, hint: "a name is not empty, neither `.` nor `..`, and has no slash in it".to_owned() }.into())
}
