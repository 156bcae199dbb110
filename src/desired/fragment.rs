//! A fragment: one node of the config tree, read into patches by setting.
//!
//! Labels decide whether it counts here; it is read and its problems are told either way, so that all instances hold for
//! the same reasons.

use std::sync::Arc;

use super::directive::{Place, Reader};
use super::lens::Lens;
use super::lines;
use super::names;
use super::notes::{Field, Notes};
use super::patch::Patch;
use super::yaml::{self, Entry, Item, What};
use crate::model::instance::Labels;
use crate::model::problem::{Problem, nearest};
use crate::model::snapshot::{Content, Node};
use crate::model::value::Key;

/// What a node says, by setting, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fragment {
    /// What it says of each setting, where it counts for this instance; else nothing.
    pub settings: Box<[(Arc<str>, Patch)]>,
}

impl Fragment {
    /// What it says of this setting.
    #[must_use]
    pub fn get(&self, setting: &str) -> Option<&Patch> {
        let found = self.settings.binary_search_by(|(name, _)| name.as_ref().cmp(setting)).ok()?;
        self.settings.get(found).map(|(_, patch)| patch)
    }
}

/// Reads a node as a fragment. With an error among the problems there is no fragment.
#[must_use]
pub fn read(node: &Node, lens: &Lens) -> (Fragment, Vec<Problem>) {
    let mut notes = Notes::new(&node.origin);
    let fragment = open(node, &mut notes).and_then(|text| read_text(text, lens, &mut notes));
    let fragment = fragment.filter(|_| !notes.has_errors()).unwrap_or_default();
    (fragment, notes.into_problems())
}

/// A node's text; `None` when it has none, which was noted then.
pub fn open<'n>(node: &'n Node, notes: &mut Notes<'_>) -> Option<&'n str> {
    match &node.content {
        Content::Bytes(bytes) => yaml::text(bytes, notes),
        Content::Unreadable(reason) => {
            notes.error(None, &Field::Root, format!("failed to read it: {reason}"));
            None
        }
    }
}

fn read_text(text: &str, lens: &Lens, notes: &mut Notes<'_>) -> Option<Fragment> {
    let item = if lines::is_lines(text) { lines::parse(text, notes)? } else { yaml::parse(text, notes)? };
    let entries = match item.what {
        What::Null => return Some(Fragment::default()),
        What::Map(entries) => entries,
        other => {
            let message = format!("expected a mapping of settings, or lines of key=value, found {}", other.kind());
            notes.error(item.line, &Field::Root, message);
            return None;
        }
    };
    let is_form = entries.iter().any(|entry| matches!(&entry.key, Key::Str(name) if name == "when" || name == "config"));
    if is_form { read_form(entries, item.line, lens, notes) } else { read_settings(entries, &Field::Root, lens, notes) }
}

/// `{when: {label: value}, config: {...}}`
fn read_form(entries: Vec<Entry>, line: u64, lens: &Lens, notes: &mut Notes<'_>) -> Option<Fragment> {
    let (mut when, mut config) = (None, None);
    for entry in entries {
        match &entry.key {
            Key::Str(name) if name == "when" => when = Some(entry),
            Key::Str(name) if name == "config" => config = Some(entry),
            other => {
                let name = other.to_string();
                let near = nearest(&name, ["when", "config"]).map(|near| format!("did you mean `{near}`?"));
                let hint = near.or_else(|| names::check(&name).is_ok().then(|| "move it into `config`".to_owned()));
                notes.hinted(
                    entry.line,
                    &Field::Key(&Field::Root, other),
                    "beside `when` and `config` there is no other key",
                    hint,
                );
            }
        }
    }
    let (Some(when), Some(config)) = (when, config) else {
        let hint = "a fragment is either a mapping of settings or {when: {role: worker}, config: {...}}".to_owned();
        notes.hinted(line, &Field::Root, "expected both `when` and `config`", hint);
        return None;
    };
    let selects = read_when(when.item, &lens.labels, notes);
    let fragment = match config.item.what {
        What::Map(inner) => read_settings(inner, &Field::Name(&Field::Root, "config"), lens, notes)?,
        What::Null => Fragment::default(),
        other => {
            notes.error(
                config.line,
                &Field::Name(&Field::Root, "config"),
                format!("expected a mapping of settings, found {}", other.kind()),
            );
            return None;
        }
    };
    selects.map(|selects| if selects { fragment } else { Fragment::default() })
}

fn read_when(when: Item, labels: &Labels, notes: &mut Notes<'_>) -> Option<bool> {
    let field = Field::Name(&Field::Root, "when");
    let What::Map(entries) = when.what else {
        notes.error(when.line, &field, format!("expected a mapping of labels to values, found {}", when.what.kind()));
        return None;
    };
    let mut selects = Some(true);
    for Entry { key, item, .. } in entries {
        let wanted = match (&key, item.what) {
            (Key::Str(_), What::Text(text)) => Some(text),
            // Labels are text; what is written without quotes can mean only one text.
            (Key::Str(_), What::Bool(truth)) => Some(truth.to_string()),
            (Key::Str(_), What::Int(number)) => Some(number.to_string()),
            _ => None,
        };
        if let Some(wanted) = wanted {
            selects = selects.map(|so_far| so_far && labels.get(&key.to_string()) == Some(&wanted));
        } else {
            notes.error(item.line, &Field::Key(&field, &key), "expected a label and its value, both text");
            selects = None;
        }
    }
    selects
}

fn read_settings(entries: Vec<Entry>, parent: &Field<'_>, lens: &Lens, notes: &mut Notes<'_>) -> Option<Fragment> {
    let mut settings: Vec<(Arc<str>, Patch)> = Vec::with_capacity(entries.len());
    let mut whole = true;
    for Entry { key, line, item } in entries {
        let field = Field::Key(parent, &key);
        let Some(name) = read_name(&key, line, &field, notes) else {
            whole = false;
            continue;
        };
        let edit = Reader { place: Place::Setting, allowed: &lens.render, notes }.patch(item, &field, true);
        match edit {
            Some(edit) => settings.push((name, Patch { line, edit })),
            None => whole = false,
        }
    }
    settings.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    whole.then(|| Fragment { settings: settings.into() })
}

fn read_name(key: &Key, line: u64, field: &Field<'_>, notes: &mut Notes<'_>) -> Option<Arc<str>> {
    let Key::Str(name) = key else {
        notes.error(line, field, "expected the name of a setting");
        return None;
    };
    if let Err(misnamed) = names::check(name) {
        notes.hinted(line, field, misnamed.message, misnamed.hint);
        return None;
    }
    if let Some(known) = names::slip(name) {
        notes.warning(
            line,
            field,
            "Superset has no such setting, but one of nearly that name",
            format!("did you mean `{known}`?"),
        );
    }
    Some(Arc::from(name.as_str()))
}
