//! What the course makes of outcomes: on, back, or to rest.

use std::time::Instant;

use super::{At, Course, Leg};
use crate::model::digest::Revision;
use crate::rollout::job::{Bad, Job, Leave, Outcome, Place, ReloadFailed, Suspect, Target, Verdict};
use crate::rollout::journal::Blame;
use crate::rollout::target::Goal;

impl Course {
    /// Takes what came of the job under way.
    pub fn record(&mut self, outcome: Outcome, now: Instant) {
        let job = self.under_way.take();
        match outcome {
            Outcome::Checked(Verdict::GivenUp) => {}
            Outcome::Checked(verdict) => {
                // Something else may be meant by now.
                if let Some(Job::Check(goal)) = job {
                    self.checked(goal, verdict, now);
                }
            }
            Outcome::Slot(Leave::Until(until)) => {
                self.slot = Some(until);
                self.slot_for = if let Some(Job::TakeSlot(goal)) = job { Some(goal.revision) } else { None };
            }
            Outcome::Installed(result) => self.installed(result, now),
            Outcome::Reloaded(result) => self.reloaded(result, now),
            Outcome::Verified(result) => self.verified(result, now),
            Outcome::Freed(true) => self.slot = None,
            Outcome::Told(true) => self.told(),
            Outcome::Slot(Leave::NotNow) | Outcome::Freed(false) | Outcome::Told(false) => {
                self.ask_at = Some(now + self.rules.ask_every);
            }
        }
    }

    fn told(&mut self) {
        let told = self.untold().map(|(revision, _)| revision.clone());
        if let Some(revision) = told
            && let Some(refusal) = self.journal.refused.get_mut(&revision)
        {
            refusal.blame = Blame::Quarantined;
            self.told.insert(revision);
        }
    }

    fn checked(&mut self, goal: Goal, verdict: Verdict, now: Instant) {
        match &verdict {
            Verdict::Proven | Verdict::GivenUp => self.rest = None,
            Verdict::Inconclusive(why) => self.rest(why.clone(), now),
            Verdict::Invalid(why) => {
                self.refuse(&goal, why.clone(), Blame::Invalid);
            }
        }
        self.verdicts.insert(goal.revision, verdict);
    }

    fn installed(&mut self, result: Result<(), String>, now: Instant) {
        if let Err(why) = result {
            self.installed = None;
            if let Leg::Back { .. } = self.leg {
                // The slot is for others: this host has to get well first.
                self.sicken(&why, now);
            } else {
                self.leg = Leg::Idle;
                self.rest(why, now);
            }
            return;
        }
        match &mut self.leg {
            Leg::Forward(goal, at) => {
                let revision = goal.revision.clone();
                self.installed = Some(revision.clone());
                if self.target == Target::Nobody || (self.target == Target::Absent && self.journal.good.is_none()) {
                    self.arrive(revision, now);
                } else if self.target == Target::Absent {
                    // It loads this when it starts; whether it runs well with it shows then.
                    self.journal.live = Some(revision);
                    self.leg = Leg::Idle;
                } else if self.journal.live.as_ref() == Some(&revision) {
                    *at = At::Verify;
                } else {
                    *at = At::Reload;
                }
            }
            Leg::Back { unaffected, at, .. } => {
                *at = if *unaffected { At::Verify } else { At::Reload };
                self.installed.clone_from(&self.journal.good);
            }
            Leg::Idle => {}
        }
    }

    fn reloaded(&mut self, result: Result<(), ReloadFailed>, now: Instant) {
        match (result, &mut self.leg) {
            (Ok(()), Leg::Forward(_, at) | Leg::Back { at, .. }) => *at = At::Verify,
            (Err(failed), Leg::Forward(goal, _)) => {
                let goal = goal.revision.clone();
                let is_the_second = failed.suspect == Suspect::Either && self.suspected.replace(goal.clone()) == Some(goal);
                self.turn_back(failed.why, failed.suspect == Suspect::Release || is_the_second, failed.unaffected, now);
            }
            (Err(failed), Leg::Back { .. }) => self.sicken(&failed.why, now),
            (_, Leg::Idle) => {}
        }
    }

    fn verified(&mut self, result: Result<(), String>, now: Instant) {
        match (result, std::mem::replace(&mut self.leg, Leg::Idle)) {
            (Ok(()), Leg::Forward(goal, At::Verify)) if self.slot.is_some() || self.is_alone_and_told() => {
                self.journal.live = Some(goal.revision.clone());
                self.leg = Leg::Forward(goal, At::Soak(now + self.rules.soak));
            }
            (Ok(()), Leg::Forward(goal, _)) => self.arrive(goal.revision, now),
            (Ok(()), Leg::Back { bad, blames_release, .. }) => {
                if !blames_release {
                    self.rest(bad.why, now);
                }
                self.journal.live.clone_from(&self.journal.good);
            }
            (Err(why), Leg::Forward(goal, At::Verify)) if self.journal.live.as_ref() == Some(&goal.revision) => {
                // Only the files had been put right: Superset is not what it was believed to be.
                self.journal.live = None;
                self.rest(why, now);
            }
            (Err(why), leg @ Leg::Forward(..)) => {
                self.journal.live = None;
                self.leg = leg;
                self.turn_back(why, true, false, now);
            }
            (Err(why), leg @ Leg::Back { .. }) => {
                self.leg = leg;
                self.sicken(&why, now);
            }
            (_, Leg::Idle) => {}
        }
    }

    /// Where there are no slots, a release is watched all the same.
    fn is_alone_and_told(&self) -> bool {
        self.rules.place == Place::Alone && self.target == Target::Running
    }

    fn arrive(&mut self, revision: Revision, now: Instant) {
        self.leg = Leg::Idle;
        self.rest = None;
        self.suspected = None;
        self.installed = Some(revision.clone());
        self.journal.refused.remove(&revision);
        self.journal.live = Some(revision.clone());
        self.journal.good = Some(revision);
        // What failed while the host was not well has another chance now that it is, and each time a longer rest before it.
        for refusal in self.journal.refused.values_mut().filter(|refusal| refusal.blame == Blame::Host) {
            refusal.blame = Blame::Forgiven;
        }
        let goal = self.goal.as_ref().and_then(|(goal, _)| self.journal.refused.get(&goal.revision));
        if let Some((failures, why)) = goal.map(|forgiven| (forgiven.failures, forgiven.why.clone())) {
            self.rest_after(failures, why, now);
        }
    }

    /// Not even what ran well before runs now: it is the host, and the release is not to blame.
    fn sicken(&mut self, why: &str, now: Instant) {
        if let Leg::Back { bad, .. } = std::mem::replace(&mut self.leg, Leg::Idle)
            && let Some(refusal) = self.journal.refused.get_mut(&bad.goal.revision)
        {
            refusal.blame = Blame::Host;
        }
        self.journal.live = None;
        self.rest(format!("superset does not come back: {why}"), now);
    }

    /// Goes back to what ran well; where there is nothing else, the same is tried again after a rest.
    pub(super) fn turn_back(&mut self, why: String, blames_release: bool, unaffected: bool, now: Instant) {
        let Leg::Forward(goal, _) = std::mem::replace(&mut self.leg, Leg::Idle) else { return };
        if self.journal.good.as_ref().is_none_or(|good| *good == goal.revision) {
            self.rest(why, now);
            return;
        }
        if blames_release {
            // Written down before the way back begins: a crash must not forget what proved bad.
            self.refuse(&goal, why.clone(), Blame::Unverified);
        }
        self.leg = Leg::Back { bad: Bad { goal, why }, blames_release, unaffected, at: At::Install };
    }
}
