//! Kept releases as commands look at them: found by number or digest, and what differs between two of them.
//!
//! A difference is told fragment by fragment and setting by setting, as an instance has it for which the fragment counts:
//! so a change for workers shows on a host that runs none. Secrets are masked, unless they are to be shown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Context;
use serde::Serialize;
use serde_json::Value as Json;

use super::change;
use super::tree::{self, Seen};
use crate::desired::lens::Lens;
use crate::desired::resolver::Resolver;
use crate::desired::{edit, redact, written};
use crate::model::digest::Release;
use crate::model::release::{Published, Seq};
use crate::model::snapshot::{Branch, Node, Snapshot};
use crate::output::Advice;
use crate::settings::Settings;
use crate::zookeeper::cluster::Cluster;

/// The tree as it is.
pub(super) const NOW: &str = "now";

/// One difference.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Difference {
    /// In which fragment.
    pub fragment: String,
    /// Of which setting; none where only the fragment's text differs, or where it cannot be read.
    pub key: Option<String>,
    /// What it was.
    pub before: Option<Json>,
    /// What it became.
    pub after: Option<Json>,
}

/// Which release is meant: the last of a digest, or the one of a number.
pub(super) fn find<'h>(history: &'h [Published], named: &str) -> anyhow::Result<&'h Published> {
    let is_it = |known: &&Published| Some(known.seq) == Seq::from_name(named) || known.entry.digest.as_str() == named;
    history.iter().rev().find(is_it).ok_or_else(|| {
        let message = format!("no release {named} is kept");
        Advice { message, hint: "`setkeeper config history` lists them".to_owned() }.into()
    })
}

/// The config tree of a release.
pub(super) async fn tree_of(cluster: &Cluster, digest: &Release) -> anyhow::Result<Branch> {
    let kept = cluster.kept_tree(digest).await.map_err(|error| tree::failed(&error))?;
    kept.with_context(|| format!("the tree of release {digest} is no longer kept"))
}

/// The config tree of whatever is named.
pub(super) async fn named(cluster: &Cluster, seen: &Seen, history: &[Published], named: &str) -> anyhow::Result<Branch> {
    if named == NOW {
        return Ok(seen.snapshot.config.clone());
    }
    tree_of(cluster, &find(history, named)?.entry.digest).await
}

/// What differs between two config trees.
pub(super) fn differences(settings: &Settings, seen: &Seen, before: &Branch, after: &Branch, reveal: bool) -> Vec<Difference> {
    let names = |branch: &Branch| branch.children.keys().cloned().map(Some).collect::<BTreeSet<_>>();
    let names = std::iter::once(None).chain(names(before).union(&names(after)).cloned().collect::<Vec<_>>());
    names.flat_map(|name: Option<Arc<str>>| of_fragment(settings, seen, before, after, name.as_deref(), reveal)).collect()
}

fn of_fragment(
    settings: &Settings,
    seen: &Seen,
    before: &Branch,
    after: &Branch,
    name: Option<&str>,
    reveal: bool,
) -> Vec<Difference> {
    let (old, new) = (change::node(before, name), change::node(after, name));
    if old.and_then(change::bytes).unwrap_or_default() == new.and_then(change::bytes).unwrap_or_default() {
        return Vec::new();
    }
    let fragment = name.unwrap_or("config").to_owned();
    let text_alone = Difference { fragment: fragment.clone(), key: None, before: None, after: None };
    let (Some(old), Some(new)) = (settings_of(settings, seen, name, old), settings_of(settings, seen, name, new)) else {
        return vec![text_alone];
    };
    let keys: BTreeSet<_> = old.keys().chain(new.keys()).filter(|key| old.get(*key) != new.get(*key)).cloned().collect();
    let shown = |side: &BTreeMap<String, Sides>, key: &str| {
        side.get(key).map(|sides| if reveal { sides.whole.clone() } else { sides.shown.clone() })
    };
    let found: Vec<_> = keys
        .into_iter()
        .map(|key| Difference { fragment: fragment.clone(), before: shown(&old, &key), after: shown(&new, &key), key: Some(key) })
        .collect();
    if found.is_empty() { vec![text_alone] } else { found }
}

/// A setting as it is, and as it may be shown.
#[derive(PartialEq)]
struct Sides {
    whole: Json,
    shown: Json,
}

/// What one fragment sets; `None` where it is in error.
fn settings_of(settings: &Settings, seen: &Seen, name: Option<&str>, node: Option<&Node>) -> Option<BTreeMap<String, Sides>> {
    let Some(node) = node else { return Some(BTreeMap::new()) };
    let mut lens = Lens::new(settings);
    let bytes = change::bytes(node)?;
    lens.labels.extend(edit::when(std::str::from_utf8(&bytes).ok()?));
    let mut config = Branch::default();
    match name {
        Some(name) => drop(config.children.insert(Arc::from(name), node.clone())),
        None => config.root = Some(node.clone()),
    }
    let resolution = Resolver::new(lens).resolve(&seen.key, &Snapshot { config, ..Snapshot::default() });
    let config = resolution.config.ok()?;
    let shown = redact::config(&config);
    let mut settings = BTreeMap::new();
    for (name, setting) in &config.settings {
        let shown = shown.get(name).map(written::json).unwrap_or_default();
        settings.insert(name.to_string(), Sides { whole: written::json(setting.value()), shown });
    }
    Some(settings)
}
