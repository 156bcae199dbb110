//! Names of settings: what may name one, and what was probably meant where something else stands there.
//!
//! Superset loads only upper-case names and is silent about those it does not know. Names that Superset, Flask or Flask
//! App-Builder know are listed, so that a slip of one or two letters can be told; a name that is near none of them is
//! somebody's own and nobody's business.

use std::sync::LazyLock;

use crate::model::problem::nearest;
use crate::model::value::is_identifier;

static KNOWN: LazyLock<Vec<&str>> = LazyLock::new(|| include_str!("known_settings.txt").lines().collect());

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
    let known = |upper: &str| KNOWN.binary_search(&upper).is_ok();
    let meant = match name {
        "database_url" | "database_uri" | "sqlalchemy_uri" => Some("SQLALCHEMY_DATABASE_URI".to_owned()),
        _ if known(&upper) => Some(upper),
        _ => slip(&upper)
            .or_else(|| nearest(name, ["when", "config"]))
            .or_else(|| nearest(&upper, KNOWN.iter().copied()))
            .map(ToOwned::to_owned)
            .or_else(|| fits.then_some(upper)),
    };
    Err(Misnamed { message, hint: meant.map(|name| format!("did you mean `{name}`?")) })
}

/// The known setting of which an unknown one is probably a misspelling: one slip in a short name, two in a long one.
#[must_use]
pub fn slip(name: &str) -> Option<&'static str> {
    if KNOWN.binary_search(&name).is_ok() {
        return None;
    }
    let allowed = if name.len() < 10 { 1 } else { 2 };
    let near = |known: &&&'static str| {
        // Cheap refusals first: a tree may hold ten thousand names of its own.
        known.len().abs_diff(name.len()) <= allowed
            && known.as_bytes().first() == name.as_bytes().first()
            && strsim::osa_distance(known, name) <= allowed
    };
    KNOWN.iter().find(near).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted() {
        assert!(KNOWN.is_sorted());
        assert!(KNOWN.len() > 400);
    }

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

    #[test]
    fn a_slip_is_told_and_an_own_name_is_not() {
        assert_eq!(slip("ROW_LIMTI"), Some("ROW_LIMIT"));
        assert_eq!(slip("FEATURE_FLAG"), Some("FEATURE_FLAGS"));
        assert_eq!(slip("ROW_LIMIT"), None);
        assert_eq!(slip("ACME_BANNER"), None);
        assert_eq!(slip("SETTING_00001"), None);
    }
}
