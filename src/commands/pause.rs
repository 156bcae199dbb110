//! `pause` and `resume`: the cluster stands still by a person's wish.

use std::process::ExitCode;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};

use super::{given, tree};
use crate::cli::Shared;
use crate::model::pause::Pause;
use crate::output::{self, Advice};

/// Pauses the cluster.
pub(super) fn pause(shared: &Shared, reason: Option<&str>, length: Option<SignedDuration>) -> anyhow::Result<ExitCode> {
    let settings = given::settings(shared)?;
    let until = length.map(end).transpose()?;
    let by = format!("{}@{}", given::user(), given::host_name());
    let pause = Pause { by: Some(by), why: reason.map(ToOwned::to_owned), until };
    tree::block_on(async {
        let cluster = tree::cluster(&settings).await?;
        cluster.set_pause(&pause).await.map_err(|error| tree::failed(&error))?;
        cluster.close().await;
        output::say(&pause.to_string());
        Ok(ExitCode::SUCCESS)
    })
}

fn end(length: SignedDuration) -> anyhow::Result<Timestamp> {
    if !length.is_positive() {
        let message = "a pause lasts longer than nothing".to_owned();
        return Err(Advice { message, hint: "name a length such as 90m with --for".to_owned() }.into());
    }
    Timestamp::now().checked_add(length).context("failed to tell when the pause would end")
}

/// Lifts the pause.
pub(super) fn resume(shared: &Shared) -> anyhow::Result<ExitCode> {
    let settings = given::settings(shared)?;
    tree::block_on(async {
        let cluster = tree::cluster(&settings).await?;
        let lifted = cluster.resume().await.map_err(|error| tree::failed(&error))?;
        cluster.close().await;
        output::say(&match lifted {
            Some(pause) => format!("resumed; it was {pause}"),
            None => "nothing was paused".to_owned(),
        });
        Ok(ExitCode::SUCCESS)
    })
}
