//! The channels between the agent's ZooKeeper side and the rest: newest value wins, one writer each.
//!
//! The rest writes [`Inputs`] and reads [`Outputs`]. No value is a command: each says how things are, and whoever reads it
//! acts when it is ready to.

use std::time::Duration;

use tokio::sync::watch;

use super::cluster::Cluster;
use super::link::Link;
use super::statuses::Statuses;
use crate::model::instance::{Instance, Standing};
use crate::model::snapshot::Tree;

/// What ZooKeeper is told.
#[derive(Debug)]
pub struct Inputs {
    /// The record to publish; while it is `None`, there is none, and this instance does not stand for election.
    pub record: watch::Receiver<Option<Instance>>,
    /// Whether this instance may stand for election.
    pub entitled: watch::Receiver<bool>,
    /// The statuses to write while leading; `None` while none are known, so that a new leader deletes nothing.
    pub statuses: watch::Receiver<Option<Statuses>>,
    /// How often the whole tree is read although nothing was announced.
    pub resync: Duration,
}

/// What ZooKeeper tells.
#[derive(Debug)]
pub struct Outputs {
    /// The tree, sent only when it changed, and kept when ZooKeeper is lost.
    pub tree: watch::Sender<Option<Tree>>,
    /// How the connection fares.
    pub link: watch::Sender<Link>,
    /// Whether this instance leads. While it leads, only losing or winning wakes the receivers: borrow it right before use.
    pub standing: watch::Sender<Standing>,
    /// The live session, for whoever wants to look at other parts of the tree. Borrow it for each look: a clone that is kept
    /// keeps its session.
    pub cluster: watch::Sender<Option<Cluster>>,
}
