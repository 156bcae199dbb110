//! What comes next: one job at a time, from where the course is and what the cluster shows.

use std::time::{Duration, Instant};

use super::{At, Course, Leg};
use crate::model::digest::Revision;
use crate::rollout::job::{Bad, Canaries, Due, Job, Place, Target, Verdict, View};
use crate::rollout::journal::{Blame, Journal, Refusal};
use crate::rollout::target::Goal;

impl Course {
    /// The next job that may begin at `now`; none while one is under way.
    pub fn next(&mut self, now: Instant, view: View) -> Option<Job> {
        self.canaries.pass(now, view.canaries == Canaries::Awaited && !view.paused && view.connected);
        self.target = view.target;
        self.alone_since = if view.connected { None } else { self.alone_since.or(Some(now)) };
        if self.under_way.is_none() {
            self.under_way = self.tell(now, view).or_else(|| self.advance(now, view));
            return self.under_way.clone();
        }
        None
    }

    fn tell(&self, now: Instant, view: View) -> Option<Job> {
        if !view.connected || self.leg != Leg::Idle || self.asked_lately(now) {
            return None;
        }
        let (revision, refusal) = self.untold()?;
        let goal = Goal { release: refusal.release.clone(), revision: revision.clone() };
        Some(Job::Quarantine(Bad { goal, why: refusal.why.clone() }))
    }

    /// What proved bad here and is not known to the cluster.
    pub(super) fn untold(&self) -> Option<(&Revision, &Refusal)> {
        let Journal { live, good, refused } = &self.journal;
        let is_well = live.is_some() && live == good;
        refused.iter().find(|(_, refusal)| match refusal.blame {
            Blame::Invalid => true,
            Blame::Unverified => is_well,
            _ => false,
        })
    }

    fn asked_lately(&self, now: Instant) -> bool {
        self.ask_at.is_some_and(|at| at > now)
    }

    fn advance(&mut self, now: Instant, view: View) -> Option<Job> {
        match &self.leg {
            Leg::Forward(goal, At::Install) => Some(Job::Install(goal.revision.clone())),
            Leg::Forward(goal, At::Reload) => {
                let revision = goal.revision.clone();
                let is_free = self.target != Target::Running || self.may_go_back_alone(&revision, now);
                if is_free || self.outlasts(now, self.rules.reload_limit) {
                    self.journal.live = None;
                    return Some(Job::Reload(revision));
                }
                // Superset has not been told yet: putting the files back is all.
                self.turn_back("the slot's lease ran out before the reload".to_owned(), false, true, now);
                self.advance(now, view)
            }
            Leg::Forward(_, At::Soak(until)) if *until > now => None,
            Leg::Forward(goal, At::Verify | At::Soak(_)) => Some(Job::Verify(goal.revision.clone())),
            Leg::Back { at, .. } if self.is_rested(now) => {
                let good = self.journal.good.clone()?;
                Some(match at {
                    At::Install => Job::Install(good),
                    At::Reload => Job::Reload(good),
                    At::Verify | At::Soak(_) => Job::Verify(good),
                })
            }
            Leg::Back { .. } => None,
            Leg::Idle => self.begin(now, view),
        }
    }

    fn begin(&mut self, now: Instant, view: View) -> Option<Job> {
        if self.target == Target::Unknown {
            return None;
        }
        let meant = self.meant().filter(|_| self.is_rested(now));
        let Some(goal) = meant.filter(|goal| !self.runs(&goal.revision)) else {
            return self.prove_host().or_else(|| self.give_back(now, view));
        };
        let is_live = self.journal.live.as_ref() == Some(&goal.revision);
        let goes_back_alone = self.may_go_back_alone(&goal.revision, now);
        if self.waits_for_superset(&goal.revision) || (!is_live && !view.connected && !goes_back_alone) {
            return None;
        }
        if self.slot.is_some() && self.slot_for.as_ref() != Some(&goal.revision) && self.journal.live.is_some() {
            // It was for another release, or another run: this one waits for its turn as any does.
            return self.give_back(now, view);
        }
        if !is_live && self.must_check(&goal.revision) {
            return Some(Job::Check(goal));
        }
        if !is_live && self.target == Target::Running && self.rules.place == Place::Alone && !self.is_settled(now) {
            return None;
        }
        if !is_live && self.target == Target::Running && !goes_back_alone && !self.has_leave(now) {
            if !self.may_ask(now, view) {
                return self.give_back(now, view);
            }
            return Some(Job::TakeSlot(goal));
        }
        let revision = goal.revision.clone();
        self.leg = Leg::Forward(goal, At::Install);
        Some(Job::Install(revision))
    }

    /// Proves what runs here where the host was sick and nobody could say so since: Superset did not run when the files were put back.
    fn prove_host(&mut self) -> Option<Job> {
        let (goal, _) = self.goal.as_ref()?;
        let is_sick = self.journal.refused.get(&goal.revision).is_some_and(|refusal| refusal.blame == Blame::Host);
        let good = self.journal.good.clone().filter(|good| is_sick && self.target == Target::Running && self.runs(good))?;
        self.leg = Leg::Forward(Goal::back(good.clone()), At::Verify);
        Some(Job::Verify(good))
    }

    /// What this instance is to run: the goal, or what ran well last where the goal proved bad here.
    pub(super) fn meant(&self) -> Option<Goal> {
        let Some((goal, _)) = &self.goal else { return self.unfinished() };
        if self.refusal(&goal.revision).is_none() {
            return Some(goal.clone());
        }
        self.journal.good.clone().map(Goal::back)
    }

    /// What ran well last, where a way to it or from it was cut off and nothing else is meant: the tree is held, or not read yet.
    fn unfinished(&self) -> Option<Goal> {
        let good = self.journal.good.clone().filter(|good| self.target != Target::Unstarted && !self.runs(good))?;
        Some(Goal::back(good))
    }

    /// Whether this is the way back to what ran well last, and there is no ZooKeeper to ask for a turn: a way that was cut off must not stay
    /// so for as long as ZooKeeper is away (law 1). What an agent that has just started should run is not known yet, so it waits a little.
    fn may_go_back_alone(&self, revision: &Revision, now: Instant) -> bool {
        let has_waited = |since: Instant| self.goal.is_some() || since + self.rules.alone_after <= now;
        self.journal.good.as_ref() == Some(revision) && self.alone_since.is_some_and(has_waited)
    }

    /// What ran well here needs no proof; what was proven needs no other.
    pub(super) fn must_check(&self, revision: &Revision) -> bool {
        let is_due = match self.rules.proof {
            Due::Always => true,
            Due::WhereTold => self.target != Target::Nobody,
            Due::Never => false,
        };
        is_due && self.journal.good.as_ref() != Some(revision) && !matches!(self.verdicts.get(revision), Some(Verdict::Proven))
    }

    fn may_ask(&self, now: Instant, view: View) -> bool {
        self.is_settled(now) && !self.asked_lately(now) && !view.paused && self.may_follow(view.canaries)
    }

    fn is_settled(&self, now: Instant) -> bool {
        self.goal.as_ref().is_none_or(|(_, since)| *since + self.rules.settle <= now)
    }

    /// Whether all that is left is that Superset starts, which is not our doing, and is asked whether it runs well.
    pub(super) fn waits_for_superset(&self, revision: &Revision) -> bool {
        self.target == Target::Absent
            && [&self.installed, &self.journal.live].into_iter().all(|known| known.as_ref() == Some(revision))
    }

    /// Canaries first; for those that never come, the wait ends.
    fn may_follow(&self, canaries: Canaries) -> bool {
        let is_over = canaries == Canaries::Awaited && self.canaries.spent >= self.rules.canary_wait;
        self.rules.place != Place::InTurn || canaries == Canaries::Done || is_over
    }

    fn has_leave(&self, now: Instant) -> bool {
        self.outlasts(now, self.rules.reload_limit + self.rules.verify_limit)
    }

    /// Whether the slot is ours for as long as something takes that begins now.
    fn outlasts(&self, now: Instant, takes: Duration) -> bool {
        self.rules.place == Place::Alone || self.slot.is_some_and(|until| now + takes <= until)
    }

    fn give_back(&mut self, now: Instant, view: View) -> Option<Job> {
        let until = self.slot?;
        if until <= now {
            self.slot = None;
            return None;
        }
        (view.connected && !self.asked_lately(now)).then_some(Job::FreeSlot)
    }

    fn is_rested(&self, now: Instant) -> bool {
        self.rest.as_ref().is_none_or(|rest| rest.until <= now)
    }
}
