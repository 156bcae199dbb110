//! What an edit means: the value that the new text must read back as.

use super::super::item::{Entry, Item, What};
use super::EditError;
use crate::model::value::Key;

/// Directives whose mapping is what a path goes on in.
const TRANSPARENT: [&str; 3] = ["$merge", "$replace", "$class"];

/// The keys that lead to a value, those that nobody names in a dotted path among them (`config` of a fragment with `when`,
/// `$merge`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Steps {
    /// The keys.
    pub keys: Vec<String>,
    /// How many of the first must stay, whatever is taken out.
    pub fixed: usize,
}

impl Steps {
    /// The way to a dotted path in a fragment.
    pub fn to(item: &Item, path: &str) -> Self {
        let mut keys = Vec::new();
        let mut here = Some(item);
        if entries(item).iter().any(|entry| is(&entry.key, "when") || is(&entry.key, "config")) {
            here = step("config", here, &mut keys);
        }
        let fixed = keys.len();
        for name in path.split('.') {
            let only = here.map(entries).filter(|entries| entries.len() == 1).and_then(|entries| entries.first());
            let wrapper = TRANSPARENT.iter().find(|wrapper| only.is_some_and(|only| is(&only.key, wrapper)));
            if let Some(wrapper) = wrapper.filter(|wrapper| **wrapper != name) {
                here = step(wrapper, here, &mut keys);
            }
            here = step(name, here, &mut keys);
        }
        Self { keys, fixed }
    }
}

fn step<'i>(name: &str, here: Option<&'i Item>, keys: &mut Vec<String>) -> Option<&'i Item> {
    keys.push(name.to_owned());
    entries(here?).iter().find(|entry| is(&entry.key, name)).map(|entry| &entry.item)
}

/// The entries of a mapping; none of anything else.
pub(super) fn entries(item: &Item) -> &[Entry] {
    match &item.what {
        What::Map(entries) => entries,
        _ => &[],
    }
}

/// Whether a key is the one that a path names.
pub(super) fn is(key: &Key, name: &str) -> bool {
    match key {
        Key::Str(text) => text == name,
        other => other.to_string() == name,
    }
}

/// What is there.
pub(super) fn at<'i>(item: &'i Item, steps: &Steps) -> Option<&'i Item> {
    steps.keys.iter().try_fold(item, |here, name| Some(&entries(here).iter().find(|entry| is(&entry.key, name))?.item))
}

/// The labels of `when`.
pub(super) fn when(item: &Item) -> Vec<(String, String)> {
    let Some(when) = entries(item).iter().find(|entry| is(&entry.key, "when")) else { return Vec::new() };
    let text = |item: &Item| match &item.what {
        What::Text(text) => Some(text.clone()),
        What::Bool(truth) => Some(truth.to_string()),
        What::Int(number) => Some(number.to_string()),
        _ => None,
    };
    entries(&when.item).iter().filter_map(|entry| Some((entry.key.to_string(), text(&entry.item)?))).collect()
}

/// The fragment with this value there.
pub(super) fn set(item: &Item, steps: &Steps, value: &Item) -> Result<Item, EditError> {
    put(item.clone(), &steps.keys, value, "")
}

fn put(item: Item, keys: &[String], value: &Item, way: &str) -> Result<Item, EditError> {
    let Some((name, rest)) = keys.split_first() else { return Ok(value.clone()) };
    let Item { line, what } = item;
    let mut entries = match what {
        What::Map(entries) => entries,
        What::Null => Vec::new(),
        other => return Err(EditError::InTheWay { key: way.to_owned(), kind: other.kind() }),
    };
    let there = entries.iter().position(|entry| is(&entry.key, name)).unwrap_or_else(|| {
        let nothing = Item { line, what: What::Null };
        entries.push(Entry { key: Key::Str(name.clone()), line, item: nothing });
        entries.len() - 1
    });
    let entry = &mut entries[there];
    entry.item = put(entry.item.clone(), rest, value, name)?;
    Ok(Item { line, what: What::Map(entries) })
}

/// The fragment without what is there, and the way to what goes: a mapping that is empty then goes too, unless it must stay.
pub(super) fn unset(item: &Item, steps: &Steps, path: &str) -> Result<(Item, Steps), EditError> {
    at(item, steps).ok_or_else(|| EditError::Absent { key: path.to_owned() })?;
    let mut steps = steps.clone();
    loop {
        let (_, above) = steps.keys.split_last().ok_or_else(|| EditError::Absent { key: path.to_owned() })?;
        let above = Steps { keys: above.to_vec(), fixed: steps.fixed };
        let is_last = at(item, &above).is_some_and(|above| entries(above).len() == 1);
        if !is_last || above.keys.len() <= steps.fixed {
            break;
        }
        steps = above;
    }
    Ok((take(item.clone(), &steps.keys), steps))
}

fn take(item: Item, keys: &[String]) -> Item {
    let Item { line, what: What::Map(mut entries) } = item else { return item };
    match keys {
        [] => {}
        [last] => entries.retain(|entry| !is(&entry.key, last)),
        [name, rest @ ..] => {
            if let Some(entry) = entries.iter_mut().find(|entry| is(&entry.key, name)) {
                entry.item = take(entry.item.clone(), rest);
            }
        }
    }
    Item { line, what: What::Map(entries) }
}

/// Whether two texts mean the same: lines and the order of keys do not count, and nothing at all is an empty mapping.
pub(super) fn same(one: &Item, other: &Item) -> bool {
    let is_nothing =
        |item: &Item| matches!(&item.what, What::Null) || matches!(&item.what, What::Map(entries) if entries.is_empty());
    (is_nothing(one) && is_nothing(other)) || equal(one, other)
}

fn equal(one: &Item, other: &Item) -> bool {
    match (&one.what, &other.what) {
        (What::List(one), What::List(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
        }
        (What::Map(one), What::Map(other)) => {
            let sorted = |entries: &'_ [Entry]| {
                let mut order: Vec<usize> = (0..entries.len()).collect();
                order.sort_by(|a, b| entries[*a].key.cmp(&entries[*b].key));
                order
            };
            let pairs = sorted(one).into_iter().zip(sorted(other));
            one.len() == other.len()
                && pairs
                    .map(|(a, b)| (&one[a], &other[b]))
                    .all(|(one, other)| one.key == other.key && equal(&one.item, &other.item))
        }
        (What::Float(one), What::Float(other)) => one.to_bits() == other.to_bits(),
        (one, other) => one == other,
    }
}

/// A value as JSON, which is YAML too; `None` for numbers that JSON does not have.
pub(super) fn json(item: &Item) -> Option<String> {
    Some(match &item.what {
        What::Null => "null".to_owned(),
        What::Bool(truth) => truth.to_string(),
        What::Int(number) => number.to_string(),
        What::Float(number) => number.is_finite().then(|| format!("{number:?}"))?,
        What::Text(text) => quoted(text),
        What::List(items) => format!("[{}]", items.iter().map(json).collect::<Option<Vec<_>>>()?.join(", ")),
        What::Map(entries) => {
            let entry = |entry: &Entry| match &entry.key {
                Key::Str(name) => Some(format!("{}: {}", quoted(name), json(&entry.item)?)),
                other => Some(format!("{other}: {}", json(&entry.item)?)),
            };
            format!("{{{}}}", entries.iter().map(entry).collect::<Option<Vec<_>>>()?.join(", "))
        }
    })
}

pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
