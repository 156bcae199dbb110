//! How a release moves onto this instance: which one is meant, and what comes next after each step's outcome.
//!
//! Pure: what is seen and the clock are handed in, jobs come out one at a time. [`target`] says which release is meant;
//! [`course`] takes it from check to soak, or back (laws 4, 5 and 6). Nothing here knows files, processes or znodes.

pub mod course;
pub mod job;
pub mod journal;
pub mod target;
