//! The course of one instance, step by step with the clock in hand: whom it waits for, and for how long.

use std::time::{Duration, Instant};

use setkeeper::model::digest::{Release, Revision};
use setkeeper::rollout::course::Course;
use setkeeper::rollout::job::{Canaries, Due, Job, Place, Rules, Target, View};
use setkeeper::rollout::journal::Journal;
use setkeeper::rollout::target::Goal;

const WAIT: Duration = Duration::from_secs(120);

/// In turn, with nothing to prove, and a release to be had.
fn course(now: Instant) -> Course {
    let rules = Rules {
        proof: Due::Never,
        place: Place::InTurn,
        settle: Duration::ZERO,
        soak: Duration::from_secs(5),
        canary_wait: WAIT,
        reload_limit: Duration::from_secs(180),
        verify_limit: Duration::from_secs(90),
        alone_after: Duration::from_secs(15),
        ask_every: Duration::from_secs(3),
        jitter: 1.0,
    };
    let mut course = Course::resume(rules, Journal::default());
    course.aim(Some(Goal { release: Release::new("d"), revision: Revision::new("r") }), now);
    course
}

fn view(canaries: Canaries) -> View {
    View { target: Target::Running, connected: true, paused: false, canaries }
}

/// When it asks for a slot, in seconds, where it is shown these views, each until that second.
fn asks_after(shown: &[(u64, View)]) -> Option<u64> {
    let begin = Instant::now();
    let mut course = course(begin);
    let (mut second, mut from) = (None, 0);
    for (until, view) in shown {
        for at in from..*until {
            match course.next(begin + Duration::from_secs(at), *view) {
                None => {}
                Some(Job::TakeSlot(_)) => second = second.or(Some(at)),
                Some(other) => panic!("{other:?}"),
            }
        }
        from = *until;
    }
    second
}

#[test]
fn canaries_that_are_done_are_not_waited_for_and_those_that_never_begin_only_so_long() {
    assert_eq!(asks_after(&[(9, view(Canaries::Done))]), Some(0));
    assert_eq!(asks_after(&[(900, view(Canaries::Awaited))]), Some(WAIT.as_secs()));
    assert_eq!(asks_after(&[(50, view(Canaries::Awaited)), (99, view(Canaries::Done))]), Some(50));
}

#[test]
fn the_wait_stands_still_while_a_canary_works_while_the_cluster_is_paused_and_while_zookeeper_is_away() {
    assert_eq!(asks_after(&[(3_600, view(Canaries::Working))]), None);
    let stands = [
        view(Canaries::Working),
        View { paused: true, ..view(Canaries::Awaited) },
        View { connected: false, ..view(Canaries::Awaited) },
    ];
    for still in stands {
        let shown = [(50, view(Canaries::Awaited)), (1_050, still), (2_000, view(Canaries::Awaited))];
        let asked = asks_after(&shown).unwrap();
        // A wait is seen to stand still when it is looked at next.
        assert!((1_120..=1_122).contains(&asked), "{still:?}: {asked}");
    }
}
