//! Explaining: which fragment each leaf of a setting's value comes from.
//!
//! The same merge as [`super::patch`]'s, done once more with every leaf keeping where it was written. Who shows the leaves
//! redacts them ([`super::redact::at`] takes a leaf's path).

use std::collections::BTreeMap;

use super::config::Fragments;
use super::patch::{Edit, Patches};
use crate::model::snapshot::Origin;
use crate::model::value::{Directive, Key, Value};

/// A value that is no mapping, or an empty one, and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaf {
    /// The keys that lead to it, the setting's name first.
    pub path: Vec<Key>,
    /// What it is.
    pub value: Value,
    /// The fragment that it comes from.
    pub origin: Origin,
    /// The line there of the key that sets it.
    pub line: u64,
}

impl Leaf {
    /// The path as a person writes it: `CELERY_CONFIG.beat_schedule`.
    #[must_use]
    pub fn dotted(&self) -> String {
        self.path.iter().map(ToString::to_string).collect::<Vec<_>>().join(".")
    }
}

/// The leaves at and below a dotted path that begins with a setting's name; none where no fragment sets anything there.
#[must_use]
pub fn explain(fragments: &Fragments, path: &str) -> Vec<Leaf> {
    let setting = path.split_once('.').map_or(path, |(setting, _)| setting);
    let traced = fragments.spoken(setting).fold(None, |traced, (origin, patch)| apply(&patch.edit, (origin, patch.line), traced));
    let mut leaves = Vec::new();
    if let Some(traced) = traced {
        flatten(traced, &mut vec![Key::from(setting)], &mut leaves);
    }
    let below = format!("{path}.");
    leaves.retain(|leaf| {
        let dotted = leaf.dotted();
        dotted == path || dotted.starts_with(&below)
    });
    leaves
}

type Place<'a> = (&'a Origin, u64);

enum Traced<'a> {
    Leaf(Value, Place<'a>),
    Map(BTreeMap<Key, Traced<'a>>, Place<'a>),
}

fn apply<'a>(edit: &'a Edit, place: Place<'a>, old: Option<Traced<'a>>) -> Option<Traced<'a>> {
    match edit {
        Edit::Unset => None,
        Edit::Set(value) => Some(trace(value, place)),
        Edit::Merge(patches) | Edit::OverBase(patches) => {
            let (old, first) = match old {
                Some(Traced::Map(old, first)) => (old, first),
                _ => (BTreeMap::new(), place),
            };
            Some(Traced::Map(merge(old, patches, place.0), first))
        }
    }
}

fn merge<'a>(mut map: BTreeMap<Key, Traced<'a>>, patches: &'a Patches, origin: &'a Origin) -> BTreeMap<Key, Traced<'a>> {
    for (key, patch) in patches.as_slice() {
        let twin = key.twin().and_then(|twin| map.remove(&twin));
        let old = map.remove(key).or(twin);
        if let Some(traced) = apply(&patch.edit, (origin, patch.line), old) {
            map.insert(key.clone(), traced);
        }
    }
    map
}

fn trace<'a>(value: &Value, place: Place<'a>) -> Traced<'a> {
    match value {
        Value::Map(mapping) | Value::Directive(Directive::Merge(mapping)) => {
            Traced::Map(mapping.iter().map(|(key, value)| (key.clone(), trace(value, place))).collect(), place)
        }
        other => Traced::Leaf(other.clone(), place),
    }
}

fn flatten(traced: Traced<'_>, path: &mut Vec<Key>, leaves: &mut Vec<Leaf>) {
    let (value, (origin, line)) = match traced {
        Traced::Leaf(value, place) => (value, place),
        Traced::Map(map, place) if map.is_empty() => (Value::Map(BTreeMap::new()), place),
        Traced::Map(map, _) => {
            for (key, inner) in map {
                path.push(key);
                flatten(inner, path, leaves);
                path.pop();
            }
            return;
        }
    };
    leaves.push(Leaf { path: path.clone(), value, origin: origin.clone(), line });
}
