//! Raw settings: a tree of values that know where they were written.
//!
//! In: nodes from YAML, or single values by dotted key. Out: one tree, the later layer over the earlier one. Mappings merge
//! deeply; everything else, directives (`{$env: …}`) included, replaces. Nothing here knows which keys exist or what they mean.

use std::path::Path;
use std::sync::Arc;

use crate::model::problem::Problem;
use crate::model::snapshot::Origin;

/// Who wrote a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Layer {
    /// The program.
    Defaults,
    /// The settings file at this path.
    File(Arc<str>),
    /// The environment variable of this name.
    Variable(Arc<str>),
    /// The command line.
    Flags,
}

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) layer: Layer,
    pub(super) line: Option<u64>,
    pub(super) column: Option<u64>,
}

impl Place {
    /// Somewhere in `layer`.
    pub(super) fn within(layer: Layer) -> Self {
        Self { layer, line: None, column: None }
    }

    /// A problem with what stands here.
    pub(super) fn problem(&self, field: &str, message: impl Into<String>) -> Problem {
        let origin = match &self.layer {
            Layer::Defaults => Origin::new("defaults"),
            Layer::File(path) => Origin::new(path),
            Layer::Variable(name) => Origin::new(name),
            Layer::Flags => Origin::new("command line"),
        };
        let problem = Problem::error(&origin, message).line(self.line).column(self.column);
        if field.is_empty() { problem } else { problem.field(field) }
    }
}

/// A value, and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) place: Place,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    /// Text of a variable, a flag or a file: whoever reads it says what kind it is.
    Bare(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One key of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) name: String,
    /// Where the key stands; the node knows where the value does.
    pub(super) place: Place,
    pub(super) node: Node,
}

/// Where a value is to be had from.
#[derive(Debug)]
pub(super) enum Directive<'a> {
    /// `{$env: NAME}`
    Env(&'a str),
    /// `{$file: path}`
    File(&'a Path),
}

impl Node {
    /// An empty mapping, somewhere in `layer`.
    pub(super) fn empty(layer: Layer) -> Self {
        Self { value: Value::Map(Vec::new()), place: Place::within(layer) }
    }

    /// The value of `name`, where this is a mapping that has it.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        self.entries().iter().find(|entry| entry.name == name).map(|entry| &entry.node)
    }

    /// The keys of a mapping; none where it is something else.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// Whether this is null, or text from outside that says so.
    pub(super) fn is_null(&self) -> bool {
        match &self.value {
            Value::Null => true,
            Value::Bare(text) => matches!(text.as_str(), "" | "~" | "null"),
            _ => false,
        }
    }

    /// The directive that this mapping is, if it is one.
    pub(super) fn directive(&self) -> Option<Directive<'_>> {
        match self.entries() {
            [Entry { name, node: Self { value: Value::Text(text), .. }, .. }] => match name.as_str() {
                "$env" => Some(Directive::Env(text)),
                "$file" => Some(Directive::File(Path::new(text))),
                _ => None,
            },
            _ => None,
        }
    }

    /// What it is, as an error message names it.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            _ if self.is_null() => "null",
            Value::Map(entries) if is_directive(entries) => "a directive",
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Int(_) => "a whole number",
            Value::Float(_) => "a number",
            Value::Text(_) | Value::Bare(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// Lays `other` over this.
    pub(super) fn overlay(&mut self, other: Self) {
        match (&mut self.value, other.value) {
            (Value::Map(mine), Value::Map(theirs)) if !is_directive(mine) && !is_directive(&theirs) => {
                for entry in theirs {
                    match mine.iter_mut().find(|known| known.name == entry.name) {
                        Some(known) => {
                            known.place = entry.place;
                            known.node.overlay(entry.node);
                        }
                        None => mine.push(entry),
                    }
                }
            }
            (_, value) => *self = Self { value, place: other.place },
        }
    }

    /// Wraps this in mappings, so that it stands at the dotted key `path`.
    pub(super) fn at(self, path: &[&str]) -> Self {
        path.iter().rev().fold(self, |node, name| {
            let place = node.place.clone();
            let entry = Entry { name: (*name).to_owned(), place: place.clone(), node };
            Self { value: Value::Map(vec![entry]), place }
        })
    }

    /// The dotted keys of all that is not a mapping (an empty mapping and a directive count as values).
    pub(super) fn leaves(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.collect_leaves("", &mut found);
        found
    }

    fn collect_leaves(&self, path: &str, found: &mut Vec<String>) {
        let entries = self.entries();
        if entries.is_empty() || is_directive(entries) {
            found.push(path.to_owned());
            return;
        }
        for entry in entries {
            entry.node.collect_leaves(&join(path, &entry.name), found);
        }
    }
}

fn is_directive(entries: &[Entry]) -> bool {
    matches!(entries, [entry] if entry.name.starts_with('$'))
}

/// `path.name`, or `name` at the top.
pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str, layer: Layer) -> Node {
        Node { value: Value::Text(text.to_owned()), place: Place::within(layer) }
    }

    #[test]
    fn mappings_merge_deeply_and_a_directive_replaces() {
        let mut tree = text("X", Layer::Defaults).at(&["superset", "password", "$env"]);
        tree.overlay(text("p", Layer::Flags).at(&["superset", "password", "$file"]));
        tree.overlay(text("u", Layer::Flags).at(&["superset", "username"]));
        assert_eq!(tree.leaves(), ["superset.password", "superset.username"]);
        let password = tree.get("superset").unwrap().get("password").unwrap();
        assert!(matches!(password.directive(), Some(Directive::File(path)) if path == Path::new("p")));
    }
}
