//! A problem: what is wrong in the tree or in a file, said so that a person can mend it.
//!
//! Problems are collected, never thrown one at a time: a reader of the tree reports all of them at once, each with its
//! znode or file, line, field, what was expected and, where one is near, the valid name. A problem never holds a value
//! that may be a secret.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::snapshot::Origin;

/// How much a problem holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing is held back, but somebody should look.
    Warning,
    /// What the node describes does not count until it is mended.
    Error,
}

/// One problem, with everything needed to find and mend it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Problem {
    /// The znode or file.
    pub znode: String,
    /// The line, counted from 1, where it is known.
    pub line: Option<u64>,
    /// The column, counted from 1, where it is known and fits: small, because a problem is often the error of a `Result`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u16>,
    /// The field's dotted path, where there is one.
    pub field: Option<String>,
    /// What is wrong and what was expected: lower case, no full stop.
    pub message: String,
    /// What to do about it, where that is known.
    pub hint: Option<String>,
    /// How much it holds back.
    pub severity: Severity,
}

impl Problem {
    /// An error at `origin`.
    #[must_use]
    pub fn error(origin: &Origin, message: impl Into<String>) -> Self {
        Self {
            znode: origin.as_str().to_owned(),
            line: None,
            column: None,
            field: None,
            message: message.into(),
            hint: None,
            severity: Severity::Error,
        }
    }

    /// A warning at `origin`.
    #[must_use]
    pub fn warning(origin: &Origin, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(origin, message) }
    }

    /// The same, on this line.
    #[must_use]
    pub fn line(mut self, line: impl Into<Option<u64>>) -> Self {
        self.line = line.into();
        self
    }

    /// The same, in this column.
    #[must_use]
    pub fn column(mut self, column: impl Into<Option<u64>>) -> Self {
        self.column = column.into().and_then(|column| u16::try_from(column).ok());
        self
    }

    /// The same, about this field.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// The same, with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whether it holds something back.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.znode)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
            if let Some(column) = self.column {
                write!(f, ":{column}")?;
            }
        }
        if let Some(field) = &self.field {
            write!(f, ": {field}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// The known name nearest to `name`, if one is near enough to be meant.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const NEAR_ENOUGH: f64 = 0.75;
    let lower = name.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(score, _)| *score >= NEAR_ENOUGH)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_file_line_field_and_message() {
        let problem = Problem::error(&Origin::new("/superset/config/10-a"), "expected a number").line(3).field("ROW_LIMIT");
        assert_eq!(problem.to_string(), "/superset/config/10-a:3: ROW_LIMIT: expected a number");
        assert_eq!(problem.column(7).to_string(), "/superset/config/10-a:3:7: ROW_LIMIT: expected a number");
    }

    #[test]
    fn nearest_finds_a_typo_and_refuses_a_stranger() {
        let known = ["session_timeout", "connect", "root"];
        assert_eq!(nearest("sesion_timeout", known), Some("session_timeout"));
        assert_eq!(nearest("conect", known), Some("connect"));
        assert_eq!(nearest("zebra", known), None);
    }
}
