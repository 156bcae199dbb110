//! Reading many znodes: in as few requests as their sizes allow, and a whole branch with its listing.
//!
//! Paths in, nodes out; [`put`] is how a node that was read becomes part of a branch. A node that may not be read is kept as
//! [`Content::Unreadable`]: it is not absent (law 2). Requests stay below 512 KB, and so, as far as can be foreseen, do
//! the answers. A read that needed several requests is repeated until the branch's listing holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use zookeeper_client as zk;

use super::error::Error;
use super::paths::{Place, place};
use super::session::{Session, absent_is_none};
use crate::model::snapshot::{Branch, Content, Node, Origin};

/// How many bytes of paths, and how many bytes of expected content, go into one request.
const BUDGET: usize = 512 * 1024;

/// What a node costs in an answer besides its content.
const OVERHEAD: usize = 96;

/// How many nodes the first request reads, before anything is known about their sizes.
const FIRST: usize = 64;

/// How often a changing listing is read again.
const ROUNDS: usize = 10;

/// One node that exists.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// What the snapshot keeps of it.
    pub node: Node,
    /// The version that a conditional write names; -1 where it is not known.
    pub version: i32,
    /// How many children it has.
    pub children: i32,
}

/// How many nodes the next request may name, learned from the answers so far.
struct Sizer {
    nodes: usize,
    bytes: usize,
}

impl Sizer {
    fn new() -> Self {
        Self { nodes: 0, bytes: 0 }
    }

    fn learn(&mut self, bytes: usize) {
        self.nodes += 1;
        self.bytes += bytes + OVERHEAD;
    }

    fn next(&self) -> usize {
        if self.nodes == 0 { FIRST } else { (BUDGET * self.nodes / self.bytes).max(1) }
    }
}

/// What came of reading some paths.
pub(super) struct Reading {
    /// In the order of the paths; `None` where nothing exists.
    pub found: Vec<Option<Found>>,
    /// Whether it took more than one request, so that the parts may stem from different moments.
    pub split: bool,
}

/// Reads the nodes at `paths`.
pub(super) async fn nodes(session: &Session, paths: &[String]) -> Result<Reading, Error> {
    let mut sizer = Sizer::new();
    let mut found = Vec::with_capacity(paths.len());
    let mut rest = paths;
    let mut requests = 0;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(fitting(rest, sizer.next()));
        for (path, result) in now.iter().zip(request(session, now).await?) {
            if let zk::MultiReadResult::Data { data, .. } = &result {
                sizer.learn(data.len());
            }
            found.push(interpret(session, path, result).await?);
        }
        rest = later;
        requests += 1;
    }
    Ok(Reading { found, split: requests > 1 })
}

/// Reads one node.
pub(super) async fn node(session: &Session, path: &str) -> Result<Option<Found>, Error> {
    let result = request(session, &[path.to_owned()]).await?.pop();
    interpret(session, path, result.unwrap_or(zk::MultiReadResult::Error { err: zk::Error::NoNode })).await
}

/// How many of `paths` go into one request: at least one, at most `most`, below the budget.
fn fitting(paths: &[String], most: usize) -> usize {
    let mut bytes = 0;
    let fit = paths.iter().take(most).take_while(|path| {
        bytes += path.len() + OVERHEAD;
        bytes <= BUDGET
    });
    fit.count().clamp(1, paths.len().max(1))
}

async fn request(session: &Session, paths: &[String]) -> Result<Vec<zk::MultiReadResult>, Error> {
    let named = paths.first().map_or("", String::as_str);
    let refused = |source| Error::Request { verb: "read", path: named.to_owned(), source };
    let mut reader = session.client.new_multi_reader();
    for path in paths {
        reader.add_get_data(path).map_err(refused)?;
    }
    session.ask("read", named, reader.commit()).await
}

async fn interpret(session: &Session, path: &str, result: zk::MultiReadResult) -> Result<Option<Found>, Error> {
    let origin = Origin::new(path);
    match result {
        zk::MultiReadResult::Data { data, stat } => {
            let node = Node { origin, content: Content::Bytes(data.into()), version: stat.mzxid };
            Ok(Some(Found { node, version: stat.version, children: stat.num_children }))
        }
        zk::MultiReadResult::Error { err: zk::Error::NoNode } => Ok(None),
        zk::MultiReadResult::Error { err: source @ zk::Error::NoAuth } => {
            // Whether a node exists, and when it last changed, needs no right to read it.
            let stat = session.ask("read", path, session.client.check_stat(path)).await?;
            Ok(stat.map(|stat| {
                let content = Content::Unreadable(source.to_string().into());
                Found { node: Node { origin, content, version: stat.mzxid }, version: -1, children: 0 }
            }))
        }
        zk::MultiReadResult::Error { err } => Err(Error::Request { verb: "read", path: path.to_owned(), source: err }),
        _ => Err(Error::Lost),
    }
}

/// Puts what was read at `at` into the branch, and says whether that changed anything.
pub(super) fn put(branch: &mut Branch, at: Place<'_>, found: Option<Node>) -> bool {
    match (at, found) {
        (Place::Root, root) if branch.root == root => false,
        (Place::Root, root) => {
            branch.root = root;
            true
        }
        (Place::Below(name), Some(node)) => {
            let changed = branch.children.get(name) != Some(&node);
            if changed {
                branch.children.insert(Arc::from(name), node);
            }
            changed
        }
        (Place::Below(name), None) => branch.children.remove(name).is_some(),
    }
}

/// Reads the whole branch at `root`, keeping of `before` whatever is still the same.
pub(super) async fn branch(session: &Session, root: &str, before: &Branch) -> Result<Branch, Error> {
    // Both are asked for in one go: a round trip less for each connection.
    let (top, listed) = tokio::join!(node(session, root), session.children(root));
    let mut branch = before.clone();
    let top = top?;
    let unreadable = top.as_ref().is_some_and(|found| matches!(found.node.content, Content::Unreadable(_)));
    put(&mut branch, Place::Root, top.map(|found| found.node));
    if unreadable {
        // Listing needs the same right. What was known of the children stays: unreadable is not absent.
        return Ok(branch);
    }
    let children = below(session, root, listed?.unwrap_or_default()).await?;
    let gone: Vec<_> = branch.children.keys().filter(|name| !children.contains_key(&***name)).cloned().collect();
    for name in gone {
        branch.children.remove(&name);
    }
    for (name, node) in children {
        put(&mut branch, Place::Below(&name), Some(node));
    }
    Ok(branch)
}

/// Every node below `root`, by relative path; `listed` are its children's names.
async fn below(session: &Session, root: &str, listed: Vec<String>) -> Result<BTreeMap<String, Node>, Error> {
    let mut known: BTreeMap<String, Found> = BTreeMap::new();
    let mut names: BTreeSet<_> = listed.into_iter().collect();
    for _ in 0..ROUNDS {
        known.retain(|name, _| names.contains(name));
        let missing: Vec<_> = names.into_iter().filter(|name| !known.contains_key(name)).collect();
        let paths: Vec<_> = missing.iter().map(|name| join(root, name)).collect();
        let Reading { found, split } = nodes(session, &paths).await?;
        let deeper = found.iter().flatten().any(|found| found.children > 0);
        known.extend(missing.into_iter().zip(found).filter_map(|(name, found)| Some((name, found?))));
        if !split && !deeper {
            return Ok(known.into_iter().map(|(name, found)| (name, found.node)).collect());
        }
        names = list(session, root, &known).await?;
    }
    Err(Error::Unsteady { path: root.to_owned() })
}

/// The names below `root`: its children, and theirs where one that is known has any.
async fn list(session: &Session, root: &str, known: &BTreeMap<String, Found>) -> Result<BTreeSet<String>, Error> {
    let mut names: BTreeSet<_> = session.children(root).await?.unwrap_or_default().into_iter().collect();
    for (parent, _) in known.iter().filter(|(_, found)| found.children > 0) {
        let listed = absent_is_none(session.ask("list", parent, session.client.list_children(&join(root, parent))).await);
        names.extend(listed?.unwrap_or_default().into_iter().map(|name| format!("{parent}/{name}")));
    }
    Ok(names)
}

/// The path of `name` below `root`.
pub(super) fn join(root: &str, name: &str) -> String {
    format!("{}/{name}", root.trim_end_matches('/'))
}

/// Puts what was read at `path` into the branch at `root`, if it belongs to it.
pub(super) fn put_path(branch: &mut Branch, root: &str, path: &str, found: Option<&Node>) -> bool {
    place(root, path).is_some_and(|at| put(branch, at, found.cloned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(text: &str, version: i64) -> Node {
        Node::new(Origin::new("/c/a"), text, version)
    }

    #[test]
    fn a_request_stays_below_its_budget_and_never_stands_still() {
        let paths = vec!["/superset/config/fragment".to_owned(); 10_000];
        let fit = fitting(&paths, usize::MAX);
        assert!(fit > 1_000 && fit * (paths[0].len() + OVERHEAD) <= BUDGET, "{fit}");
        assert_eq!(fitting(&paths, 64), 64);
        assert_eq!(fitting(&["/".repeat(BUDGET)], 64), 1);
    }

    #[test]
    fn the_sizes_seen_so_far_say_how_much_to_ask_for() {
        let mut sizer = Sizer::new();
        assert_eq!(sizer.next(), FIRST);
        sizer.learn(1_048_400);
        assert_eq!(sizer.next(), 1);
        let mut sizer = Sizer::new();
        sizer.learn(32);
        assert!(sizer.next() > 4_000);
    }

    #[test]
    fn putting_the_same_again_changes_nothing() {
        let mut branch = Branch::default();
        assert!(put(&mut branch, Place::Below("a"), Some(node("1", 1))));
        assert!(!put(&mut branch, Place::Below("a"), Some(node("1", 1))));
        assert!(put(&mut branch, Place::Below("a"), Some(node("1", 2))), "a version that grew may be other content");
        assert!(put(&mut branch, Place::Below("a"), None));
        assert!(!put(&mut branch, Place::Below("a"), None));
    }

    #[test]
    fn law_2_a_node_that_became_unreadable_is_a_change_and_not_a_loss() {
        let mut branch = Branch::default();
        put(&mut branch, Place::Below("a"), Some(node("1", 1)));
        let denied = Node { content: Content::Unreadable("not authorized".into()), ..node("", 1) };
        assert!(put_path(&mut branch, "/c", "/c/a", Some(&denied)));
        assert_eq!(branch.children.len(), 1);
    }
}
