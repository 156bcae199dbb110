//! A datasource: one database connection as its znode wants it, with its secrets still unresolved.
//!
//! It exists only if it is valid by itself; whether two of them clash is for whoever sees all.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::snapshot::Origin;
use super::uri::SqlalchemyUri;
use super::value::Value;

/// What identifies a datasource in the tree: its znode's name. Cheap to clone: many remember it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DatasourceName(Arc<str>);

impl DatasourceName {
    /// Takes a znode's name.
    #[must_use]
    pub fn new(name: impl AsRef<str>) -> Self {
        Self(Arc::from(name.as_ref()))
    }

    /// The name as text that is shared with it.
    #[must_use]
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The UUID that this datasource has in every Superset of `cluster`, for ever: version 5 of both names.
    #[must_use]
    pub fn uuid(&self, cluster: &str) -> Uuid {
        let cluster = Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("setkeeper:{cluster}").as_bytes());
        Uuid::new_v5(&cluster, self.0.as_bytes())
    }
}

impl From<&Arc<str>> for DatasourceName {
    fn from(name: &Arc<str>) -> Self {
        Self(Arc::clone(name))
    }
}

impl fmt::Display for DatasourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One database connection as the tree wants it.
#[derive(Clone, PartialEq)]
pub struct Datasource {
    /// Its znode's name.
    pub name: DatasourceName,
    /// Where it is written down.
    pub origin: Origin,
    /// The name people see in Superset: mostly the znode's own, and then the same text.
    pub database_name: Arc<str>,
    /// Its UUID in Superset.
    pub uuid: Uuid,
    /// The SQLAlchemy URI without its password.
    pub uri: SqlalchemyUri,
    /// The password: `$secret` (plain text has become one), `$env` or `$file`.
    pub password: Option<Value>,
    /// Every other field of Superset's database schema that the znode sets, under Superset's name. `extra` and
    /// `masked_encrypted_extra` are mappings here; values may be `$env`, `$file` and `$secret` at any depth.
    pub fields: BTreeMap<String, Value>,
    /// Whether an existing connection of the same name may be taken over.
    pub adopt: bool,
}

/// Who it is and where it leads; of its fields, which may hold secrets, the names alone (law 9).
impl fmt::Debug for Datasource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Datasource");
        shown
            .field("name", &self.name)
            .field("database_name", &self.database_name)
            .field("uuid", &self.uuid)
            .field("uri", &self.uri);
        shown.field("fields", &self.fields.keys()).field("adopt", &self.adopt).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uuid_depends_on_both_names_and_never_changes() {
        let name = DatasourceName::new("sales");
        // A changed value here would orphan every connection in the field.
        assert_eq!(name.uuid("superset").to_string(), "d0cc5724-5f90-5a9b-b48a-3142f9d3e3f6");
        assert_ne!(name.uuid("superset"), name.uuid("other"));
        assert_ne!(name.uuid("superset"), DatasourceName::new("hr").uuid("superset"));
    }
}
