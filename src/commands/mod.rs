//! What each command does, one file a command.
//!
//! In: the command line. Out: what was asked for on stdout, talk on stderr, and how the program ends. Rooms do the work;
//! a command joins them and says what came of it.

mod change;
mod check;
mod completions;
mod datasource;
mod given;
mod render;
mod rendering;
mod run;
mod status;
mod tree;

use std::process::ExitCode;

use crate::cli::{Cli, Command};

/// Runs the command that was given.
pub fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    match &cli.command {
        Command::Run => run::run(&cli.shared),
        Command::Check => check::run(&cli.shared),
        Command::Render { reveal } => render::run(&cli.shared, *reveal),
        Command::Datasource(command) => datasource::run(&cli.shared, command),
        Command::Status => status::run(&cli.shared),
        Command::Completions { shell } => completions::run(*shell),
        _ => anyhow::bail!("this command is not built yet in this version"),
    }
}
