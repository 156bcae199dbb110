//! Hermetic tests: no network, no service; only what a build machine has (`python3` among it).
#![allow(missing_docs, reason = "a test says what it shows by its name")]
// A test says what went wrong by panicking, in the functions it calls too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cli;
mod cli_agent;
mod cli_sidecar;
mod cli_tree;
mod connections;
mod course;
mod docs;
mod literals;
mod papers;
mod pushes;
mod rendered;
mod rollout_loop;
mod rollouts;
mod settings;
mod systemd;
