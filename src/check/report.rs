//! What a check found, in words that may be shown to anybody.
//!
//! Pure. [`judge`] says what a failure is worth once the last good revision went through the same check: where that fails too,
//! the machine is at fault and not the candidate.

use serde::{Deserialize, Serialize};

use crate::model::protected::Protected;

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The candidate passed all that the level asks for.
    Proven,
    /// The candidate is at fault, here and anywhere.
    Invalid,
    /// Nothing is known about the candidate: time, memory, or something that is missing here.
    Inconclusive,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What it came to.
    pub outcome: Outcome,
    /// The trial and what it said, in one line without secrets.
    pub why: String,
    /// The end of what Superset and the candidate printed, without secrets.
    pub last_lines: Vec<String>,
    /// What boots and is probably wrong: settings of another type than their default.
    pub warnings: Vec<String>,
    /// What must not change unnoticed.
    pub protected: Protected,
}

impl Report {
    /// A report that nothing is known, because of `why`.
    #[must_use]
    pub fn inconclusive(why: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Inconclusive,
            why: why.into(),
            last_lines: Vec::new(),
            warnings: Vec::new(),
            protected: Protected::default(),
        }
    }

    /// Whether the last good revision must go through the same check before this is believed.
    #[must_use]
    pub fn needs_last_good(&self) -> bool {
        self.outcome == Outcome::Invalid
    }
}

/// What a candidate's report is worth beside that of the last good revision, checked now; `None` where there is none.
#[must_use]
pub fn judge(candidate: Report, last_good: Option<&Report>) -> Report {
    match last_good {
        Some(last_good) if candidate.needs_last_good() && last_good.outcome != Outcome::Proven => Report {
            outcome: Outcome::Inconclusive,
            why: format!("{}; but the last good revision does not pass either: {}", candidate.why, last_good.why),
            ..candidate
        },
        _ => candidate,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(outcome: Outcome) -> Report {
        Report { outcome, ..Report::inconclusive(format!("{outcome:?}")) }
    }

    #[test]
    fn a_candidate_is_invalid_only_if_the_last_good_revision_passes_now() {
        use Outcome::{Inconclusive, Invalid, Proven};
        for (candidate, last_good, expected) in [
            (Invalid, None, Invalid),
            (Invalid, Some(Proven), Invalid),
            (Invalid, Some(Invalid), Inconclusive),
            (Invalid, Some(Inconclusive), Inconclusive),
            (Proven, Some(Invalid), Proven),
            (Inconclusive, Some(Proven), Inconclusive),
        ] {
            let judged = judge(report(candidate), last_good.map(report).as_ref());
            assert_eq!(judged.outcome, expected, "{candidate:?} {last_good:?}");
        }
        let judged = judge(report(Invalid), Some(&report(Invalid)));
        assert_eq!(judged.why, "Invalid; but the last good revision does not pass either: Invalid");
    }
}
