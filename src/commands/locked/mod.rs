//! Commands that run something under a lock: what they have in common. `once` is the first of the family.
//!
//! What people start is the supervisor of the command ([`mod@leased`]); it starts this program once more as the [`keeper`] of the lock,
//! with the same words and a flag. A lock needs ZooKeeper: with a folder as the source it is refused.

pub(super) mod keeper;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use jiff::SignedDuration;

use super::run::own_secrets;
use crate::output::{self, Advice};
use crate::settings::{Settings, Source};
use crate::supervise::leased::{self, Leased};

/// The flag by which the supervisor starts the keeper.
const KEEPER: &str = "--keeper";

/// Runs a command under the lock that the keeper keeps.
pub(super) fn supervise(settings: &Settings, command: &[OsString]) -> anyhow::Result<ExitCode> {
    let program = std::env::current_exe().context("failed to find setkeeper's own program")?;
    let own = std::env::args_os().skip(1).take_while(|word| word != "--").chain([KEEPER.into()]);
    let leased = Leased { command: command.to_vec(), without: own_secrets(settings), keeper: (program, own.collect()) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("failed to start the runtime")?;
    let ended = runtime.block_on(leased::run(leased));
    ended.map(ExitCode::from).or_else(|error| {
        let code = error.code();
        output::say(&output::failure(&error.into()));
        Ok(code)
    })
}

/// Refuses a source in which there are no locks.
pub(super) fn needs_zookeeper(settings: &Settings) -> anyhow::Result<()> {
    let Source::Directory { path } = &settings.source else { return Ok(()) };
    let message = format!("a lock needs ZooKeeper, and the source is the folder {}", path.display());
    let hint = "name ZooKeeper's servers with --connect or source.zookeeper; on one machine alone, `flock` does it".to_owned();
    Err(Advice { message, hint }.into())
}

/// How long our turn is waited for.
pub(super) fn limit(wait: SignedDuration) -> anyhow::Result<Duration> {
    let advice = || Advice::new("nobody can wait for less than nothing", "name a length such as 10m with --wait");
    Duration::try_from(wait).map_err(|_| advice().into())
}
