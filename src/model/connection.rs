//! A connection: one database as Superset has it, and the exact request that would make it what a datasource wants.
//!
//! The two sides of a push. [`Connection`] is what a list call tells (with [`Stored`] for what only `GET
//! /{id}/connection` tells); [`Request`] is the body of a POST or PUT, complete but for the secrets, which are sealed in it.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::secret::SecretText;

/// Under which key of a connection's `extra` the mark lies.
pub const MARK: &str = "setkeeper";

/// The one field that Superset takes and never shows.
pub const INVISIBLE: &str = "external_url";

/// One connection as Superset's list shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    /// Superset's own number for it.
    pub id: i64,
    /// Its UUID; ours if the datasource's name makes the same one. The nil UUID where Superset has none for it.
    pub uuid: Uuid,
    /// The name people see.
    pub database_name: String,
    /// When it last changed, as Superset says it; compared for equality only.
    pub changed_on: String,
    /// What our last push left in `extra.setkeeper`.
    pub mark: Option<Mark>,
}

/// What each push leaves in `extra.setkeeper`: recorded ownership. The name lets whoever finds the connection after its
/// datasource is gone prove that it was ours: the name must make the connection's UUID (a copied `extra` does not).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The datasource's name.
    pub name: String,
    /// The digest of all that was pushed.
    pub digest: String,
}

impl Mark {
    /// The mark in a parsed `extra`, where there is a whole one.
    #[must_use]
    pub fn of(extra: &Json) -> Option<Self> {
        let mark = extra.get(MARK)?;
        let text = |key: &str| mark.get(key)?.as_str().map(ToOwned::to_owned);
        Some(Self { name: text("name")?, digest: text("digest")? })
    }

    /// The mark as it lies in `extra`.
    #[must_use]
    pub fn json(&self) -> Json {
        json!({"name": self.name, "digest": self.digest})
    }
}

/// What only a call for the one connection tells: every field as Superset stores it, the URI's password masked.
///
/// Superset masks `masked_encrypted_extra` for some engines only and `extra` for none, so its `Debug` names the fields and
/// shows no value (law 9).
#[derive(Clone, PartialEq)]
pub struct Stored {
    /// The fields under Superset's names; `extra` and `masked_encrypted_extra` parsed where they are JSON.
    pub fields: BTreeMap<String, Json>,
}

impl Stored {
    /// What our last push left in `extra.setkeeper`.
    #[must_use]
    pub fn mark(&self) -> Option<Mark> {
        Mark::of(self.fields.get("extra")?)
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stored").field(&self.fields.keys().collect::<Vec<_>>()).finish()
    }
}

/// The fields of a POST or PUT. Those that may hold a secret are sealed and shown as `***`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// Whose it is: only a connection that bears this UUID is changed by it.
    pub uuid: Uuid,
    /// Fields that can be shown.
    pub open: BTreeMap<String, Json>,
    /// Fields that hold a secret (`sqlalchemy_uri` with its password, say): the JSON text of each.
    pub sealed: BTreeMap<String, SecretText>,
    /// Every secret in it by itself, so that an answer that echoes one can be scrubbed.
    pub secrets: Vec<SecretText>,
    /// The digest of the datasource and its secrets: that of [`Connection::mark`] once this has been pushed.
    pub digest: String,
}

impl Request {
    /// The names of all fields, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.open.keys().chain(self.sealed.keys()).map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// The same request with those of its fields that are named: the body of a PUT that touches nothing else.
    #[must_use]
    pub fn only<S: AsRef<str>>(&self, names: &[S]) -> Self {
        let wanted = |field: &String| names.iter().any(|name| name.as_ref() == field);
        let mut part = self.clone();
        part.open.retain(|field, _| wanted(field));
        part.sealed.retain(|field, _| wanted(field));
        part
    }

    /// The same for a connection that bears another mark: besides the named fields, all that only the mark can tell about,
    /// which is what holds a secret and what Superset never shows, and the field with the mark itself.
    #[must_use]
    pub fn only_and_sealed<S: AsRef<str>>(&self, names: &[S]) -> Self {
        let listed = names.iter().map(AsRef::as_ref);
        let sealed = self.sealed.keys().map(String::as_str);
        self.only(&listed.chain(sealed).chain([INVISIBLE, "extra"]).collect::<Vec<_>>())
    }

    /// The JSON object to send: the one place where sealed fields are opened.
    #[must_use]
    pub fn body(&self) -> SecretText {
        let open = self.open.iter().map(|(name, value)| format!("{}:{value}", Json::from(name.as_str())));
        let sealed = self.sealed.iter().map(|(name, text)| format!("{}:{}", Json::from(name.as_str()), text.expose()));
        SecretText::new(format!("{{{}}}", open.chain(sealed).collect::<Vec<_>>().join(",")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        Request {
            uuid: Uuid::nil(),
            open: BTreeMap::from([("cache_timeout".to_owned(), Json::from(5)), ("a\"b".to_owned(), Json::Null)]),
            sealed: BTreeMap::from([("sqlalchemy_uri".to_owned(), SecretText::new(r#""pg://u:canary@h""#))]),
            secrets: vec![SecretText::new("canary")],
            digest: "d".to_owned(),
        }
    }

    #[test]
    fn the_body_is_one_json_object_of_all_fields() {
        let body: Json = serde_json::from_str(request().body().expose()).unwrap();
        assert_eq!(body, json!({"cache_timeout": 5, "a\"b": null, "sqlalchemy_uri": "pg://u:canary@h"}));
        assert_eq!(request().names(), ["a\"b", "cache_timeout", "sqlalchemy_uri"]);
    }

    #[test]
    fn a_part_keeps_the_named_fields_the_digest_and_what_must_be_scrubbed() {
        let part = request().only(&["sqlalchemy_uri", "unknown"]);
        assert_eq!(part.names(), ["sqlalchemy_uri"]);
        assert_eq!(request().only_and_sealed(&["cache_timeout"]).names(), ["cache_timeout", "sqlalchemy_uri"]);
        assert_eq!((part.secrets, part.digest), (request().secrets, request().digest));
    }

    #[test]
    fn law_9_neither_side_shows_a_secret() {
        let stored = Stored { fields: BTreeMap::from([("extra".to_owned(), json!({"p": "canary"}))]) };
        let shown = format!("{:?} {stored:?} {}", request(), request().body());
        assert!(!shown.contains("canary"), "{shown}");
    }
}
