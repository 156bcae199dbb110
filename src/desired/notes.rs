//! Notes: the problems of one node, gathered while it is read, each at its line and field.
//!
//! Reading goes on after a problem, so that a person mends all of them at once.

use std::fmt;

use crate::model::problem::Problem;
use crate::model::secret::REDACTED;
use crate::model::snapshot::Origin;
use crate::model::value::Key;

/// Where in a value one is: a path that borrows its parents, written down only when there is a problem.
#[derive(Clone, Copy, Debug)]
pub enum Field<'a> {
    /// The whole.
    Root,
    /// This key of a mapping.
    Key(&'a Field<'a>, &'a Key),
    /// This name in a mapping.
    Name(&'a Field<'a>, &'a str),
    /// This item of a list.
    Item(&'a Field<'a>, usize),
}

impl Field<'_> {
    fn text(&self) -> Option<String> {
        (!matches!(self, Self::Root)).then(|| self.to_string())
    }
}

impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dot = |f: &mut fmt::Formatter<'_>, parent: &Field<'_>| match parent {
            Field::Root => Ok(()),
            other => write!(f, "{other}."),
        };
        match self {
            Self::Root => Ok(()),
            Self::Key(parent, key) => dot(f, parent).and_then(|()| f.write_str(shown(&key.to_string()))),
            Self::Name(parent, name) => dot(f, parent).and_then(|()| f.write_str(shown(name))),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// A key as it may be shown. A URI in its place is a value that somebody forgot to name, and where the colon is missing in
/// `{password: secret}`, both are one key with a blank in it (law 9).
#[must_use]
pub fn shown(key: &str) -> &str {
    const LONGEST: usize = 80;
    let is_odd = key.contains("://") || key.contains(|c: char| c.is_whitespace() || c.is_control());
    if is_odd || key.len() > LONGEST { REDACTED } else { key }
}

/// The problems of one node so far.
#[derive(Debug)]
pub struct Notes<'a> {
    origin: &'a Origin,
    problems: Vec<Problem>,
}

impl<'a> Notes<'a> {
    /// No problem yet at `origin`.
    #[must_use]
    pub fn new(origin: &'a Origin) -> Self {
        Self { origin, problems: Vec::new() }
    }

    /// Where the node lives.
    #[must_use]
    pub fn origin(&self) -> &'a Origin {
        self.origin
    }

    /// Notes an error.
    pub fn error(&mut self, line: impl Into<Option<u64>>, field: &Field<'_>, message: impl Into<String>) {
        self.push(Problem::error(self.origin, message), line.into(), field, None);
    }

    /// Notes an error and what to do about it.
    pub fn hinted(
        &mut self,
        line: impl Into<Option<u64>>,
        field: &Field<'_>,
        message: impl Into<String>,
        hint: impl Into<Option<String>>,
    ) {
        self.push(Problem::error(self.origin, message), line.into(), field, hint.into());
    }

    /// Notes a warning.
    pub fn warning(
        &mut self,
        line: impl Into<Option<u64>>,
        field: &Field<'_>,
        message: impl Into<String>,
        hint: impl Into<Option<String>>,
    ) {
        self.push(Problem::warning(self.origin, message), line.into(), field, hint.into());
    }

    /// Whether an error was noted.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(Problem::is_error)
    }

    /// All that was noted, by line.
    #[must_use]
    pub fn into_problems(mut self) -> Vec<Problem> {
        self.problems.sort();
        self.problems
    }

    fn push(&mut self, mut problem: Problem, line: Option<u64>, field: &Field<'_>, hint: Option<String>) {
        problem.line = line;
        problem.field = field.text();
        problem.hint = hint;
        self.problems.push(problem);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_reads_as_a_person_would_write_it() {
        let setting = Field::Name(&Field::Root, "CELERY_CONFIG");
        let (key, one) = (Key::from("imports"), Key::Int(1));
        let list = Field::Key(&setting, &key);
        let item = Field::Item(&list, 2);
        assert_eq!(Field::Key(&item, &one).to_string(), "CELERY_CONFIG.imports[2].1");
        assert_eq!(Field::Root.text(), None);
    }

    #[test]
    fn law_9_a_uri_that_stands_where_a_key_should_is_not_shown() {
        let key = Key::from("mysql://root:hunter2@host/x");
        assert_eq!(Field::Key(&Field::Root, &key).to_string(), "***");
        assert_eq!(Field::Name(&Field::Root, "mysql://root:hunter2@host/x?a").to_string(), "***");
    }

    #[test]
    fn law_9_what_is_hardly_a_key_is_not_shown() {
        for key in ["password canary", "canary\n", &"canary".repeat(20)] {
            let key = Key::from(key);
            assert_eq!(Field::Key(&Field::Root, &key).to_string(), "***");
        }
    }
}
