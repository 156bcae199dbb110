//! `config rollback`: the config of an earlier release, published again.
//!
//! It is an ordinary publication, told as a rollback in the history: the agents prove it and roll it out as they would any
//! other. The datasources stay as they are.

use std::process::ExitCode;

use super::super::apply::{validate, warn_of_loss};
use super::super::publish::{self, Manner, Wanted};
use super::super::releases;
use super::super::tree::{self, Digests, Seen};
use crate::output;
use crate::settings::Settings;

/// Publishes the config of that release.
pub(super) fn run(settings: &Settings, named: &str, message: Option<&str>) -> anyhow::Result<ExitCode> {
    tree::block_on(async {
        let cluster = releases::cluster(settings).await?;
        let (seen, history) = (Seen::of(&cluster).await?, cluster.history().await.map_err(|error| tree::failed(&error))?);
        let published = releases::find(&history, named)?;
        let config = releases::tree_of(&cluster, &published.entry.digest).await?;
        let wanted = Wanted { config: Some(config), datasources: None };
        let resolution = validate(settings, &seen, &wanted.over(&seen.snapshot))?;
        warn_of_loss(settings, &seen, &resolution);
        if matches!(seen.digests, Digests::Known) && resolution.release != published.entry.digest {
            output::say(
                "warning: this tree has another digest now: the cluster's key was replaced, or somebody changed what is kept",
            );
        }
        if let Some(bad) = resolution.rollout.bars(&published.entry.digest, None) {
            let why = bad.reason.as_deref().unwrap_or("it proved bad");
            output::say(&format!("warning: this release is in quarantine ({why}): `setkeeper rollout release` lifts it"));
        }
        let told = message.or(published.entry.message.as_deref()).map(|message| format!(": {message}")).unwrap_or_default();
        let told = format!("rollback to {}{told}", published.seq);
        let manner = Manner { message: Some(&told), takeover: false };
        let changes = publish::publish(settings, &cluster, &seen, &wanted, manner).await?;
        cluster.close().await;
        output::say(&match changes.len() {
            0 => format!("the config is as release {} had it", published.seq),
            _ => format!("published release {} ({}) again", published.seq, published.entry.digest),
        });
        Ok(ExitCode::SUCCESS)
    })
}
