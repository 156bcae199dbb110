//! `rollout status`: which release is published, which is completed, and where each instance is.
//!
//! All of it is read from ZooKeeper at one moment and decided by nobody here. A folder has one instance, whose agent is asked.

use std::process::ExitCode;

use serde::Serialize;

use super::super::status;
use super::super::tree::{self, Digests, Place, Seen};
use crate::cli::Shared;
use crate::desired::resolver::Resolution;
use crate::model::digest::{Release, Revision};
use crate::model::instance::{Instance, InstanceId, Labels, State, Version};
use crate::model::pause::{Pause, Publishing};
use crate::model::rollout::Quarantined;
use crate::model::slot::Slot;
use crate::output;
use crate::settings::Settings;
use crate::zookeeper::cluster::Cluster;
use crate::zookeeper::slots::judge::Holder;

/// The rollout as it is now.
#[derive(Serialize)]
struct Progress {
    /// The release of the tree as it is.
    published: Option<Release>,
    completed: Option<Release>,
    pause: Option<Pause>,
    publishing: Option<Publishing>,
    quarantine: Vec<Quarantined>,
    slots: Vec<Taken>,
    instances: Vec<Stand>,
}

/// A slot that somebody holds.
#[derive(Serialize)]
struct Taken {
    slot: u32,
    /// Nobody known, where the record cannot be read.
    #[serde(flatten)]
    holder: Option<Slot>,
}

/// Where an instance is.
#[derive(Serialize)]
struct Stand {
    id: InstanceId,
    labels: Labels,
    state: State,
    desired: Version,
    applied: Version,
    error: Option<String>,
}

/// Prints the rollout.
pub(super) fn run(shared: &Shared, settings: &Settings) -> anyhow::Result<ExitCode> {
    let progress = tree::block_on(look(settings))?;
    output::print(shared.output, &progress, text)?;
    Ok(ExitCode::SUCCESS)
}

async fn look(settings: &Settings) -> anyhow::Result<Progress> {
    match Place::open(settings).await? {
        Place::Zookeeper(cluster) => {
            let progress = of_cluster(settings, &cluster).await?;
            cluster.close().await;
            Ok(progress)
        }
        place @ Place::Directory(_) => {
            let status = status::of_agent(settings).await?;
            let published = place.seen(settings).await.ok().and_then(|seen| published(&seen, &seen.resolve(settings).1));
            let rollout = status.rollout;
            Ok(Progress {
                published,
                completed: rollout.completed,
                pause: None,
                publishing: None,
                quarantine: rollout.quarantine,
                slots: Vec::new(),
                instances: status.instances.into_iter().map(Stand::of).collect(),
            })
        }
    }
}

async fn of_cluster(settings: &Settings, cluster: &Cluster) -> anyhow::Result<Progress> {
    let asked = async {
        tokio::try_join!(cluster.instances(), cluster.slots(), cluster.pause(), cluster.publishing())
            .map_err(|error| tree::failed(&error))
    };
    let (seen, (instances, slots, pause, publishing)) = tokio::try_join!(Seen::of(cluster), asked)?;
    let resolution = seen.resolve(settings).1;
    let published = published(&seen, &resolution);
    let taken = slots.into_iter().filter_map(|seen| match seen.holder {
        Holder::Nobody => None,
        Holder::Known(slot) => Some(Taken { slot: seen.number, holder: Some(slot) }),
        Holder::Unknown => Some(Taken { slot: seen.number, holder: None }),
    });
    output::say(&output::problems(&instances.problems));
    Ok(Progress {
        published,
        completed: resolution.rollout.completed,
        pause,
        publishing,
        quarantine: resolution.rollout.quarantine,
        slots: taken.collect(),
        instances: instances.records.into_iter().map(Stand::of).collect(),
    })
}

/// The release of the tree, where the key is the cluster's own: under another its digest would mean nothing.
fn published(seen: &Seen, resolution: &Resolution) -> Option<Release> {
    matches!(seen.digests, Digests::Known).then(|| resolution.release.clone())
}

impl Stand {
    fn of(instance: Instance) -> Self {
        let Instance { id, labels, state, desired, applied, error, .. } = instance;
        Self { id, labels, state, desired, applied, error }
    }
}

fn text(progress: &Progress) -> String {
    let or_dash = |release: &Option<Release>| release.as_ref().map_or("-", Release::as_str).to_owned();
    let mut text = format!("Published: {}\nCompleted: {}\n", or_dash(&progress.published), or_dash(&progress.completed));
    let notes = [progress.pause.as_ref().map(ToString::to_string), progress.publishing.as_ref().map(ToString::to_string)];
    notes.into_iter().flatten().for_each(|note| text.push_str(&format!("Held: {note}\n")));
    for Taken { slot, holder } in &progress.slots {
        let holder = holder.as_ref().map(|holder| format!("{} loads {}", holder.instance, holder.revision));
        text.push_str(&format!("Slot {slot}: {}\n", holder.as_deref().unwrap_or("taken by somebody unknown")));
    }
    if progress.instances.is_empty() {
        text.push_str("\nNo instance is alive.\n");
    } else {
        let headings = ["INSTANCE", "STATE", "RELEASE", "REVISION", "ERROR"];
        text.push_str(&format!("\n{}", output::table(headings, progress.instances.iter().map(row))));
    }
    if !progress.quarantine.is_empty() {
        let headings = ["QUARANTINED", "REVISION", "FOUND BY", "REASON"];
        text.push_str(&format!("\n{}", output::table(headings, progress.quarantine.iter().map(bad))));
    }
    text
}

fn row(stand: &Stand) -> [String; 5] {
    let release = |version: &Version| version.release.as_ref().map(ToString::to_string);
    let revision = |version: &Version| version.revision.as_ref().map(ToString::to_string);
    let (applied, desired) = (&stand.applied, &stand.desired);
    [
        stand.id.to_string(),
        status::word(&stand.state),
        status::change(release(applied), release(desired)),
        status::change(revision(applied), revision(desired)),
        stand.error.clone().unwrap_or_else(|| "-".to_owned()),
    ]
}

fn bad(bad: &Quarantined) -> [String; 4] {
    let or_dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
    [
        bad.release.to_string(),
        or_dash(bad.revision.as_ref().map(Revision::as_str)),
        or_dash(bad.instance.as_ref().map(InstanceId::as_str)),
        or_dash(bad.reason.as_deref()),
    ]
}
