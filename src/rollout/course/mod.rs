//! The course of one release onto this instance: check, settle, slot, install, reload, verify, soak, or back.
//!
//! Pure bookkeeping with the clock handed in: a goal and the cluster's view go in, one [`Job`] at a time comes out, and its
//! [`Outcome`](super::job::Outcome) goes back in. Keeps law 1 (no cluster, no beginning; what is under way ends), law 4 (nothing unproven is installed),
//! law 5 (nothing begins without a slot whose lease outlasts it) and law 6 (what proved bad here is not tried again; a
//! sick host tells nobody). It does not choose the release, nor does it know who else is at work.

mod next;
mod record;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::job::{Bad, Job, Place, Rules, Target, Verdict};
use super::journal::{Blame, Journal, Refusal};
use super::target::Goal;
use crate::model::digest::Revision;
use crate::model::rollout::{REMEMBERED, Rollout};

/// The first rest after a failure, and the longest.
const RESTS: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));

/// The course of one instance.
#[derive(Debug)]
pub struct Course {
    rules: Rules,
    journal: Journal,
    goal: Option<(Goal, Instant)>,
    verdicts: BTreeMap<Revision, Verdict>,
    /// Whether the files on the live path are known to be those of this revision.
    installed: Option<Revision>,
    leg: Leg,
    /// Until when nobody else can have our slot.
    slot: Option<Instant>,
    /// What the slot was taken for by this run.
    slot_for: Option<Revision>,
    ask_at: Option<Instant>,
    rest: Option<Rest>,
    /// What failed last so that it may be the host or the release.
    suspected: Option<Revision>,
    canaries: Patience,
    /// Whom a reload concerns, as last seen.
    target: Target,
    /// Since when ZooKeeper is away.
    alone_since: Option<Instant>,
    /// What the cluster was told and has not shown yet: that it is not there means nothing.
    told: BTreeSet<Revision>,
    under_way: Option<Job>,
}

/// Where the course is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Leg {
    /// Nothing is under way.
    Idle,
    /// On its way to this revision.
    Forward(Goal, At),
    /// On its way back from one that failed.
    Back { bad: Bad, blames_release: bool, unaffected: bool, at: At },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Install,
    Reload,
    Verify,
    /// Verified once, watched until then, and verified again at the end.
    Soak(Instant),
}

/// How often something failed in a row, and what it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rest {
    failures: u32,
    until: Instant,
    why: String,
}

/// How long the canaries have been waited for, without the time in which one was at work.
#[derive(Clone, Debug, Default)]
struct Patience {
    spent: Duration,
    since: Option<Instant>,
}

impl Course {
    /// Begins where the journal ends.
    #[must_use]
    pub fn resume(rules: Rules, journal: Journal) -> Self {
        Self {
            rules,
            installed: journal.live.clone(),
            journal,
            goal: None,
            verdicts: BTreeMap::new(),
            leg: Leg::Idle,
            slot: None,
            slot_for: None,
            ask_at: None,
            rest: None,
            suspected: None,
            canaries: Patience::default(),
            target: Target::Nobody,
            alone_since: None,
            told: BTreeSet::new(),
            under_way: None,
        }
    }

    /// What is to be written down before the next job begins.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Takes what this instance should run; `None`: what it has. A leg under way is finished first.
    pub fn aim(&mut self, goal: Option<Goal>, now: Instant) {
        if self.goal.as_ref().map(|(goal, _)| goal) == goal.as_ref() {
            return;
        }
        let is_other = self.goal.as_ref().map(|(goal, _)| &goal.revision) != goal.as_ref().map(|goal| &goal.revision);
        self.goal = goal.map(|goal| (goal, now));
        if is_other {
            self.rest = None;
            self.canaries = Patience::default();
            let meant = self.goal.as_ref().map(|(goal, _)| &goal.revision);
            if self.rules.place == Place::Alone {
                // Nobody lifts a quarantine here: what is published again is meant again.
                self.journal.refused.retain(|revision, _| Some(revision) == meant);
            }
            let refused = &self.journal.refused;
            self.verdicts.retain(|revision, verdict| {
                let is_lasting = !matches!(verdict, Verdict::Inconclusive(_));
                is_lasting && (Some(revision) == meant || refused.contains_key(revision))
            });
        }
    }

    /// Takes the quarantine as the cluster has it: what was in it and is no longer may be tried again, and is told.
    pub fn follow_quarantine(&mut self, rollout: &Rollout) -> Vec<Revision> {
        let is_in = |revision: &Revision, refusal: &Refusal| rollout.bars(&refusal.release, Some(revision)).is_some();
        let refused = &self.journal.refused;
        self.told.retain(|revision| refused.get(revision).is_some_and(|refusal| !is_in(revision, refusal)));
        let lifted = |(revision, refusal): (&Revision, &Refusal)| {
            let is_lifted = refusal.blame == Blame::Quarantined && !is_in(revision, refusal) && !self.told.contains(revision);
            is_lifted.then(|| revision.clone())
        };
        let lifted: Vec<_> = refused.iter().filter_map(lifted).collect();
        for revision in &lifted {
            self.journal.refused.remove(revision);
            self.verdicts.remove(revision);
            self.rest = None;
        }
        lifted
    }

    /// These files lie on the live path, and Superset loads them or has loaded them: found there, or started from.
    pub fn found(&mut self, revision: &Revision, is_good: bool) {
        self.installed = Some(revision.clone());
        self.journal.live = Some(revision.clone());
        if is_good {
            self.journal.good = Some(revision.clone());
        }
    }

    /// Nobody knows what Superset runs: it was not started yet, or may have loaded files that were replaced meanwhile.
    pub fn doubt_superset(&mut self) {
        self.journal.live = None;
    }

    /// The files on the live path are not what they were: somebody changed them by hand.
    pub fn doubt_files(&mut self) {
        self.installed = None;
    }

    /// What the cluster says of our slot: until when it is ours; `None`: it is not. One that we had given up for lost and that is
    /// ours all the same has to be given back too.
    pub fn lease(&mut self, until: Option<Instant>) {
        self.slot = until;
    }

    /// Why a revision is not tried; one that failed is not tried either while nobody can say whether it runs well now.
    fn refusal(&self, revision: &Revision) -> Option<&Refusal> {
        let is_forgiven = |refusal: &&Refusal| refusal.blame == Blame::Forgiven && self.target != Target::Absent;
        self.journal.refused.get(revision).filter(|refusal| !is_forgiven(refusal))
    }

    fn refuse(&mut self, goal: &Goal, why: String, blame: Blame) {
        let failures = 1 + self.journal.refused.get(&goal.revision).map_or(0, |earlier| earlier.failures);
        let refusal = Refusal { release: goal.release.clone(), why, failures, blame };
        let surplus = self.journal.refused.keys().find(|known| **known != goal.revision).cloned();
        if let Some(surplus) = surplus.filter(|_| self.journal.refused.len() >= REMEMBERED) {
            self.journal.refused.remove(&surplus);
        }
        self.journal.refused.insert(goal.revision.clone(), refusal);
    }

    /// Whether it lies on the live path, Superset has it, and it has run well for its time.
    #[must_use]
    pub fn runs(&self, revision: &Revision) -> bool {
        let Journal { live, good, .. } = &self.journal;
        [&self.installed, live, good].into_iter().all(|known| known.as_ref() == Some(revision))
    }

    fn rest(&mut self, why: String, now: Instant) {
        let failures = self.rest.as_ref().map_or(0, |rest| rest.failures);
        self.rest_after(failures, why, now);
    }

    fn rest_after(&mut self, failures: u32, why: String, now: Instant) {
        let doubled = RESTS.0.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX)).min(RESTS.1);
        self.rest = Some(Rest { failures: failures.saturating_add(1), until: now + doubled.mul_f64(self.rules.jitter), why });
    }
}

impl Patience {
    /// Counts the time since it was last asked, where it counts.
    fn pass(&mut self, now: Instant, counts: bool) {
        if let Some(since) = self.since {
            self.spent += now.saturating_duration_since(since);
        }
        self.since = counts.then_some(now);
    }
}
