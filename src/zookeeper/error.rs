//! What can go wrong with ZooKeeper, what to do about it, and whether trying again helps.
//!
//! Loss comes in many forms (`ConnectionLoss`, a reset, no answer in time, an expired session); [`Error::is_loss`] makes
//! them one. No error holds a znode's content or a password.

use std::time::Duration;

use thiserror::Error;
use zookeeper_client as zk;

use super::access::AccessError;
use crate::model::pause::Publishing;

/// How many bytes one request may have: servers close the connection above `jute.maxbuffer`, 1 MB unless they were told
/// otherwise, and say nothing.
pub const REQUEST_LIMIT: usize = 1_048_400;

/// Whether and when trying again may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Soon: it heals by itself.
    Soon,
    /// Once somebody changed something.
    AfterChange,
}

/// What went wrong with ZooKeeper.
#[derive(Clone, Debug, Error)]
pub enum Error {
    /// The settings cannot be used.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// No session could be had.
    #[error("failed to connect to ZooKeeper at {hosts}")]
    Connect {
        /// The connect string: hosts, ports, chroot.
        hosts: String,
        /// Why.
        source: zk::Error,
    },
    /// No session could be had in time.
    #[error("failed to connect to ZooKeeper at {hosts} within {limit:?}")]
    ConnectTimeout {
        /// The connect string: hosts, ports, chroot.
        hosts: String,
        /// How long it was tried.
        limit: Duration,
    },
    /// The chroot of the connect string does not exist.
    #[error("failed to find the chroot of {hosts}")]
    NoChroot {
        /// The connect string: hosts, ports, chroot.
        hosts: String,
    },
    /// One request failed.
    #[error("failed to {verb} {path}")]
    Request {
        /// What was to be done.
        verb: &'static str,
        /// To which znode.
        path: String,
        /// Why it failed.
        source: zk::Error,
    },
    /// The server does not know a request that we cannot do without.
    #[error("failed to {verb} {path}: the server is older than ZooKeeper 3.6, the oldest that will do")]
    TooOld {
        /// What was to be done.
        verb: &'static str,
        /// To which znode.
        path: String,
    },
    /// One request was not answered in time.
    #[error("failed to {verb} {path}: no answer within {limit:?}")]
    Unanswered {
        /// What was to be done.
        verb: &'static str,
        /// To which znode.
        path: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// A watch said that the connection is no longer what it was.
    #[error("the connection was lost")]
    Lost,
    /// The tree kept changing while it was read in parts.
    #[error("failed to read {path}: it changed faster than it could be read")]
    Unsteady {
        /// The branch.
        path: String,
    },
    /// The tree is laid out as another program wants it.
    #[error("failed to use {path}: it says {found:?}, and this program knows layouts up to {known}")]
    Format {
        /// The znode.
        path: String,
        /// What it says, cut short.
        found: String,
        /// The newest layout known here.
        known: u32,
    },
    /// The key node holds something else.
    #[error("failed to use {path}: it has {len} bytes where a key has 32")]
    Key {
        /// The key's znode.
        path: String,
        /// How many bytes there are.
        len: usize,
    },
    /// Our contender is gone: somebody deleted it, or the session did.
    #[error("the contender {path} is gone")]
    Deposed {
        /// The contender.
        path: String,
    },
    /// Somebody else has the slot that we held.
    #[error("the slot {path} was taken by somebody else")]
    SlotLost {
        /// The slot.
        path: String,
    },
    /// Somebody is in the middle of an edit.
    #[error("failed to write the tree: {edit}")]
    Publishing {
        /// Whose edit it is.
        edit: Box<Publishing>,
    },
    /// A node's rights cannot be seen, so what it holds cannot be kept under the same ones.
    #[error("failed to keep the tree: the ACL of {path} shows no digest")]
    HiddenAcl {
        /// The znode.
        path: String,
    },
    /// A kept tree is not what it should be.
    #[error("failed to read {path}: it is no kept tree")]
    NotATree {
        /// The znode.
        path: String,
    },
    /// A node of the tree that is to be kept could not be read.
    #[error("failed to keep the tree: {path} cannot be read")]
    Unreadable {
        /// The znode.
        path: String,
    },
    /// The request is larger than a server takes.
    #[error("failed to write {what}: {size} bytes, and a server takes at most {REQUEST_LIMIT} at once")]
    TooLarge {
        /// A znode, or how many changes.
        what: String,
        /// How many bytes the request would have.
        size: usize,
    },
    /// A znode that is ours to change is not what it should be.
    #[error("failed to read {path}: it is not a JSON object")]
    NotAnObject {
        /// The znode.
        path: String,
    },
}

impl Error {
    /// Whether the session or its connection is in doubt, so that all that depends on it has to start again.
    #[must_use]
    pub fn is_loss(&self) -> bool {
        match self {
            Self::Lost | Self::Unanswered { .. } | Self::Connect { .. } | Self::ConnectTimeout { .. } => true,
            Self::Request { source, .. } => is_loss(source),
            _ => false,
        }
    }

    /// What ZooKeeper itself said, where it did.
    #[must_use]
    pub fn code(&self) -> Option<&zk::Error> {
        match self {
            Self::Connect { source, .. } | Self::Request { source, .. } => Some(source),
            _ => None,
        }
    }

    /// Whether somebody else changed the same node meanwhile.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self.code(), Some(zk::Error::BadVersion | zk::Error::NodeExists | zk::Error::NoNode))
    }

    /// Whether trying again may help.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Access(_)
            | Self::NoChroot { .. }
            | Self::TooOld { .. }
            | Self::Format { .. }
            | Self::Key { .. }
            | Self::TooLarge { .. }
            | Self::NotAnObject { .. }
            | Self::SlotLost { .. }
            | Self::Publishing { .. }
            | Self::HiddenAcl { .. }
            | Self::NotATree { .. }
            | Self::Unreadable { .. } => Retry::AfterChange,
            Self::Request { source, .. } | Self::Connect { source, .. } => match source {
                zk::Error::NoAuth
                | zk::Error::QuotaExceeded
                | zk::Error::InvalidAcl
                | zk::Error::AuthFailed
                | zk::Error::BadVersion
                | zk::Error::NodeExists
                | zk::Error::NotEmpty
                | zk::Error::NoNode
                | zk::Error::BadArguments(_) => Retry::AfterChange,
                _ => Retry::Soon,
            },
            _ => Retry::Soon,
        }
    }

    /// What a person may do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Access(error) => return error.hint(),
            Self::Connect { source: zk::Error::AuthFailed, .. } => "check source.zookeeper.auth",
            Self::Connect { .. } | Self::ConnectTimeout { .. } => {
                "check source.zookeeper.connect, that a server listens there, and whether it wants TLS or a client certificate"
            }
            Self::TooOld { .. } => "upgrade ZooKeeper",
            Self::Format { .. } => {
                "a later setkeeper made this tree: upgrade this one, or give it a source.zookeeper.root of its own"
            }
            Self::Request { source: zk::Error::NoAuth, .. } => {
                "the znode's ACL does not let us: check source.zookeeper.auth, and who created the znode"
            }
            Self::Request { source: zk::Error::QuotaExceeded, .. } => {
                "the server enforces a quota there: raise it, or remove what is no longer needed"
            }
            Self::Request { source: zk::Error::NotEmpty, .. } => "there are znodes below it: delete those first",
            Self::Request { source: zk::Error::InvalidAcl, .. } => {
                "check source.zookeeper.acl: `creator` needs credentials, and the server must know every scheme"
            }
            Self::Request { source: zk::Error::NoNode, verb, .. } if *verb == "create" => {
                "its parent does not exist: check the chroot in source.zookeeper.connect, which has to exist already"
            }
            Self::Request { source: zk::Error::NoNode, .. } => "check source.zookeeper.root and layout",
            Self::Request { source: zk::Error::BadVersion | zk::Error::NodeExists, .. } => {
                "somebody else changed it at the same moment: look again"
            }
            Self::NoChroot { .. } => "create it first, or correct source.zookeeper.connect",
            Self::Key { .. } => "restore the key from a backup, or delete the znode: a new key makes everything be pushed again",
            Self::Publishing { .. } => {
                "wait until it is done; where nobody is at it any more, `setkeeper apply --takeover` finishes or undoes it"
            }
            Self::HiddenAcl { .. } => "let source.zookeeper.auth have admin rights (`a`) for the config's znodes",
            Self::TooLarge { .. } => "split it into smaller changes",
            _ => return None,
        })
    }
}

/// Whether an answer of the client means that the session or its connection is in doubt. What is not known to be an
/// answer about one znode counts as doubt: starting again costs little, believing too much does not.
pub(super) fn is_loss(error: &zk::Error) -> bool {
    !matches!(
        error,
        zk::Error::NoNode
            | zk::Error::NoAuth
            | zk::Error::BadVersion
            | zk::Error::NoChildrenForEphemerals
            | zk::Error::NodeExists
            | zk::Error::NotEmpty
            | zk::Error::InvalidAcl
            | zk::Error::BadArguments(_)
            | zk::Error::QuotaExceeded
            | zk::Error::Unimplemented
            | zk::Error::Throttled
    )
}

/// An error with its causes in one line, as the link and the log show it.
pub(super) fn line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(source: zk::Error) -> Error {
        Error::Request { verb: "read", path: "/a".into(), source }
    }

    #[test]
    fn loss_has_many_names_and_one_meaning() {
        for source in [zk::Error::ConnectionLoss, zk::Error::SessionExpired, zk::Error::ClientClosed, zk::Error::Timeout] {
            assert!(request(source.clone()).is_loss(), "{source}");
        }
        for source in [zk::Error::NoNode, zk::Error::NoAuth, zk::Error::NodeExists, zk::Error::Unimplemented] {
            assert!(!request(source.clone()).is_loss(), "{source}");
        }
    }

    #[test]
    fn a_line_names_every_cause_once() {
        assert_eq!(line(&request(zk::Error::NoAuth)), "failed to read /a: not authorized");
    }
}
