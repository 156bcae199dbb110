//! `apply` and `config apply`: the tree, or its config alone, becomes what a folder says.
//!
//! The folder is a whole tree: nodes that it lacks are deleted. It is validated as a whole first, and what it would change is
//! said before and after; `--dry-run` stops there. The server checks that every node that changes is still as it was seen. How it is
//! written is in [`super::publish`]. A loss that the agents' guard would hold is named, and left to it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use serde::Serialize;

use super::change::{self, Change};
use super::publish::{self, Manner, Wanted};
use super::tree::{self, Seen};
use super::{given, render};
use crate::cli::{Apply, Shared};
use crate::desired::guard;
use crate::desired::resolver::Resolution;
use crate::directory;
use crate::model::snapshot::{Branch, Node, Snapshot};
use crate::output::{self, Advice};
use crate::settings::{Layout, Settings};

/// What becomes of one node, as programs read it.
#[derive(Serialize)]
struct Shown<'a> {
    step: &'static str,
    target: &'a str,
}

/// What of a folder is applied.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    Tree,
    /// The config alone.
    Config,
}

/// Applies the tree in a folder.
pub(super) fn run(shared: &Shared, apply: &Apply, part: Part) -> anyhow::Result<ExitCode> {
    let settings = given::settings(shared)?;
    tree::block_on(async {
        let cluster = tree::cluster(&settings).await?;
        let seen = Seen::of(&cluster).await?;
        let read = read(&settings, &apply.dir).await?;
        let wanted = Wanted { config: Some(read.config), datasources: (part == Part::Tree).then_some(read.datasources) };
        let resolution = validate(&settings, &seen, &wanted.over(&seen.snapshot))?;
        warn_of_loss(&settings, &seen, &resolution);
        let manner = Manner { message: apply.message.as_deref(), takeover: apply.takeover };
        let changes = if apply.dry_run {
            wanted.changes(&cluster, &seen.snapshot)
        } else {
            publish::publish(&settings, &cluster, &seen, &wanted, manner).await?
        };
        cluster.close().await;
        let shown: Vec<_> = changes.iter().map(|change| Shown { step: change.verb(), target: &change.path }).collect();
        output::print(shared.output, shown.as_slice(), |shown| {
            shown.iter().map(|change| format!("{} {}\n", change.step, change.target)).collect()
        })?;
        output::say(&said(shown.len(), apply.dry_run));
        Ok(ExitCode::SUCCESS)
    })
}

fn said(count: usize, dry_run: bool) -> String {
    let changes = if count == 1 { "1 change" } else { &format!("{count} changes") };
    match (count, dry_run) {
        (0, _) => "the tree is as the folder says".to_owned(),
        (_, true) => format!("{changes} to make; nothing is done, because this is a dry run"),
        (_, false) => format!("made {changes}"),
    }
}

async fn read(settings: &Settings, dir: &Path) -> anyhow::Result<Snapshot> {
    // An exported tree has its usual places, wherever the layout puts them in ZooKeeper.
    let layout = Layout { config: None, datasources: None, max_loss: settings.layout.max_loss };
    let snapshot =
        directory::read(dir, &layout).await.with_context(|| format!("failed to read the tree in {}", dir.display()))?;
    let is_tree =
        ["config", "datasources"].iter().any(|name| dir.join(name).exists() || dir.join(format!("{name}.yaml")).exists());
    if is_tree || !snapshot.config.is_empty() || !snapshot.datasources.is_empty() {
        return Ok(snapshot);
    }
    let message = format!("{} holds no tree", dir.display());
    Err(Advice { message, hint: "a tree has config.yaml, config/ or datasources/; `setkeeper export` makes one".to_owned() }
        .into())
}

/// Refuses a tree that any instance would find in error.
pub(super) fn validate(settings: &Settings, seen: &Seen, wanted: &Snapshot) -> anyhow::Result<Resolution> {
    let (_, resolution) = tree::resolve(settings, &seen.key, wanted);
    let problems: Vec<_> = resolution.problems.iter().collect();
    if problems.iter().any(|problem| problem.is_error()) {
        return Err(render::config_problems(problems.into_iter()).into());
    }
    output::say(&output::problems(&problems.into_iter().cloned().collect::<Vec<_>>()));
    Ok(resolution)
}

/// What makes one branch the other.
pub(super) fn changes(root: &str, seen: &Branch, wanted: &Branch) -> Vec<Change> {
    let names: BTreeSet<&Arc<str>> =
        seen.children.keys().filter(|name| !name.contains('/')).chain(wanted.children.keys()).collect();
    // The branch's own node first: its children could not be made before it.
    let own = differs(root, seen, wanted, None);
    let changes: Vec<_> =
        own.into_iter().chain(names.into_iter().filter_map(|name| differs(root, seen, wanted, Some(name)))).collect();
    // A node goes only after those below it, which nothing reads.
    let doomed = changes.iter().filter(|change| change.after.is_none()).map(|change| format!("{}/", change.path));
    let doomed: Vec<_> = doomed.collect();
    let nested = seen.children.iter().filter(|(name, _)| name.contains('/')).rev();
    let nested = nested
        .map(|(name, node)| (change::path(root, Some(name)), node))
        .filter(|(path, _)| doomed.iter().any(|above| path.starts_with(above)));
    let nested = nested.map(|(path, node)| Change { path, before: change::bytes(node), after: None });
    nested.collect::<Vec<_>>().into_iter().chain(changes).collect()
}

fn differs(root: &str, seen: &Branch, wanted: &Branch, name: Option<&Arc<str>>) -> Option<Change> {
    let name = name.map(|name| &**name);
    let (before, after) = (change::node(seen, name), change::node(wanted, name).and_then(change::bytes));
    let bytes = before.and_then(change::bytes);
    // A branch's own node is emptied where the folder has none, and an empty one is left alone.
    let after = match (name, after) {
        (None, None) => before.filter(|node| Node::is_filled(node)).map(|_| (&[][..]).into()).or_else(|| bytes.clone()),
        (_, after) => after,
    };
    (before.is_some() != after.is_some() || bytes != after).then(|| Change {
        path: change::path(root, name),
        before: bytes,
        after,
    })
}

/// Says so where the agents' guard would hold the tree.
pub(super) fn warn_of_loss(settings: &Settings, seen: &Seen, wanted: &Resolution) {
    let (_, now) = seen.resolve(settings);
    let admitted = guard::admit(Some(&now.inventory), &wanted.inventory, &wanted.tree, &wanted.rollout, settings.layout.max_loss);
    if let Err(held) = admitted {
        output::say(&format!("warning: the agents will not take this tree yet: {held}"));
    }
}
