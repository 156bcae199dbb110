//! What must not change unnoticed: the settings with which Superset boots all the same, and has lost what it stored.
//!
//! Held as digests under the cluster's key, so that they tell nothing of the values (law 9).

use serde::{Deserialize, Serialize};

/// The settings that are protected.
pub const PROTECTED: [&str; 2] = ["SECRET_KEY", "SQLALCHEMY_DATABASE_URI"];

/// What must not change unnoticed, as digests under the cluster's key; `None` where it is not set or was not reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protected {
    /// Under which key: digests under two keys cannot be compared, and the cluster's may be made anew.
    #[serde(default)]
    pub under: Option<String>,
    /// Of the loaded `SECRET_KEY`: another one boots, and has lost every stored password.
    pub secret_key: Option<String>,
    /// Of the loaded `SQLALCHEMY_DATABASE_URI`: another one boots, and shows another Superset.
    pub metadata_uri: Option<String>,
}

impl Protected {
    /// Whether the two were made under one key.
    #[must_use]
    pub fn is_comparable(&self, other: &Self) -> bool {
        self.under == other.under
    }

    /// The names of the protected settings that differ from those of the last good revision.
    #[must_use]
    pub fn changed_from(&self, last_good: &Self) -> Vec<&'static str> {
        let differ = |new: &Option<String>, old: &Option<String>| new.is_some() && old.is_some() && new != old;
        let mut changed = Vec::new();
        if differ(&self.secret_key, &last_good.secret_key) {
            changed.push(PROTECTED[0]);
        }
        if differ(&self.metadata_uri, &last_good.metadata_uri) {
            changed.push(PROTECTED[1]);
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_on_both_sides_counts_as_changed() {
        let protected = |key: Option<&str>, uri: Option<&str>| Protected {
            under: None,
            secret_key: key.map(ToOwned::to_owned),
            metadata_uri: uri.map(ToOwned::to_owned),
        };
        let old = protected(Some("a"), Some("b"));
        assert_eq!(old.changed_from(&old), [""; 0]);
        assert_eq!(protected(Some("x"), Some("y")).changed_from(&old), ["SECRET_KEY", "SQLALCHEMY_DATABASE_URI"]);
        assert_eq!(protected(None, Some("y")).changed_from(&old), ["SQLALCHEMY_DATABASE_URI"]);
        assert_eq!(old.changed_from(&Protected::default()), [""; 0]);
    }
}
