//! The record of attempts: no candidate is tried twice while nothing changed that its check depends on, and one that takes
//! the agent down with it is not tried for ever.
//!
//! The decision is pure ([`Attempts::next`]); [`Checker::check_once`] keeps the record in the state folder. An attempt is recorded,
//! durably, before it begins. One that was begun and never ended has died; two deaths are inconclusive, and after them each
//! further attempt waits for an hour, unless the key is another or [`Attempts::forget`] was called. An inconclusive check may
//! otherwise be tried again: when, is for the caller to say.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::checker::{Candidate, Checker};
use super::report::{Outcome, Report};
use super::scratch::make_folder;
use crate::files::off_thread;
use crate::files::state::{Loaded, StateError, load_record, save_record};
use crate::model::digest::{DigestKey, Revision};

const NAME: &str = "attempts.json";
/// How many are remembered, the newest.
const KEPT: usize = 32;
/// How many deaths it takes to stop trying.
const DEATHS: u32 = 2;
/// How long after the last of them it is tried again: whatever took the agent down may have passed, and Superset serves on meanwhile.
const REST: SignedDuration = SignedDuration::from_hours(1);

/// What the outcome of a check depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptKey {
    /// The candidate.
    pub revision: Revision,
    /// Digest of the level, the bounds and Superset's environment.
    pub inputs: String,
    /// Superset's version; empty where it is not asked for.
    pub superset: String,
}

/// What is to be done about a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Check it.
    Try,
    /// This is known already.
    Known(Report),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Attempt {
    key: AttemptKey,
    /// How many were begun and not ended.
    open: u32,
    /// When the last of them was begun. The clock of this host may be set meanwhile, so a time to come counts for nothing.
    #[serde(default)]
    begun: Timestamp,
    report: Option<Report>,
}

impl Attempt {
    fn rests(&self, now: Timestamp) -> bool {
        let age = now.duration_since(self.begun);
        !age.is_negative() && age < REST
    }
}

/// All attempts that are remembered, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempts(Vec<Attempt>);

impl Attempts {
    /// What is to be done about the candidate of `key`, while none of its attempts is under way.
    #[must_use]
    pub fn next(&self, key: &AttemptKey, now: Timestamp) -> Next {
        let Some(attempt) = self.0.iter().find(|attempt| attempt.key == *key) else { return Next::Try };
        match &attempt.report {
            Some(report) if report.outcome != Outcome::Inconclusive => Next::Known(report.clone()),
            _ if attempt.open >= DEATHS && attempt.rests(now) => Next::Known(Report::inconclusive(format!(
                "{} checks of this candidate were cut off: it is tried again an hour after the last, or once it or its environment changes",
                attempt.open
            ))),
            _ => Next::Try,
        }
    }

    /// Records that an attempt begins.
    pub fn begin(&mut self, key: &AttemptKey, now: Timestamp) {
        let open = self.take(key).map_or(0, |attempt| attempt.open);
        self.put(Attempt { key: key.clone(), open: open.saturating_add(1), begun: now, report: None });
    }

    /// Records what it came to.
    pub fn end(&mut self, key: &AttemptKey, report: Report) {
        let begun = self.take(key).map(|attempt| attempt.begun).unwrap_or_default();
        self.put(Attempt { key: key.clone(), open: 0, begun, report: Some(report) });
    }

    /// Records that it was given up on purpose, which is no death.
    pub fn give_up(&mut self, key: &AttemptKey) {
        if let Some(attempt) = self.take(key) {
            self.put(Attempt { open: attempt.open.saturating_sub(1), ..attempt });
        }
    }

    /// Forgets a revision, so that it is tried again.
    pub fn forget(&mut self, revision: &Revision) {
        self.0.retain(|attempt| attempt.key.revision != *revision);
    }

    fn take(&mut self, key: &AttemptKey) -> Option<Attempt> {
        let at = self.0.iter().position(|attempt| attempt.key == *key)?;
        Some(self.0.remove(at))
    }

    fn put(&mut self, attempt: Attempt) {
        self.0.push(attempt);
        let surplus = self.0.len().saturating_sub(KEPT);
        self.0.drain(..surplus);
    }
}

impl Checker {
    /// Checks a candidate unless what it would come to is known. The caller is alone with the state folder.
    pub async fn check_once(&self, key: &DigestKey, revision: &Revision, candidate: &Candidate) -> Result<Report, StateError> {
        let attempt = match self.attempt_key(key, revision).await {
            Ok(attempt) => attempt,
            Err(error) => return Ok(error.report()),
        };
        let path = self.folder().join(NAME);
        let mut attempts = load(&path).await?;
        if let Next::Known(report) = attempts.next(&attempt, Timestamp::now()) {
            return Ok(report);
        }
        attempts.begin(&attempt, Timestamp::now());
        save(&path, &attempts).await?;
        let mut open = Open { path: &path, key: &attempt, attempts: Some(attempts) };
        let report = self.check(key, candidate).await;
        let mut attempts = open.attempts.take().unwrap_or_default();
        attempts.end(&attempt, report.clone());
        save(&path, &attempts).await?;
        Ok(report)
    }

    /// Forgets what is known of a revision, so that it is checked again.
    pub async fn forget(&self, revision: &Revision) -> Result<(), StateError> {
        let path = self.folder().join(NAME);
        let mut attempts = load(&path).await?;
        attempts.forget(revision);
        save(&path, &attempts).await
    }
}

/// An attempt under way: dropped before its end, it was given up and has not died.
struct Open<'a> {
    path: &'a Path,
    key: &'a AttemptKey,
    attempts: Option<Attempts>,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let Some(mut attempts) = self.attempts.take() else { return };
        attempts.give_up(self.key);
        if let Err(error) = save_record(self.path, &attempts) {
            warn!(%error, "failed to record that a check was given up");
        }
    }
}

async fn load(path: &Path) -> Result<Attempts, StateError> {
    let path = path.to_owned();
    let Loaded { value, problem } = off_thread(move || load_record::<Attempts>(&path)).await?;
    if let Some(problem) = problem {
        warn!(%problem, "the record of checks is lost");
    }
    Ok(value.unwrap_or_default())
}

async fn save(path: &Path, attempts: &Attempts) -> Result<(), StateError> {
    let (path, attempts) = (path.to_owned(), attempts.clone());
    let store = move || {
        if let Some(folder) = path.parent() {
            make_folder(folder).map_err(|source| StateError::Create { path: folder.to_owned(), source })?;
        }
        save_record(&path, &attempts).map(drop)
    };
    off_thread(store).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(revision: &str, inputs: &str) -> AttemptKey {
        AttemptKey { revision: Revision::new(revision), inputs: inputs.to_owned(), superset: "6.1.0".to_owned() }
    }

    fn at(minutes: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(1_000_000 + minutes)
    }

    fn report(outcome: Outcome) -> Report {
        Report { outcome, ..Report::inconclusive("why") }
    }

    #[test]
    fn what_is_known_is_not_tried_again_until_something_changes() {
        for outcome in [Outcome::Proven, Outcome::Invalid] {
            let mut attempts = Attempts::default();
            assert_eq!(attempts.next(&key("a", "1"), at(0)), Next::Try);
            attempts.begin(&key("a", "1"), at(0));
            attempts.end(&key("a", "1"), report(outcome));
            assert_eq!(attempts.next(&key("a", "1"), at(0)), Next::Known(report(outcome)));
            assert_eq!(attempts.next(&key("a", "2"), at(0)), Next::Try);
            assert_eq!(attempts.next(&key("b", "1"), at(0)), Next::Try);
            attempts.forget(&Revision::new("a"));
            assert_eq!(attempts.next(&key("a", "1"), at(0)), Next::Try);
        }
    }

    #[test]
    fn an_inconclusive_check_may_be_tried_again() {
        let mut attempts = Attempts::default();
        for _ in 0..5 {
            assert_eq!(attempts.next(&key("a", "1"), at(0)), Next::Try);
            attempts.begin(&key("a", "1"), at(0));
            attempts.end(&key("a", "1"), report(Outcome::Inconclusive));
        }
    }

    #[test]
    fn two_deaths_are_inconclusive_for_an_hour_and_giving_up_is_none() {
        let mut attempts = Attempts::default();
        attempts.begin(&key("a", "1"), at(0));
        assert_eq!(attempts.next(&key("a", "1"), at(0)), Next::Try);
        for _ in 0..5 {
            attempts.begin(&key("a", "1"), at(0));
            attempts.give_up(&key("a", "1"));
        }
        assert_eq!(attempts.next(&key("a", "1"), at(0)), Next::Try);
        attempts.begin(&key("a", "1"), at(0));
        let Next::Known(known) = attempts.next(&key("a", "1"), at(0)) else { panic!("a third time") };
        assert_eq!(known.outcome, Outcome::Inconclusive);
        assert!(known.why.starts_with("2 checks of this candidate were cut off"), "{}", known.why);
        assert!(matches!(attempts.next(&key("a", "1"), at(59)), Next::Known(_)));
        assert_eq!(attempts.next(&key("a", "1"), at(60)), Next::Try);
        assert_eq!(attempts.next(&key("a", "1"), at(-1)), Next::Try, "the clock was set back, which must hold nobody for ever");
        attempts.begin(&key("a", "1"), at(60));
        assert!(matches!(attempts.next(&key("a", "1"), at(119)), Next::Known(_)));
        assert_eq!(attempts.next(&key("a", "2"), at(0)), Next::Try);
    }

    #[test]
    fn the_newest_are_remembered() {
        let mut attempts = Attempts::default();
        for n in 0..KEPT + 3 {
            attempts.begin(&key(&n.to_string(), "1"), at(0));
            attempts.end(&key(&n.to_string(), "1"), report(Outcome::Proven));
        }
        assert_eq!(attempts.0.len(), KEPT);
        assert_eq!(attempts.next(&key("2", "1"), at(0)), Next::Try);
        assert!(matches!(attempts.next(&key("3", "1"), at(0)), Next::Known(_)));
    }
}
