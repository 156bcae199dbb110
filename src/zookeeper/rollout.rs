//! The rollout record, changed by version.
//!
//! In: a rule of [`Rollout`], which changes the record and says whether it did. Out: the record as it is then. Who loses a race
//! reads again and applies the rule to what is there now, so that no change is lost and none is made twice.

use serde_json::Value as Json;

use super::cluster::Cluster;
use super::edit::Expect;
use super::error::Error;
use crate::model::digest::Release;
use crate::model::rollout::{Quarantined, Rollout};

/// How often a change is tried when others keep changing the record.
const ATTEMPTS: usize = 8;

impl Cluster {
    /// The rollout record; empty where there is none.
    pub async fn rollout(&self) -> Result<Rollout, Error> {
        Ok(self.versioned_rollout().await?.0)
    }

    /// The record, and its version where it exists.
    pub(super) async fn versioned_rollout(&self) -> Result<(Rollout, Option<i32>), Error> {
        let path = self.paths().rollout();
        let Some(stored) = self.read(&path).await? else { return Ok((Rollout::default(), None)) };
        let rollout = if stored.bytes.trim_ascii().is_empty() {
            Rollout::default()
        } else {
            serde_json::from_slice(&stored.bytes).map_err(|_| Error::NotAnObject { path })?
        };
        Ok((rollout, Some(stored.version)))
    }

    /// Changes the record by a rule; says whether that changed anything.
    pub async fn change_rollout(&self, mut rule: impl FnMut(&mut Rollout) -> bool) -> Result<bool, Error> {
        let path = self.paths().rollout();
        let mut attempts = 0;
        loop {
            let (mut rollout, version) = self.versioned_rollout().await?;
            if !rule(&mut rollout) {
                return Ok(false);
            }
            attempts += 1;
            let text = serde_json::to_value(&rollout).as_ref().map(Json::to_string).unwrap_or_default();
            match self.set(&path, text.into_bytes(), version.map_or(Expect::Absent, Expect::Version)).await {
                Err(error) if attempts < ATTEMPTS && error.is_conflict() => {}
                answer => return answer.map(|()| true),
            }
        }
    }

    /// Notes that a person confirmed the tree of this digest.
    pub async fn confirm(&self, digest: &str) -> Result<(), Error> {
        let confirmed = Some(digest.to_owned());
        let rule = |rollout: &mut Rollout| std::mem::replace(&mut rollout.confirmed, confirmed.clone()) != confirmed;
        self.change_rollout(rule).await.map(drop)
    }

    /// Puts a release into quarantine; says whether that is news.
    pub async fn quarantine(&self, bad: &Quarantined) -> Result<bool, Error> {
        self.change_rollout(|rollout| rollout.quarantine(bad.clone())).await
    }

    /// Lets a release be tried again; says whether it was in quarantine.
    pub async fn lift(&self, release: &Release) -> Result<bool, Error> {
        self.change_rollout(|rollout| rollout.lift(release)).await
    }

    /// Notes that a release is completed; says whether that is news.
    pub async fn complete(&self, release: &Release) -> Result<bool, Error> {
        self.change_rollout(|rollout| rollout.complete(release)).await
    }
}
