//! Hermetic tests: no network, no service; only what a build machine has (`python3` among it).
// A test says what went wrong by panicking, in the functions it calls too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod literals;
mod rendered;
