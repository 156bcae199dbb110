//! Items: what a node's text comes to before anybody asks what it means, each with its line.
//!
//! [`super::yaml`] and [`super::lines`] make them; [`super::directive`], [`super::fragment`] and [`super::datasource`] read
//! values out of them. A mapping keeps the order in which it was written and has no key twice. Nothing here parses or judges.

use crate::model::value::Key;

/// One value, and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// The line, counted from 1.
    pub line: u64,
    /// What it is.
    pub what: What,
}

/// What an item is, before anybody asks what it means.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// Nothing.
    Null,
    /// Truth.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// A number.
    Float(f64),
    /// Text.
    Text(String),
    /// A sequence.
    List(Vec<Item>),
    /// A mapping, in the order in which it was written.
    Map(Vec<Entry>),
}

/// One key of a mapping, and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// The key's line.
    pub line: u64,
    /// The value.
    pub item: Item,
}

impl What {
    /// What kind of value it is, as a problem names it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}
