//! One clock for all processes of this machine: a moment that one of them names is the same moment to another.
//!
//! It counts from the machine's start, nobody can set it, and it runs on while the machine sleeps, as the clocks of
//! servers do that wait for an answer meanwhile.

use std::ops::Add;
use std::time::{Duration, SystemTime};

use rustix::param::clock_ticks_per_second;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// A moment, as the time since the machine's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Moment(Duration);

impl Moment {
    /// This moment.
    #[must_use]
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::Boottime);
        let (seconds, nanoseconds) = (u64::try_from(now.tv_sec), u32::try_from(now.tv_nsec));
        Self(Duration::new(seconds.unwrap_or_default(), nanoseconds.unwrap_or_default()))
    }

    /// The moment that the clock of files calls so; one that is yet to come is now.
    #[must_use]
    pub fn at(time: SystemTime) -> Self {
        Self(Self::now().0.saturating_sub(time.elapsed().unwrap_or_default()))
    }

    /// The end of the kernel's tick of this number: what is said to have happened in it, happened before that.
    #[must_use]
    pub fn after_tick(number: u64) -> Self {
        let nanoseconds = u128::from(number + 1) * 1_000_000_000 / u128::from(clock_ticks_per_second().max(1));
        Self(Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX)))
    }

    /// How long it is from now until then; nothing where it has passed.
    #[must_use]
    pub fn from_now(self) -> Duration {
        self.0.saturating_sub(Self::now().0)
    }

    /// Whether it has come.
    #[must_use]
    pub fn has_come(self) -> bool {
        self <= Self::now()
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_comes_and_survives_the_way_to_another_process() {
        let then = Moment::now() + Duration::from_millis(30);
        assert!(!then.has_come() && then.from_now() > Duration::ZERO);
        let told: Moment = serde_json::from_str(&serde_json::to_string(&then).unwrap()).unwrap();
        assert_eq!(told, then);
        std::thread::sleep(then.from_now());
        assert!(then.has_come() && told.from_now() == Duration::ZERO);
    }
}
