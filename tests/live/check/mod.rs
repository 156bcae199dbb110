//! The room `check/` on a real Superset: what it catches, what it survives, and that production stays untouched.
//!
//! `SETKEEPER_TEST_SUPERSET` chooses another one than 6.1.0. The databases that checks start from are kept between runs.

mod candidates;
mod limits;
mod production;
pub mod support;
