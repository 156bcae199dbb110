//! Editing: a fragment's text with one key changed, everything else as its author wrote it.
//!
//! In: the text, a dotted path, and the new value as YAML. Out: the new text, or why there is none. The text is cut only at
//! places that the parser named (`spots`), and nobody trusts the knife: a candidate counts only if it reads back as the
//! old mapping with this one change (`meaning`), holds every comment that was there, and is JSON where the text was.

mod cut;
mod lines;
mod meaning;
mod spots;

use super::item::{Item, What};
use super::lines as key_value;
use super::notes::{Field, Notes};
use super::yaml;
use crate::model::problem::Problem;
use crate::model::snapshot::Origin;
use meaning::Steps;
use spots::Spot;

/// Why a text cannot be edited.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The text itself is in error.
    #[error("it is in error as it is")]
    Invalid(Vec<Problem>),
    /// A key on the way holds what has no keys.
    #[error("`{key}` is {kind} there, which has no keys")]
    InTheWay {
        /// The key.
        key: String,
        /// What it holds.
        kind: &'static str,
    },
    /// There is no such key to take out.
    #[error("it does not say anything of `{key}`")]
    Absent {
        /// The key.
        key: String,
    },
    /// Every way to make the change loses a comment.
    #[error("a comment would be lost")]
    Comments,
    /// No way to make the change leaves the rest as it is.
    #[error("the rest would not stay as it is")]
    Form,
}

/// A value as somebody wrote it.
#[derive(Clone, Debug)]
pub struct Given {
    text: String,
    item: Item,
}

impl Given {
    /// Reads a value as YAML, or says everything that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        let origin = Origin::new("value");
        let mut notes = Notes::new(&origin);
        let item = yaml::parse(text, &mut notes);
        match item {
            Some(item) if !notes.has_errors() => Ok(Self { text: text.trim_end().to_owned(), item }),
            _ => Err(notes.into_problems()),
        }
    }
}

/// The text with this value at this path.
pub fn set(text: &str, path: &str, given: &Given) -> Result<String, EditError> {
    let item = read(text)?;
    let steps = Steps::to(&item, path);
    let expected = meaning::set(&item, &steps, &given.item)?;
    let candidates = if key_value::is_lines(text) {
        lines::set(text, &item, &expected, &steps, given)
    } else {
        cut::set(text, &spots(text)?, &item, &steps, given)
    };
    first(text, &expected, candidates)
}

/// The text without what is at this path; a mapping that is empty then goes with it.
pub fn unset(text: &str, path: &str) -> Result<String, EditError> {
    let item = read(text)?;
    let (expected, steps) = meaning::unset(&item, &Steps::to(&item, path), path)?;
    let candidates = if key_value::is_lines(text) {
        lines::unset(text, &item, &steps)
    } else {
        cut::unset(text, &spots(text)?, &item, &steps)
    };
    first(text, &expected, candidates)
}

/// Whether a text says anything of this path; one in error says nothing.
#[must_use]
pub fn says(text: &str, path: &str) -> bool {
    read(text).is_ok_and(|item| meaning::at(&item, &Steps::to(&item, path)).is_some())
}

/// The labels for whose instances a text counts, where it names any.
#[must_use]
pub fn when(text: &str) -> Vec<(String, String)> {
    read(text).map(|item| meaning::when(&item)).unwrap_or_default()
}

fn read(text: &str) -> Result<Item, EditError> {
    let origin = Origin::new("");
    let mut notes = Notes::new(&origin);
    let item = if key_value::is_lines(text) { key_value::parse(text, &mut notes) } else { yaml::parse(text, &mut notes) };
    if let Some(item) = &item
        && !matches!(item.what, What::Map(_) | What::Null)
    {
        notes.error(item.line, &Field::Root, format!("expected a mapping of settings, found {}", item.what.kind()));
    }
    item.filter(|_| !notes.has_errors()).ok_or_else(|| EditError::Invalid(notes.into_problems()))
}

fn spots(text: &str) -> Result<Spot, EditError> {
    Spot::of(text).ok_or(EditError::Form)
}

/// The first candidate that is right.
fn first(text: &str, expected: &Item, candidates: Vec<String>) -> Result<String, EditError> {
    let mut refused = EditError::Form;
    for candidate in candidates {
        let is_meant = read(&candidate).is_ok_and(|read| meaning::same(&read, expected));
        if !is_meant || (is_json(text) && !is_json(&candidate)) {
            continue;
        }
        if keeps_comments(text, &candidate) {
            return Ok(candidate);
        }
        refused = EditError::Comments;
    }
    Err(refused)
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// Whether every comment of `before` is in `after` too, in the same order.
fn keeps_comments(before: &str, after: &str) -> bool {
    let (before, after) = (comments(before), comments(after));
    let mut after = after.into_iter();
    before.iter().all(|comment| after.any(|kept| kept == *comment))
}

fn comments(text: &str) -> Vec<&str> {
    if key_value::is_lines(text) {
        return text.lines().map(str::trim).filter(|line| line.starts_with('#')).collect();
    }
    Spot::of(text).map(|spot| spot.comments(text)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
