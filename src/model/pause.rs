//! Standing still by a person's wish: a pause of the cluster, and an edit of the tree that is in progress.
//!
//! Both are read as mildly as can be: the node's being there is what counts, what it says of itself is for people. So a text
//! that cannot be read is a pause without a reason and without an end, never no pause.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// No new slot is taken and nothing is written to Superset's API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pause {
    /// Who wished it.
    pub by: Option<String>,
    /// Why.
    pub why: Option<String>,
    /// When it ends by itself; by the wall clock of whoever asks.
    pub until: Option<Timestamp>,
}

impl Pause {
    /// Reads the node's text.
    #[must_use]
    pub fn read(text: &[u8]) -> Self {
        serde_json::from_slice(text).unwrap_or_default()
    }

    /// Whether it is still on at `now`.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("paused")?;
        if let Some(by) = &self.by {
            write!(f, " by {by}")?;
        }
        if let Some(until) = &self.until {
            write!(f, " until {until}")?;
        }
        match &self.why {
            Some(why) => write!(f, ": {why}"),
            None => Ok(()),
        }
    }
}

/// An edit of the tree that takes several transactions: while it is in progress, the tree before it counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Publishing {
    /// Who edits.
    pub by: Option<String>,
    /// Where they do.
    pub host: Option<String>,
    /// Since when.
    pub at: Option<Timestamp>,
    /// Tells one edit from the next of the same person.
    pub edit: Option<String>,
}

impl Publishing {
    /// Reads the node's text.
    #[must_use]
    pub fn read(text: &[u8]) -> Self {
        serde_json::from_slice(text).unwrap_or_default()
    }
}

impl fmt::Display for Publishing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is publishing", self.by.as_deref().unwrap_or("somebody"))?;
        if let Some(host) = &self.host {
            write!(f, " from {host}")?;
        }
        match &self.at {
            Some(at) => write!(f, " since {at}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_lies_there_pauses_and_an_end_ends_it() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        for text in ["", "rubbish", "{}", "{\"until\": \"tomorrow\"}"] {
            assert!(Pause::read(text.as_bytes()).holds(now), "{text}");
        }
        let pause = Pause::read(br#"{"by": "ann", "why": "upgrade", "until": "2026-01-01T00:00:01Z", "later": 1}"#);
        assert!(pause.holds(now));
        assert!(!pause.holds("2026-01-01T00:00:01Z".parse().unwrap()));
        assert_eq!(pause.to_string(), "paused by ann until 2026-01-01T00:00:01Z: upgrade");
    }

    #[test]
    fn an_edit_in_progress_says_whose_it_is() {
        assert_eq!(Publishing::read(b"rubbish").to_string(), "somebody is publishing");
        let edit = Publishing { by: Some("ann".into()), host: Some("a".into()), ..Publishing::default() };
        assert_eq!(edit.to_string(), "ann is publishing from a");
    }
}
