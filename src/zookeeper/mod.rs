//! The only room that knows ZooKeeper.
//!
//! Two ways in: [`run::run`] is the agent's own side, which follows the tree, keeps the instance's record, stands for
//! election and writes the datasources' statuses, talking to the rest through [`channels`]; [`cluster::Cluster`]
//! is for one look or one change from outside, and for [`lock`]s. [`access::Access`] says how either connects, [`link::Link`] how the
//! connection fares.

pub mod access;
pub mod channels;
pub mod cluster;
mod connection;
mod contenders;
pub mod edit;
mod election;
pub mod error;
mod follow;
pub mod link;
pub mod lock;
pub mod once;
pub mod paths;
pub mod pause;
mod prepare;
pub mod publishing;
mod read;
mod record;
pub mod releases;
pub mod rollout;
pub mod run;
mod session;
pub mod slots;
pub mod statuses;
