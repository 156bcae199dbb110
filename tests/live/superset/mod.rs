//! The room `superset/` against a real Superset, with faults made by a proxy in front of it.
//!
//! `SETKEEPER_TEST_SUPERSET` chooses another one than 6.1.0. A service that is not set up fails the run; it never skips.

mod catalogue;
mod faults;
mod login;
mod push;
mod refusals;
mod reload;
pub mod support;
