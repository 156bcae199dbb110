//! What the agent and its supervisor say to each other: one JSON object a line, a request and its reply.
//!
//! The agent's end of the socket is its standard input, so that nothing needs a name that a stranger could take.

use serde::{Deserialize, Serialize};

/// What the agent asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Start the command, unless it runs: the first revision is there.
    Start,
    /// End the command and start it again.
    Restart,
    /// Say how it stands.
    Status,
}

/// What the supervisor answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The command was started just now.
    Started {
        /// Its number.
        pid: i32,
    },
    /// The command runs already.
    Runs {
        /// The processes that signals go to.
        pids: Vec<i32>,
    },
    /// Nothing was started yet.
    Waiting,
    /// The supervisor was told to stop, or the command has ended; nothing is started any more.
    Stopping,
}
