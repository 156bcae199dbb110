//! `config diff`: what differs between two releases, or between one and the tree as it is.

use std::process::ExitCode;

use serde_json::Value as Json;

use super::super::releases::{self, Difference, View};
use super::super::tree::{self, Seen};
use crate::cli::Shared;
use crate::output;
use crate::settings::Settings;

/// Prints what differs.
pub(super) fn run(shared: &Shared, settings: &Settings, before: &str, after: &str, reveal: bool) -> anyhow::Result<ExitCode> {
    let differences = tree::block_on(async {
        let cluster = releases::cluster(settings).await?;
        let (seen, history) = (Seen::of(&cluster).await?, cluster.history().await.map_err(|error| tree::failed(&error))?);
        let one = releases::named(&cluster, &seen, &history, before).await?;
        let other = releases::named(&cluster, &seen, &history, after).await?;
        cluster.close().await;
        Ok(View { settings, key: &seen.key, reveal }.differences(&one, &other))
    })?;
    if differences.is_empty() {
        output::say("nothing differs");
    }
    output::print(shared.output, differences.as_slice(), |differences| differences.iter().map(text).collect())?;
    Ok(ExitCode::SUCCESS)
}

fn text(difference: &Difference) -> String {
    let Difference { fragment, key, before, after } = difference;
    let Some(key) = key else { return format!("{fragment}: only its text differs, or it is in error\n") };
    let line = |sign: char, value: &Option<Json>| value.as_ref().map(|value| format!("  {sign} {value}\n")).unwrap_or_default();
    format!("{fragment}: {key}\n{}{}", line('-', before), line('+', after))
}
