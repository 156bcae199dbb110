//! The tree as a command sees it: read once, from ZooKeeper or from the folder.
//!
//! ZooKeeper has five seconds to connect, and as long for each answer: one that is away is told in that time, and a large tree
//! still has the time it takes.
//! Resolves no secret but ZooKeeper's own password. Most commands only look, and whoever may look need not be given the
//! cluster's key: a passing one serves, whose digests nobody knows. Those that compare digests ask for
//! [`Seen::comparable`].

use std::future::Future;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tokio::sync::watch;

use crate::desired::lens::Lens;
use crate::desired::resolver::{Resolution, Resolver};
use crate::files::state;
use crate::model::digest::DigestKey;
use crate::model::snapshot::Snapshot;
use crate::output::{Advice, advised};
use crate::settings::{Settings, Source, Zookeeper};
use crate::zookeeper::access::Access;
use crate::zookeeper::cluster::{Cluster, LIMIT};
use crate::zookeeper::error::Error;
use crate::{directory, secrets};

/// Where the tree is.
pub(super) enum Place {
    /// In ZooKeeper, through a session of this command.
    Zookeeper(Cluster),
    /// In a folder.
    Directory(PathBuf),
}

/// The tree, and the key under which it is digested.
pub(super) struct Seen {
    /// The tree.
    pub snapshot: Snapshot,
    /// The cluster's key, or a passing one.
    pub key: DigestKey,
    /// Whose the key is.
    pub digests: Digests,
}

/// What digests under a key mean.
pub(super) enum Digests {
    /// It is the cluster's: they can be compared.
    Known,
    /// No agent has made one yet: there is nothing to compare them with.
    New,
    /// There is one, and it cannot be read.
    Closed(anyhow::Error),
}

/// Runs a command's work to its end.
pub(super) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    // On one thread alone, resolving a tree of many megabytes would keep ZooKeeper's session from being kept up.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.context("failed to start the runtime")?.block_on(work)
}

/// Reads the tree and closes what was opened for it.
pub(super) async fn read(settings: &Settings) -> anyhow::Result<Seen> {
    let place = Place::open(settings).await?;
    let seen = place.seen(settings).await?;
    place.close().await;
    Ok(seen)
}

/// What ZooKeeper refused, with what to do about it.
pub(super) fn failed(error: &Error) -> anyhow::Error {
    const SILENT: &str = "the server took the connection and then kept silent: is it overloaded, or without a quorum?";
    let hint = error.hint().or_else(|| error.is_loss().then_some(SILENT));
    advised(error, hint.map(ToOwned::to_owned))
}

/// A session for a command that writes; a folder is for people to edit.
pub(super) async fn cluster(settings: &Settings) -> anyhow::Result<Cluster> {
    match &settings.source {
        Source::Zookeeper(zookeeper) => connect(zookeeper, settings).await,
        Source::Directory { path } => Err(not_ours(path)),
    }
}

fn not_ours(path: &Path) -> anyhow::Error {
    let message = format!("the tree is the folder {}, which this command does not write", path.display());
    Advice { message, hint: "edit its files; the agent takes them as soon as they are saved".to_owned() }.into()
}

async fn connect(zookeeper: &Zookeeper, settings: &Settings) -> anyhow::Result<Cluster> {
    let access = access_to(zookeeper, settings).await?;
    Cluster::open(&access, LIMIT).await.map_err(|error| failed(&error))
}

/// How ZooKeeper is reached, for a command that opens its sessions itself.
pub(super) async fn access(settings: &Settings) -> anyhow::Result<Access> {
    match &settings.source {
        Source::Zookeeper(zookeeper) => access_to(zookeeper, settings).await,
        Source::Directory { path } => Err(not_ours(path)),
    }
}

async fn access_to(zookeeper: &Zookeeper, settings: &Settings) -> anyhow::Result<Access> {
    let password = match &zookeeper.auth {
        Some(auth) => Some(
            secrets::reference(&auth.password)
                .await
                .map_err(|error| advised(&error, error.hint()))
                .context("failed to resolve source.zookeeper.auth.password")?,
        ),
        None => None,
    };
    let access = Access::new(zookeeper, &settings.layout, watch::channel(password).1);
    access.map_err(|error| failed(&error.into()))
}

impl Place {
    /// Opens a session where the tree is in ZooKeeper.
    pub async fn open(settings: &Settings) -> anyhow::Result<Self> {
        Ok(match &settings.source {
            Source::Zookeeper(zookeeper) => Self::Zookeeper(connect(zookeeper, settings).await?),
            Source::Directory { path } => Self::Directory(path.clone()),
        })
    }

    /// The tree as it is now.
    pub async fn seen(&self, settings: &Settings) -> anyhow::Result<Seen> {
        match self {
            Self::Zookeeper(cluster) => Seen::of(cluster).await,
            Self::Directory(path) => {
                let snapshot = directory::read(path, &settings.layout).await.with_context(|| Advice {
                    message: format!("failed to read the tree in {}", path.display()),
                    hint: "check source.directory.path".to_owned(),
                })?;
                Seen::new(snapshot, state::peek_key(&settings.state_dir).map_err(|error| advised(&error, error.hint())))
            }
        }
    }

    /// Ends the session.
    pub async fn close(self) {
        if let Self::Zookeeper(cluster) = self {
            cluster.close().await;
        }
    }
}

impl Seen {
    /// The tree in ZooKeeper as it is now.
    pub async fn of(cluster: &Cluster) -> anyhow::Result<Self> {
        let (snapshot, key) = tokio::join!(cluster.snapshot(), cluster.key());
        Self::new(snapshot.map_err(|error| failed(&error))?, key.map_err(|error| failed(&error)))
    }

    fn new(snapshot: Snapshot, key: anyhow::Result<Option<DigestKey>>) -> anyhow::Result<Self> {
        let (key, digests) = match key {
            Ok(Some(key)) => (key, Digests::Known),
            Ok(None) => (passing_key()?, Digests::New),
            Err(error) => (passing_key()?, Digests::Closed(error)),
        };
        Ok(Self { snapshot, key, digests })
    }

    /// The same for a command that compares digests; fails where the key cannot be read.
    pub fn comparable(self) -> anyhow::Result<Self> {
        match self.digests {
            Digests::Closed(error) => Err(error.context("failed to read the cluster's key")),
            _ => Ok(self),
        }
    }

    /// What the tree comes to for this instance.
    pub fn resolve(&self, settings: &Settings) -> (Resolver, Resolution) {
        resolve(settings, &self.key, &self.snapshot)
    }
}

/// What a tree comes to for this instance.
pub(super) fn resolve(settings: &Settings, key: &DigestKey, snapshot: &Snapshot) -> (Resolver, Resolution) {
    let mut resolver = Resolver::new(Lens::new(settings)).telling_all();
    let resolution = resolver.resolve(key, snapshot);
    (resolver, resolution)
}

/// A key for digests that nobody keeps.
pub(super) fn passing_key() -> anyhow::Result<DigestKey> {
    DigestKey::from_bytes(&rand::random::<[u8; DigestKey::LEN]>()).context("failed to make a key")
}
