//! The live world: the traits of [`crate::world`] on real files, a real Superset and real secrets.
//!
//! Only joins rooms and turns their errors into faults; it decides nothing.

pub mod board;
pub mod keeper;
pub mod machine;
pub mod superset;

use std::error::Error;

/// An error with its causes as one line.
fn line(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
