//! Keeping within bounds, and removing kept releases: the oldest go until count and bytes are within bounds, and leftovers of writers that died.
//!
//! The newest release and the completed one never go, whatever the bounds say. A tree goes with the last entry that names it,
//! in a multi that checks the rollout record's version: one that is completed at this moment stays.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tracing::info;

use super::super::cluster::Cluster;
use super::super::edit::Edit;
use super::super::error::Error;
use super::super::read::join;
use super::Numbered;
use super::archive::{Archived, Said};
use crate::model::digest::Release;
use crate::model::release::Seq;
use crate::model::snapshot::Branch;

/// How old what no entry names must be before it is a leftover.
const LEFTOVER: Duration = Duration::from_secs(10 * 60);

/// How much may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How many releases.
    pub count: usize,
    /// How many bytes.
    pub bytes: u64,
}

impl Bounds {
    /// As little as can be.
    pub const LEAST: Self = Self { count: 1, bytes: 0 };
}

impl Cluster {
    /// Keeps this config tree as [`Cluster::archive`] does, for no person; where that is new, what is beyond the bounds goes.
    pub async fn keep_within(&self, bounds: Bounds, digest: &Release, config: &Branch) -> Result<Archived, Error> {
        let archived = self.archive(digest, config, Said::default()).await?;
        if let Archived::New(seq) = archived {
            info!(release = %digest, %seq, "kept a release");
            self.trim_releases(bounds).await?;
        }
        Ok(archived)
    }

    /// Removes what is beyond the bounds, and says which releases that were.
    pub async fn trim_releases(&self, bounds: Bounds) -> Result<Vec<Seq>, Error> {
        let version = self.rollout_version().await?;
        let (rollout, _) = self.versioned_rollout().await?;
        let mut entries = self.entries().await?;
        let doomed = doomed(&entries, rollout.completed.as_ref(), bounds);
        for seq in &doomed {
            let Some(at) = entries.iter().position(|known| known.seq == *seq) else { continue };
            let gone = entries.remove(at);
            let is_last = entries.iter().all(|other| other.entry.digest != gone.entry.digest);
            self.remove(&gone, is_last, version).await?;
        }
        self.clear_leftovers(LEFTOVER).await?;
        Ok(doomed)
    }

    async fn remove(&self, gone: &Numbered, with_tree: bool, version: i32) -> Result<(), Error> {
        let path = self.paths().release(gone.seq);
        let mut edits = vec![self.check_rollout(version)];
        edits.extend(self.deletions(&path).await?);
        if with_tree {
            edits.extend(self.deletions(&self.paths().tree(&gone.entry.digest)).await?);
        }
        self.apply(&edits).await
    }

    /// Deleting a node with its children.
    async fn deletions(&self, path: &str) -> Result<Vec<Edit>, Error> {
        let Some(names) = self.session.children(path).await? else { return Ok(Vec::new()) };
        let paths = names.iter().map(|name| join(path, name)).chain([path.to_owned()]);
        Ok(paths.map(|path| Edit::Delete { path, version: None }).collect())
    }

    /// Removes trees that no entry names and that are so much older than the newest entry that nobody can still be writing them.
    pub async fn clear_leftovers(&self, age: Duration) -> Result<(), Error> {
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        let entries = self.entries().await?;
        let Some(newest) = entries.last() else { return Ok(()) };
        let named: BTreeSet<_> = entries.iter().map(|known| known.entry.digest.as_str()).collect();
        let trees = self.session.children(&self.paths().trees()).await?.unwrap_or_default();
        let unnamed: Vec<_> = trees.into_iter().filter(|tree| !named.contains(tree.as_str())).collect();
        if unnamed.is_empty() {
            return Ok(());
        }
        // Both times are the servers' own; no clock of ours is compared with theirs.
        let path = self.paths().release(newest.seq);
        let Some(now) = self.session.ask("check", &path, self.session.client.check_stat(&path)).await? else { return Ok(()) };
        for tree in unnamed {
            let path = self.paths().tree(&Release::new(tree));
            let stat = self.session.ask("check", &path, self.session.client.check_stat(&path)).await?;
            let is_old = stat.is_some_and(|stat| now.ctime.saturating_sub(stat.ctime) > age);
            // Somebody may have completed it since the entries were read; who is about to finds a part gone, and begins again.
            if is_old && self.entries().await?.iter().all(|known| !path.ends_with(known.entry.digest.as_str())) {
                self.apply(&self.deletions(&path).await?).await?;
            }
        }
        Ok(())
    }
}

/// Which entries go, oldest first.
fn doomed(entries: &[Numbered], completed: Option<&Release>, bounds: Bounds) -> Vec<Seq> {
    let newest = entries.last().map(|known| known.seq);
    let of_completed = entries.iter().rev().find(|known| Some(&known.entry.digest) == completed).map(|known| known.seq);
    let mut left = entries.len();
    let mut users: BTreeMap<&Release, usize> = BTreeMap::new();
    for known in entries {
        *users.entry(&known.entry.digest).or_default() += 1;
    }
    let size = |digest: &Release| entries.iter().find(|known| known.entry.digest == *digest).map_or(0, |known| known.entry.bytes);
    let mut bytes: u64 = users.keys().map(|digest| size(digest)).sum();
    let mut doomed = Vec::new();
    for known in entries {
        if left <= bounds.count && bytes <= bounds.bytes {
            break;
        }
        if [newest, of_completed].contains(&Some(known.seq)) {
            continue;
        }
        doomed.push(known.seq);
        left -= 1;
        let users = users.entry(&known.entry.digest).or_default();
        *users -= 1;
        if *users == 0 {
            bytes -= size(&known.entry.digest);
        }
    }
    doomed
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::release::Entry;

    fn entries(digests: &[&str]) -> Vec<Numbered> {
        let entry = |digest: &str| Entry {
            digest: Release::new(digest),
            parts: 1,
            bytes: 10,
            at: Timestamp::UNIX_EPOCH,
            by: None,
            message: None,
        };
        (1..).zip(digests).map(|(seq, digest)| Numbered { seq: Seq(seq), entry: entry(digest) }).collect()
    }

    fn gone(digests: &[&str], completed: &str, count: usize, bytes: u64) -> Vec<u64> {
        let doomed = doomed(&entries(digests), Some(&Release::new(completed)), Bounds { count, bytes });
        doomed.into_iter().map(|seq| seq.0).collect()
    }

    #[test]
    fn the_oldest_go_first_and_the_completed_and_the_newest_never() {
        assert_eq!(gone(&["a", "b", "c", "d"], "", 2, 1000), [1, 2]);
        assert_eq!(gone(&["a", "b", "c", "d"], "a", 2, 1000), [2, 3]);
        assert_eq!(gone(&["a", "b", "c", "d"], "b", 1, 0), [1, 3]);
        assert_eq!(gone(&["a", "b", "c"], "c", 5, 20), [1]);
        assert_eq!(gone(&["a"], "", 0, 0), [0; 0], "one tree larger than the bounds is still kept");
        assert_eq!(gone(&[], "", 0, 0), [0; 0]);
    }

    #[test]
    fn a_tree_that_was_published_twice_counts_once_and_goes_with_its_last_entry() {
        // Removing the first `a` frees nothing, so the next goes too.
        assert_eq!(gone(&["a", "b", "a", "c"], "", 10, 20), [1, 2]);
        assert_eq!(gone(&["a", "b", "a", "c"], "a", 1, 0), [1, 2]);
    }
}
