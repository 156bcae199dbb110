//! The cluster, looked at and changed from outside the agent's own loop: by commands, and by whoever shows its status.
//!
//! Each request stands for itself: read what is there now, or commit one change. Nothing is watched and nothing is
//! published here. What does not parse is a [`Problem`] beside the rest, never an error for all of it.

use std::fmt;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::timeout;
use zookeeper_client as zk;

use super::access::Access;
use super::contenders;
use super::edit::{Edit, Expect};
use super::error::Error;
use super::paths::Paths;
use super::session::Session;
use super::{edit, follow, prepare, read};
use crate::model::digest::DigestKey;
use crate::model::instance::{Instance, InstanceId};
use crate::model::problem::Problem;
use crate::model::snapshot::{Content, Origin, Snapshot};
use crate::model::status::DatasourceStatus;

/// How long a command waits for ZooKeeper.
pub const LIMIT: Duration = Duration::from_secs(5);

/// How long closing the session may take.
const CLOSING: Duration = Duration::from_secs(1);

/// The cluster's tree, through one session.
#[derive(Clone)]
pub struct Cluster {
    pub(super) session: Session,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cluster").field(&self.session.client.session_id()).finish()
    }
}

/// Nodes that were to be read as records.
#[derive(Clone, Debug, PartialEq)]
pub struct Records<T> {
    /// Those that are, in the order of their nodes' names.
    pub records: Vec<T>,
    /// What is wrong with the others.
    pub problems: Vec<Problem>,
}

/// A node's content, and the version that a change of it names.
#[derive(Clone, PartialEq, Eq)]
pub struct Stored {
    /// The content.
    pub bytes: Vec<u8>,
    /// The version.
    pub version: i32,
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The content may be a secret.
        f.debug_struct("Stored").field("len", &self.bytes.len()).field("version", &self.version).finish()
    }
}

impl Cluster {
    /// Opens a session of its own; connecting, and each answer later, may take `limit`.
    pub async fn open(access: &Access, limit: Duration) -> Result<Self, Error> {
        let opened = async {
            let mut session = Session::open(access, Vec::new()).await?;
            session.limit = limit;
            session.catch_up().await?;
            let chroot = session.ask("check", "/", session.client.check_stat("/")).await?;
            chroot.ok_or_else(|| Error::NoChroot { hosts: access.hosts().to_owned() })?;
            prepare::known_format(&session).await?;
            Ok::<_, Error>(session)
        };
        match timeout(limit, opened).await {
            Ok(session) => Ok(Self { session: session? }),
            Err(_) => Err(Error::ConnectTimeout { hosts: access.hosts().to_owned(), limit }),
        }
    }

    /// The same through a session that others use too.
    pub(super) fn within(mut session: Session) -> Self {
        session.limit = session.limit.min(LIMIT);
        Self { session }
    }

    /// Ends the session, and waits until the server knows.
    pub async fn close(self) {
        let mut states = self.session.client.state_watcher();
        drop(self);
        let closed = async { while states.changed().await != zk::SessionState::Closed {} };
        // Whether or not it worked, the session ends; at the latest by its timeout.
        let _ = timeout(CLOSING, closed).await;
    }

    /// Where everything lies.
    #[must_use]
    pub fn paths(&self) -> &Paths {
        &self.session.paths
    }

    /// The tree as it is now.
    pub async fn snapshot(&self) -> Result<Snapshot, Error> {
        follow::everything(&self.session, &Snapshot::default()).await
    }

    /// The cluster's key; `None` as long as no agent has made one.
    pub async fn key(&self) -> Result<Option<DigestKey>, Error> {
        prepare::existing_key(&self.session).await
    }

    /// Every live instance's record.
    pub async fn instances(&self) -> Result<Records<Instance>, Error> {
        self.records(&self.paths().instances(), "an instance's record").await
    }

    /// The records of these instances, as far as they live.
    pub async fn instances_of(&self, ids: &[InstanceId]) -> Result<Records<Instance>, Error> {
        let paths: Vec<_> = ids.iter().map(|id| self.paths().instance(id)).collect();
        self.records_at(&paths, "an instance's record").await
    }

    /// Who leads now.
    pub async fn leader(&self) -> Result<Option<InstanceId>, Error> {
        for name in contenders::names(&self.session, &self.paths().leader()).await? {
            let path = read::join(&self.paths().leader(), &name);
            // One that ended since it was listed leads no more.
            if let Some((id, _)) = self.session.get(&path).await? {
                return Ok(std::str::from_utf8(&id).ok().and_then(InstanceId::parse));
            }
        }
        Ok(None)
    }

    /// What the leaders wrote about each datasource.
    pub async fn datasource_statuses(&self) -> Result<Records<DatasourceStatus>, Error> {
        self.records(&self.paths().statuses(), "a datasource's status").await
    }

    /// One node's content; `None` where it does not exist.
    pub async fn read(&self, path: &str) -> Result<Option<Stored>, Error> {
        let found = self.session.get(path).await?;
        Ok(found.map(|(bytes, stat)| Stored { bytes, version: stat.version }))
    }

    /// Many nodes' contents, in the order of their paths; `None` where one does not exist.
    pub async fn read_all(&self, paths: &[String]) -> Result<Vec<Option<Stored>>, Error> {
        let stored = |found: read::Found| match found.node.content {
            Content::Bytes(bytes) => Ok(Stored { bytes: bytes.to_vec(), version: found.version }),
            Content::Unreadable(_) => {
                Err(Error::Request { verb: "read", path: found.node.origin.as_str().to_owned(), source: zk::Error::NoAuth })
            }
        };
        let found = read::nodes(&self.session, paths).await?.found;
        found.into_iter().map(|found| found.map(stored).transpose()).collect()
    }

    /// Writes one node, creating it and its parents where `expect` allows.
    pub async fn set(&self, path: &str, bytes: Vec<u8>, expect: Expect) -> Result<(), Error> {
        self.apply(&[Edit::Put { path: path.to_owned(), bytes, expect }]).await
    }

    /// Deletes one node: this version of it, where one is given.
    pub async fn delete(&self, path: &str, version: Option<i32>) -> Result<(), Error> {
        self.apply(&[Edit::Delete { path: path.to_owned(), version }]).await
    }

    /// Makes all changes or none.
    pub async fn apply(&self, edits: &[Edit]) -> Result<(), Error> {
        edit::apply(&self.session, edits).await
    }

    async fn records<T: DeserializeOwned>(&self, parent: &str, what: &str) -> Result<Records<T>, Error> {
        let mut names = self.session.children(parent).await?.unwrap_or_default();
        names.sort_unstable();
        let paths: Vec<_> = names.iter().map(|name| read::join(parent, name)).collect();
        self.records_at(&paths, what).await
    }

    async fn records_at<T: DeserializeOwned>(&self, paths: &[String], what: &str) -> Result<Records<T>, Error> {
        let mut all = Records { records: Vec::new(), problems: Vec::new() };
        for found in read::nodes(&self.session, paths).await?.found.into_iter().flatten() {
            match parse(&found.node.content, what) {
                Ok(record) => all.records.push(record),
                Err(message) => all.problems.push(Problem::warning(&Origin::new(found.node.origin.as_str()), message)),
            }
        }
        Ok(all)
    }
}

/// Only the place is told, not what is there: whatever it is, nobody meant it to be shown.
fn parse<T: DeserializeOwned>(content: &Content, what: &str) -> Result<T, String> {
    match content {
        Content::Bytes(bytes) => serde_json::from_slice(bytes)
            .map_err(|error| format!("expected {what}: line {}, column {}", error.line(), error.column())),
        Content::Unreadable(why) => Err(format!("failed to read {what}: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn law_9_a_record_that_does_not_parse_is_not_quoted() {
        let content = Content::Bytes(b"{\"id\": \"canary-secret\"}".as_slice().into());
        let message = parse::<Instance>(&content, "an instance's record").unwrap_err();
        assert!(message.starts_with("expected an instance's record: line 1"), "{message}");
        assert!(!message.contains("canary"));
    }

    #[test]
    fn stored_content_is_not_printed() {
        let stored = Stored { bytes: b"canary-secret".to_vec(), version: 3 };
        assert_eq!(format!("{stored:?}"), "Stored { len: 13, version: 3 }");
    }
}
