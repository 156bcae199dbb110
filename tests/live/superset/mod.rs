//! The room `superset/` against a real Superset, with faults made by a proxy in front of it.
//!
//! `SETKEEPER_TEST_SUPERSET` chooses another one than 6.1.0. A service that is not set up fails the run; it never skips.

#![allow(missing_docs, reason = "a test says what it shows by its name")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its support too")]

mod faults;
mod login;
mod push;
mod refusals;
mod reload;
mod support;
