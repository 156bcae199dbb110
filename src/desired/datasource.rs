//! A datasource: one node of the datasources tree, read into a database connection or into problems.
//!
//! A bad datasource holds back only itself (law 11). Its password leaves the URI at once; nothing that a field holds is
//! repeated in a problem (law 9). Secrets stay directives: who pushes resolves them.

use std::collections::BTreeMap;

use super::directive::{Place, Reader};
use super::fragment::open;
use super::lens::Lens;
use super::notes::{Field, Notes};
use super::parts::Target;
use super::schema::{self, Kind};
use super::yaml::{self, Entry, Item, What};
use crate::model::connection::MARK;
use crate::model::datasource::{Datasource, DatasourceName};
use crate::model::problem::{Problem, nearest};
use crate::model::snapshot::Node;
use crate::model::value::{Directive, Key, Mapping, Value};

/// What a node came to: its name in any case, and the datasource if it is valid by itself.
#[derive(Debug)]
pub struct Read {
    /// Its name.
    pub name: DatasourceName,
    /// The datasource; `None` when an error is among the problems.
    pub datasource: Option<Datasource>,
    /// Everything wrong with it.
    pub problems: Vec<Problem>,
}

/// Reads a node. `child` is its name; a root has none, and is named by its field `name` or else by its path's last part.
#[must_use]
pub fn read(child: Option<&str>, node: &Node, lens: &Lens) -> Read {
    let mut notes = Notes::new(&node.origin);
    let entries = open(node, &mut notes).and_then(|text| read_mapping(text, &mut notes)).unwrap_or_default();
    let given = text_of(&entries, "name");
    let last = node.origin.as_str().rsplit('/').next().unwrap_or_default();
    let name = DatasourceName::new(child.or(given).unwrap_or(last));
    let datasource = if notes.has_errors() { None } else { build(&name, child.is_none(), node, entries, lens, &mut notes) };
    let datasource = datasource.filter(|_| !notes.has_errors());
    Read { name, datasource, problems: notes.into_problems() }
}

fn read_mapping(text: &str, notes: &mut Notes<'_>) -> Option<Vec<Entry>> {
    const HINT: &str = "for example {sqlalchemy_uri: \"postgresql://user@host/database\", password: {$file: /run/secrets/it}}";
    let item = yaml::parse(text, notes)?;
    match item.what {
        What::Map(entries) => return Some(entries),
        What::Null => {
            notes.hinted(None, &Field::Root, "is empty; expected a mapping that describes a database connection", HINT.to_owned())
        }
        other => {
            let message = format!("expected a mapping that describes a database connection, found {}", other.kind());
            notes.hinted(item.line, &Field::Root, message, HINT.to_owned());
        }
    }
    None
}

fn text_of<'e>(entries: &'e [Entry], name: &str) -> Option<&'e str> {
    entries.iter().find_map(|entry| match (&entry.key, &entry.item.what) {
        (Key::Str(key), What::Text(text)) if key == name && !text.is_empty() => Some(text.as_str()),
        _ => None,
    })
}

fn build(
    name: &DatasourceName,
    is_root: bool,
    node: &Node,
    entries: Vec<Entry>,
    lens: &Lens,
    notes: &mut Notes<'_>,
) -> Option<Datasource> {
    let mut fields = BTreeMap::new();
    let mut own = BTreeMap::new();
    let mut reader = Reader { place: Place::Datasource, allowed: &lens.secrets, notes };
    for Entry { key, line, item } in entries {
        let field = Field::Key(&Field::Root, &key);
        let Key::Str(known) = &key else {
            reader.notes.error(line, &field, "expected the name of a field");
            continue;
        };
        match schema::kind(known) {
            Some(Kind::Own) => {
                own.insert(known.clone(), item);
            }
            Some(kind) => {
                if let Some(value) = read_field(kind, line, item, &field, &mut reader) {
                    fields.insert(known.clone(), value);
                }
            }
            None => unknown(known, line, &field, reader.notes),
        }
    }
    let given_name = own.remove("name").and_then(|item| plain_text(item, "name", "text", &mut reader));
    let database_name = own.remove("database_name").map(|item| plain_text(item, "database_name", "text", &mut reader));
    let adopt = own.remove("adopt").map(|item| read_adopt(&item, reader.notes));
    let named =
        if is_root { given_name.as_deref().unwrap_or(name.as_str()) } else { given_name.as_deref().unwrap_or(name.as_str()) };
    let target = Target::read(own, named, &mut reader)?;
    Some(Datasource {
        name: name.clone(),
        origin: node.origin.clone(),
        database_name: database_name.unwrap_or_else(|| Some(name.as_str().to_owned()))?,
        uuid: name.uuid(&lens.cluster),
        uri: target.uri,
        password: target.password,
        fields,
        adopt: adopt.unwrap_or(Some(false))?,
    })
}

fn unknown(name: &str, line: u64, field: &Field<'_>, notes: &mut Notes<'_>) {
    let elsewhere = schema::ELSEWHERE.iter().find(|(known, _)| *known == name).map(|(_, here)| *here);
    let near = elsewhere.or_else(|| {
        nearest(name, schema::FIELDS.iter().filter(|(_, kind)| !matches!(kind, Kind::Refused(_))).map(|(known, _)| *known))
    });
    notes.hinted(line, field, "a datasource has no such field", near.map(|near| format!("did you mean `{near}`?")));
}

fn read_adopt(item: &Item, notes: &mut Notes<'_>) -> Option<bool> {
    match item.what {
        What::Bool(truth) => Some(truth),
        ref other => {
            let message = format!("expected true or false, found {}", other.kind());
            notes.error(item.line, &Field::Name(&Field::Root, "adopt"), message);
            None
        }
    }
}

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

fn read_field(kind: Kind, line: u64, item: Item, field: &Field<'_>, reader: &mut Reader<'_, '_>) -> Option<Value> {
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
    reader.notes.error(line, field, format!("expected {expected}, found {}", value.kind()));
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
            fits.fold(true, |all, one| all && one)
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
        let value = match known {
            Some((_, kind)) => read_field(*kind, line, item, &field, reader),
            None => {
                let near =
                    nearest(&key.to_string(), schema::TUNNEL.map(|(name, _)| name)).map(|near| format!("did you mean `{near}`?"));
                reader.notes.hinted(line, &field, "an SSH tunnel has no such field", near);
                None
            }
        };
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

/// Whether a value is one that only the agent can resolve.
#[must_use]
pub fn is_reference(value: &Value) -> bool {
    matches!(value, Value::Directive(Directive::Env(_) | Directive::File(_)))
}
