//! Keeping a published tree, and reading it back.
//!
//! The parts come first, the entry that makes them count comes last, and each write is a multi that checks the rollout record's version:
//! whoever completes or removes a release meanwhile makes it begin again. A writer that dies between two writes leaves
//! parts that count for nothing; the next one keeps those that are right. Every part bears the ACL of the nodes in it, so that
//! a secret is kept under the rights that it had, and the nodes of different ACLs lie in different parts.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value as Json;
use zookeeper_client as zk;

use super::super::cluster::Cluster;
use super::super::edit::{self, Edit, Expect, Operation};
use super::super::error::Error;
use super::super::read::{self, join};
use super::pack::{self, Chunk, Packed};
use crate::model::digest::Release;
use crate::model::release::{Entry, Seq};
use crate::model::snapshot::{Branch, Content, Node, Origin};

/// How often it is begun again when others change something meanwhile.
const ATTEMPTS: usize = 8;

/// What a person says of what they published.
#[derive(Clone, Copy, Debug, Default)]
pub struct Said<'a> {
    /// Who they are.
    pub by: Option<&'a str>,
    /// Their message.
    pub message: Option<&'a str>,
}

/// What came of keeping a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Archived {
    /// It was not the newest release, and is now.
    New(Seq),
    /// It was the newest already.
    Known(Seq),
}

/// A tree as it is to be kept.
struct Kept {
    chunks: Vec<Chunk>,
    acls: Vec<Vec<zk::Acl>>,
}

impl Cluster {
    /// Keeps this config tree as the newest release, unless it is that already; then only what is said of it is added.
    pub async fn archive(&self, digest: &Release, config: &Branch, said: Said<'_>) -> Result<Archived, Error> {
        let mut attempts = 0;
        let mut kept = None;
        loop {
            attempts += 1;
            let newest = self.release_numbers().await?.pop();
            let answer = match self.announce(digest, newest, said).await {
                Ok(None) => {
                    let kept = match &mut kept {
                        Some(kept) => kept,
                        none => none.insert(self.packed(config).await?),
                    };
                    // The number after the newest that was looked at: whoever was faster has it.
                    self.keep(digest, kept, newest.map_or(Seq(1), |newest| Seq(newest.0 + 1)), said).await
                }
                Ok(Some(seq)) => Ok(Archived::Known(seq)),
                Err(error) => Err(error),
            };
            match answer {
                Err(error) if error.is_conflict() && attempts < ATTEMPTS => {}
                answer => return answer,
            }
        }
    }

    /// Adds what is said to the newest release, if it is this one.
    async fn announce(&self, digest: &Release, newest: Option<Seq>, said: Said<'_>) -> Result<Option<Seq>, Error> {
        let Some(seq) = newest else { return Ok(None) };
        let path = self.paths().release(seq);
        let Some(stored) = self.read(&path).await? else { return Ok(None) };
        let Some(mut entry) = super::entry(&stored.bytes).filter(|entry| entry.digest == *digest) else { return Ok(None) };
        if said.by.is_some() && entry.by.is_none() {
            (entry.by, entry.message) = (said.by.map(str::to_owned), said.message.map(str::to_owned));
            self.set(&path, text(&entry), Expect::Version(stored.version)).await?;
        }
        Ok(Some(seq))
    }

    /// The tree in chunks, and the ACL of each group of nodes.
    async fn packed(&self, config: &Branch) -> Result<Kept, Error> {
        let root = config.root.iter().map(|node| ("", node));
        let children = config.children.iter().filter(|(name, _)| !name.contains('/'));
        let nodes: Vec<_> = root.chain(children.map(|(name, node)| (&**name, node))).collect();
        // A request goes out when it is made: all of them together cost one round trip.
        let client = &self.session.client;
        let requests: Vec<_> = nodes.iter().map(|(_, node)| client.get_acl(node.origin.as_str())).collect();
        let mut acls: Vec<Vec<zk::Acl>> = Vec::new();
        let mut groups: Vec<Vec<Packed<'_>>> = Vec::new();
        for ((name, node), request) in nodes.into_iter().zip(requests) {
            let path = node.origin.as_str();
            let Content::Bytes(bytes) = &node.content else { return Err(Error::Unreadable { path: path.to_owned() }) };
            let (acl, _) = self.session.ask("read the ACL of", path, request).await?;
            if acl.iter().any(is_hidden) {
                return Err(Error::HiddenAcl { path: path.to_owned() });
            }
            let group = acls.iter().position(|known| *known == acl).unwrap_or_else(|| {
                acls.push(acl);
                groups.push(Vec::new());
                acls.len() - 1
            });
            groups[group].push((name, bytes));
        }
        if acls.is_empty() {
            acls.push(self.session.acls.nodes.clone());
        }
        Ok(Kept { chunks: pack::pack(&groups), acls })
    }

    async fn keep(&self, digest: &Release, kept: &Kept, seq: Seq, said: Said<'_>) -> Result<Archived, Error> {
        let version = self.rollout_version().await?;
        let known = self.entries().await?.into_iter().rev().find(|known| known.entry.digest == *digest);
        let (parts, bytes) = match known {
            Some(known) => (known.entry.parts, known.entry.bytes),
            None => (kept.chunks.len(), self.keep_parts(digest, kept, version).await?),
        };
        let (by, message) = (said.by.map(str::to_owned), said.message.map(str::to_owned));
        let entry = Entry { digest: digest.clone(), parts, bytes, at: Timestamp::now(), by, message };
        // The parts might be removed as leftovers at this very moment.
        let relied = (0..parts).map(|part| Edit::Check { path: self.part(digest, part), version: None });
        let mut edits: Vec<_> = std::iter::once(self.check_rollout(version)).chain(relied).collect();
        edits.push(Edit::Put { path: self.paths().release(seq), bytes: text(&entry), expect: Expect::Absent });
        self.apply(&edits).await?;
        Ok(Archived::New(seq))
    }

    /// Writes whatever is missing of the parts, and says how many bytes they all have.
    async fn keep_parts(&self, digest: &Release, kept: &Kept, version: i32) -> Result<u64, Error> {
        let parent = self.paths().tree(digest);
        self.ensure(&parent, b"").await?;
        let rollout = self.paths().rollout();
        let mut bytes = 0;
        for (part, chunk) in kept.chunks.iter().enumerate() {
            let path = self.part(digest, part);
            let there = self.read(&path).await?;
            if let Some(stored) = &there
                && pack::decompress(&stored.bytes).as_ref() == Some(&chunk.bytes)
            {
                bytes += stored.bytes.len() as u64;
                continue;
            }
            let packed = pack::compress(&chunk.bytes);
            let gone = there.map(|stored| Operation::Delete { path: &path, version: Some(stored.version) });
            let made = Operation::Keep { path: &path, bytes: &packed, acl: &kept.acls[chunk.group] };
            let check = Operation::Check { path: &rollout, version: Some(version) };
            let operations: Vec<_> = std::iter::once(check).chain(gone).chain([made]).collect();
            edit::commit(&self.session, &operations).await?;
            bytes += packed.len() as u64;
        }
        for name in self.session.children(&parent).await?.unwrap_or_default() {
            if name.parse::<usize>().is_ok_and(|part| part >= kept.chunks.len()) {
                self.session.delete(&join(&parent, &name), None).await?;
            }
        }
        Ok(bytes)
    }

    /// The config tree of a release as it was published; `None` where it is not kept. Its nodes have no version.
    pub async fn kept_tree(&self, digest: &Release) -> Result<Option<Branch>, Error> {
        let parent = self.paths().tree(digest);
        let mut parts: Vec<usize> =
            self.session.children(&parent).await?.unwrap_or_default().iter().filter_map(|name| name.parse().ok()).collect();
        if parts.is_empty() {
            return Ok(None);
        }
        parts.sort_unstable();
        let paths: Vec<_> = parts.into_iter().map(|part| self.part(digest, part)).collect();
        let stored = self.read_all(&paths).await?;
        let chunks: Option<Vec<_>> = stored.into_iter().map(|stored| pack::decompress(&stored?.bytes)).collect();
        let nodes = chunks.and_then(|chunks| pack::unpack(&chunks)).ok_or(Error::NotATree { path: parent })?;
        let mut branch = Branch::default();
        for (name, bytes) in nodes {
            if name.is_empty() {
                branch.root = Some(Node::new(Origin::new(self.paths().config()), bytes, -1));
            } else {
                let node = Node::new(Origin::new(join(self.paths().config(), &name)), bytes, -1);
                branch.children.insert(Arc::from(name), node);
            }
        }
        Ok(Some(branch))
    }

    /// The version of the rollout record, which is made where it does not exist.
    pub(super) async fn rollout_version(&self) -> Result<i32, Error> {
        let path = self.paths().rollout();
        loop {
            if let (_, Some(version)) = self.versioned_rollout().await? {
                return Ok(version);
            }
            self.ensure(&path, b"{}").await?;
        }
    }

    pub(super) fn check_rollout(&self, version: i32) -> Edit {
        Edit::Check { path: self.paths().rollout(), version: Some(version) }
    }

    pub(super) fn part(&self, digest: &Release, part: usize) -> String {
        read::join(&self.paths().tree(digest), &part.to_string())
    }

    /// Makes a node, and those above it, where there is none.
    async fn ensure(&self, path: &str, bytes: &[u8]) -> Result<(), Error> {
        match self.set(path, bytes.to_vec(), Expect::Absent).await {
            Err(error) if error.code() == Some(&zk::Error::NodeExists) => Ok(()),
            answer => answer,
        }
    }
}

/// To whom may not change an ACL, servers show no digests in it (ZOOKEEPER-1392).
fn is_hidden(acl: &zk::Acl) -> bool {
    acl.scheme() == "digest" && acl.id().ends_with(":x")
}

pub(super) fn text(entry: &Entry) -> Vec<u8> {
    serde_json::to_value(entry).as_ref().map(Json::to_string).unwrap_or_default().into_bytes()
}
