//! What the course says of itself: what it is doing, when it will look again, whether it is at rest.

use std::time::Instant;

use super::{At, Course, Leg};
use crate::model::instance::State;
use crate::rollout::job::View;
use crate::rollout::journal::Blame;

/// Why an instance waits whose Superset is not ours to start.
const ABSENT: &str = "superset does not run; whether it runs well with the new files shows when it does";

impl Course {
    /// When after `now` there may be a job although nothing happened.
    #[must_use]
    pub fn wake_after(&self, now: Instant) -> Option<Instant> {
        let settled = self.goal.as_ref().map(|(_, since)| *since + self.rules.settle);
        let canaries = self.canaries.since.map(|since| since + self.rules.canary_wait.saturating_sub(self.canaries.spent));
        let rest = self.rest.as_ref().map(|rest| rest.until);
        let soaked = if let Leg::Forward(_, At::Soak(until)) = self.leg { Some(until) } else { None };
        let alone = self.alone_since.map(|since| since + self.rules.alone_after);
        [settled, canaries, rest, soaked, alone, self.ask_at, self.slot].into_iter().flatten().filter(|at| *at > now).min()
    }

    /// What this instance is doing, and why it is not further.
    #[must_use]
    pub fn state(&self, view: View) -> (State, Option<String>) {
        let Some((goal, _)) = &self.goal else { return (State::Held, None) };
        let refusal = self.refusal(&goal.revision);
        let rests = self.rest.as_ref().map(|rest| rest.why.clone());
        match (&self.leg, refusal) {
            (Leg::Forward(..) | Leg::Back { .. }, _) => (State::Reloading, None),
            (Leg::Idle, Some(refusal)) if refusal.blame == Blame::Host => (State::Failed, Some(refusal.why.clone())),
            (Leg::Idle, Some(refusal)) => (State::Held, Some(refusal.why.clone())),
            (Leg::Idle, None) if self.runs(&goal.revision) => (State::InSync, None),
            (Leg::Idle, None) if self.waits_for_superset(&goal.revision) => (State::Waiting, Some(ABSENT.to_owned())),
            (Leg::Idle, None) if rests.is_some() && self.must_check(&goal.revision) => (State::Held, rests),
            (Leg::Idle, None) if rests.is_some() => (State::Failed, rests),
            (Leg::Idle, None) if self.must_check(&goal.revision) => (State::Checking, None),
            (Leg::Idle, None) if view.paused => (State::Paused, None),
            (Leg::Idle, None) => (State::Waiting, None),
        }
    }

    /// Whether nothing is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.under_way.is_none() && self.leg == Leg::Idle
    }

    /// Whether nothing is under way and nothing is left to do.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        let runs = self.goal.is_none() || self.meant().is_some_and(|goal| self.runs(&goal.revision));
        self.is_idle() && runs && self.slot.is_none() && self.untold().is_none()
    }
}
