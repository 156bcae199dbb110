//! The course of a command under a lease: what is due, and how it stands.
//!
//! In: leases, signals, ends. Out: what is [`Due`] now, when to look next, and in the end what is told: to the keeper how the command
//! ended, to the caller with which code. Nothing is signalled here.

use std::time::Duration;

use rustix::process::Signal;

use super::wire::{Lease, Why};
use crate::processes::clock::Moment;

/// How long what has to end without haste may take: what a command has left behind, and a command whose lock's keeper has died.
pub(super) const GRACE: Duration = Duration::from_secs(5);
/// How long the keeper may take to end once there is no more to do.
const KEEPER_LIMIT: Duration = Duration::from_secs(20);
/// How often is killed who should be gone: it may have forked meanwhile.
const KILL_EVERY: Duration = Duration::from_millis(20);
/// How often is looked whether everybody is gone.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Where the command stands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum State {
    /// It was not started.
    #[default]
    Before,
    /// It runs.
    Runs,
    /// It was told to end, and is killed then.
    Ending(Moment),
    /// It has ended with this code; what it left behind is told to end, and killed then.
    Left { code: u8, kill: Moment, told: bool },
    /// Nobody is left.
    Gone,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing.
    Nothing,
    /// Tell the command to end.
    Term,
    /// Tell whatever it left behind to end.
    TermLeftovers,
    /// End everything.
    Kill,
}

/// The course.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Course {
    lease: Option<Lease>,
    state: State,
    /// Whether a signal to end was passed on.
    asked: bool,
    /// Whether it was ended because the lease was over.
    cut: bool,
    /// The signal that stopped us before there was a command.
    stopped: Option<Signal>,
    /// What the keeper wants us to end with.
    verdict: Option<u8>,
    keeper_gone: bool,
    /// When the keeper must have ended.
    keeper_by: Option<Moment>,
}

impl Course {
    /// Takes a lease; says whether the command is to be started now.
    pub(super) fn lease(&mut self, lease: Lease) -> bool {
        self.lease = Some(lease);
        self.state == State::Before && self.stopped.is_none() && self.keeper_by.is_none() && !lease.term.has_come()
    }

    /// The command was started.
    pub(super) fn started(&mut self) {
        self.state = State::Runs;
    }

    /// There is nothing to start.
    pub(super) fn not_started(&mut self) {
        self.hurry();
    }

    /// A signal to stop came before there was a command.
    pub(super) fn stopped_before(&mut self, by: Signal) {
        self.stopped = Some(by);
        self.hurry();
    }

    /// A signal to end was passed on to the command.
    pub(super) fn was_asked(&mut self) {
        self.asked = true;
    }

    /// Nobody waits for the keeper any longer than needed.
    pub(super) fn hurry(&mut self) {
        self.keeper_by.get_or_insert(Moment::now() + KEEPER_LIMIT);
    }

    /// The keeper has nothing more to say.
    pub(super) fn over(&mut self, code: u8) {
        self.verdict = Some(code);
        self.hurry();
    }

    /// The keeper is gone, or does not listen any more.
    pub(super) fn keeper_gone(&mut self) {
        self.keeper_gone = true;
        self.hurry();
    }

    /// Whether the command is there to be signalled.
    pub(super) fn runs(&self) -> bool {
        matches!(self.state, State::Runs | State::Ending(_))
    }

    /// The command has ended.
    pub(super) fn has_ended(&mut self, code: u8) {
        let kill = match self.state {
            State::Ending(kill) => kill,
            _ => self.soon(),
        };
        self.state = State::Left { code, kill, told: false };
    }

    /// Whether the command itself has ended.
    pub(super) fn has_child_ended(&self) -> bool {
        matches!(self.state, State::Left { .. })
    }

    /// Nobody is left; says what to tell the keeper, once.
    pub(super) fn gone(&mut self) -> Option<(u8, Why)> {
        let State::Left { code, .. } = self.state else { return None };
        self.state = State::Gone;
        if self.cut {
            self.hurry();
        }
        let why = match (self.cut, self.asked) {
            (true, _) => Why::Lease,
            (false, true) => Why::Asked,
            (false, false) => Why::Itself,
        };
        Some((code, why))
    }

    /// Whether nobody is left.
    pub(super) fn is_gone(&self) -> bool {
        self.state == State::Gone
    }

    /// Whether the keeper takes too long.
    pub(super) fn is_keeper_late(&self) -> bool {
        self.keeper_by.is_some_and(Moment::has_come)
    }

    /// What is due now; each thing that is done once is said once.
    pub(super) fn due(&mut self) -> Due {
        match self.state {
            State::Runs if self.keeper_gone || self.lease.is_none_or(|lease| lease.term.has_come()) => {
                self.cut = true;
                self.state = State::Ending(self.soon());
                Due::Term
            }
            State::Left { code, kill, told: false } => {
                self.state = State::Left { code, kill, told: true };
                Due::TermLeftovers
            }
            State::Ending(kill) | State::Left { kill, .. } if self.soon().min(kill).has_come() => Due::Kill,
            _ => Due::Nothing,
        }
    }

    /// After how long to look next.
    pub(super) fn next(&self) -> Duration {
        let pause = match self.state {
            State::Runs => self.lease.map_or(Duration::ZERO, |lease| lease.term.from_now()),
            State::Ending(kill) => kill.min(self.soon()).from_now().max(KILL_EVERY),
            State::Left { .. } => LOOK_EVERY,
            State::Before | State::Gone => GRACE,
        };
        // Nothing is due sooner than what has come already can be read.
        pause.max(Duration::from_millis(1))
    }

    /// When who is told now is killed.
    fn soon(&self) -> Moment {
        let patient = Moment::now() + GRACE;
        self.lease.map_or(patient, |lease| lease.kill.min(patient))
    }

    /// What we end with, where that is known.
    pub(super) fn verdict(&self) -> Option<u8> {
        let stopped = self.stopped.map(|signal| u8::try_from(128 + signal.as_raw()).unwrap_or(u8::MAX));
        self.verdict.or(stopped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(term: u64, kill: u64) -> Lease {
        let at = |ms| Moment::now() + Duration::from_millis(ms);
        Lease { term: at(term), kill: at(kill) }
    }

    fn running(term: u64, kill: u64) -> Course {
        let mut course = Course::default();
        assert!(course.lease(lease(term, kill)));
        course.started();
        course
    }

    #[test]
    fn a_command_is_told_to_end_and_then_killed_when_no_new_lease_comes() {
        let mut course = running(30, 60);
        assert_eq!(course.due(), Due::Nothing);
        std::thread::sleep(Duration::from_millis(35));
        assert_eq!((course.due(), course.due()), (Due::Term, Due::Nothing));
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!((course.due(), course.due()), (Due::Kill, Due::Kill));
        assert!(!course.lease(lease(1000, 2000)), "it is not started again");
        course.has_ended(137);
        course.due();
        assert_eq!(course.gone(), Some((137, Why::Lease)));
        assert_eq!(course.gone(), None);
    }

    #[test]
    fn a_new_lease_lets_it_run_on() {
        let mut course = running(20, 40);
        assert!(!course.lease(lease(1000, 2000)));
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(course.due(), Due::Nothing);
        course.was_asked();
        course.has_ended(143);
        assert_eq!((course.due(), course.due()), (Due::TermLeftovers, Due::Nothing));
        assert_eq!(course.gone(), Some((143, Why::Asked)));
    }

    #[test]
    fn without_its_keeper_it_ends_before_the_lease_does() {
        let mut course = running(60_000, 61_000);
        course.keeper_gone();
        assert_eq!(course.due(), Due::Term);
        assert!(course.next() <= GRACE);
    }

    #[test]
    fn what_came_too_late_or_after_a_stop_starts_nothing() {
        let mut course = Course::default();
        assert!(!course.lease(lease(0, 100)));
        assert!(course.lease(lease(1000, 2000)));
        course.stopped_before(Signal::TERM);
        assert!(!course.lease(lease(1000, 2000)));
        assert_eq!(course.verdict(), Some(143));
        course.over(3);
        assert_eq!(course.verdict(), Some(3));
    }
}
