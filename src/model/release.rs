//! What is kept of published releases: one entry for each, and what came of it on each instance.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::digest::{Release, Revision};
use super::instance::{Instance, InstanceId, State};

/// The number of an entry; a later one is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// The number that a znode's name holds.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        name.parse().ok().map(Self)
    }

    /// The znode's name: byte order is the order of the numbers.
    #[must_use]
    pub fn name(self) -> String {
        format!("{:010}", self.0)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One publication of a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Which tree.
    pub digest: Release,
    /// In how many parts it is kept.
    pub parts: usize,
    /// How many bytes they have.
    #[serde(default)]
    pub bytes: u64,
    /// When it was noted.
    pub at: Timestamp,
    /// Who published it, where that is known.
    #[serde(default)]
    pub by: Option<String>,
    /// What they said of it.
    #[serde(default)]
    pub message: Option<String>,
}

/// What came of a release on one instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fate {
    /// What the instance made of it.
    pub revision: Option<Revision>,
    /// How it ended.
    pub state: State,
    /// When.
    pub at: Timestamp,
    /// Why it is held or has failed, without secrets.
    pub error: Option<String>,
}

impl Fate {
    /// What an instance says of the release that it should run.
    #[must_use]
    pub fn of(instance: &Instance, at: Timestamp) -> Self {
        Self { revision: instance.desired.revision.clone(), state: instance.state, at, error: instance.error.clone() }
    }
}

/// An entry, its number, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The number.
    pub seq: Seq,
    /// The entry.
    #[serde(flatten)]
    pub entry: Entry,
    /// What came of it, instance by instance.
    pub fates: Vec<(InstanceId, Fate)>,
}
