//! Which slot to take: the pure decision, from what was read and when.
//!
//! No clock is shared. A holder writes its record again and again; who has seen the same write for the whole lease that
//! it names, by its own monotonic clock, knows that the holder starts nothing any more: the holder counts from
//! when it *sent* that write, which is before anybody saw it. A write is told by its transaction, because a version begins
//! again where a node was deleted and made anew.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::model::instance::InstanceId;
use crate::model::slot::{Boot, Slot};

/// Who looks for a slot.
#[derive(Clone, Debug)]
pub struct Seeker {
    /// The instance.
    pub instance: InstanceId,
    /// This run of its agent.
    pub boot: Boot,
    /// How many slots there are.
    pub count: u32,
    /// How long nobody else may take what it holds, after its last write.
    pub lease: Duration,
}

/// A slot's node as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The slot's number.
    pub number: u32,
    /// Who holds it.
    pub holder: Holder,
    /// The version that a conditional write names.
    pub version: i32,
    /// The transaction that wrote it.
    pub mark: i64,
}

/// Who holds a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Nobody.
    Nobody,
    /// Whoever this says.
    Known(Slot),
    /// Somebody whose record cannot be read: our own lease serves for theirs.
    Unknown,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// It is ours already: from a write whose answer was lost, or, where a record comes with it, from an earlier run of this
    /// agent, which left something to recover.
    Mine {
        /// Which.
        number: u32,
        /// By this version.
        version: i32,
        /// What the earlier run was doing.
        earlier: Option<Slot>,
    },
    /// Take this one.
    Take {
        /// Which.
        number: u32,
        /// By this version; none where the node does not exist yet.
        version: Option<i32>,
        /// From whom, where a holder let its lease run out.
        from: Option<Slot>,
    },
    /// None can be had before then, unless somebody frees one.
    Wait {
        /// When the first lease runs out.
        until: Option<Instant>,
    },
}

/// Since when each slot has been seen as it is.
#[derive(Clone, Debug, Default)]
pub struct Memory(BTreeMap<u32, (i64, Instant)>);

impl Memory {
    /// Decides by what was read; `now` is no earlier than the answer.
    pub fn decide(&mut self, me: &Seeker, seen: &[Seen], now: Instant) -> Move {
        self.note(seen, now);
        if let Some((own, slot)) = seen.iter().find_map(|seen| Some((seen, own(me, seen)?))) {
            let earlier = (slot.boot != me.boot).then(|| slot.clone());
            return Move::Mine { number: own.number, version: own.version, earlier };
        }
        let within = |number: u32| seen.iter().find(move |seen| seen.number == number);
        for number in 0..me.count {
            match within(number) {
                None => return Move::Take { number, version: None, from: None },
                Some(Seen { holder: Holder::Nobody, version, .. }) => {
                    return Move::Take { number, version: Some(*version), from: None };
                }
                Some(_) => {}
            }
        }
        let taken: Vec<_> = (0..me.count).filter_map(within).map(|seen| (self.until(me, seen, now), seen)).collect();
        match taken.iter().min_by_key(|(until, _)| *until) {
            Some((until, seen)) if *until <= now => {
                let from = if let Holder::Known(slot) = &seen.holder { Some(slot.clone()) } else { None };
                Move::Take { number: seen.number, version: Some(seen.version), from }
            }
            first => Move::Wait { until: first.map(|(until, _)| *until) },
        }
    }

    fn note(&mut self, seen: &[Seen], now: Instant) {
        self.0.retain(|number, _| seen.iter().any(|seen| seen.number == *number));
        for seen in seen {
            match self.0.get(&seen.number) {
                Some((mark, _)) if *mark == seen.mark => {}
                _ => drop(self.0.insert(seen.number, (seen.mark, now))),
            }
        }
    }

    /// When the lease of a slot's holder runs out.
    fn until(&self, me: &Seeker, seen: &Seen, now: Instant) -> Instant {
        let since = self.0.get(&seen.number).map_or(now, |(_, since)| *since);
        let lease = if let Holder::Known(slot) = &seen.holder { slot.lease } else { me.lease };
        // A lease longer than any clock counts never runs out.
        since.checked_add(lease).unwrap_or(now + Duration::from_secs(u64::from(u32::MAX)))
    }
}

fn own<'s>(me: &Seeker, seen: &'s Seen) -> Option<&'s Slot> {
    match &seen.holder {
        Holder::Known(slot) if slot.instance == me.instance => Some(slot),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::digest::Revision;

    const LEASE: Duration = Duration::from_secs(270);

    fn me(count: u32) -> Seeker {
        Seeker { instance: InstanceId::parse("me").unwrap(), boot: Boot::new(1), count, lease: LEASE }
    }

    fn slot(instance: &str, boot: u64, lease: Duration) -> Slot {
        Slot { instance: InstanceId::parse(instance).unwrap(), boot: Boot::new(boot), revision: Revision::new("r"), lease }
    }

    fn held(number: u32, instance: &str, mark: i64) -> Seen {
        Seen { number, holder: Holder::Known(slot(instance, 7, LEASE)), version: 3, mark }
    }

    fn take(number: u32, version: Option<i32>) -> Move {
        Move::Take { number, version, from: None }
    }

    #[test]
    fn a_free_one_is_taken_whether_it_was_ever_used_or_not() {
        let now = Instant::now();
        let decide = |seen: &[Seen]| Memory::default().decide(&me(2), seen, now);
        assert_eq!(decide(&[]), take(0, None));
        assert_eq!(decide(&[held(0, "a", 1)]), take(1, None));
        let free = Seen { number: 1, holder: Holder::Nobody, version: 9, mark: 4 };
        assert_eq!(decide(&[held(0, "a", 1), free]), take(1, Some(9)));
        assert_eq!(Memory::default().decide(&me(1), &[held(0, "a", 1)], now), Move::Wait { until: Some(now + LEASE) });
        assert_eq!(Memory::default().decide(&me(0), &[], now), Move::Wait { until: None });
    }

    #[test]
    fn only_who_has_seen_the_same_write_for_a_whole_lease_takes_it() {
        let (began, mut memory) = (Instant::now(), Memory::default());
        let at = |seconds| began + Duration::from_secs(seconds);
        let wait = |seconds| Move::Wait { until: Some(at(seconds)) };
        assert_eq!(memory.decide(&me(1), &[held(0, "a", 1)], at(0)), wait(270));
        assert_eq!(memory.decide(&me(1), &[held(0, "a", 1)], at(269)), wait(270));
        assert_eq!(memory.decide(&me(1), &[held(0, "a", 2)], at(270)), wait(540), "it gave a sign of life");
        // Deleted and made anew with the same version: another write.
        assert_eq!(memory.decide(&me(1), &[held(0, "b", 3)], at(400)), wait(670));
        let from = Some(slot("b", 7, LEASE));
        let taken = Move::Take { number: 0, version: Some(3), from };
        assert_eq!(memory.decide(&me(1), &[held(0, "b", 3)], at(670)), taken);
    }

    #[test]
    fn whoever_restarts_begins_to_count_again() {
        let (began, mut memory) = (Instant::now(), Memory::default());
        memory.decide(&me(1), &[held(0, "a", 1)], began);
        let later = began + 2 * LEASE;
        assert_eq!(Memory::default().decide(&me(1), &[held(0, "a", 1)], later), Move::Wait { until: Some(later + LEASE) });
    }

    #[test]
    fn the_holders_own_lease_counts_and_ours_where_theirs_cannot_be_read() {
        let (began, mut memory) = (Instant::now(), Memory::default());
        let short = Duration::from_secs(5);
        let seen = [
            Seen { number: 0, holder: Holder::Unknown, version: 0, mark: 1 },
            Seen { holder: Holder::Known(slot("b", 1, short)), ..held(1, "b", 2) },
        ];
        assert_eq!(memory.decide(&me(2), &seen, began), Move::Wait { until: Some(began + short) });
        assert!(matches!(memory.decide(&me(2), &seen, began + short), Move::Take { number: 1, from: Some(_), .. }));
        assert_eq!(memory.decide(&me(1), &seen, began + short), Move::Wait { until: Some(began + LEASE) });
        assert!(matches!(memory.decide(&me(1), &seen, began + LEASE), Move::Take { number: 0, from: None, .. }));
    }

    #[test]
    fn a_restarted_holder_finds_its_own_slot_even_beyond_the_count() {
        let now = Instant::now();
        let own = Seen { holder: Holder::Known(slot("me", 7, LEASE)), ..held(4, "me", 1) };
        let found = Memory::default().decide(&me(1), std::slice::from_ref(&own), now);
        assert_eq!(found, Move::Mine { number: 4, version: 3, earlier: Some(slot("me", 7, LEASE)) });
        let own = Seen { holder: Holder::Known(slot("me", 1, LEASE)), ..own };
        assert_eq!(Memory::default().decide(&me(1), &[own], now), Move::Mine { number: 4, version: 3, earlier: None });
    }

    #[test]
    fn a_lease_without_end_never_runs_out() {
        let (now, mut memory) = (Instant::now(), Memory::default());
        let seen = [Seen { holder: Holder::Known(slot("a", 1, Duration::MAX)), ..held(0, "a", 1) }];
        assert!(matches!(memory.decide(&me(1), &seen, now), Move::Wait { until: Some(until) } if until > now));
    }
}
