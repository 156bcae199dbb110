//! Hermetic tests: what a user of the settings and of the command line sees, without any service.
#![allow(missing_docs, reason = "a test says what it shows by its name")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in the functions around it too")]

mod cli;
mod settings;
