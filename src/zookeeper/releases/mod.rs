//! What was published: an entry for each release, its tree in parts, and what came of it on each instance.
//!
//! [`archive`] keeps a tree and reads it back, [`trim`] removes what is beyond the bounds; both rely on the rollout record's
//! version. Here is what looks at the entries, and what instances note about them. Nothing of it is watched.

pub mod archive;
mod pack;
pub mod trim;

use serde_json::Value as Json;

use super::cluster::Cluster;
use super::edit::Expect;
use super::error::Error;
use super::read::join;
use crate::model::digest::Release;
use crate::model::instance::InstanceId;
use crate::model::release::{Entry, Fate, Published, Seq};

/// An entry and its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Numbered {
    pub seq: Seq,
    pub entry: Entry,
}

fn entry(bytes: &[u8]) -> Option<Entry> {
    serde_json::from_slice(bytes).ok()
}

impl Cluster {
    /// Everything that is kept, oldest first, with what came of it.
    pub async fn history(&self) -> Result<Vec<Published>, Error> {
        let mut history = Vec::new();
        for Numbered { seq, entry } in self.entries().await? {
            history.push(Published { seq, entry, fates: self.fates(seq).await? });
        }
        Ok(history)
    }

    /// Notes what came of a release on one instance; says whether the release is kept, without which there is no place for it.
    pub async fn note_fate(&self, release: &Release, instance: &InstanceId, fate: &Fate) -> Result<bool, Error> {
        let entries = self.entries().await?;
        let Some(entry) = entries.iter().rev().find(|known| known.entry.digest == *release) else { return Ok(false) };
        let path = join(&self.paths().release(entry.seq), instance.as_str());
        let text = serde_json::to_value(fate).as_ref().map(Json::to_string).unwrap_or_default();
        self.set(&path, text.into_bytes(), Expect::Anything).await.map(|()| true)
    }

    /// The numbers of all entries, oldest first.
    pub(super) async fn release_numbers(&self) -> Result<Vec<Seq>, Error> {
        let names = self.session.children(&self.paths().releases()).await?.unwrap_or_default();
        let mut numbers: Vec<_> = names.iter().filter_map(|name| Seq::from_name(name)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// All entries that can be read, oldest first.
    pub(super) async fn entries(&self) -> Result<Vec<Numbered>, Error> {
        let numbers = self.release_numbers().await?;
        let paths: Vec<_> = numbers.iter().map(|seq| self.paths().release(*seq)).collect();
        let stored = self.read_all(&paths).await?;
        let entries = numbers.into_iter().zip(stored).filter_map(|(seq, stored)| {
            let entry = entry(&stored?.bytes)?;
            Some(Numbered { seq, entry })
        });
        Ok(entries.collect())
    }

    async fn fates(&self, seq: Seq) -> Result<Vec<(InstanceId, Fate)>, Error> {
        let parent = self.paths().release(seq);
        let mut names = self.session.children(&parent).await?.unwrap_or_default();
        names.sort_unstable();
        let paths: Vec<_> = names.iter().map(|name| join(&parent, name)).collect();
        let stored = self.read_all(&paths).await?;
        let fates = names.iter().zip(stored).filter_map(|(name, stored)| {
            let fate = serde_json::from_slice(&stored?.bytes).ok()?;
            Some((InstanceId::parse(name)?, fate))
        });
        Ok(fates.collect())
    }
}
