//! What the keeper of a lock and the supervisor of the command say to each other: one JSON object a line.
//!
//! The keeper's end of the socket is its standard input, so that nothing needs a name that a stranger could take. Times are the
//! machine's own ([`Moment`]), so one that arrives late is not longer for it.

use serde::{Deserialize, Serialize};

use crate::processes::clock::Moment;

/// Until when something may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// When it is told to end.
    pub term: Moment,
    /// When it is killed.
    pub kill: Moment,
}

/// What the keeper says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// The command may run until then; the first one starts it.
    Lease(Lease),
    /// There is no more to do: end with this code.
    Over {
        /// The exit code.
        code: u8,
    },
}

/// What the supervisor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// A lease has arrived; if it started the command, that was said before.
    Alive,
    /// The command was started.
    Started {
        /// Its number, and that of its process group.
        pid: i32,
    },
    /// The command could not be started.
    NotStarted,
    /// The command has ended, and whatever it had started.
    Ended {
        /// Its exit code.
        code: u8,
        /// What made it end.
        why: Why,
    },
    /// Nothing is to be started any more.
    Stop,
}

/// What made a command end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Nothing that we know of.
    Itself,
    /// A signal that we were asked to pass on.
    Asked,
    /// The lease ran out.
    Lease,
}
