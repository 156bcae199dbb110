//! Secrets: text that cannot be printed by accident (law 9), and the rule which names hold one.
//!
//! [`SecretText`] shows `***` in every format and is wiped when dropped; [`SecretText::expose`] is the one way to the text,
//! so that a search for it finds every place that handles a secret in the clear.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

/// What stands where a secret would.
pub const REDACTED: &str = "***";

/// Text that must never be shown.
#[derive(Clone)]
pub struct SecretText(SecretString);

impl SecretText {
    /// Hides `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// The text itself, for the one place that must send or write it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl PartialEq for SecretText {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for SecretText {}

/// What the names of secrets hold: the first four are the contract; by the others drivers take a password or a login too
/// (`passwd` and `pwd` of PyMySQL and ODBC, the header `Authorization` of Trino).
pub const SECRET_WORDS: [&str; 9] =
    ["PASSWORD", "SECRET", "TOKEN", "_KEY", "PASSWD", "PWD", "PASSPHRASE", "AUTHORIZATION", "APIKEY"];

/// Whether a key of this name holds a secret wherever it stands.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    let upper = name.to_uppercase();
    SECRET_WORDS.iter().any(|word| upper.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn law_9_a_secret_shows_in_no_format() {
        let secret = SecretText::new("canary");
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "*** *** Some(***)");
    }

    #[test]
    fn names_of_secrets() {
        for name in [
            "password",
            "SECRET_KEY",
            "MAPBOX_API_KEY",
            "GUEST_TOKEN_JWT_SECRET",
            "access_token",
            "passwd",
            "PWD",
            "Authorization",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["ROW_LIMIT", "KEYS", "APP_NAME"] {
            assert!(!is_secret_name(name), "{name}");
        }
    }
}
