//! Snapshot to what should be true, or every problem found.
//!
//! In goes a [`Snapshot`](crate::model::snapshot::Snapshot), out comes a [`resolver::Resolution`]: the config of this
//! instance or why it is held, the valid datasources and the invalid ones, every problem of the tree at once, and the
//! digests that name the tree. The [`resolver::Resolver`] remembers the snapshot before, so that a change costs in proportion to the
//! nodes changed (law 12). Pure: no file, no network, no clock. What `$file` and `$env` name is checked, never read.
//!
//! A node's way: [`yaml`] or [`lines`] → [`item`] → [`directive`] → [`fragment`], [`types`] and [`patch`] → [`config`], or [`datasource`], [`fields`]
//! and [`parts`] → [`datasources`]. Beside it: [`guard`] (is so much gone at once?), [`edit`] (a fragment's text with one key
//! changed), [`explain`], [`redact`] and [`written`] (what people see).

use std::fmt;
use std::sync::Arc;

pub mod config;
pub mod datasource;
pub mod datasources;
pub mod directive;
pub mod edit;
pub mod explain;
pub mod fields;
pub mod fragment;
pub mod guard;
pub mod item;
pub mod lens;
pub mod lines;
pub mod names;
pub mod notes;
pub mod parts;
pub mod patch;
pub mod problems;
pub mod redact;
pub mod resolver;
pub mod scalar;
pub mod schema;
pub mod times;
pub mod types;
pub mod written;
pub mod yaml;

/// A node of a branch: its name, or `None` for the branch's root, which sorts first.
pub type NodeName = Option<Arc<str>>;

/// Why the last good state stays: one sentence for the status and the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held(Arc<str>);

impl Held {
    /// Held for this reason.
    #[must_use]
    pub fn new(reason: impl AsRef<str>) -> Self {
        Self(Arc::from(reason.as_ref()))
    }

    /// The reason.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
