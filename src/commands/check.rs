//! `check`: every problem of the settings, with where it is and what to do about it.
//!
//! Problems are what was asked for, so they go to stdout; the command fails where one of them is an error.

use std::process::ExitCode;

use super::given;
use crate::cli::Shared;
use crate::model::problem::Problem;
use crate::output::{self, Problems};

/// Prints all problems.
pub(super) fn run(shared: &Shared) -> anyhow::Result<ExitCode> {
    let problems = match given::settings(shared) {
        Ok(settings) => settings.warnings(),
        Err(error) => error.downcast::<Problems>()?.problems,
    };
    if problems.is_empty() {
        output::say("no problem found");
    }
    output::print(shared.output, problems.as_slice(), output::problems)?;
    match problems.iter().filter(|problem| Problem::is_error(problem)).count() {
        0 => Ok(ExitCode::SUCCESS),
        1 => anyhow::bail!("1 problem found"),
        count => anyhow::bail!("{count} problems found"),
    }
}
