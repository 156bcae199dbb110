//! Locks that commands hold: their names, and who holds one.
//!
//! A name is one segment of a znode's path. What a holder says of itself is for people: it is read as mildly as can be, and
//! whether the lock is held never depends on it.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How many bytes a name may have: enough for any, and short enough for a path.
const LONGEST: usize = 128;

/// Why a text is no name of a lock.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// There is nothing.
    #[error("a name is not empty")]
    Empty,
    /// A path would mean another znode by it.
    #[error("a name is neither `.` nor `..`, and has no slash, no white space and no control character in it")]
    Unfit,
    /// It is too long.
    #[error("a name has at most {LONGEST} bytes")]
    Long,
}

/// A lock's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockName(String);

impl LockName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LockName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let is_unfit = |c: char| c == '/' || c.is_control() || c.is_whitespace();
        match text {
            "" => Err(NameError::Empty),
            _ if text == "." || text == ".." || text.contains(is_unfit) => Err(NameError::Unfit),
            _ if text.len() > LONGEST => Err(NameError::Long),
            _ => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for LockName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who holds a lock, or stands in line for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Holder {
    /// Who.
    pub by: Option<String>,
    /// Where.
    pub host: Option<String>,
    /// Since when.
    pub at: Option<Timestamp>,
}

impl Holder {
    /// Reads a contender's text.
    #[must_use]
    pub fn read(text: &[u8]) -> Self {
        serde_json::from_slice(text).unwrap_or_default()
    }

    /// Who, and where.
    #[must_use]
    pub fn who(&self) -> String {
        who(self.by.as_deref(), self.host.as_deref())
    }
}

/// `ann@web-1`, as far as it is known.
pub(super) fn who(by: Option<&str>, host: Option<&str>) -> String {
    match (by, host) {
        (Some(by), Some(host)) => format!("{by}@{host}"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => "somebody".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_segment_of_a_path() {
        assert_eq!("db-upgrade".parse::<LockName>().unwrap().to_string(), "db-upgrade");
        for (text, why) in [
            ("", NameError::Empty),
            (".", NameError::Unfit),
            ("..", NameError::Unfit),
            ("a/b", NameError::Unfit),
            ("a b", NameError::Unfit),
            ("a\u{7}", NameError::Unfit),
            (&"a".repeat(129), NameError::Long),
        ] {
            assert_eq!(text.parse::<LockName>().unwrap_err(), why, "{text:?}");
        }
    }

    #[test]
    fn a_holder_is_told_as_far_as_it_is_known() {
        assert_eq!(Holder::read(b"rubbish").who(), "somebody");
        assert_eq!(Holder::read(br#"{"host": "web-1"}"#).who(), "web-1");
        let holder = Holder::read(br#"{"by": "ann", "host": "web-1", "at": "2026-01-01T00:00:00Z", "later": 1}"#);
        assert_eq!(holder.who(), "ann@web-1");
    }
}
