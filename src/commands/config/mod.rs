//! `config`: Superset's configuration in the tree.

mod diff;
mod edit;
mod editor;
mod explain;
mod get;
mod history;
mod rollback;

use std::process::ExitCode;

use super::apply::Part;
use super::given;
use crate::cli::{ConfigCommand, Shared};

/// Runs the command that was given.
pub(super) fn run(shared: &Shared, command: &ConfigCommand) -> anyhow::Result<ExitCode> {
    let settings = given::settings(shared)?;
    match command {
        ConfigCommand::Get { key, reveal } => get::run(shared, &settings, key.as_deref(), reveal.reveal),
        ConfigCommand::Set { fragment, key, yaml } => edit::set(&settings, fragment.fragment.as_deref(), key, yaml),
        ConfigCommand::Unset { fragment, key } => edit::unset(&settings, fragment.fragment.as_deref(), key),
        ConfigCommand::Edit { fragment, message } => editor::run(&settings, fragment.as_deref(), message.as_deref()),
        ConfigCommand::Apply(apply) => super::apply::run(shared, apply, Part::Config),
        ConfigCommand::History => history::run(shared, &settings),
        ConfigCommand::Diff { before, after, reveal } => diff::run(shared, &settings, before, after, reveal.reveal),
        ConfigCommand::Rollback { release, message } => rollback::run(&settings, release, message.as_deref()),
        ConfigCommand::Explain { key, reveal } => explain::run(shared, &settings, key, reveal.reveal),
    }
}
