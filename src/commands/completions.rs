//! `completions`: a completion script for a shell, made from the command line's own description.

use std::process::ExitCode;

use clap_complete::{Shell, generate};

use crate::cli;
use crate::output;

/// Prints the script for `shell`.
pub(super) fn run(shell: Shell) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    generate(shell, &mut cli::command(), "setkeeper", &mut script);
    output::write(&script)?;
    Ok(ExitCode::SUCCESS)
}
