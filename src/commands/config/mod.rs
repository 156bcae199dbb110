//! `config`: Superset's configuration in the tree.

mod edit;
mod explain;
mod get;

use std::process::ExitCode;

use super::given;
use crate::cli::{ConfigCommand, Shared};

/// Runs the command that was given.
pub(super) fn run(shared: &Shared, command: &ConfigCommand) -> anyhow::Result<ExitCode> {
    let settings = given::settings(shared)?;
    match command {
        ConfigCommand::Get { key, reveal } => get::run(shared, &settings, key.as_deref(), reveal.reveal),
        ConfigCommand::Set { fragment, key, yaml } => edit::set(&settings, fragment.fragment.as_deref(), key, yaml),
        ConfigCommand::Unset { fragment, key } => edit::unset(&settings, fragment.fragment.as_deref(), key),
        ConfigCommand::Explain { key, reveal } => explain::run(shared, &settings, key, reveal.reveal),
    }
}
