//! A moment that all processes of one machine mean alike, and that no sleep of the machine puts off.
//!
//! Only the vocabulary: the clock itself is read in [`crate::processes::clock`].

use std::ops::Add;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment, as the time since the machine's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Moment(Duration);

impl Moment {
    /// So long after the machine's start.
    #[must_use]
    pub const fn since_start(time: Duration) -> Self {
        Self(time)
    }

    /// The moment that was so much earlier; none was before the machine's start.
    #[must_use]
    pub const fn before(self, earlier: Duration) -> Self {
        Self(self.0.saturating_sub(earlier))
    }

    /// How long it took from then until this moment; nothing where that is later.
    #[must_use]
    pub const fn since(self, then: Self) -> Duration {
        self.0.saturating_sub(then.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later))
    }
}
