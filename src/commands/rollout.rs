//! `rollout`: a person says that a tree may go on although it lost much at once, or that a release may be tried again.
//!
//! What is confirmed is the tree as it is now, by its digest: another tree would be held again. What the rollout looks like is
//! shown by [`progress`], once, or by [`watch`] as it goes on.

mod progress;
mod screen;
mod watch;

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::Context;

use super::tree::{self, Digests, Place, Seen};
use super::{given, status};
use crate::cli::{RolloutCommand, Shared};
use crate::directory;
use crate::model::digest::Release;
use crate::model::instance::Instance;
use crate::output::{self, Advice};
use crate::settings::Settings;

/// How the guard ends the reason for which a tree is held.
const BY_THE_GUARD: &str = "`setkeeper rollout confirm`";

/// Runs the command that was given.
pub(super) fn run(shared: &Shared, command: &RolloutCommand) -> anyhow::Result<ExitCode> {
    let settings = given::settings(shared)?;
    match command {
        RolloutCommand::Confirm { force } => tree::block_on(confirm(&settings, *force)),
        RolloutCommand::Status { watch: false, .. } => progress::run(shared, &settings),
        RolloutCommand::Status { until_done, .. } => tree::block_on(watch::run(shared, &settings, *until_done)),
        RolloutCommand::Release { release } => tree::block_on(release_one(&settings, release.as_deref())),
    }
}

/// Lifts a quarantine.
async fn release_one(settings: &Settings, named: Option<&str>) -> anyhow::Result<ExitCode> {
    let cluster = tree::cluster(settings).await?;
    let rollout = cluster.rollout().await.map_err(|error| tree::failed(&error))?;
    let known: BTreeSet<_> = rollout.quarantine.iter().map(|bad| bad.release.clone()).collect();
    let list = || known.iter().map(Release::as_str).collect::<Vec<_>>().join(", ");
    let release = match (named, known.len()) {
        (Some(named), _) => Release::new(named),
        (None, 1) => known.first().cloned().unwrap_or_else(|| Release::new("")),
        (None, 0) => {
            return Err(Advice::new("no release is in quarantine", "`setkeeper rollout status` shows the rollout").into());
        }
        (None, _) => {
            return Err(Advice::new("several releases are in quarantine", &format!("name one of {}", list())).into());
        }
    };
    if !cluster.lift(&release).await.map_err(|error| tree::failed(&error))? {
        let known = if known.is_empty() { "none is".to_owned() } else { format!("these are: {}", list()) };
        return Err(Advice::new(&format!("release {release} is not in quarantine"), &known).into());
    }
    cluster.close().await;
    output::say(&format!("release {release} may be tried again"));
    Ok(ExitCode::SUCCESS)
}

async fn confirm(settings: &Settings, force: bool) -> anyhow::Result<ExitCode> {
    let place = Place::open(settings).await?;
    let seen = place.seen(settings).await?.comparable()?;
    let instances = match &place {
        Place::Zookeeper(cluster) => cluster.instances().await.map_err(|error| tree::failed(&error))?.records,
        Place::Directory(_) if force => Vec::new(),
        Place::Directory(_) => status::of_agent(settings).await?.instances,
    };
    write(settings, &place, &seen, &instances, force).await?;
    place.close().await;
    Ok(ExitCode::SUCCESS)
}

async fn write(settings: &Settings, place: &Place, seen: &Seen, instances: &[Instance], force: bool) -> anyhow::Result<()> {
    let (_, resolution) = seen.resolve(settings);
    let digest = resolution.tree.as_str();
    if resolution.rollout.confirmed.as_deref() == Some(digest) {
        output::say(&format!("this tree ({digest}) is confirmed already"));
        return Ok(());
    }
    if matches!(seen.digests, Digests::New) {
        let message = "no agent has been here yet, so nobody would know this tree again".to_owned();
        return Err(Advice { message, hint: "start an agent first: it takes any first tree".to_owned() }.into());
    }
    let held: Vec<_> = instances.iter().filter(|instance| is_held(instance)).collect();
    if held.is_empty() && !force {
        let message = "no live instance holds the tree because of a loss: there is nothing to confirm".to_owned();
        let hint = "--force confirms it all the same, for instances that are down now".to_owned();
        return Err(Advice { message, hint }.into());
    }
    match place {
        Place::Zookeeper(cluster) => cluster.confirm(digest).await.map_err(|error| tree::failed(&error))?,
        Place::Directory(path) => directory::confirm(path, digest).await.with_context(|| Advice {
            message: format!("failed to note the confirmation in {}", path.display()),
            hint: format!("put a file {} with {{\"confirmed\": \"{digest}\"}} there", directory::ROLLOUT),
        })?,
    }
    for instance in held {
        output::say(&format!("{} held it: {}", instance.id, instance.error.as_deref().unwrap_or_default()));
    }
    let inventory = &resolution.inventory;
    output::say(&format!(
        "confirmed the tree as it is now ({digest}): {} config nodes with content, {} datasources",
        inventory.config,
        inventory.datasources.len()
    ));
    Ok(())
}

fn is_held(instance: &Instance) -> bool {
    instance.error.as_ref().is_some_and(|error| error.contains(BY_THE_GUARD))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::guard::{self, Inventory};
    use crate::model::digest::TreeDigest;
    use crate::model::rollout::Rollout;

    #[test]
    fn the_guards_own_words_are_recognized() {
        let accepted = Inventory { config: 1, ..Inventory::default() };
        let held = guard::admit(Some(&accepted), &Inventory::default(), &TreeDigest::new("t"), &Rollout::default(), 0.5);
        assert!(held.unwrap_err().reason().contains(BY_THE_GUARD));
    }
}
