//! Patches: what one fragment says of a setting, and how the patches of several merge into a value.
//!
//! A mapping merges deeply, everything else replaces. `$unset` takes back, `$replace` replaces a mapping. `$merge` says "over
//! what the base set": merging into it, or it into a mapping, keeps that meaning, so that fragments merge alike in any grouping.

use std::collections::btree_map::Entry;

use crate::model::value::{Directive, Key, Mapping, Value};

/// What a fragment says of one key.
#[derive(Clone, Debug, PartialEq)]
pub struct Patch {
    /// The key's line.
    pub line: u64,
    /// What becomes of the value there.
    pub edit: Edit,
}

/// What becomes of a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// It goes.
    Unset,
    /// This replaces it.
    Set(Value),
    /// These keys merge into it.
    Merge(Patches),
    /// These keys merge into it, or into what the base set where no fragment did.
    OverBase(Patches),
}

/// Patches in the order of their keys. In a slice, since most fragments say one thing: a map's smallest node has room for eleven.
#[derive(Clone, Debug, PartialEq)]
pub struct Patches(Box<[(Key, Patch)]>);

/// Of keys that differ.
impl FromIterator<(Key, Patch)> for Patches {
    fn from_iter<I: IntoIterator<Item = (Key, Patch)>>(patches: I) -> Self {
        let mut patches: Box<[_]> = patches.into_iter().collect();
        patches.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Self(patches)
    }
}

impl Patches {
    /// Each key, and what is said of it.
    #[must_use]
    pub fn as_slice(&self) -> &[(Key, Patch)] {
        &self.0
    }
}

impl Edit {
    /// Makes this edit to `value`.
    #[must_use]
    pub fn apply(&self, value: Option<Value>) -> Option<Value> {
        match (self, value) {
            (Self::Unset, _) => None,
            (Self::Set(new), _) => Some(new.clone()),
            (Self::Merge(patches) | Self::OverBase(patches), Some(Value::Directive(Directive::Merge(old)))) => {
                Some(Value::Directive(Directive::Merge(merge(old, patches))))
            }
            (Self::Merge(patches) | Self::OverBase(patches), Some(Value::Map(old))) => Some(Value::Map(merge(old, patches))),
            (Self::Merge(patches), _) => Some(Value::Map(merge(Mapping::new(), patches))),
            (Self::OverBase(patches), _) => Some(Value::Directive(Directive::Merge(merge(Mapping::new(), patches)))),
        }
    }
}

fn merge(mut mapping: Mapping, patches: &Patches) -> Mapping {
    for (key, patch) in patches.as_slice() {
        let twin = key.twin().and_then(|twin| mapping.remove(&twin));
        match mapping.entry(key.clone()) {
            Entry::Vacant(vacant) => drop(patch.edit.apply(twin).map(|value| vacant.insert(value))),
            Entry::Occupied(mut occupied) => {
                let old = std::mem::replace(occupied.get_mut(), Value::Null);
                match patch.edit.apply(Some(old)) {
                    Some(value) => *occupied.get_mut() = value,
                    None => drop(occupied.remove()),
                }
            }
        }
    }
    mapping
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patches(entries: Vec<(&str, Edit)>) -> Patches {
        entries.into_iter().map(|(key, edit)| (Key::from(key), Patch { line: 1, edit })).collect()
    }

    fn set(text: &str) -> Edit {
        Edit::Set(Value::from(text))
    }

    fn map(entries: Vec<(&str, Value)>) -> Mapping {
        entries.into_iter().map(|(key, value)| (Key::from(key), value)).collect()
    }

    fn merged(edits: &[Edit]) -> Option<Value> {
        edits.iter().fold(None, |value, edit| edit.apply(value))
    }

    #[test]
    fn mappings_merge_deeply_and_everything_else_replaces() {
        let deep = |key, text| Edit::Merge(patches(vec![("inner", Edit::Merge(patches(vec![(key, set(text))])))]));
        let inner = map(vec![("a", "1".into()), ("b", "3".into())]);
        let expected = Value::Map(map(vec![("inner", Value::Map(inner))]));
        assert_eq!(merged(&[deep("a", "1"), deep("b", "2"), deep("b", "3")]), Some(expected));
        assert_eq!(merged(&[deep("a", "1"), set("x")]), Some("x".into()));
        assert_eq!(
            merged(&[set("x"), Edit::Merge(patches(vec![("a", set("1"))]))]),
            Some(Value::Map(map(vec![("a", "1".into())])))
        );
    }

    #[test]
    fn unset_takes_a_key_back_and_replace_does_not_merge() {
        let two = Edit::Merge(patches(vec![("a", set("1")), ("b", set("2"))]));
        let without = Edit::Merge(patches(vec![("a", Edit::Unset), ("never", Edit::Unset)]));
        assert_eq!(merged(&[two.clone(), without]), Some(Value::Map(map(vec![("b", "2".into())]))));
        let replaced = Value::Map(map(vec![("c", "3".into())]));
        assert_eq!(merged(&[two.clone(), Edit::Set(replaced.clone())]), Some(replaced));
        assert_eq!(merged(&[two, Edit::Unset]), None);
    }

    #[test]
    fn over_the_base_stays_over_the_base_until_a_fragment_sets_the_whole() {
        let over = |key, text| Edit::OverBase(patches(vec![(key, set(text))]));
        let plain = |key, text| Edit::Merge(patches(vec![(key, set(text))]));
        let both = map(vec![("a", "1".into()), ("b", "2".into())]);
        let over_base = Some(Value::Directive(Directive::Merge(both.clone())));
        assert_eq!(merged(&[over("a", "1"), over("b", "2")]), over_base);
        assert_eq!(merged(&[over("a", "1"), plain("b", "2")]), over_base);
        assert_eq!(merged(&[plain("a", "1"), over("b", "2")]), Some(Value::Map(both)));
    }

    #[test]
    fn keys_that_python_holds_for_one_are_one() {
        let one = |key, text| Edit::Merge([(key, Patch { line: 1, edit: set(text) })].into_iter().collect());
        let expected: Mapping = [(Key::Bool(true), "b".into())].into();
        assert_eq!(merged(&[one(Key::Int(1), "a"), one(Key::Bool(true), "b")]), Some(Value::Map(expected)));
    }
}
