//! Live tests: the real services, and the faults that they and the network between have.
//!
//! Every test starts what it needs on ports of its own, in a folder of its own, and ends it. `tests/services/setup` must
//! have installed the services; a missing one fails the run. `SETKEEPER_CACHE` says where they are.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its support too")]

mod agent;
mod check;
mod commands;
mod once;
mod process;
mod rollouts;
mod superset;
#[allow(dead_code, reason = "the bench shares it, and each uses a part of it")]
mod support;
mod zookeeper;
