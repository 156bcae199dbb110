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
use crate::model::digest::{DigestKey, Release};
use crate::model::release::{Published, Seq};
use crate::model::snapshot::{Branch, Node, Snapshot};
use crate::output::Advice;
use crate::settings::{Settings, Source};
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

/// Through whose settings differences are seen, and whether secrets are shown.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub settings: &'a Settings,
    pub key: &'a DigestKey,
    pub reveal: bool,
}

impl View<'_> {
    /// What differs between two config trees.
    pub fn differences(&self, before: &Branch, after: &Branch) -> Vec<Difference> {
        let names: BTreeSet<_> = before.children.keys().chain(after.children.keys()).cloned().collect();
        let all = std::iter::once(None).chain(names.into_iter().map(Some));
        all.flat_map(|name| self.of_fragment(name.as_deref(), before, after)).collect()
    }

    fn of_fragment(&self, name: Option<&str>, before: &Branch, after: &Branch) -> Vec<Difference> {
        let (old, new) = (change::node(before, name), change::node(after, name));
        if old.and_then(change::bytes).unwrap_or_default() == new.and_then(change::bytes).unwrap_or_default() {
            return Vec::new();
        }
        let fragment = name.unwrap_or("config");
        let text_alone = Difference { fragment: fragment.to_owned(), key: None, before: None, after: None };
        let (Some(old), Some(new)) = (self.settings_of(name, old), self.settings_of(name, new)) else {
            return vec![text_alone];
        };
        let keys: BTreeSet<_> = old.keys().chain(new.keys()).filter(|key| old.get(*key) != new.get(*key)).collect();
        let side = |sides: Option<&Sides>| sides.map(|sides| if self.reveal { &sides.whole } else { &sides.shown }).cloned();
        let difference = |key: &String| Difference {
            fragment: fragment.to_owned(),
            key: Some(key.clone()),
            before: side(old.get(key)),
            after: side(new.get(key)),
        };
        if keys.is_empty() { vec![text_alone] } else { keys.into_iter().map(difference).collect() }
    }

    /// What one fragment sets; `None` where it is in error.
    fn settings_of(&self, name: Option<&str>, node: Option<&Node>) -> Option<BTreeMap<String, Sides>> {
        let Some(node) = node else { return Some(BTreeMap::new()) };
        let mut lens = Lens::new(self.settings);
        let bytes = change::bytes(node)?;
        lens.labels.extend(edit::when(std::str::from_utf8(&bytes).ok()?));
        let mut config = Branch::default();
        match name {
            Some(name) => drop(config.children.insert(Arc::from(name), node.clone())),
            None => config.root = Some(node.clone()),
        }
        let resolution = Resolver::new(lens).resolve(self.key, &Snapshot { config, ..Snapshot::default() });
        let config = resolution.config.ok()?;
        let shown = redact::config(&config);
        let mut settings = BTreeMap::new();
        for (name, setting) in &config.settings {
            let shown = shown.get(name).map(written::json).unwrap_or_default();
            settings.insert(name.to_string(), Sides { whole: written::json(setting.value()), shown });
        }
        Some(settings)
    }
}

/// A setting as it is, and as it may be shown.
#[derive(PartialEq)]
struct Sides {
    whole: Json,
    shown: Json,
}

/// A session for a command that looks at releases; a folder keeps none.
pub(super) async fn cluster(settings: &Settings) -> anyhow::Result<Cluster> {
    if let Source::Directory { .. } = settings.source {
        return Err(Advice::new("a folder keeps no releases", "only a tree in ZooKeeper does").into());
    }
    tree::cluster(settings).await
}
