//! The agent's ZooKeeper side against a real ZooKeeper.

mod cluster;
mod election;
mod ensemble;
mod faults;
mod identity;
mod process;
mod publishing;
mod refusals;
mod releases;
mod secure;
mod slots;
mod tree;
