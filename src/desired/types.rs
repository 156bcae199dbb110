//! Types: whether a setting is one of Superset's, and what is said of it of a type that Superset takes.
//!
//! In: what one fragment says of one setting. Out: problems; a wrong type is an error, for it may stop Superset, and a name
//! that nobody knows a warning, for it may be read by somebody's own code. Only fragments that changed come here (law 12),
//! and those that do not count for this instance too, so that all instances say the same. No value is quoted (law 9).

use super::notes::{Field, Notes};
use super::patch::Edit;
use crate::catalogue::types::{Kind, Types};
use crate::catalogue::{self, Edition, Entry};
use crate::model::value::{Directive, Key, Value};

const FEATURE_FLAGS: &str = "FEATURE_FLAGS";

/// Where Superset does not live without a value: null boots, and then every request fails.
const NEEDED: [&str; 2] = ["SECRET_KEY", "SQLALCHEMY_DATABASE_URI"];

/// What a fragment says of one setting.
#[derive(Clone, Copy)]
pub struct Said<'a> {
    /// The setting.
    pub name: &'a str,
    /// Its line.
    pub line: u64,
    /// What becomes of it; `None` where that could not be read, which was noted then.
    pub edit: Option<&'a Edit>,
}

/// Of what kind a value is.
enum Found {
    /// Whatever the Python comes to that is named or written there.
    Anything,
    /// This, as a person says it.
    Kind(Kind, &'static str),
}

/// Notes what is wrong with a setting's name and type, for this Superset.
pub fn judge(said: Said<'_>, field: &Field<'_>, superset: Edition, notes: &mut Notes<'_>) {
    let mut judge = Judge { superset, notes };
    let entry = catalogue::setting(said.name, superset);
    let (Some(types), Some(edit)) = (judge.known(entry, "setting", said.line, field), said.edit) else { return };
    match found(edit) {
        Found::Kind(kind, found) if !types.accept(kind) => judge.refuse(said, types, (kind, found), field),
        _ if said.name == FEATURE_FLAGS => judge.flags(edit, said.line, field),
        _ => {}
    }
}

struct Judge<'a, 'n> {
    superset: Edition,
    notes: &'a mut Notes<'n>,
}

impl Judge<'_, '_> {
    /// What a name takes, or `None` after a warning that nobody knows it.
    fn known(&mut self, entry: Entry, what: &str, line: u64, field: &Field<'_>) -> Option<Types> {
        let own = self.superset.version().unwrap_or_default();
        let (message, near) = match entry {
            Entry::Known(types) => return Some(types),
            Entry::Elsewhere { versions: (first, last) } if first == last => {
                (format!("Superset {own} has no such {what}, but {first} has"), None)
            }
            Entry::Elsewhere { versions: (first, last) } => {
                (format!("Superset {own} has no such {what}, but {first} to {last} have"), None)
            }
            Entry::Unknown { near: None } => (format!("Superset has no such {what}"), None),
            Entry::Unknown { near } => (format!("Superset has no such {what}, but one of nearly that name"), near),
        };
        self.notes.warning(line, field, message, near.map(|near| format!("did you mean `{near}`?")));
        None
    }

    fn refuse(&mut self, said: Said<'_>, types: Types, (kind, found): (Kind, &str), field: &Field<'_>) {
        let message = format!("expected {}, found {found}", types.expected());
        if kind == Kind::Null && !NEEDED.contains(&said.name) {
            // Superset's annotations are few: some settings without one may well be null.
            let hint = "Superset does not say that this may be null; {$unset: true} leaves its default".to_owned();
            self.notes.warning(said.line, field, message, hint);
        } else {
            self.notes.hinted(said.line, field, message, hint(said, types));
        }
    }

    /// A flag is on where Python holds its value for true: text is, whatever it says.
    fn flags(&mut self, edit: &Edit, line: u64, field: &Field<'_>) {
        match edit {
            Edit::Merge(patches) | Edit::OverBase(patches) => {
                for (key, patch) in patches.as_slice() {
                    self.flag(key, patch.line, &found(&patch.edit), field);
                }
            }
            Edit::Set(Value::Map(flags)) => {
                for (key, value) in flags {
                    self.flag(key, line, &of(value), field);
                }
            }
            Edit::Set(_) | Edit::Unset => {}
        }
    }

    fn flag(&mut self, key: &Key, line: u64, found: &Found, field: &Field<'_>) {
        let Key::Str(name) = key else { return };
        let field = Field::Key(field, key);
        let types = self.known(catalogue::flag(name, self.superset), "feature flag", line, &field);
        if let (Some(types), Found::Kind(kind, found)) = (types, found)
            && !types.accept(*kind)
        {
            self.notes.warning(line, &field, format!("expected {}, found {found}", types.expected()), None);
        }
    }
}

/// What would be right instead.
fn hint(said: Said<'_>, types: Types) -> Option<String> {
    let hint = match said.edit {
        // Base files have these by name, from Flask App-Builder.
        _ if said.name == "AUTH_TYPE" => "1 is the database, 2 LDAP, 3 the remote user, 4 OAuth",
        Some(Edit::Set(Value::Directive(Directive::Env(_) | Directive::File(_)))) => {
            "a variable or a file is text to Superset; the base file can make something else of it"
        }
        Some(Edit::Set(Value::Str(text))) if types.has(Kind::Int) && text.trim().parse::<i64>().is_ok() => {
            "without quotes it is a number"
        }
        Some(Edit::Set(Value::Str(text))) if types.has(Kind::Bool) && matches!(text.as_str(), "true" | "false") => {
            "without quotes it is a boolean"
        }
        Some(Edit::Set(Value::List(_))) if types.has(Kind::Set) => "write {$set: [...]}",
        _ if types.has(Kind::Timedelta) => "write {$timedelta: \"1h30m\"}",
        _ if types.has(Kind::Callable) => "name one with {$ref: package.name}, which `render.allow_objects` must allow",
        _ if types.has(Kind::Object) => "make one with {$object: {class: package.Name}}, which `render.allow_objects` must allow",
        _ => return None,
    };
    Some(hint.to_owned())
}

fn found(edit: &Edit) -> Found {
    match edit {
        Edit::Unset => Found::Anything,
        Edit::Set(value) => of(value),
        Edit::Merge(_) | Edit::OverBase(_) => Found::Kind(Kind::Mapping, "a mapping"),
    }
}

fn of(value: &Value) -> Found {
    let (kind, said) = match value {
        Value::Null => (Kind::Null, "null"),
        Value::Bool(_) => (Kind::Bool, "a boolean"),
        Value::Int(_) => (Kind::Int, "a whole number"),
        Value::Float(_) => (Kind::Float, "a number"),
        Value::Str(_) => (Kind::Text, "text"),
        Value::List(_) => (Kind::List, "a list"),
        Value::Map(_) => (Kind::Mapping, "a mapping"),
        Value::Directive(directive) => return of_directive(directive),
    };
    Found::Kind(kind, said)
}

fn of_directive(directive: &Directive) -> Found {
    let (kind, said) = match directive {
        Directive::Object(_) | Directive::Ref(_) | Directive::Python(_) => return Found::Anything,
        Directive::Env(_) => (Kind::Text, "text, which `$env` is"),
        Directive::File(_) => (Kind::Text, "text, which `$file` is"),
        Directive::Secret(_) => (Kind::Text, "text, which `$secret` is"),
        Directive::Timedelta(_) => (Kind::Timedelta, "a duration"),
        Directive::Tuple(_) => (Kind::Tuple, "a tuple"),
        Directive::Set(_) => (Kind::Set, "a set"),
        Directive::Crontab(_) => (Kind::Object, "a crontab"),
        Directive::Class(_) => (Kind::Callable, "a class"),
        Directive::Merge(_) => (Kind::Mapping, "a mapping"),
    };
    Found::Kind(kind, said)
}

#[cfg(test)]
mod tests;
