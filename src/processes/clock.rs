//! One clock for all processes of this machine: a moment that one of them names is the same moment to another.
//!
//! It counts from the machine's start, nobody can set it, and it runs on while the machine sleeps, as the clocks of
//! servers do that wait for an answer meanwhile.

use std::time::{Duration, Instant, SystemTime};

use rustix::param::clock_ticks_per_second;
use rustix::time::{ClockId, clock_gettime};

pub use crate::model::moment::Moment;

/// As good as never.
const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

impl Moment {
    /// This moment.
    #[must_use]
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::Boottime);
        let (seconds, nanoseconds) = (u64::try_from(now.tv_sec), u32::try_from(now.tv_nsec));
        Self::since_start(Duration::new(seconds.unwrap_or_default(), nanoseconds.unwrap_or_default()))
    }

    /// The moment that the clock of files calls so; one that is yet to come is now.
    #[must_use]
    pub fn at(time: SystemTime) -> Self {
        Self::now().before(time.elapsed().unwrap_or_default())
    }

    /// The end of the kernel's tick of this number: what is said to have happened in it, happened before that.
    #[must_use]
    pub fn after_tick(number: u64) -> Self {
        let nanoseconds = u128::from(number + 1) * 1_000_000_000 / u128::from(clock_ticks_per_second().max(1));
        Self::since_start(Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX)))
    }

    /// How long it is from now until then; nothing where it has passed.
    #[must_use]
    pub fn from_now(self) -> Duration {
        self.since(Self::now())
    }

    /// The same moment on the clock by which this process waits, as far as the machine does not sleep until then.
    #[must_use]
    pub fn instant(self) -> Instant {
        let now = Instant::now();
        // A moment beyond any clock never comes.
        now.checked_add(self.from_now()).unwrap_or(now + FAR)
    }

    /// Whether it has come.
    #[must_use]
    pub fn has_come(self) -> bool {
        self <= Self::now()
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
