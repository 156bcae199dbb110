//! A connection: one database as Superset has it, and the exact request that would make it what a datasource wants.
//!
//! The two sides of a push. [`Connection`] is what a list call tells (with [`Stored`] for what only `GET
//! /{id}/connection` tells); [`Request`] is the body of a POST or PUT, complete but for the secrets, which are sealed in it.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use uuid::Uuid;

use super::secret::SecretText;

/// Under which key of a connection's `extra` the mark lies.
pub const MARK: &str = "setkeeper";

/// One connection as Superset's list shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    /// Superset's own number for it.
    pub id: i64,
    /// Its UUID; ours if the datasource's name makes the same one.
    pub uuid: Uuid,
    /// The name people see.
    pub database_name: String,
    /// When it last changed, as Superset says it; compared for equality only.
    pub changed_on: String,
    /// The digest that our last push left in `extra.setkeeper.digest`.
    pub mark: Option<String>,
}

/// What only a call for the one connection tells: every field as Superset stores it, passwords masked.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// The fields under Superset's names; `extra` and `masked_encrypted_extra` parsed where they are JSON.
    pub fields: BTreeMap<String, Json>,
}

/// The fields of a POST or PUT. Those that may hold a secret are sealed and shown as `***`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// Fields that can be shown.
    pub open: BTreeMap<String, Json>,
    /// Fields that hold a secret (`sqlalchemy_uri` with its password, say): the JSON text of each.
    pub sealed: BTreeMap<String, SecretText>,
}

impl Request {
    /// The names of all fields, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.open.keys().chain(self.sealed.keys()).map(String::as_str).collect();
        names.sort_unstable();
        names
    }
}
