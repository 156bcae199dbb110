//! Names of settings: what may name one, and what was probably meant where something else stands there.
//!
//! Superset loads only upper-case names. Whether it knows one is for [`super::types`] to say.

use crate::catalogue::{self, Edition, Entry};
use crate::model::problem::nearest;
use crate::model::value::is_identifier;

/// Why a name cannot name a setting, and what was probably meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misnamed {
    /// What was expected.
    pub message: &'static str,
    /// What was probably meant.
    pub hint: Option<String>,
}

/// Takes a name that can name a setting.
pub fn check(name: &str) -> Result<(), Misnamed> {
    let upper = name.to_ascii_uppercase();
    let fits = is_identifier(name) && name.chars().any(|c| c.is_ascii_alphabetic());
    if fits && upper == name {
        return Ok(());
    }
    if name.starts_with('$') {
        let message = "expected the name of a setting; directives stand for values, not for a whole fragment";
        return Err(Misnamed { message, hint: None });
    }
    let message = "expected the name of a setting: upper-case letters, digits and underscores";
    let meant = match name {
        "database_url" | "database_uri" | "sqlalchemy_uri" => Some("SQLALCHEMY_DATABASE_URI".to_owned()),
        _ => match catalogue::setting(&upper, Edition::default()) {
            Entry::Unknown { near } => {
                near.or_else(|| nearest(name, ["when", "config"])).map(ToOwned::to_owned).or_else(|| fits.then_some(upper))
            }
            Entry::Known(_) | Entry::Elsewhere { .. } => Some(upper),
        },
    };
    Err(Misnamed { message, hint: meant.map(|name| format!("did you mean `{name}`?")) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_upper_case_identifiers() {
        for good in ["ROW_LIMIT", "A1", "_X", "NONE"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, hint) in [
            ("row_limit", Some("ROW_LIMIT")),
            ("Row_Limit", Some("ROW_LIMIT")),
            ("row_limt", Some("ROW_LIMIT")),
            ("database_url", Some("SQLALCHEMY_DATABASE_URI")),
            ("wehn", Some("when")),
            ("confg", Some("config")),
            ("ROW-LIMIT", Some("ROW_LIMIT")),
            ("my_own", Some("MY_OWN")),
            ("1A", None),
            ("", None),
            ("_", None),
            ("$env", None),
            ("Ä", None),
        ] {
            let found = check(bad).unwrap_err().hint;
            assert_eq!(found, hint.map(|name| format!("did you mean `{name}`?")), "{bad}");
        }
    }
}
