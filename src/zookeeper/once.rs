//! Outcomes of what runs once: read, and written by whoever holds the lock.
//!
//! In: a name and a key; to write, the [`Line`] whose first place is ours: an outcome counts only in a transaction that checks it, so
//! that nobody who has lost the lock can write one. Out: what is recorded. What it means is [`crate::model::once`]'s to say.

use std::time::Duration;

use serde_json::Value as Json;
use tokio::time::sleep;

use super::cluster::Cluster;
use super::edit::{Edit, Expect};
use super::error::Error;
use super::lock::{Line, may_come_back};
use super::read;
use crate::model::lock::LockName;
use crate::model::once::{Mark, OnceKey, Outcome, Recorded};

/// How many outcomes of one name are kept: more than anybody goes back.
const KEPT: usize = 20;

/// How long after a failed write the next is tried.
const AGAIN: Duration = Duration::from_millis(250);

impl Cluster {
    /// What is recorded for a key.
    pub async fn recorded(&self, name: &LockName, key: &OnceKey) -> Result<Recorded, Error> {
        let found = self.session.get(&self.paths().outcome(name, key)).await?;
        Ok(found.map_or(Recorded::Nothing, |(text, stat)| Recorded::read(&text, Mark(stat.mzxid))))
    }

    /// Records an outcome; a connection that is away is waited for as long as the session may live.
    pub async fn record(&self, line: &Line<'_>, name: &LockName, key: &OnceKey, outcome: &Outcome) -> Result<(), Error> {
        let bytes = serde_json::to_value(outcome).as_ref().map(Json::to_string).unwrap_or_default().into_bytes();
        let put = Edit::Put { path: self.paths().outcome(name, key), bytes, expect: Expect::Anything };
        let edits = [line.check(), put];
        loop {
            match self.apply(&edits).await.map_err(|error| line.explained(error)) {
                // Written twice it is the same outcome.
                Err(error) if may_come_back(&error) => sleep(AGAIN).await,
                answer => return answer,
            }
        }
    }

    /// Forgets all but the newest outcomes of a name.
    pub async fn forget_outcomes(&self, name: &LockName) -> Result<(), Error> {
        let parent = self.paths().outcomes(name);
        let names = self.session.children(&parent).await?.unwrap_or_default();
        if names.len() <= KEPT {
            return Ok(());
        }
        let paths: Vec<_> = names.iter().map(|name| read::join(&parent, name)).collect();
        let found = read::nodes(&self.session, &paths).await?.found;
        let mut written: Vec<_> =
            found.into_iter().zip(paths).filter_map(|(found, path)| Some((found?.node.version, path))).collect();
        // By transaction: the clocks of hosts differ.
        written.sort_unstable();
        written.truncate(written.len().saturating_sub(KEPT));
        for (_, path) in written {
            self.session.delete(&path, None).await?;
        }
        Ok(())
    }
}
