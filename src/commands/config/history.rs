//! `config history`: the releases that are kept, oldest first.
//!
//! What changed is told by the names of the settings, without their values. A tree that this user may not read, or that is
//! gone, is listed without them.

use std::collections::BTreeSet;
use std::process::ExitCode;

use serde::Serialize;

use super::super::releases::{self, Difference, View};
use super::super::tree::{self, Seen};
use crate::cli::Shared;
use crate::model::release::Published;
use crate::model::snapshot::Branch;
use crate::output;
use crate::settings::Settings;
use crate::zookeeper::cluster::Cluster;

/// A release, and which settings it changed.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    published: Published,
    /// None where it cannot be told.
    changed: Option<Vec<String>>,
}

/// Prints the history.
pub(super) fn run(shared: &Shared, settings: &Settings) -> anyhow::Result<ExitCode> {
    let shown = tree::block_on(async {
        let cluster = releases::cluster(settings).await?;
        let (seen, history) = (Seen::of(&cluster).await?, cluster.history().await.map_err(|error| tree::failed(&error))?);
        let shown = with_changes(settings, &cluster, &seen, history).await;
        cluster.close().await;
        Ok(shown)
    })?;
    if shown.is_empty() {
        output::say("no release is kept yet");
    }
    output::print(shared.output, shown.as_slice(), |shown| {
        output::table(["RELEASE", "DIGEST", "AT", "BY", "MESSAGE", "CHANGED", "INSTANCES"], shown.iter().map(row))
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn with_changes(settings: &Settings, cluster: &Cluster, seen: &Seen, history: Vec<Published>) -> Vec<Shown> {
    let view = View { settings, key: &seen.key, reveal: false };
    let mut before: Option<Branch> = None;
    let mut all = Vec::new();
    for published in history {
        let tree = releases::tree_of(cluster, &published.entry.digest).await.ok();
        let changed = before.as_ref().zip(tree.as_ref()).map(|(before, after)| {
            view.differences(before, after).into_iter().map(named).collect::<BTreeSet<_>>().into_iter().collect()
        });
        all.push(Shown { published, changed });
        before = tree;
    }
    all
}

/// A setting, or a fragment of which no setting can be named.
fn named(difference: Difference) -> String {
    difference.key.unwrap_or(difference.fragment)
}

fn row(shown: &Shown) -> [String; 7] {
    let Shown { published: Published { seq, entry, fates }, changed } = shown;
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let fates = fates.iter().map(|(instance, fate)| {
        let state = serde_json::to_value(fate.state).ok().and_then(|state| state.as_str().map(ToOwned::to_owned));
        format!("{instance} {}", state.unwrap_or_default())
    });
    [
        seq.to_string(),
        entry.digest.to_string(),
        entry.at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        or_dash(&entry.by),
        or_dash(&entry.message),
        or_dash(&changed.as_ref().map(|changed| changed.join(", "))),
        fates.collect::<Vec<_>>().join(", "),
    ]
}
