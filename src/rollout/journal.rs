//! What an instance must not forget over a crash: what Superset runs, what ran well last, and what proved bad here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::digest::{Release, Revision};

/// What survives a crash: written down before whatever it tells of begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Journal {
    /// What Superset runs; `None` while that is not certain.
    pub live: Option<Revision>,
    /// What ran well last.
    pub good: Option<Revision>,
    /// What proved bad here, and how.
    pub refused: BTreeMap<Revision, Refusal>,
}

/// Why a revision is not tried again here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The release from which it was resolved.
    pub release: Release,
    /// How it showed.
    pub why: String,
    /// How often it failed here.
    pub failures: u32,
    /// What is to blame.
    pub blame: Blame,
}

/// What is to blame for a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blame {
    /// The release: it does not load, and the cluster does not know yet.
    Invalid,
    /// The release, once what ran well before runs again: it did not verify, and the cluster does not know yet.
    Unverified,
    /// The release, which is in quarantine: whoever lifts that, lifts this.
    Quarantined,
    /// Perhaps this host, since what ran well before did not run either.
    Host,
    /// This host, which is well again: the release has another chance.
    Forgiven,
}
