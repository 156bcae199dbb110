//! Hermetic tests: no network, no service; only what a build machine has (`python3` among it).
#![allow(missing_docs, reason = "a test says what it shows by its name")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in the functions around it too")]

mod cli;
mod literals;
mod settings;
