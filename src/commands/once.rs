//! `once`: a command that runs once in the cluster for a key; whoever comes later waits, and ends as it did.
//!
//! What people start is the supervisor of the command ([`mod@leased`]); it starts this program once more as the [`keeper`] of the lock, with
//! the same words. A lock needs ZooKeeper: with a folder as the source it is refused.

mod keeper;
mod talk;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use jiff::SignedDuration;

use super::given;
use super::run::own_secrets;
use crate::cli::Shared;
use crate::cli::once::Once;
use crate::output::{self, Advice};
use crate::settings::{Settings, Source};
use crate::supervise::leased::{self, Leased};

/// The flag by which the supervisor starts the keeper.
const KEEPER: &str = "--keeper";

/// Runs the supervisor, or the keeper that it starts.
pub(super) fn run(shared: &Shared, once: &Once) -> anyhow::Result<ExitCode> {
    let settings = given::settings(shared)?;
    needs_zookeeper(&settings)?;
    let limit = once.wait.map(limit).transpose()?;
    if once.keeper {
        return keeper::run(&settings, once, limit);
    }
    let leased = leased(&settings, once)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("failed to start the runtime")?;
    let ended = runtime.block_on(leased::run(leased));
    ended.map(ExitCode::from).or_else(|error| {
        let code = error.code();
        output::say(&output::failure(&error.into()));
        Ok(code)
    })
}

fn leased(settings: &Settings, once: &Once) -> anyhow::Result<Leased> {
    let program = std::env::current_exe().context("failed to find setkeeper's own program")?;
    let own = std::env::args_os().skip(1).take_while(|word| word != "--").chain([KEEPER.into()]);
    Ok(Leased { command: once.program.clone(), without: own_secrets(settings), keeper: (program, own.collect()) })
}

fn needs_zookeeper(settings: &Settings) -> anyhow::Result<()> {
    let Source::Directory { path } = &settings.source else { return Ok(()) };
    let message = format!("a lock needs ZooKeeper, and the source is the folder {}", path.display());
    let hint = "name ZooKeeper's servers with --connect or source.zookeeper; on one machine alone, `flock` does it".to_owned();
    Err(Advice { message, hint }.into())
}

fn limit(wait: SignedDuration) -> anyhow::Result<Duration> {
    let advice = || Advice::new("nobody can wait for less than nothing", "name a length such as 10m with --wait");
    Duration::try_from(wait).map_err(|_| advice().into())
}
