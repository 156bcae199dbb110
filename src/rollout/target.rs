//! Which release an instance should run: the published one, else the last completed one, else what it has.
//!
//! In: what is published and what was completed last, each as far as this instance can resolve it, and the rollout record. Out: the
//! choice with its reason. Keeps law 2 (what cannot be resolved is never a target) and law 6 (what proved bad is not tried).

use crate::model::digest::{Release, Revision};
use crate::model::rollout::Rollout;

/// A release, and what this instance makes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goal {
    /// The published tree.
    pub release: Release,
    /// What this instance resolves from it.
    pub revision: Revision,
}

impl Goal {
    /// What ran well last: which release it came from matters to nobody.
    #[must_use]
    pub fn back(revision: Revision) -> Self {
        Self { release: Release::new(""), revision }
    }

    /// Whether it is what ran well last.
    #[must_use]
    pub fn is_back(&self) -> bool {
        self.release.as_str().is_empty()
    }
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
    /// A release was completed, and this instance, which is about to start, cannot read or resolve it.
    CompletedUnknown,
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
pub fn choose(published: Option<&Goal>, completed: Option<&Goal>, rollout: &Rollout) -> Choice {
    let bars = |goal: &Goal| rollout.bars(&goal.release, Some(&goal.revision)).is_some();
    let Some(published) = published else { return Choice::Stay(Stay::NothingPublished) };
    if !bars(published) {
        return Choice::Published(published.clone());
    }
    match completed.filter(|completed| !bars(completed)) {
        Some(completed) => Choice::Completed(completed.clone()),
        None => Choice::Stay(Stay::Quarantined),
    }
}

/// Chooses for an instance whose Superset does not run yet: what was completed last, and what is published only while nothing
/// has been.
#[must_use]
pub fn choose_at_start(published: Option<&Goal>, completed: Option<&Goal>, rollout: &Rollout) -> Choice {
    let Some(release) = &rollout.completed else { return choose(published, None, rollout) };
    let bars = |goal: &&Goal| rollout.bars(&goal.release, Some(&goal.revision)).is_some();
    match [published, completed].into_iter().flatten().find(|goal| goal.release == *release && !bars(goal)) {
        Some(goal) if published == Some(goal) => Choice::Published(goal.clone()),
        Some(goal) => Choice::Completed(goal.clone()),
        None => Choice::Stay(Stay::CompletedUnknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::instance::InstanceId;
    use crate::model::rollout::Quarantined;

    fn goal(release: &str, revision: &str) -> Goal {
        Goal { release: Release::new(release), revision: Revision::new(revision) }
    }

    fn bad(releases: &[(&str, &str)]) -> Rollout {
        let mut rollout = Rollout::default();
        for (release, revision) in releases {
            let instance = InstanceId::parse("a").unwrap();
            rollout.quarantine(Quarantined::new(Release::new(*release), Revision::new(*revision), instance, "it raises"));
        }
        rollout
    }

    #[test]
    fn law_6_what_proved_bad_is_not_chosen_by_release_or_by_revision() {
        let (new, old) = (goal("2", "b"), goal("1", "a"));
        assert_eq!(choose(Some(&new), Some(&old), &bad(&[])), Choice::Published(new.clone()));
        assert_eq!(choose(Some(&new), Some(&old), &bad(&[("2", "x")])), Choice::Completed(old.clone()));
        assert_eq!(choose(Some(&new), Some(&old), &bad(&[("7", "b")])), Choice::Completed(old.clone()));
        assert_eq!(choose(Some(&new), Some(&old), &bad(&[("7", "x")])), Choice::Published(new.clone()));
    }

    #[test]
    fn an_instance_that_starts_takes_what_was_completed_and_only_without_that_what_is_published() {
        let (new, old) = (goal("2", "b"), goal("1", "a"));
        assert_eq!(choose_at_start(Some(&new), None, &bad(&[])), Choice::Published(new.clone()));
        assert_eq!(choose_at_start(Some(&new), None, &bad(&[("2", "b")])).goal(), None);
        let completed = Rollout { completed: Some(old.release.clone()), ..bad(&[]) };
        assert_eq!(choose_at_start(Some(&new), Some(&old), &completed), Choice::Completed(old.clone()));
        assert_eq!(choose_at_start(Some(&old), None, &completed), Choice::Published(old.clone()));
        assert_eq!(choose_at_start(Some(&new), None, &completed), Choice::Stay(Stay::CompletedUnknown));
    }

    #[test]
    fn law_2_without_anything_good_it_stays() {
        let (new, old) = (goal("2", "b"), goal("1", "a"));
        assert_eq!(choose(None, Some(&old), &bad(&[])), Choice::Stay(Stay::NothingPublished));
        assert_eq!(choose(Some(&new), None, &bad(&[("2", "b")])), Choice::Stay(Stay::Quarantined));
        assert_eq!(choose(Some(&new), Some(&old), &bad(&[("2", "b"), ("1", "a")])).goal(), None);
    }
}
