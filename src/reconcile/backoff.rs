//! Backoff of one thing that fails: doubling, capped, jittered, with the clock handed in.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(300);
const LONGEST_AFTER_SILENCE: Duration = Duration::from_secs(3600);

/// How often something failed in a row, and until when it rests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
    until: Option<Instant>,
    is_silence: bool,
}

impl Backoff {
    /// The backoff after one more failure at `now`.
    #[must_use]
    pub fn after_failure(&self, now: Instant) -> Self {
        self.after(now, FIRST, LONGEST)
    }

    /// The backoff after one more try that nobody answered: each may cost Superset a worker for good, so they are few.
    #[must_use]
    pub fn after_silence(&self, now: Instant) -> Self {
        Self { is_silence: true, ..self.after(now, LONGEST, LONGEST_AFTER_SILENCE) }
    }

    /// Whether nobody answered the last try, so that it may still succeed.
    #[must_use]
    pub fn is_silence(&self) -> bool {
        self.is_silence
    }

    fn after(&self, now: Instant, first: Duration, longest: Duration) -> Self {
        let doubled = first.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX)).min(longest);
        // Between 80 % and 120 %: instances and datasources that failed together do not come back together.
        let jittered = doubled.mul_f64(rand::random_range(0.8..1.2));
        Self { failures: self.failures.saturating_add(1), until: Some(now + jittered), is_silence: false }
    }

    /// Whether it may be tried at `now`.
    #[must_use]
    pub fn is_over(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until <= now)
    }

    /// Until when it rests.
    #[must_use]
    pub fn until(&self) -> Instant {
        self.until.unwrap_or_else(Instant::now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn law_11_after_silence_it_rests_long() {
        let now = Instant::now();
        let rest = Backoff::default().after_silence(now).until() - now;
        assert!(rest >= LONGEST.mul_f64(0.8) && rest <= LONGEST.mul_f64(1.2), "{rest:?}");
    }

    #[test]
    fn doubles_up_to_a_cap() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        assert!(backoff.is_over(now));
        let mut rests = Vec::new();
        for _ in 0..40 {
            backoff = backoff.after_failure(now);
            rests.push(backoff.until() - now);
        }
        assert!(rests[0] >= FIRST.mul_f64(0.8) && rests[0] <= FIRST.mul_f64(1.2));
        assert!(rests[3] > rests[0] * 4);
        assert!(rests[39] <= LONGEST.mul_f64(1.2));
        assert!(!backoff.is_over(now));
    }
}
