//! What each command does, one file a command.
//!
//! In: the command line. Out: what was asked for on stdout, talk on stderr, and how the program ends. Rooms do the work;
//! a command joins them and says what came of it.

mod apply;
mod change;
mod check;
mod completions;
mod config;
mod connections;
mod datasource;
mod export;
mod given;
mod health;
mod history;
mod install;
mod locked;
mod mask;
mod once;
mod pause;
mod plan;
mod publish;
mod releases;
mod render;
mod rendering;
mod rollout;
mod run;
mod status;
mod tree;

use std::process::ExitCode;

use crate::cli::{Cli, Command};

/// Runs the command that was given.
pub fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    match &cli.command {
        Command::Run { restart: true, .. } => run::restarting(&cli.shared),
        Command::Run { supervised, kept, program, .. } => run::run(&cli.shared, *supervised, *kept, program),
        Command::Check => check::run(&cli.shared),
        Command::Plan { exit_code, reveal } => plan::run(&cli.shared, *exit_code, *reveal),
        Command::Render { reveal } => render::run(&cli.shared, *reveal),
        Command::Datasource(command) => datasource::run(&cli.shared, command),
        Command::Config(command) => config::run(&cli.shared, command),
        Command::Rollout(command) => rollout::run(&cli.shared, command),
        Command::Export { dir } => export::run(&cli.shared, dir),
        Command::Apply(apply) => apply::run(&cli.shared, apply, apply::Part::Tree),
        Command::Pause { reason, length } => pause::pause(&cli.shared, reason.as_deref(), *length),
        Command::Resume => pause::resume(&cli.shared),
        Command::Once(once) => once::run(&cli.shared, once),
        Command::Health { ready } => health::run(&cli.shared, *ready),
        Command::Install { path } => install::run(path),
        Command::History(command) => history::run(&cli.shared, command),
        Command::Status => status::run(&cli.shared),
        Command::Completions { shell } => completions::run(*shell),
    }
}
