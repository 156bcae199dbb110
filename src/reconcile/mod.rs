//! The loops: each waits for a change, a timer or a retry, then makes one pass.
//!
//! ```text
//! tree ─▶ resolve ─▶ config       files and reload on this machine
//!                └─▶ connections  Superset's connections, while this instance leads
//!         health ─▶ entitled to lead?
//! ```
//! They talk through `tokio::sync::watch` alone: the newest value wins and nothing piles up. What to do is decided in pure
//! rooms and in the [`ledger`]; the outside is behind [`crate::world`], so that tests run the same loops on a simulated one.

pub mod backoff;
pub mod config;
pub mod connections;
pub mod health;
mod lanes;
pub mod ledger;
pub mod resolve;
pub mod wants;

use std::time::Instant;

/// Sleeps until `at`, or for ever.
pub(crate) async fn sleep_to(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
