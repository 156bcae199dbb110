//! A fragment: one node of the config tree, read into patches by setting.
//!
//! Labels decide whether it counts here; it is read and its problems are told either way, so that all instances hold for
//! the same reasons.

use std::sync::Arc;

use super::directive::{Place, Reader};
use super::item::{Entry, Item, What};
use super::lens::Lens;
use super::lines;
use super::names;
use super::notes::{Field, Notes};
use super::patch::{Edit, Patch};
use super::yaml;
use crate::model::instance::Labels;
use crate::model::problem::{Problem, nearest};
use crate::model::snapshot::{Content, Node};
use crate::model::value::{Directive, Key, Value};

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
            Some(Edit::Set(value)) if *name == *HEADERS && !may_be_headers(&value) => {
                let message = "expected a mapping of headers to their values: the revision is merged into it";
                notes.error(line, &field, format!("{message}, found {}", value.kind()));
                whole = false;
            }
            Some(edit) => settings.push((name, Patch { line, edit })),
            None => whole = false,
        }
    }
    settings.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    whole.then(|| Fragment { settings: settings.into() })
}

/// The one setting to which every rendered file adds something, so that another type would keep Superset from loading it.
const HEADERS: &str = "OVERRIDE_HTTP_HEADERS";

/// Whether Python can merge this with a mapping, as far as can be known here.
fn may_be_headers(value: &Value) -> bool {
    use Directive::{Merge, Object, Python, Ref};
    matches!(value, Value::Null | Value::Map(_) | Value::Directive(Merge(_) | Object(_) | Python(_) | Ref(_)))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::lens::Allowed;
    use crate::model::snapshot::Origin;

    fn lens() -> Lens {
        let render = Allowed {
            env: vec!["SUPERSET_*".into()],
            files: vec!["/run/secrets".into()],
            objects: vec!["cachelib.*".into()],
            python: false,
        };
        Lens {
            labels: [("role".to_owned(), "worker".to_owned()), ("canary".to_owned(), "true".to_owned())].into(),
            render,
            ..Lens::default()
        }
    }

    fn read_with(text: &str, lens: &Lens) -> (Fragment, Vec<String>) {
        let (fragment, problems) = read(&Node::new(Origin::new("/c"), text, 1), lens);
        let shown = |problem: Problem| match problem.hint {
            Some(hint) => format!(
                "{}:{} {}: {} ({hint})",
                problem.severity as u8,
                problem.line.unwrap_or(0),
                problem.field.unwrap_or_default(),
                problem.message
            ),
            None => format!(
                "{}:{} {}: {}",
                problem.severity as u8,
                problem.line.unwrap_or(0),
                problem.field.unwrap_or_default(),
                problem.message
            ),
        };
        (fragment, problems.into_iter().map(shown).collect())
    }

    fn problems(text: &str) -> Vec<String> {
        let (fragment, problems) = read_with(text, &lens());
        let has_errors = problems.iter().any(|problem| problem.starts_with("1:"));
        assert!(!has_errors || fragment == Fragment::default(), "{text}");
        problems
    }

    #[test]
    fn labels_select_and_a_missing_label_does_not() {
        let config = "config: {ROW_LIMIT: 1}";
        for (when, counts) in [
            ("{role: worker}", true),
            ("{role: web}", false),
            ("{role: worker, canary: true}", true),
            ("{role: worker, zone: a}", false),
            ("{}", true),
        ] {
            let (fragment, problems) = read_with(&format!("when: {when}\n{config}"), &lens());
            assert_eq!((problems.len(), fragment.settings.len()), (0, usize::from(counts)), "{when}");
        }
    }

    #[test]
    fn a_fragment_that_says_nothing_is_empty_and_good() {
        for text in ["", " \n", "# a comment\n", "{}", "---\n...\n", "null"] {
            assert_eq!(read_with(text, &lens()), (Fragment::default(), Vec::new()), "{text:?}");
        }
    }

    #[test]
    fn every_wrong_form_is_told() {
        for (text, expected) in [
            ("- 1", "1:1 : expected a mapping of settings, or lines of key=value, found a list"),
            ("hunter2", "1:1 : expected a mapping of settings, or lines of key=value, found text"),
            (
                "row_limit: 5",
                "1:1 row_limit: expected the name of a setting: upper-case letters, digits and underscores (did you mean `ROW_LIMIT`?)",
            ),
            ("5: 5", "1:1 5: expected the name of a setting"),
            (
                "OVERRIDE_HTTP_HEADERS: [1]",
                "1:1 OVERRIDE_HTTP_HEADERS: expected a mapping of headers to their values: the revision is merged into it, found a list",
            ),
            ("$env: HOME", "1:1 $env: expected the name of a setting; directives stand for values"),
            (
                "wehn: {role: web}\nconfig: {}",
                "1:1 wehn: beside `when` and `config` there is no other key (did you mean `when`?)",
            ),
            ("when: {role: web}\nROW_LIMIT: 5", "1:1 : expected both `when` and `config`"),
            ("config: {A: 1}", "1:1 : expected both `when` and `config`"),
            ("when: worker\nconfig: {}", "1:1 when: expected a mapping of labels to values, found text"),
            ("when: {role: [a]}\nconfig: {}", "1:1 when.role: expected a label and its value, both text"),
            ("when: {}\nconfig: 5", "1:2 config: expected a mapping of settings, found a whole number"),
            ("when: {}\nconfig: {a: 5}", "1:2 config.a: expected the name of a setting"),
            (
                "foo=1",
                "1:1 foo: expected the name of a setting: upper-case letters, digits and underscores (did you mean `FOO`?)",
            ),
            (
                "ROW_LIMTI: 5",
                "0:1 ROW_LIMTI: Superset has no such setting, but one of nearly that name (did you mean `ROW_LIMIT`?)",
            ),
        ] {
            let found = problems(text);
            assert!(found.iter().any(|problem| problem.starts_with(expected)), "{text}: {found:?}");
            assert!(!found.iter().any(|problem| problem.contains("hunter2")), "{found:?}");
        }
        let beside = problems("when: {}\nconfig: {}\nROW_LIMIT: 5");
        assert_eq!(beside, ["1:3 ROW_LIMIT: beside `when` and `config` there is no other key (move it into `config`)"]);
    }

    #[test]
    fn all_problems_of_a_fragment_come_at_once() {
        let found =
            problems("row_limit: 1\nA: {$evn: X}\nB:\n  - {$file: /etc/passwd}\n  - {$tuple: 3}\nC: {$crontab: x, d: 1}\n");
        let lines: Vec<_> = found.iter().map(|problem| problem.split(' ').next().unwrap()).collect();
        assert_eq!(lines, ["1:1", "1:2", "1:4", "1:5", "1:6"], "{found:#?}");
    }

    #[test]
    fn what_cannot_be_read_is_an_error_and_not_empty() {
        let node = Node { content: Content::Unreadable("no right to read it".into()), ..Node::new(Origin::new("/c"), "", 1) };
        let (_, problems) = read(&node, &lens());
        assert_eq!(problems[0].to_string(), "/c: failed to read it: no right to read it");
        assert!(problems[0].is_error());
    }
}
