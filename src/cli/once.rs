//! `once` as it is typed.

use std::ffi::OsString;

use clap::Args;
use jiff::SignedDuration;

use crate::model::lock::LockName;
use crate::model::once::OnceKey;

/// A command that runs once in the cluster.
#[derive(Clone, Debug, Args)]
pub struct Once {
    /// What it is called: one of a name runs at a time, whatever its key
    pub name: LockName,
    /// For what it runs once, such as the version of an image
    #[arg(long, value_name = "KEY")]
    pub key: OnceKey,
    /// Run it again where it failed before
    #[arg(long)]
    pub retry_failed: bool,
    /// Give up where it is not our turn after this long, such as 10m; by default it is waited for without end
    #[arg(long, value_name = "DURATION")]
    pub wait: Option<SignedDuration>,
    /// Keep the lock for the supervisor that started this
    #[arg(long, hide = true, conflicts_with = "program")]
    pub keeper: bool,
    /// The command and its arguments
    #[arg(last = true, value_name = "COMMAND", required_unless_present = "keeper")]
    pub program: Vec<OsString>,
}
