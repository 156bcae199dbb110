//! A datasource: one node of the datasources tree, read into a database connection or into problems.
//!
//! A bad datasource holds back only itself (law 11). Its password leaves the URI at once; nothing that a field holds is
//! repeated in a problem (law 9). Secrets stay directives: who pushes resolves them.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::NodeName;
use super::directive::{Place, Reader};
use super::fields;
use super::fragment::open;
use super::item::{Entry, Item, What};
use super::lens::Lens;
use super::notes::{Field, Notes};
use super::parts::Target;
use super::schema::{self, ENGINES, Kind};
use super::yaml;
use crate::model::datasource::{Datasource, DatasourceName};
use crate::model::instance::InstanceId;
use crate::model::problem::{Problem, nearest};
use crate::model::snapshot::{Node, Origin};
use crate::model::value::{Key, Value};

const EXAMPLE: &str = "for example {sqlalchemy_uri: \"postgresql://user@host/database\", password: {$file: /run/secrets/it}}";

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
pub fn read(child: &NodeName, node: &Node, lens: &Lens) -> Read {
    let mut notes = Notes::new(&node.origin);
    let entries = open(node, &mut notes).and_then(|text| read_mapping(text, &mut notes));
    let given = entries.as_deref().and_then(given_name);
    let last = node.origin.as_str().rsplit('/').next().unwrap_or_default();
    let name = child.as_ref().map_or_else(|| DatasourceName::new(given.unwrap_or(last)), DatasourceName::from);
    let datasource = entries.and_then(|entries| {
        let mut reader = Reader { place: Place::Datasource, allowed: &lens.secrets, notes: &mut notes };
        let (own, fields) = read_fields(entries, &mut reader);
        let identity = Identity { name: &name, is_child: child.is_some(), origin: &node.origin, uuid: name.uuid(&lens.cluster) };
        build(&identity, own, fields, &mut reader)
    });
    let datasource = datasource.filter(|_| !notes.has_errors());
    Read { name, datasource, problems: notes.into_problems() }
}

fn read_mapping(text: &str, notes: &mut Notes<'_>) -> Option<Vec<Entry>> {
    let item = yaml::parse(text, notes)?;
    let found = match item.what {
        What::Map(entries) => return Some(entries),
        other => other.kind(),
    };
    let message = format!("expected a mapping that describes a database connection, found {found}");
    notes.hinted(item.line, &Field::Root, message, EXAMPLE.to_owned());
    None
}

/// The name that a node gives itself.
fn given_name(entries: &[Entry]) -> Option<&str> {
    entries.iter().find_map(|entry| match (&entry.key, &entry.item.what) {
        (Key::Str(key), What::Text(text)) if key == "name" && names_a_znode(text) => Some(text.as_str()),
        _ => None,
    })
}

/// A datasource's name is a part of znode paths, that of its status for one.
fn names_a_znode(text: &str) -> bool {
    InstanceId::parse(text).is_some() && !text.trim().is_empty()
}

/// The fields that the agent itself reads, and Superset's.
fn read_fields(entries: Vec<Entry>, reader: &mut Reader<'_, '_>) -> (BTreeMap<String, Item>, BTreeMap<String, Value>) {
    let (mut own, mut fields) = (BTreeMap::new(), BTreeMap::new());
    for Entry { key, line, item } in entries {
        let field = Field::Key(&Field::Root, &key);
        let Key::Str(name) = &key else {
            reader.notes.error(line, &field, "expected the name of a field");
            continue;
        };
        match schema::kind(name) {
            Some(Kind::Own) => drop(own.insert(name.clone(), item)),
            Some(kind) => fields.extend(fields::read(kind, line, item, &field, reader).map(|value| (name.clone(), value))),
            None => unknown(name, line, &field, reader.notes),
        }
    }
    (own, fields)
}

fn unknown(name: &str, line: u64, field: &Field<'_>, notes: &mut Notes<'_>) {
    let usable = schema::FIELDS.iter().filter(|(_, kind)| !matches!(kind, Kind::Refused(_))).map(|(known, _)| *known);
    let elsewhere = schema::ELSEWHERE.iter().find(|(known, _)| *known == name).map(|(_, here)| *here);
    let near = elsewhere.or_else(|| nearest(name, usable));
    notes.hinted(line, field, "a datasource has no such field", near.map(|near| format!("did you mean `{near}`?")));
}

/// Who a datasource is, whatever its fields say.
struct Identity<'n> {
    name: &'n DatasourceName,
    is_child: bool,
    origin: &'n Origin,
    uuid: Uuid,
}

fn build(
    identity: &Identity<'_>,
    mut own: BTreeMap<String, Item>,
    fields: BTreeMap<String, Value>,
    reader: &mut Reader<'_, '_>,
) -> Option<Datasource> {
    let given = own.remove("name").map(|item| read_name(item, identity, reader));
    let database_name = own.remove("database_name").map(|item| fields::plain_text(item, "database_name", "text", reader));
    let adopt = own.remove("adopt").map(|item| read_adopt(&item, reader.notes));
    let mut engines = [given.as_ref().and_then(Option::as_deref), Some(identity.name.as_str())].into_iter().flatten();
    let engine = engines.find(|name| ENGINES.contains(name)).map(ToOwned::to_owned);
    let Target { uri, password } = Target::read(own, engine, reader)?;
    Some(Datasource {
        name: identity.name.clone(),
        origin: identity.origin.clone(),
        database_name: database_name.map_or_else(|| Some(identity.name.shared()), |given| given.map(Arc::from))?,
        uuid: identity.uuid,
        uri,
        password,
        fields,
        adopt: adopt.unwrap_or(Some(false))?,
    })
}

/// A child is named by its znode; its field `name` can only say which engine it is.
fn read_name(item: Item, identity: &Identity<'_>, reader: &mut Reader<'_, '_>) -> Option<String> {
    let line = item.line;
    let given = fields::plain_text(item, "name", "text", reader)?;
    if identity.is_child && given != identity.name.as_str() && !ENGINES.contains(&given.as_str()) {
        let hint = "its znode's name names it, and `database_name` is what people see".to_owned();
        reader.notes.hinted(line, &Field::Name(&Field::Root, "name"), "expected an engine, or no `name` at all", hint);
        return None;
    }
    if !identity.is_child && !names_a_znode(&given) {
        reader.notes.error(
            line,
            &Field::Name(&Field::Root, "name"),
            "expected a name that a znode can have: no `/`, no control character",
        );
        return None;
    }
    Some(given)
}

fn read_adopt(item: &Item, notes: &mut Notes<'_>) -> Option<bool> {
    if let What::Bool(truth) = item.what {
        return Some(truth);
    }
    let message = format!("expected true or false, found {}", item.what.kind());
    notes.error(item.line, &Field::Name(&Field::Root, "adopt"), message);
    None
}

#[cfg(test)]
mod tests;
