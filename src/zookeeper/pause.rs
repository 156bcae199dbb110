//! A person's pause: set, lifted, looked at.
//!
//! That its znode exists is the pause; what is in it is for people, and for agents the moment at which it ends by itself. An
//! ended one is left where it is until somebody resumes or pauses again.

use serde_json::Value as Json;

use super::cluster::Cluster;
use super::edit::Expect;
use super::error::Error;
use crate::model::pause::Pause;

impl Cluster {
    /// The pause, whether or not it still holds.
    pub async fn pause(&self) -> Result<Option<Pause>, Error> {
        Ok(self.read(&self.paths().pause()).await?.map(|stored| Pause::read(&stored.bytes)))
    }

    /// Pauses, in the place of any earlier pause.
    pub async fn set_pause(&self, pause: &Pause) -> Result<(), Error> {
        let text = serde_json::to_value(pause).as_ref().map(Json::to_string).unwrap_or_default();
        self.set(&self.paths().pause(), text.into_bytes(), Expect::Anything).await
    }

    /// Resumes; says what was lifted.
    pub async fn resume(&self) -> Result<Option<Pause>, Error> {
        let path = self.paths().pause();
        let Some(stored) = self.read(&path).await? else { return Ok(None) };
        // Not one that somebody set after we looked.
        self.delete(&path, Some(stored.version)).await?;
        Ok(Some(Pause::read(&stored.bytes)))
    }
}
