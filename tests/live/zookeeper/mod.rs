//! The agent's ZooKeeper side against a real ZooKeeper.

mod cluster;
mod election;
mod ensemble;
mod faults;
mod identity;
mod secure;
mod tree;
