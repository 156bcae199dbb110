//! The cluster as a rollout sees it, in ZooKeeper; and the board of an instance that is alone.
//!
//! A slot that is held is rewritten by a task of its own, so that a long reload does not lose it. Every question is one look
//! of now; what others write about themselves wakes nobody here (law 12).

use std::future::pending;
use std::time::Instant;

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

use super::line;
use crate::model::digest::{Release, Revision};
use crate::model::instance::{Instance, InstanceId, State};
use crate::model::rollout::{Quarantined, is_completed};
use crate::model::snapshot::Branch;
use crate::processes::clock::Moment;
use crate::rollout::job::{Bad, Canaries, Leave};
use crate::rollout::target::Goal;
use crate::world::{Board, Fault, FaultKind};
use crate::zookeeper::cluster::Cluster;
use crate::zookeeper::error::Error;
use crate::zookeeper::link::Link;
use crate::zookeeper::releases::trim::Bounds;
use crate::zookeeper::slots::judge::{Holder, Seeker};
use crate::zookeeper::slots::{Held, Slots, Sought};

/// The label of those that go first.
const CANARY: &str = "canary";

/// Whether an instance of these labels goes first.
#[must_use]
pub fn is_canary(labels: &crate::model::instance::Labels) -> bool {
    labels.get(CANARY).is_some_and(|value| value == "true")
}

/// The board of this instance.
pub enum LiveBoard {
    /// In ZooKeeper.
    Shared(Box<Shared>),
    /// There is nobody else.
    Alone,
}

/// A board in ZooKeeper.
pub struct Shared {
    me: Seeker,
    cluster: watch::Receiver<Option<Cluster>>,
    link: watch::Receiver<Link>,
    slots: Slots,
    /// How many releases are kept.
    bounds: Bounds,
    held: Option<Keeping>,
    /// Who goes first, as found with the last release that was asked about.
    canaries: (Option<Release>, Vec<InstanceId>),
}

/// A slot that is ours, while it is rewritten again and again.
struct Keeping {
    held: Held,
    until: watch::Receiver<Moment>,
    _task: AbortOnDropHandle<()>,
}

impl Shared {
    /// As `me`, through the live session, keeping releases within these bounds.
    #[must_use]
    pub fn new(me: Seeker, cluster: watch::Receiver<Option<Cluster>>, link: watch::Receiver<Link>, bounds: Bounds) -> Self {
        Self { slots: Slots::new(me.clone()), me, cluster, link, bounds, held: None, canaries: (None, Vec::new()) }
    }

    fn cluster(&self) -> Result<Cluster, Fault> {
        let away = || Fault { kind: FaultKind::Refused, message: "zookeeper is away".to_owned() };
        self.cluster.borrow().clone().filter(|_| self.link.borrow().connected).ok_or_else(away)
    }

    fn keep(&mut self, held: Held) -> Leave {
        let until = held.until();
        let (sender, receiver) = watch::channel(until);
        let (mut kept, cluster) = (held.clone(), self.cluster.clone());
        let task = tokio::spawn(async move {
            let lost = kept.keep(&cluster, &sender).await;
            warn!(error = line(&lost), "the slot is somebody else's");
            sender.send_replace(Moment::now());
        });
        self.held = Some(Keeping { held, until: receiver, _task: AbortOnDropHandle::new(task) });
        Leave::Until(until.instant())
    }

    /// Why no slot is this instance's to take or to take back: one of somebody else under this id would look like ours.
    fn foreign(&self) -> Option<Fault> {
        let link = self.link.borrow();
        let refused = |message: String| Some(Fault { kind: FaultKind::Refused, message });
        match &link.taken {
            Some(taken) => refused(taken.to_string()),
            None if link.registered => None,
            None => refused("this instance's record is not there yet".to_owned()),
        }
    }

    async fn seek(&mut self, cluster: &Cluster, revision: &Revision) -> Result<Leave, Fault> {
        Ok(match self.slots.seek(cluster, revision).await.map_err(|error| fault(&error))? {
            Sought::Held(held) => {
                info!(slot = held.number(), %revision, "took a slot");
                self.keep(held)
            }
            Sought::Recover(held, earlier) => {
                info!(slot = held.number(), revision = %earlier.revision, "found the slot of an earlier run");
                self.keep(held)
            }
            Sought::Taken { .. } => Leave::NotNow,
        })
    }

    /// Every live instance but this one.
    async fn others(&self) -> Result<Vec<Instance>, Fault> {
        let records = self.cluster()?.instances().await.map_err(|error| fault(&error))?.records;
        Ok(records.into_iter().filter(|record| record.id != self.me.instance).collect())
    }
}

impl Board for LiveBoard {
    fn is_shared(&self) -> bool {
        matches!(self, Self::Shared(_))
    }

    fn connected(&self) -> bool {
        match self {
            Self::Shared(shared) => shared.cluster().is_ok(),
            Self::Alone => true,
        }
    }

    async fn changed(&mut self) {
        let Self::Shared(shared) = self else { return pending().await };
        let lease = async {
            let renewed = match &mut shared.held {
                Some(keeping) => keeping.until.changed().await.is_ok(),
                None => false,
            };
            if !renewed {
                pending::<()>().await;
            }
        };
        tokio::select! {
            changed = shared.link.changed() => if changed.is_err() { pending::<()>().await },
            () = lease => {}
        }
    }

    async fn kept(&self, release: &Release) -> Result<Option<Branch>, Fault> {
        let Self::Shared(shared) = self else { return Ok(None) };
        shared.cluster()?.kept_tree(release).await.map_err(|error| fault(&error))
    }

    async fn canaries(&mut self, release: &Release) -> Result<Canaries, Fault> {
        let Self::Shared(shared) = self else { return Ok(Canaries::Done) };
        let live = if shared.canaries.0.as_ref() == Some(release) {
            shared.cluster()?.instances_of(&shared.canaries.1).await.map_err(|error| fault(&error))?.records
        } else {
            let live: Vec<_> = shared.others().await?.into_iter().filter(|other| is_canary(&other.labels)).collect();
            shared.canaries = (Some(release.clone()), live.iter().map(|canary| canary.id.clone()).collect());
            live
        };
        Ok(fare(release, &live))
    }

    async fn recall(&mut self) -> Result<(), Fault> {
        let Self::Shared(shared) = self else { return Ok(()) };
        let cluster = shared.cluster()?;
        if let Some(foreign) = shared.foreign() {
            return Err(foreign);
        }
        let seen = cluster.slots().await.map_err(|error| fault(&error))?;
        let ours = seen.into_iter().find_map(|seen| match seen.holder {
            Holder::Known(slot) if slot.instance == shared.me.instance => Some(slot.revision),
            _ => None,
        });
        match ours {
            Some(revision) => shared.seek(&cluster, &revision).await.map(drop),
            None => Ok(()),
        }
    }

    async fn take(&mut self, goal: &Goal) -> Result<Leave, Fault> {
        let Self::Shared(shared) = self else { return Ok(Leave::NotNow) };
        let cluster = shared.cluster()?;
        match shared.foreign() {
            Some(_) if shared.link.borrow().taken.is_none() => return Ok(Leave::NotNow),
            Some(foreign) => return Err(foreign),
            None => {}
        }
        let leave = shared.seek(&cluster, &goal.revision).await?;
        if goal.is_back() || leave == Leave::NotNow {
            return Ok(leave);
        }
        // Whoever had the slot before may have told a moment ago that this release is bad (law 6).
        let is_bad = cluster.rollout().await.map(|rollout| rollout.bars(&goal.release, Some(&goal.revision)).is_some());
        if matches!(is_bad, Ok(false)) {
            return Ok(leave);
        }
        self.free().await?;
        is_bad.map(|_| Leave::NotNow).map_err(|error| fault(&error))
    }

    fn lease(&self) -> Option<Instant> {
        let Self::Shared(shared) = self else { return None };
        shared.held.as_ref().map(|keeping| keeping.until.borrow().instant())
    }

    async fn free(&mut self) -> Result<(), Fault> {
        let Self::Shared(shared) = self else { return Ok(()) };
        let cluster = shared.cluster()?;
        if let Some(keeping) = shared.held.take() {
            let held = keeping.held.clone();
            // It is not to be rewritten while it is freed.
            drop(keeping);
            if let Err(error) = held.free(&cluster).await {
                shared.keep(held);
                return Err(fault(&error));
            }
            info!(slot = held.number(), "freed the slot");
        }
        Ok(())
    }

    async fn quarantine(&self, bad: &Bad) -> Result<(), Fault> {
        let Self::Shared(shared) = self else { return Ok(()) };
        let goal = bad.goal.clone();
        let entry = Quarantined::new(goal.release, goal.revision, shared.me.instance.clone(), bad.why.clone());
        shared.cluster()?.quarantine(&entry).await.map(drop).map_err(|error| fault(&error))
    }

    async fn complete(&self, release: &Release, published: &Branch) -> Result<bool, Fault> {
        let Self::Shared(shared) = self else { return Ok(true) };
        let cluster = shared.cluster()?;
        let rollout = cluster.rollout().await.map_err(|error| fault(&error))?;
        if rollout.completed.as_ref() == Some(release) {
            return Ok(true);
        }
        let live = cluster.instances().await.map_err(|error| fault(&error))?.records;
        if !is_completed(release, &live) {
            return Ok(false);
        }
        match cluster.keep_within(shared.bounds, release, published).await {
            Ok(_) => {}
            Err(error) if error.is_loss() || error.is_conflict() => return Err(fault(&error)),
            // What can never be kept, and whoever keeps releases says why, is completed all the same.
            Err(error) => debug!(%release, error = line(&error), "a release is completed that was not kept"),
        }
        let is_news = cluster.complete(release).await.map_err(|error| fault(&error))?;
        if is_news {
            info!(%release, instances = live.len(), "the release is completed");
        }
        Ok(is_news)
    }
}

/// How the canaries fare with a release.
fn fare(release: &Release, canaries: &[Instance]) -> Canaries {
    let is_held = |canary: &Instance| canary.state == State::Held && canary.desired.release.as_ref() == Some(release);
    let has_it = |canary: &&Instance| canary.applied.release.as_ref() == Some(release) || is_held(canary);
    let works = |canary: &&Instance| matches!(canary.state, State::Checking | State::Reloading);
    let left: Vec<_> = canaries.iter().filter(|canary| !has_it(canary)).collect();
    match left.as_slice() {
        [] => Canaries::Done,
        left if left.iter().any(works) => Canaries::Working,
        _ => Canaries::Awaited,
    }
}

fn fault(error: &Error) -> Fault {
    Fault { kind: FaultKind::Refused, message: line(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::instance::{Labels, Role, SupersetSeen, Version};

    fn canary(state: State, desired: &str, applied: &str) -> Instance {
        let version = |release: &str| Version { release: Some(Release::new(release)), revision: None };
        Instance {
            id: InstanceId::parse("a").unwrap(),
            host: String::new(),
            pid: 1,
            version: String::new(),
            labels: Labels::new(),
            started_at: String::new(),
            role: Role::Follower,
            state,
            since: String::new(),
            desired: version(desired),
            applied: version(applied),
            superset: SupersetSeen::default(),
            error: None,
        }
    }

    #[test]
    fn canaries_are_done_once_each_has_the_release_or_is_held_on_it() {
        let fares = |canaries: &[Instance]| fare(&Release::new("new"), canaries);
        let has_it = canary(State::InSync, "new", "new");
        let is_held = canary(State::Held, "new", "old");
        assert_eq!(fares(&[]), Canaries::Done);
        assert_eq!(fares(&[has_it.clone(), is_held.clone()]), Canaries::Done);
        // It has yet to see the release.
        assert_eq!(fares(&[has_it.clone(), canary(State::Held, "old", "old")]), Canaries::Awaited);
        for state in [State::Starting, State::InSync, State::Waiting, State::Failed, State::Paused] {
            assert_eq!(fares(&[canary(state, "new", "old"), has_it.clone()]), Canaries::Awaited, "{state:?}");
        }
        for state in [State::Checking, State::Reloading] {
            let works = canary(state, "new", "old");
            assert_eq!(fares(&[canary(State::Waiting, "new", "old"), works]), Canaries::Working, "{state:?}");
        }
    }
}
