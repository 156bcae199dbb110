//! `rollout status`: which release is published, which is completed, and where each instance is.
//!
//! All of it is read from ZooKeeper at one moment and decided by nobody here. A folder has one instance, whose agent is asked.
//! [`watch`](super::watch) looks again and again.

use std::process::ExitCode;

use serde::Serialize;

use super::super::status;
use super::super::tree::{self, Digests, Place, Seen};
use crate::cli::Shared;
use crate::desired::resolver::Resolution;
use crate::model::digest::{Release, Revision};
use crate::model::instance::{Instance, InstanceId, Labels, State, Version};
use crate::model::pause::{Pause, Publishing};
use crate::model::problem::Problem;
use crate::model::rollout::Quarantined;
use crate::model::slot::Slot;
use crate::output::{self, plain::plain};
use crate::settings::Settings;
use crate::zookeeper::cluster::Cluster;
use crate::zookeeper::slots::judge::Holder;

/// How much of a reason a table shows, in characters.
const REASON_SHOWN: usize = 100;

/// The rollout as it is now.
#[derive(Clone, PartialEq, Serialize)]
pub(super) struct Progress {
    /// The release of the tree as it is.
    pub published: Option<Release>,
    pub completed: Option<Release>,
    pub pause: Option<Pause>,
    pub publishing: Option<Publishing>,
    pub quarantine: Vec<Quarantined>,
    pub slots: Vec<Taken>,
    pub instances: Vec<Stand>,
    /// Records that cannot be read.
    #[serde(skip)]
    pub problems: Vec<Problem>,
}

/// A slot that somebody holds.
#[derive(Clone, PartialEq, Serialize)]
pub(super) struct Taken {
    pub slot: u32,
    /// Nobody known, where the record cannot be read.
    #[serde(flatten)]
    pub holder: Option<Slot>,
}

/// Where an instance is.
#[derive(Clone, PartialEq, Serialize)]
pub(super) struct Stand {
    pub id: InstanceId,
    pub labels: Labels,
    pub state: State,
    pub desired: Version,
    pub applied: Version,
    pub error: Option<String>,
}

/// Prints the rollout.
pub(super) fn run(shared: &Shared, settings: &Settings) -> anyhow::Result<ExitCode> {
    let progress = tree::block_on(async {
        let place = Place::open(settings).await?;
        let progress = look(settings, &place).await?;
        place.close().await;
        Ok(progress)
    })?;
    output::say(&output::problems(&progress.problems));
    output::print(shared.output, &progress, text)?;
    Ok(ExitCode::SUCCESS)
}

/// The rollout as it is now.
pub(super) async fn look(settings: &Settings, place: &Place) -> anyhow::Result<Progress> {
    match place {
        Place::Zookeeper(cluster) => of_cluster(settings, cluster).await,
        Place::Directory(_) => {
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
                problems: Vec::new(),
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
    Ok(Progress {
        published,
        completed: resolution.rollout.completed,
        pause,
        publishing,
        quarantine: resolution.rollout.quarantine,
        slots: taken.collect(),
        instances: instances.records.into_iter().map(Stand::of).collect(),
        problems: instances.problems,
    })
}

/// The release of the tree, where the key is the cluster's own: under another its digest would mean nothing.
fn published(seen: &Seen, resolution: &Resolution) -> Option<Release> {
    matches!(seen.digests, Digests::Known).then(|| resolution.release.clone())
}

impl Stand {
    pub(super) fn of(instance: Instance) -> Self {
        let Instance { id, labels, state, desired, applied, error, .. } = instance;
        Self { id, labels, state, desired, applied, error }
    }
}

/// As people see it.
pub(super) fn text(progress: &Progress) -> String {
    let or_dash = |release: &Option<Release>| release.as_ref().map_or("-", Release::as_str).to_owned();
    let mut text = format!("Published: {}\nCompleted: {}\n", or_dash(&progress.published), or_dash(&progress.completed));
    let notes = [progress.pause.as_ref().map(ToString::to_string), progress.publishing.as_ref().map(ToString::to_string)];
    notes.into_iter().flatten().for_each(|note| text.push_str(&format!("Held: {}\n", plain(&note))));
    for Taken { slot, holder } in &progress.slots {
        text.push_str(&format!("Slot {slot}: {}\n", held_by(holder.as_ref())));
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

/// Who holds a slot, and for what.
pub(super) fn held_by(holder: Option<&Slot>) -> String {
    holder.map_or_else(|| "taken by somebody unknown".to_owned(), |slot| format!("{} loads {}", slot.instance, slot.revision))
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
        short(stand.error.as_deref()),
    ]
}

/// The beginning of a reason that may be many lines long: all of it is in the JSON.
fn short(why: Option<&str>) -> String {
    let Some(line) = why.and_then(|why| why.lines().next()) else { return "-".to_owned() };
    match line.char_indices().nth(REASON_SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

fn bad(bad: &Quarantined) -> [String; 4] {
    let or_dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
    [
        bad.release.to_string(),
        or_dash(bad.revision.as_ref().map(Revision::as_str)),
        or_dash(bad.instance.as_ref().map(InstanceId::as_str)),
        short(bad.reason.as_deref()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_shows_the_beginning_of_a_reason() {
        assert_eq!(short(None), "-");
        assert_eq!(short(Some("it raises\nTraceback")), "it raises");
        let long = "é".repeat(REASON_SHOWN);
        assert_eq!(short(Some(&long)), long);
        assert_eq!(short(Some(&format!("{long}é"))), format!("{long}…"));
    }
}
