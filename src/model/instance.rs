//! An instance: one agent beside one Superset, and the record by which the cluster sees it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::digest::{Release, Revision};
use super::moment::Moment;

/// Labels of an instance: `role`, `canary`, `zone`…
pub type Labels = BTreeMap<String, String>;

/// What an instance does that does not say so.
pub const USUAL_ROLE: &str = "web";

/// What Superset does there: `web`, `worker`, `beat`.
#[must_use]
pub fn role(labels: &Labels) -> &str {
    labels.get("role").map_or(USUAL_ROLE, String::as_str)
}

/// The id of an instance: one path segment of a znode.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceId(String);

impl InstanceId {
    /// Takes `text` if it can name a znode: not empty, no `/`, no control character, neither `.` nor `..`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && text != "." && text != ".." && !text.chars().any(|c| c == '/' || c.is_control());
        fits.then(|| Self(text.to_owned()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether this instance may write to Superset's API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It holds the election.
    Leader,
    /// It does not, or is in doubt.
    #[default]
    Follower,
}

/// Whether this instance leads, and until when nobody else can (law 7).
///
/// A stopped process, and a machine that slept, wake up believing what they last believed; a deadline on their own clock, which counts
/// sleep and from when the last answered request was *sent*, is what they can still check. So whoever writes asks
/// [`Standing::leads`] right before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It does not lead, or is in doubt.
    #[default]
    Follower,
    /// It leads.
    Leader {
        /// Until then no other can have been elected.
        until: Moment,
        /// Grows with each election won, so that work begun under an earlier one is recognized.
        term: u64,
    },
}

impl Standing {
    /// Whether it leads at `now`.
    #[must_use]
    pub fn leads(self, now: Moment) -> bool {
        matches!(self, Self::Leader { until, .. } if now < until)
    }

    /// The role to show.
    #[must_use]
    pub fn role(self) -> Role {
        match self {
            Self::Follower => Role::Follower,
            Self::Leader { .. } => Role::Leader,
        }
    }
}

/// What an instance is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It has not yet seen a tree.
    #[default]
    Starting,
    /// What the tree wants is what it runs.
    InSync,
    /// It proves that a candidate loads.
    Checking,
    /// It waits for leave to reload.
    Waiting,
    /// It reloads Superset.
    Reloading,
    /// The tree, or this host, keeps it on its last good revision.
    Held,
    /// Its last step failed.
    Failed,
    /// A person paused it.
    Paused,
}

/// A release, and what this instance makes of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The published tree.
    pub release: Option<Release>,
    /// What this instance resolves from it.
    pub revision: Option<Revision>,
}

/// The Superset beside the agent, as last seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupersetSeen {
    /// Where the agent reaches it.
    pub url: String,
    /// Whether it answered lately.
    pub healthy: bool,
    /// Its version, where known.
    pub version: Option<String>,
}

/// The record that the cluster sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Who it is.
    pub id: InstanceId,
    /// The host's name.
    pub host: String,
    /// The agent's process.
    pub pid: u32,
    /// The agent's version.
    pub version: String,
    /// Its labels.
    pub labels: Labels,
    /// When the agent started, RFC 3339 in UTC.
    pub started_at: String,
    /// Leader or follower.
    pub role: Role,
    /// What it is doing.
    pub state: State,
    /// Since when, RFC 3339 in UTC.
    pub since: String,
    /// What the tree wants of it.
    pub desired: Version,
    /// What it runs.
    pub applied: Version,
    /// The Superset beside it.
    pub superset: SupersetSeen,
    /// Why it is held or has failed: one line, without secrets.
    pub error: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_path_segment() {
        assert!(InstanceId::parse("web-1.example.com").is_some());
        for bad in ["", ".", "..", "a/b", "a\0b", "a\nb"] {
            assert!(InstanceId::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn law_7_leadership_ends_by_its_own_clock() {
        let before = Moment::since_start(std::time::Duration::from_secs(1));
        let until = before + std::time::Duration::from_millis(1);
        let standing = Standing::Leader { until, term: 1 };
        assert!(standing.leads(before));
        assert!(!standing.leads(until));
        assert!(!Standing::Follower.leads(until));
    }

    #[test]
    fn states_are_written_as_the_contract_names_them() {
        assert_eq!(serde_json::to_string(&State::InSync).unwrap(), "\"in_sync\"");
        assert_eq!(serde_json::to_string(&Role::Leader).unwrap(), "\"leader\"");
    }
}
