//! The check: whether a candidate for Superset's config loads, tried before it lies where Superset loads from (law 4).
//!
//! In: a candidate's text, the path where it would lie, and its secrets. Out: a [`report::Report`]: proven, invalid or inconclusive,
//! why, the last lines that were said, and digests of what must not change unnoticed. Superset's own Python loads the
//! candidate in a scratch folder and with limits, against a migrated `SQLite` database, with every cache, session store and
//! rate limiter of its own process; the programs that do it lie in `programs`. Production is not touched.
//!
//! It decides nothing about a release: who calls it says what becomes of a candidate, and when it is tried again.

pub mod attempts;
pub mod checker;
pub mod env_file;
pub mod error;
mod interpret;
mod process;
mod programs;
mod python;
pub mod report;
mod scratch;
mod survivors;
mod template;
