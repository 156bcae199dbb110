//! Reload slots: read, taken by version, kept by writing them again, freed.
//!
//! In: a [`Cluster`] and a [`Slots`], which remembers since when each slot has been as it is; keep it for the life of the
//! process. Out: a [`Held`], which knows until when its holder may still start something. All judgement is in [`judge`].
//!
//! A slot is persistent and outlives the session of its holder: losing ZooKeeper does not hand it on, its lease does. A
//! write whose answer was lost is recognized by who wrote it, so nothing here has to be undone after a loss.

pub mod judge;

use std::time::{Duration, Instant};

use serde_json::Value as Json;
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::debug;

use self::judge::{Holder, Memory, Move, Seeker, Seen};
use super::cluster::Cluster;
use super::edit::{Edit, Expect};
use super::error::{Error, line};
use super::read;
use crate::model::digest::Revision;
use crate::model::slot::{Boot, Slot};
use crate::model::snapshot::Content;
use crate::processes::clock::Moment;

/// How often a holder writes its record again.
pub const RENEW: Duration = Duration::from_secs(10);

/// How often who waits may look again.
pub const LOOK: Duration = Duration::from_secs(2);

/// How often a move is tried when others are faster.
const ATTEMPTS: usize = 4;

/// The slots as one instance sees them.
#[derive(Clone, Debug)]
pub struct Slots {
    me: Seeker,
    memory: Memory,
}

/// What came of looking for a slot.
#[derive(Debug)]
pub enum Sought {
    /// One is ours.
    Held(Held),
    /// One is ours from an earlier run of this agent, which was doing this: recover it, then free the slot.
    Recover(Held, Slot),
    /// None can be had now.
    Taken {
        /// By whom, as far as their records can be read.
        by: Vec<Slot>,
        /// When the first lease runs out.
        until: Option<Instant>,
    },
}

/// A slot that is ours.
#[derive(Clone, Debug)]
pub struct Held {
    number: u32,
    version: i32,
    record: Slot,
    until: Moment,
}

/// A name for this run of the agent.
#[must_use]
pub fn new_boot() -> Boot {
    Boot::new(rand::random())
}

impl Slots {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(me: Seeker) -> Self {
        Self { me, memory: Memory::default() }
    }

    /// Takes a slot for this revision, if one can be had.
    pub async fn seek(&mut self, cluster: &Cluster, revision: &Revision) -> Result<Sought, Error> {
        let mut attempts = 0;
        loop {
            let seen = cluster.slots().await?;
            let next = self.memory.decide(&self.me, &seen, Instant::now());
            let (number, version, earlier) = match next {
                Move::Mine { number, version, earlier } => (number, Some(version), earlier),
                Move::Take { number, version, .. } => (number, version, None),
                Move::Wait { until } => return Ok(Sought::Taken { by: holders(seen), until }),
            };
            attempts += 1;
            match self.take(cluster, revision, number, version).await {
                Ok(held) => {
                    return Ok(earlier.map_or_else(|| Sought::Held(held.clone()), |slot| Sought::Recover(held.clone(), slot)));
                }
                Err(error) if error.is_conflict() && attempts < ATTEMPTS => {}
                Err(error) if error.is_conflict() => return Ok(Sought::Taken { by: holders(seen), until: None }),
                Err(error) => return Err(error),
            }
        }
    }

    async fn take(&self, cluster: &Cluster, revision: &Revision, number: u32, version: Option<i32>) -> Result<Held, Error> {
        let Seeker { instance, boot, lease, .. } = self.me.clone();
        let record = Slot { instance, boot, revision: revision.clone(), lease };
        let mut held = Held { number, version: -1, until: Moment::now(), record };
        held.write(cluster, version).await?;
        Ok(held)
    }
}

fn holders(seen: Vec<Seen>) -> Vec<Slot> {
    seen.into_iter().filter_map(|seen| if let Holder::Known(slot) = seen.holder { Some(slot) } else { None }).collect()
}

impl Held {
    /// The slot's number.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Until when nobody else can have taken it: the last acknowledged write, counted from when it was sent, and the lease.
    #[must_use]
    pub fn until(&self) -> Moment {
        self.until
    }

    /// Writes the record again. [`Error::SlotLost`] where somebody else has the slot.
    pub async fn renew(&mut self, cluster: &Cluster) -> Result<(), Error> {
        match self.write(cluster, Some(self.version)).await {
            Err(error) if error.is_conflict() => {
                // A write of ours whose answer was lost counts too; whatever else is there is somebody else's.
                let version = self.found(cluster).await?.ok_or_else(|| self.lost(cluster))?;
                match self.write(cluster, Some(version)).await {
                    Err(error) if error.is_conflict() => Err(self.lost(cluster)),
                    answer => answer,
                }
            }
            answer => answer,
        }
    }

    /// Renews it again and again, saying in `until` how long it is certain. Ends only when somebody else has it; without
    /// ZooKeeper it tries on.
    pub async fn keep(&mut self, cluster: &watch::Receiver<Option<Cluster>>, until: &watch::Sender<Moment>) -> Error {
        loop {
            let session = cluster.borrow().clone();
            let pause = RENEW.min(self.record.lease / 3);
            let renewed = match &session {
                Some(session) => self.renew(session).await,
                None => Err(Error::Lost),
            };
            match renewed {
                Ok(()) => drop(until.send_replace(self.until)),
                Err(error @ Error::SlotLost { .. }) => return error,
                Err(error) => debug!(slot = self.number, error = line(&error), "failed to renew the slot"),
            }
            drop(session);
            let pause = if self.until.from_now() <= pause { pause / 10 } else { pause };
            sleep(pause.max(Duration::from_millis(20))).await;
        }
    }

    /// Gives it back; one that somebody else has by now is left alone.
    pub async fn free(&self, cluster: &Cluster) -> Result<(), Error> {
        let mut attempts = 0;
        while let Some(version) = self.found(cluster).await? {
            attempts += 1;
            match cluster.set(&cluster.paths().slot(self.number), Vec::new(), Expect::Version(version)).await {
                Err(error) if error.is_conflict() && attempts < ATTEMPTS => {}
                answer => return answer,
            }
        }
        Ok(())
    }

    /// The version of the node where it holds a record of ours.
    async fn found(&self, cluster: &Cluster) -> Result<Option<i32>, Error> {
        let stored = cluster.read(&cluster.paths().slot(self.number)).await?;
        Ok(stored
            .filter(|stored| {
                let there: Option<Slot> = serde_json::from_slice(&stored.bytes).ok();
                there.is_some_and(|there| there.instance == self.record.instance && there.boot == self.record.boot)
            })
            .map(|stored| stored.version))
    }

    async fn write(&mut self, cluster: &Cluster, version: Option<i32>) -> Result<(), Error> {
        let path = cluster.paths().slot(self.number);
        let bytes = serde_json::to_value(&self.record).as_ref().map(Json::to_string).unwrap_or_default().into_bytes();
        let sent = Moment::now();
        let expect = version.map_or(Expect::Absent, Expect::Version);
        cluster.apply(&[Edit::Put { path, bytes, expect }]).await?;
        self.version = version.map_or(0, |version| version.wrapping_add(1));
        self.until = sent + self.record.lease;
        Ok(())
    }

    fn lost(&self, cluster: &Cluster) -> Error {
        Error::SlotLost { path: cluster.paths().slot(self.number) }
    }
}

impl Cluster {
    /// Every slot's node, by its number.
    pub async fn slots(&self) -> Result<Vec<Seen>, Error> {
        let parent = self.paths().slots();
        let names = self.session.children(&parent).await?.unwrap_or_default();
        let mut numbers: Vec<u32> = names.iter().filter_map(|name| name.parse().ok()).collect();
        numbers.sort_unstable();
        let paths: Vec<_> = numbers.iter().map(|number| self.paths().slot(*number)).collect();
        let found = read::nodes(&self.session, &paths).await?.found;
        let seen = numbers.into_iter().zip(found).filter_map(|(number, found)| {
            let found = found?;
            Some(Seen { number, holder: holder(&found.node.content), version: found.version, mark: found.node.version })
        });
        Ok(seen.collect())
    }
}

fn holder(content: &Content) -> Holder {
    match content {
        Content::Bytes(bytes) if bytes.trim_ascii().is_empty() => Holder::Nobody,
        Content::Bytes(bytes) => serde_json::from_slice(bytes).map_or(Holder::Unknown, Holder::Known),
        Content::Unreadable(_) => Holder::Unknown,
    }
}
