//! Directives: items become values, and one-key mappings whose key begins with `$` become what no literal can say.
//!
//! Every name that leads outside (variables, files, objects, code) is checked in `outside` (law 9). What a directive is given is
//! never quoted in a problem.

mod outside;

use std::collections::BTreeMap;

use super::item::{Entry, Item, What};
use super::lens::Allowed;
use super::notes::{Field, Notes};
use super::patch::{Edit, Patch, Patches};
use super::times;
use crate::model::problem::nearest;
use crate::model::secret::SecretText;
use crate::model::value::{Directive, Key, Mapping, Object, Value, is_attribute};

const KNOWN: [&str; 14] = [
    "$class",
    "$crontab",
    "$env",
    "$file",
    "$merge",
    "$object",
    "$python",
    "$ref",
    "$replace",
    "$secret",
    "$set",
    "$timedelta",
    "$tuple",
    "$unset",
];

/// Where values are read, which decides what may stand there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a fragment: everything.
    Setting,
    /// In a datasource: only what the agent can resolve, which is secrets.
    Datasource,
}

/// Reads items as values.
pub struct Reader<'a, 'n> {
    /// Where they stand.
    pub place: Place,
    /// What they may name.
    pub allowed: &'a Allowed,
    /// What was wrong.
    pub notes: &'a mut Notes<'n>,
}

/// A directive as it was written.
struct Written<'f> {
    name: String,
    line: u64,
    item: Item,
    field: Field<'f>,
}

impl Reader<'_, '_> {
    /// Reads what a fragment says of a key; `top` where that is a whole setting.
    pub fn patch(&mut self, item: Item, field: &Field<'_>, top: bool) -> Option<Edit> {
        let entries = match item.what {
            What::Map(entries) if !has_directive(&entries) => return self.patches(entries, field).map(Edit::Merge),
            What::Map(entries) => entries,
            _ => return self.value(item, field).map(Edit::Set),
        };
        let written = self.written(entries, field)?;
        match written.name.as_str() {
            "$unset" => match written.item.what {
                What::Bool(true) => Some(Edit::Unset),
                other => self.expected(&written.field, written.line, "true", &other),
            },
            "$replace" => match written.item.what {
                What::Map(entries) if !has_directive(&entries) => {
                    self.mapping(entries, &written.field).map(|map| Edit::Set(Value::Map(map)))
                }
                other => self.expected(&written.field, written.line, "a mapping (everything else replaces anyway)", &other),
            },
            "$merge" if top => match written.item.what {
                What::Map(entries) if !has_directive(&entries) => self.patches(entries, &written.field).map(Edit::OverBase),
                other => self.expected(&written.field, written.line, "a mapping", &other),
            },
            _ => self.directive(written).map(|directive| Edit::Set(Value::Directive(directive))),
        }
    }

    /// Reads a value.
    pub fn value(&mut self, item: Item, field: &Field<'_>) -> Option<Value> {
        Some(match item.what {
            What::Null => Value::Null,
            What::Bool(truth) => Value::Bool(truth),
            What::Int(number) => Value::Int(number),
            What::Float(number) => Value::Float(number),
            What::Text(text) => Value::Str(text),
            What::List(items) => Value::List(self.list(items, field)?),
            What::Map(entries) if has_directive(&entries) => {
                let written = self.written(entries, field)?;
                Value::Directive(self.directive(written)?)
            }
            What::Map(entries) => Value::Map(self.mapping(entries, field)?),
        })
    }

    fn patches(&mut self, entries: Vec<Entry>, field: &Field<'_>) -> Option<Patches> {
        let edits = entries.into_iter().map(|Entry { key, line, item }| {
            let edit = self.patch(item, &Field::Key(field, &key), false);
            edit.map(|edit| (key, Patch { line, edit }))
        });
        all(edits)
    }

    fn mapping(&mut self, entries: Vec<Entry>, field: &Field<'_>) -> Option<Mapping> {
        let values = entries.into_iter().map(|Entry { key, item, .. }| {
            let value = self.value(item, &Field::Key(field, &key));
            value.map(|value| (key, value))
        });
        all(values)
    }

    fn list(&mut self, items: Vec<Item>, field: &Field<'_>) -> Option<Vec<Value>> {
        all(items.into_iter().enumerate().map(|(index, item)| self.value(item, &Field::Item(field, index))))
    }

    /// The one entry of a mapping that has a directive in it.
    fn written<'f>(&mut self, entries: Vec<Entry>, field: &Field<'f>) -> Option<Written<'f>> {
        let alone = entries.len() == 1;
        let found = entries.into_iter().find_map(|entry| match entry.key {
            Key::Str(name) if name.starts_with('$') => Some((name, entry.line, entry.item)),
            _ => None,
        });
        let (name, line, item) = found?;
        if alone {
            return Some(Written { name, line, item, field: *field });
        }
        let hint = "a mapping with a `$` key has no other key";
        self.notes.hinted(line, field, format!("`{}` stands beside other keys", known_or_typo(&name)), hint.to_owned());
        None
    }

    fn directive(&mut self, written: Written<'_>) -> Option<Directive> {
        let Written { name, line, item, field } = written;
        let name = name.as_str();
        if self.place == Place::Datasource && KNOWN.contains(&name) && !matches!(name, "$env" | "$file" | "$secret") {
            let hint = "a datasource may use `$secret`, `$file` and `$env`";
            self.notes.hinted(line, &field, format!("`{name}` has no meaning in a datasource"), hint.to_owned());
            return None;
        }
        match name {
            "$env" => self.env(line, item, &field),
            "$file" => self.file(line, item, &field),
            "$secret" => Some(Directive::Secret(SecretText::new(self.text(
                line,
                item,
                &field,
                "text (in quotes, where it looks like a number)",
            )?))),
            "$timedelta" => self.timedelta(line, &item, &field),
            "$crontab" => self.crontab(line, item, &field),
            "$tuple" => Some(Directive::Tuple(self.items(line, item, &field)?)),
            "$set" => self.set(line, item, &field),
            "$class" => Some(Directive::Class(self.attributes(line, item, &field)?)),
            "$object" => self.object(line, item, &field),
            "$ref" => Some(Directive::Ref(self.dotted(line, item, &field)?)),
            "$python" => self.python(line, item, &field),
            "$merge" => self.misplaced(line, &field, name, "works on a whole setting only, over what the base set"),
            "$unset" | "$replace" => {
                self.misplaced(line, &field, name, "works only where fragments merge: on a setting or a key of a mapping")
            }
            _ => {
                let near = nearest(name, KNOWN).map(|near| format!("did you mean `{near}`?"));
                self.notes.hinted(line, &field, "a key that begins with `$` is a directive, and there is no such one", near);
                None
            }
        }
    }

    fn timedelta(&mut self, line: u64, item: &Item, field: &Field<'_>) -> Option<Directive> {
        match times::microseconds(&item.what) {
            Ok(microseconds) => Some(Directive::Timedelta(microseconds)),
            Err(expected) => self.none(line, field, expected),
        }
    }

    fn crontab(&mut self, line: u64, item: Item, field: &Field<'_>) -> Option<Directive> {
        let text = self.text(line, item, field, "a crontab line like \"0 3 * * *\"")?;
        match times::crontab(&text) {
            Ok(fields) => Some(Directive::Crontab(Box::new(fields))),
            Err(expected) => self.none(line, field, expected),
        }
    }

    fn items(&mut self, line: u64, item: Item, field: &Field<'_>) -> Option<Vec<Value>> {
        match item.what {
            What::List(items) => self.list(items, field),
            other => self.expected(field, line, "a list", &other),
        }
    }

    fn set(&mut self, line: u64, item: Item, field: &Field<'_>) -> Option<Directive> {
        let items = self.items(line, item, field)?;
        if items.iter().all(is_hashable) {
            return Some(Directive::Set(items));
        }
        self.none(line, field, "expected a set of scalars or tuples: Python takes no list, mapping or set into a set")
    }

    fn attributes(&mut self, line: u64, item: Item, field: &Field<'_>) -> Option<BTreeMap<String, Value>> {
        let entries = match item.what {
            What::Map(entries) if !has_directive(&entries) => entries,
            other => return self.expected(field, line, "a mapping of names to values", &other),
        };
        let values = entries.into_iter().map(|Entry { key, line, item }| match key {
            Key::Str(name) if is_attribute(&name) => {
                let value = self.value(item, &Field::Name(field, &name));
                value.map(|value| (name, value))
            }
            _ => self.none(line, field, "expected a Python name as a key: no keyword, no leading `__`"),
        });
        all(values)
    }

    fn object(&mut self, line: u64, item: Item, field: &Field<'_>) -> Option<Directive> {
        const KEYS: [&str; 3] = ["args", "class", "kwargs"];
        let What::Map(entries) = item.what else {
            return self.expected(field, line, "a mapping of `class`, `args` and `kwargs`", &item.what);
        };
        let (mut class, mut args, mut kwargs, mut whole) = (None, Vec::new(), BTreeMap::new(), true);
        for Entry { key, line, item } in entries {
            let inner = Field::Key(field, &key);
            let read = match &key {
                Key::Str(name) if name == "class" => self.dotted(line, item, &inner).map(|name| class = Some(name)),
                Key::Str(name) if name == "args" => self.items(line, item, &inner).map(|items| args = items),
                Key::Str(name) if name == "kwargs" => self.attributes(line, item, &inner).map(|values| kwargs = values),
                other => {
                    let near = nearest(&other.to_string(), KEYS).map(|near| format!("did you mean `{near}`?"));
                    self.notes.hinted(line, &inner, "expected `class`, `args` or `kwargs`", near);
                    None
                }
            };
            whole &= read.is_some();
        }
        match class {
            Some(class) => whole.then_some(Directive::Object(Box::new(Object { class, args, kwargs }))),
            None if whole => self.none(line, field, "expected `class`, the dotted name of what is to be called"),
            None => None,
        }
    }

    fn text(&mut self, line: u64, item: Item, field: &Field<'_>, expected: &str) -> Option<String> {
        match item.what {
            What::Text(text) => Some(text),
            other => self.expected(field, line, expected, &other),
        }
    }

    fn misplaced<T>(&mut self, line: u64, field: &Field<'_>, name: &str, why: &str) -> Option<T> {
        self.none(line, field, &format!("`{name}` {why}"))
    }

    fn expected<T>(&mut self, field: &Field<'_>, line: u64, expected: &str, found: &What) -> Option<T> {
        self.none(line, field, &format!("expected {expected}, found {}", found.kind()))
    }

    fn none<T>(&mut self, line: u64, field: &Field<'_>, message: &str) -> Option<T> {
        self.notes.error(line, field, message);
        None
    }
}

/// Whether a mapping is meant as a directive.
#[must_use]
pub fn has_directive(entries: &[Entry]) -> bool {
    entries.iter().any(|entry| matches!(&entry.key, Key::Str(name) if name.starts_with('$')))
}

/// Collects what was read; unlike `collect::<Option<_>>`, goes on after a miss so that every problem is noted.
fn all<T, C: FromIterator<T>>(read: impl Iterator<Item = Option<T>>) -> Option<C> {
    read.collect::<Vec<_>>().into_iter().collect()
}

/// A directive's name, unless it is no directive's: then it may be anything, and is not repeated.
fn known_or_typo(name: &str) -> &str {
    KNOWN.iter().find(|known| **known == name).copied().or_else(|| nearest(name, KNOWN)).unwrap_or("$…")
}

fn is_hashable(value: &Value) -> bool {
    match value {
        Value::List(_) | Value::Map(_) | Value::Directive(Directive::Set(_) | Directive::Merge(_)) => false,
        Value::Directive(Directive::Tuple(items)) => items.iter().all(is_hashable),
        _ => true,
    }
}

#[cfg(test)]
mod tests;
