//! What runs once in the cluster: its key, what came of it, and what that means for who comes later.
//!
//! Pure. In: what the outcome's znode holds, as it is now and as it was when somebody came. Out: a [`Verdict`]. An outcome holds
//! neither output nor arguments, which may be secrets. What lies there and is no outcome is never run over by itself, and
//! never passes for success (somebody may have run the command).

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::lock::who;

/// How many bytes a key may have: an image's name with its digest has less than half.
const LONGEST: usize = 512;

/// Why a text is no key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// There is nothing: most likely a variable that is not set.
    #[error("a key is not empty")]
    Empty,
    /// It has something in it that nobody sees.
    #[error("a key has no control character in it, and no white space at its ends")]
    Unfit,
    /// It is too long.
    #[error("a key has at most {LONGEST} bytes")]
    Long,
}

/// For what a command runs once: an image's version, say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnceKey(String);

impl OnceKey {
    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for OnceKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        match text {
            _ if text.trim().is_empty() => Err(KeyError::Empty),
            _ if text.trim() != text || text.contains(char::is_control) => Err(KeyError::Unfit),
            _ if text.len() > LONGEST => Err(KeyError::Long),
            _ => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for OnceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What came of a command that ran once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Who ran it.
    pub by: String,
    /// Where.
    pub host: String,
    /// When it began.
    pub at: Timestamp,
    /// When it had ended.
    pub ended_at: Timestamp,
    /// Its exit code; 128 and the signal's number where a signal ended it.
    pub code: u8,
}

impl Outcome {
    /// Who ran it, and where.
    #[must_use]
    pub fn who(&self) -> String {
        who(Some(&self.by), Some(&self.host))
    }
}

/// What lies where an outcome would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// Nothing: nobody has run the command to its end.
    Nothing,
    /// An outcome, and the transaction that wrote it.
    Outcome(Outcome, Mark),
    /// Something else, and the transaction that wrote it.
    Unreadable(Mark),
}

/// The transaction that wrote a node: no two writes have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(pub i64);

impl Recorded {
    /// Reads the node's text.
    #[must_use]
    pub fn read(text: &[u8], mark: Mark) -> Self {
        serde_json::from_slice(text).map_or(Self::Unreadable(mark), |outcome| Self::Outcome(outcome, mark))
    }

    /// By what a failure is known that was there before: `--retry-failed` tries that one again, and shares one that came
    /// meanwhile. So many who wait with it come to one new try, and not to one each.
    #[must_use]
    pub fn failure(&self) -> Option<Mark> {
        match self {
            Self::Outcome(outcome, mark) if outcome.code != 0 => Some(*mark),
            Self::Unreadable(mark) => Some(*mark),
            _ => None,
        }
    }

    /// What it means for one who comes to run the command; `retried` is the failure that is to be tried again.
    #[must_use]
    pub fn verdict(self, retried: Option<Mark>) -> Verdict {
        let is_retried = retried.is_some() && self.failure() == retried;
        match self {
            Self::Nothing => Verdict::Run,
            _ if is_retried => Verdict::Run,
            Self::Outcome(outcome, _) => Verdict::Share(outcome),
            Self::Unreadable(_) => Verdict::Unknown,
        }
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Run the command.
    Run,
    /// End as it did.
    Share(Outcome),
    /// Nothing: whether it ran cannot be told.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(code: i64) -> String {
        let times = r#""at":"2026-01-01T00:00:00Z","ended_at":"2026-01-01T00:00:09Z""#;
        format!(r#"{{"by":"superset","host":"web-1",{times},"code":{code},"later":[]}}"#)
    }

    fn recorded(text: &str, mark: i64) -> Recorded {
        Recorded::read(text.as_bytes(), Mark(mark))
    }

    #[test]
    fn a_key_is_what_people_see() {
        let image = "registry.example:5000/superset/superset:6.1.0@sha256:00ff";
        assert_eq!(image.parse::<OnceKey>().unwrap().as_str(), image);
        for (text, why) in [
            ("", KeyError::Empty),
            (" ", KeyError::Empty),
            ("6.1.0\n", KeyError::Unfit),
            ("a\u{0}b", KeyError::Unfit),
            (&"a".repeat(513), KeyError::Long),
        ] {
            assert_eq!(text.parse::<OnceKey>().unwrap_err(), why, "{text:?}");
        }
    }

    #[test]
    fn what_was_done_is_shared_and_what_was_not_is_run() {
        assert_eq!(Recorded::Nothing.verdict(None), Verdict::Run);
        for code in [0, 3, 143] {
            let Verdict::Share(outcome) = recorded(&text(code), 5).verdict(None) else { panic!("{code}") };
            assert_eq!((i64::from(outcome.code), outcome.who().as_str()), (code, "superset@web-1"));
        }
    }

    #[test]
    fn only_the_failure_that_was_there_before_is_tried_again() {
        let failed = recorded(&text(3), 5);
        let retried = failed.failure();
        assert_eq!(retried, Some(Mark(5)));
        assert_eq!(failed.verdict(retried), Verdict::Run);
        assert!(matches!(recorded(&text(3), 6).verdict(retried), Verdict::Share(_)), "somebody has tried again meanwhile");
        let done = recorded(&text(0), 5);
        assert_eq!(done.failure(), None);
        assert!(matches!(done.verdict(None), Verdict::Share(_)));
    }

    #[test]
    fn what_is_no_outcome_is_neither_success_nor_leave_to_run() {
        for text in ["", "0", "{}", "rubbish", &text(256), &text(-1)] {
            assert_eq!(recorded(text, 5).verdict(None), Verdict::Unknown, "{text}");
            assert_eq!(recorded(text, 5).verdict(Some(Mark(5))), Verdict::Run, "{text}");
        }
    }
}
