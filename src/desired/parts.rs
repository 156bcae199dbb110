//! The target of a datasource: its URI and password, given as one URI or in parts.
//!
//! The password may be a directive; nothing else of a URI may, because the URI is compared, shown and probed before anybody
//! resolves a secret.

use std::collections::BTreeMap;

use super::directive::Reader;
use super::fields::plain_text;
use super::item::{Entry, Item, What};
use super::lines::fixed_scheme;
use super::notes::Field;
use super::schema::ENGINES;
use crate::model::problem::nearest;
use crate::model::secret::SecretText;
use crate::model::uri::{Parts, SqlalchemyUri};
use crate::model::value::{Directive, Key, Value};

/// What Superset shows instead of a password; pushed back, it would be one.
const MASK: &str = "XXXXXXXXXX";
const PARTS: [&str; 7] = ["database", "driver", "engine", "host", "port", "query", "user"];

/// Where a datasource leads.
#[derive(Debug)]
pub struct Target {
    /// The URI, without a password.
    pub uri: SqlalchemyUri,
    /// The password.
    pub password: Option<Value>,
}

impl Target {
    /// Reads the target from the fields that describe it; `engine` is what it is where none of them says so.
    pub fn read(mut fields: BTreeMap<String, Item>, engine: Option<String>, reader: &mut Reader<'_, '_>) -> Option<Self> {
        let password = fields.remove("password").map(|item| read_password(item, reader));
        let (uri, inner) = match fields.remove("sqlalchemy_uri") {
            Some(item) => {
                for (name, item) in PARTS.iter().filter_map(|name| Some((*name, fields.get(*name)?))) {
                    let hint =
                        "a datasource is either one URI or `engine`, `host`, `port`, `user`, `database` and `query`".to_owned();
                    reader.notes.hinted(item.line, &Field::Name(&Field::Root, name), "stands beside `sqlalchemy_uri`", hint);
                }
                read_uri(item, password.is_some(), reader)?
            }
            None => (read_parts(fields, engine, reader)?, None),
        };
        let password = match password {
            Some(read) => read?,
            None => inner,
        };
        check_engine(uri.engine(), reader);
        Some(Self { uri, password })
    }
}

/// The password; `None` when it was wrong, `Some(None)` where it is said that there is none.
#[allow(clippy::option_option)]
fn read_password(item: Item, reader: &mut Reader<'_, '_>) -> Option<Option<Value>> {
    let field = Field::Name(&Field::Root, "password");
    let line = item.line;
    match reader.value(item, &field)? {
        Value::Null => Some(None),
        Value::Str(text) if text == MASK => {
            reader.notes.error(line, &field, "is the mask that Superset shows instead of a password");
            None
        }
        Value::Str(text) if text.is_empty() => Some(None),
        Value::Str(text) => Some(Some(Value::Directive(Directive::Secret(SecretText::new(text))))),
        value @ Value::Directive(_) => Some(Some(value)),
        other => {
            reader.notes.error(
                line,
                &field,
                format!("expected text (in quotes, where it looks like a number), found {}", other.kind()),
            );
            None
        }
    }
}

fn read_uri(item: Item, has_password: bool, reader: &mut Reader<'_, '_>) -> Option<(SqlalchemyUri, Option<Value>)> {
    let field = Field::Name(&Field::Root, "sqlalchemy_uri");
    let line = item.line;
    let text = match reader.value(item, &field)? {
        Value::Str(text) => text,
        Value::Directive(Directive::Secret(secret)) => secret.expose().to_owned(),
        Value::Directive(_) => {
            let hint = "write the URI without its password here, and the secret as `password: {$file: ...}`";
            reader.notes.hinted(line, &field, "a URI cannot be resolved later: it is compared and shown", hint.to_owned());
            return None;
        }
        other => {
            reader.notes.error(line, &field, format!("expected a URI, found {}", other.kind()));
            return None;
        }
    };
    let (uri, password) = match SqlalchemyUri::parse(text.trim()) {
        Ok(read) => read,
        Err(error) => {
            reader.notes.error(line, &field, error.to_string());
            return None;
        }
    };
    let password = password.filter(|secret| !secret.expose().is_empty());
    if password.as_ref().is_some_and(|secret| secret.expose() == MASK) {
        reader.notes.error(line, &field, "holds the mask that Superset shows instead of a password");
        return None;
    }
    if has_password && password.is_some() {
        reader.notes.error(line, &field, "holds a password, and so does `password`; expected one of them");
        return None;
    }
    let scheme = match uri.driver() {
        Some(driver) => fixed_scheme(&format!("{}+{driver}", uri.engine())),
        None => fixed_scheme(uri.engine()),
    };
    let value = password.map(|secret| Value::Directive(Directive::Secret(secret)));
    Some((uri.with_scheme(&scheme), value))
}

fn read_parts(mut fields: BTreeMap<String, Item>, named: Option<String>, reader: &mut Reader<'_, '_>) -> Option<SqlalchemyUri> {
    let mut text = |name: &'static str, reader: &mut Reader<'_, '_>| match fields.remove(name) {
        Some(Item { what: What::Null, .. }) | None => Some(None),
        Some(Item { what: What::Text(text), .. }) if text.is_empty() => Some(None),
        Some(item) => plain_text(item, name, "text", reader).map(Some),
    };
    let read = ["engine", "driver", "host", "user", "database"].map(|name| text(name, reader));
    let port = fields.remove("port").map_or(Some(None), |item| read_port(&item, reader));
    let query = fields.remove("query").map_or(Some(Vec::new()), |item| read_query(item, reader));
    let [engine, driver, host, user, database] = read;
    let (driver, host, user, database) = (driver?, host?, user?, database?);
    let engine = engine?.or(named);
    let Some(engine) = engine else {
        let hint = "for example engine: postgresql; only where the name is that of an engine can it be left out".to_owned();
        reader.notes.hinted(None, &Field::Root, "expected `sqlalchemy_uri`, or `engine` and where its server is", hint);
        return None;
    };
    let scheme = fixed_scheme(&driver.map_or_else(|| engine.clone(), |driver| format!("{engine}+{driver}")));
    if let Some(inner) = host.as_deref().filter(|host| host.contains(['/', '@', '?', '#']) || host.matches(':').count() == 1) {
        let what = if inner.contains("://") { "a URI goes into `sqlalchemy_uri`" } else { "the port goes into `port`" };
        reader.notes.hinted(
            None,
            &Field::Name(&Field::Root, "host"),
            "expected the name or address of a server alone",
            what.to_owned(),
        );
        return None;
    }
    let parts = Parts {
        scheme: &scheme,
        user: user.as_deref(),
        host: host.as_deref().map(|host| host.trim_start_matches('[').trim_end_matches(']')),
        port: port?,
        database: database.as_deref(),
        query: query?,
    };
    let uri = SqlalchemyUri::from_parts(&parts);
    uri.map_err(|error| reader.notes.error(None, &Field::Name(&Field::Root, "engine"), error.to_string())).ok()
}

/// A port may be text: people copy it from environment files. `Some(None)` where it is said that there is none.
#[allow(clippy::option_option)]
fn read_port(item: &Item, reader: &mut Reader<'_, '_>) -> Option<Option<u16>> {
    let port = match &item.what {
        What::Null => return Some(None),
        What::Int(number) => u16::try_from(*number).ok(),
        What::Text(text) if text.is_empty() => return Some(None),
        What::Text(text) => text.trim().parse().ok(),
        _ => None,
    };
    let port = port.filter(|port| *port > 0);
    if port.is_none() {
        reader.notes.error(item.line, &Field::Name(&Field::Root, "port"), "expected a port between 1 and 65535");
    }
    port.map(Some)
}

fn read_query(item: Item, reader: &mut Reader<'_, '_>) -> Option<Vec<(String, String)>> {
    let field = Field::Name(&Field::Root, "query");
    let entries = match item.what {
        What::Null => return Some(Vec::new()),
        What::Map(entries) => entries,
        other => {
            reader.notes.error(item.line, &field, format!("expected a mapping of names to text, found {}", other.kind()));
            return None;
        }
    };
    let mut pairs = Vec::with_capacity(entries.len());
    let mut whole = true;
    for Entry { key, line, item } in entries {
        let values = match item.what {
            What::List(items) => items,
            _ => vec![item],
        };
        for value in values {
            if let (Key::Str(name), Some(text)) = (&key, scalar_text(value.what)) {
                pairs.push((name.clone(), text));
            } else {
                let hint = "secrets go into `password`, or into `extra.engine_params.connect_args`".to_owned();
                reader.notes.hinted(line, &Field::Key(&field, &key), "expected text, or a list of texts", hint);
                whole = false;
            }
        }
    }
    whole.then_some(pairs)
}

fn scalar_text(what: What) -> Option<String> {
    match what {
        What::Text(text) => Some(text),
        What::Bool(truth) => Some(truth.to_string()),
        What::Int(number) => Some(number.to_string()),
        _ => None,
    }
}

fn check_engine(engine: &str, reader: &mut Reader<'_, '_>) {
    if ENGINES.contains(&engine) {
        return;
    }
    let near = nearest(engine, ENGINES).map(|near| format!("did you mean `{near}`?"));
    let Some(hint) = near else { return };
    reader.notes.warning(None, &Field::Root, "Superset documents no engine of this name, but one of nearly that name", hint);
}
