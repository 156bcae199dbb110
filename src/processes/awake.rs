//! A time limit in which only the time counts that this process was awake.
//!
//! A machine that is paused, or an agent that is stopped, wakes up long after its deadlines; what it waited for had no chance to be
//! seen meanwhile, and what it concludes must not be blamed on others (law 6). So the limit is waited for in steps, of
//! which a sleep through many counts as one.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The longest that counts at once.
const STEP: Duration = Duration::from_secs(1);

/// The limit is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLate;

/// Waits for `done`, as long as `limit` of waking time.
pub async fn timeout<T>(limit: Duration, done: impl Future<Output = T>) -> Result<T, TooLate> {
    let over = async {
        let mut left = limit;
        while !left.is_zero() {
            let step = left.min(STEP);
            sleep_until(Instant::now() + step).await;
            left -= step;
        }
    };
    tokio::select! {
        biased;
        done = done => Ok(done),
        () = over => Err(TooLate),
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_limit_is_kept() {
        let began = Instant::now();
        assert_eq!(timeout(Duration::from_millis(2_500), pending::<()>()).await, Err(TooLate));
        assert_eq!(began.elapsed(), Duration::from_millis(2_500));
        assert_eq!(timeout(Duration::ZERO, async { 1 }).await, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_sleep_beyond_the_limit_leaves_time_to_look_again() {
        let done = async {
            // Frozen for an hour, and then it takes a second.
            tokio::time::advance(Duration::from_secs(3_600)).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        };
        assert_eq!(timeout(Duration::from_secs(5), done).await, Ok(()));
    }
}
