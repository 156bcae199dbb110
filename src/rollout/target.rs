//! Which release an instance should run: the published one, else the last completed one, else what it has.
//!
//! In: what is published and what was completed last, each as far as this instance can resolve it, and the quarantine. Out: the
//! choice with its reason. Keeps law 2 (what cannot be resolved is never a target) and law 6 (what proved bad is not tried).

use crate::model::digest::{Release, Revision};

/// A release, and what this instance makes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goal {
    /// The published tree.
    pub release: Release,
    /// What this instance resolves from it.
    pub revision: Revision,
}

/// A release that proved bad, and the revision that showed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// The release.
    pub release: Release,
    /// The revision, as the instance resolved it where it proved bad.
    pub revision: Option<Revision>,
}

/// What an instance should run, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// What is published.
    Published(Goal),
    /// What was completed last: the published release is in quarantine.
    Completed(Goal),
    /// What it has: there is nothing else.
    Stay(Stay),
}

/// Why an instance stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// The published tree is held or invalid, or there is none.
    NothingPublished,
    /// The published release is in quarantine and there is no completed one to go back to.
    Quarantined,
}

impl Choice {
    /// The release and revision to run; `None` where the instance stays as it is.
    #[must_use]
    pub fn goal(&self) -> Option<&Goal> {
        match self {
            Self::Published(goal) | Self::Completed(goal) => Some(goal),
            Self::Stay(_) => None,
        }
    }
}

/// Chooses. `published` and `completed` are `None` where they do not resolve here, or do not exist.
#[must_use]
pub fn choose(published: Option<&Goal>, completed: Option<&Goal>, quarantine: &[Quarantined]) -> Choice {
    let Some(published) = published else { return Choice::Stay(Stay::NothingPublished) };
    if !is_quarantined(published, quarantine) {
        return Choice::Published(published.clone());
    }
    match completed.filter(|completed| !is_quarantined(completed, quarantine)) {
        Some(completed) => Choice::Completed(completed.clone()),
        None => Choice::Stay(Stay::Quarantined),
    }
}

/// Whether a release, or this instance's revision of it, proved bad somewhere.
#[must_use]
pub fn is_quarantined(goal: &Goal, quarantine: &[Quarantined]) -> bool {
    quarantine.iter().any(|bad| bad.release == goal.release || bad.revision.as_ref() == Some(&goal.revision))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goal(release: &str, revision: &str) -> Goal {
        Goal { release: Release::new(release), revision: Revision::new(revision) }
    }

    fn bad(release: &str, revision: &str) -> Quarantined {
        Quarantined { release: Release::new(release), revision: Some(Revision::new(revision)) }
    }

    #[test]
    fn law_6_what_proved_bad_is_not_chosen_by_release_or_by_revision() {
        let (new, old) = (goal("2", "b"), goal("1", "a"));
        assert_eq!(choose(Some(&new), Some(&old), &[]), Choice::Published(new.clone()));
        assert_eq!(choose(Some(&new), Some(&old), &[bad("2", "x")]), Choice::Completed(old.clone()));
        assert_eq!(choose(Some(&new), Some(&old), &[bad("7", "b")]), Choice::Completed(old.clone()));
        assert_eq!(choose(Some(&new), Some(&old), &[bad("7", "x")]), Choice::Published(new.clone()));
    }

    #[test]
    fn law_2_without_anything_good_it_stays() {
        let (new, old) = (goal("2", "b"), goal("1", "a"));
        assert_eq!(choose(None, Some(&old), &[]), Choice::Stay(Stay::NothingPublished));
        assert_eq!(choose(Some(&new), None, &[bad("2", "b")]), Choice::Stay(Stay::Quarantined));
        assert_eq!(choose(Some(&new), Some(&old), &[bad("2", "b"), bad("1", "a")]).goal(), None);
    }
}
