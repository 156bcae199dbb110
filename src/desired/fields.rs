//! The values of a datasource's fields: each checked against what Superset's schema takes there.
//!
//! Secrets stay directives, wherever in a value they stand. What a field holds is never repeated in a problem (law 9).

use super::directive::Reader;
use super::item::{Entry, Item, What};
use super::notes::{Field, Notes};
use super::schema::{self, Kind};
use super::yaml;
use crate::model::connection::MARK;
use crate::model::problem::nearest;
use crate::model::value::{Key, Mapping, Value};

/// A field that must be plain text, as it goes into a name.
pub fn plain_text(item: Item, name: &str, expected: &str, reader: &mut Reader<'_, '_>) -> Option<String> {
    match item.what {
        What::Text(text) if !text.trim().is_empty() => Some(text),
        other => {
            let found = if matches!(other, What::Text(_)) { "empty text" } else { other.kind() };
            reader.notes.error(item.line, &Field::Name(&Field::Root, name), format!("expected {expected}, found {found}"));
            None
        }
    }
}

/// Reads a field of this kind; `None` when it was wrong, which was noted then.
pub fn read(kind: Kind, line: u64, item: Item, field: &Field<'_>, reader: &mut Reader<'_, '_>) -> Option<Value> {
    match kind {
        Kind::Refused(why) => {
            reader.notes.hinted(line, field, "this field is not to be set here", why.to_owned());
            return None;
        }
        Kind::Later => {
            reader.notes.error(line, field, "is not built yet in this version");
            return None;
        }
        Kind::Json => return read_json(line, item, field, reader),
        Kind::Tunnel => return read_tunnel(line, item, field, reader),
        Kind::Bool | Kind::Int | Kind::Text | Kind::TextOrNull | Kind::Own => {}
    }
    let value = reader.value(item, field)?;
    let is_secret = matches!(value, Value::Directive(_));
    let (fits, expected) = match kind {
        Kind::Bool => (matches!(value, Value::Bool(_)), "true or false"),
        Kind::Int => (
            matches!(value, Value::Null) || matches!(value, Value::Int(number) if i32::try_from(number).is_ok()),
            "a whole number",
        ),
        Kind::TextOrNull => (is_secret || matches!(value, Value::Null | Value::Str(_)), "text"),
        _ => (is_secret || matches!(value, Value::Str(_)), "text"),
    };
    if fits {
        return Some(value);
    }
    let message = match value {
        Value::Int(_) if matches!(kind, Kind::Int) => format!("expected {expected} that fits into 32 bits"),
        _ => format!("expected {expected}, found {}", value.kind()),
    };
    reader.notes.error(line, field, message);
    None
}

/// A mapping, or the JSON text of one as Superset's own forms have it; or a secret that is such a text.
fn read_json(line: u64, item: Item, field: &Field<'_>, reader: &mut Reader<'_, '_>) -> Option<Value> {
    let item = match item.what {
        What::Text(text) if text.trim().is_empty() => return Some(Value::Map(Mapping::new())),
        What::Text(text) => {
            let mut inner = Notes::new(reader.notes.origin());
            let parsed = yaml::parse(&text, &mut inner);
            for problem in inner.into_problems() {
                reader.notes.error(line, field, format!("expected a mapping, or the JSON text of one: {}", problem.message));
            }
            Item { line, what: parsed?.what }
        }
        _ => item,
    };
    match reader.value(item, field)? {
        Value::Map(mapping) if mapping.contains_key(&Key::from(MARK)) => {
            reader.notes.error(line, field, format!("the key `{MARK}` is where the agent leaves its own mark"));
            None
        }
        Value::Map(mapping) => fits_json(&Value::Map(mapping.clone()), line, field, reader.notes).then_some(Value::Map(mapping)),
        secret @ Value::Directive(_) => Some(secret),
        Value::Null => Some(Value::Map(Mapping::new())),
        other => {
            reader.notes.error(line, field, format!("expected a mapping, or the JSON text of one, found {}", other.kind()));
            None
        }
    }
}

/// Whether JSON can say a value; what it cannot is noted.
fn fits_json(value: &Value, line: u64, field: &Field<'_>, notes: &mut Notes<'_>) -> bool {
    match value {
        Value::Float(number) if !number.is_finite() => {
            notes.error(line, field, "expected a finite number: JSON has no other");
            false
        }
        Value::Int(number) if i64::try_from(*number).is_err() => {
            notes.error(line, field, "expected a number that fits into 64 bits");
            false
        }
        Value::List(items) => {
            let fits = items.iter().enumerate().map(|(index, item)| fits_json(item, line, &Field::Item(field, index), notes));
            // Each is looked at before any decides, so that every problem is noted.
            fits.collect::<Vec<_>>().into_iter().all(|fits| fits)
        }
        Value::Map(mapping) => mapping.iter().fold(true, |all, (key, value)| {
            let field = Field::Key(field, key);
            if matches!(key, Key::Str(_)) {
                return fits_json(value, line, &field, notes) && all;
            }
            notes.error(line, &field, "expected text as a key: JSON has no other");
            false
        }),
        _ => true,
    }
}

fn read_tunnel(line: u64, item: Item, field: &Field<'_>, reader: &mut Reader<'_, '_>) -> Option<Value> {
    let entries = match item.what {
        What::Map(entries) => entries,
        What::Null => return Some(Value::Null),
        other => {
            reader.notes.error(line, field, format!("expected a mapping, found {}", other.kind()));
            return None;
        }
    };
    let mut mapping = Mapping::new();
    let mut whole = true;
    for Entry { key, line, item } in entries {
        let field = Field::Key(field, &key);
        let known = schema::TUNNEL.iter().find(|(name, _)| key == Key::from(*name));
        let value = known.and_then(|(_, kind)| read(*kind, line, item, &field, reader));
        if known.is_none() {
            let near = nearest(&key.to_string(), schema::TUNNEL.map(|(name, _)| name));
            reader.notes.hinted(
                line,
                &field,
                "an SSH tunnel has no such field",
                near.map(|near| format!("did you mean `{near}`?")),
            );
        }
        whole &= value.is_some();
        mapping.extend(value.map(|value| (key.clone(), value)));
    }
    for needed in ["server_address", "username"] {
        if whole && !mapping.contains_key(&Key::from(needed)) {
            reader.notes.error(line, field, format!("expected `{needed}` too"));
            whole = false;
        }
    }
    whole.then_some(Value::Map(mapping))
}
