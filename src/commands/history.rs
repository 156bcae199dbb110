//! `history purge`: what is kept of earlier releases goes, and the secrets in it with it.

use std::process::ExitCode;

use super::{given, releases, tree};
use crate::cli::{HistoryCommand, Shared};
use crate::output;
use crate::zookeeper::releases::trim::Bounds;

/// Runs the command that was given.
pub(super) fn run(shared: &Shared, command: &HistoryCommand) -> anyhow::Result<ExitCode> {
    let settings = given::settings(shared)?;
    let HistoryCommand::Purge { keep } = command;
    tree::block_on(async {
        let cluster = releases::cluster(&settings).await?;
        let bounds = Bounds { count: *keep, bytes: if *keep > 1 { u64::MAX } else { Bounds::LEAST.bytes } };
        let removed = cluster.trim_releases(bounds).await.map_err(|error| tree::failed(&error))?;
        cluster.close().await;
        output::say(&match removed.as_slice() {
            [] => "nothing to remove".to_owned(),
            [one] => format!("removed release {one}"),
            many => format!("removed {} releases", many.len()),
        });
        Ok(ExitCode::SUCCESS)
    })
}
