//! One live session: the client, and every request bounded in time and named in its error.
//!
//! Whatever lives in a session borrows this value, so that it ends with it. A request that nobody answers within the
//! session's timeout is a loss, whatever the client believes: a stuck connection must not hold the agent.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use zookeeper_client as zk;

use super::access::{Access, AccessError, AclSet};
use super::error::Error;
use super::paths::Paths;

/// One live session.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub client: zk::Client,
    pub paths: Arc<Paths>,
    pub acls: Arc<AclSet>,
    /// How long one answer may take.
    pub limit: Duration,
    /// Sessions that this process had before: what they left behind is ours to clear away.
    pub earlier: Vec<zk::SessionId>,
}

impl Session {
    /// Asks for one, trying every host once.
    pub async fn open(access: &Access, earlier: Vec<zk::SessionId>) -> Result<Self, Error> {
        let (connector, hosts) = (access.connector()?, access.hosts());
        let client = if access.is_secure() { connector.secure_connect(hosts).await } else { connector.connect(hosts).await };
        let client = client.map_err(|source| match source {
            zk::Error::BadArguments(_) => AccessError::Connect(source).into(),
            source => Error::Connect { hosts: hosts.to_owned(), source },
        })?;
        Ok(Self { limit: client.session_timeout(), client, paths: access.paths().clone(), acls: access.acls().clone(), earlier })
    }

    /// The timeout that the server granted.
    pub fn timeout(&self) -> Duration {
        self.client.session_timeout()
    }

    /// Waits for the answer to a request.
    pub async fn ask<T>(
        &self,
        verb: &'static str,
        path: &str,
        request: impl Future<Output = Result<T, zk::Error>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(self.limit, request).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(zk::Error::Unimplemented)) => Err(Error::TooOld { verb, path: path.to_owned() }),
            Ok(Err(source)) => Err(Error::Request { verb, path: path.to_owned(), source }),
            Err(_) => Err(Error::Unanswered { verb, path: path.to_owned(), limit: self.limit }),
        }
    }

    /// Makes the server that we happen to talk to catch up with the leader. A new session may meet one that lags behind
    /// what an earlier session has seen, and reading there would replay the past (law 10).
    pub async fn catch_up(&self) -> Result<(), Error> {
        self.ask("reach", "/", self.client.sync("/")).await
    }

    /// Creates a node with our ACL.
    pub async fn create(&self, path: &str, bytes: &[u8], mode: zk::CreateMode) -> Result<(zk::Stat, zk::CreateSequence), Error> {
        let options = mode.with_acls(zk::Acls::new(&self.acls.nodes));
        self.ask("create", path, self.client.create(path, bytes, &options)).await
    }

    /// The names of a node's children; `None` where it does not exist.
    pub async fn children(&self, path: &str) -> Result<Option<Vec<String>>, Error> {
        absent_is_none(self.ask("list", path, self.client.list_children(path)).await)
    }

    /// A node's content; `None` where it does not exist.
    pub async fn get(&self, path: &str) -> Result<Option<(Vec<u8>, zk::Stat)>, Error> {
        absent_is_none(self.ask("read", path, self.client.get_data(path)).await)
    }

    /// Deletes a node, or finds it gone.
    pub async fn delete(&self, path: &str, version: Option<i32>) -> Result<(), Error> {
        absent_is_none(self.ask("delete", path, self.client.delete(path, version)).await).map(|_| ())
    }
}

/// Turns "does not exist" from an error into an answer.
pub(super) fn absent_is_none<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.code() == Some(&zk::Error::NoNode) => Ok(None),
        Err(error) => Err(error),
    }
}
