//! What can go wrong when Superset is called, and what to do about each.
//!
//! Every text in here has been through [`super::scrub::Scrub`]: Superset's messages may echo a URI with its password (law 9).
//! [`CallError::retry`] says when the same call may succeed; [`CallError::must_observe`] says that Superset may not be
//! as it was known to be, so that the caller must observe before it writes again (law 7).

use std::time::Duration;

use thiserror::Error;

/// When the same call may succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// By itself: after a pause that grows.
    Soon,
    /// When somebody has changed the datasource, its database or Superset; until then only at a resync.
    AfterChange,
    /// Not as it is.
    Never,
}

/// Why a call failed.
#[derive(Debug, Error)]
pub enum CallError {
    /// The client itself could not be made: no TLS, or a URL that is none.
    #[error("failed to make the HTTP client")]
    Setup(#[source] reqwest::Error),
    /// Superset cannot be reached; nothing was sent.
    #[error("failed to reach superset")]
    Down(#[source] reqwest::Error),
    /// No answer to a read, or none before a write was sent.
    #[error("superset did not answer within {0:?}")]
    TimedOut(Duration),
    /// The answer to a read broke off.
    #[error("superset's answer broke off")]
    BrokenOff(#[source] reqwest::Error),
    /// A write was sent and its answer did not come.
    #[error("superset did not answer a write within {waited:?}, so its outcome is unknown")]
    Unanswered {
        /// How long it was waited for.
        waited: Duration,
        /// What cut the connection, where it was not the time.
        source: Option<reqwest::Error>,
    },
    /// Something between us and Superset answered a write with 502, 503 or 504.
    #[error("a proxy answered a write with status {0}, so its outcome is unknown")]
    Gateway(u16),
    /// Our own login is not accepted: the password is wrong, or the user is not made yet.
    #[error("superset refused the login of {username}: {message}")]
    LoginRefused {
        /// Our user.
        username: String,
        /// What Superset says.
        message: String,
    },
    /// Our user may not do this, or `superset init` has not run yet.
    #[error("superset forbids {username} to {what}: {message}")]
    Forbidden {
        /// Our user.
        username: String,
        /// The method and path.
        what: String,
        /// What Superset says.
        message: String,
    },
    /// Too many requests.
    #[error("superset's rate limit is reached")]
    RateLimited {
        /// How long to wait, where it says so.
        after: Option<Duration>,
    },
    /// Superset failed by itself.
    #[error("superset failed with status {status}: {message}")]
    Server {
        /// The status.
        status: u16,
        /// What it says.
        message: String,
    },
    /// An answer that Superset never gives: a redirect, a page in place of JSON, a list that is not whole.
    #[error("superset answered what was not expected: {0}")]
    Unexpected(String),
    /// Superset has no connection of that id, or one with another UUID: some metadata databases give an id again.
    #[error("superset no longer has that connection")]
    Gone,
    /// The database behind the connection does not answer.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// The database does not accept the user or the password.
    #[error("the database refused the credentials: {0}")]
    WrongCredentials(String),
    /// Superset's environment lacks the driver of this engine.
    #[error("superset has no driver for {0}: it must be installed in its environment")]
    NoDriver(String),
    /// Another connection has this name.
    #[error("superset has another connection of that name, with id {id}")]
    NameTaken {
        /// The other one.
        id: i64,
    },
    /// A connection with this UUID exists already.
    #[error("superset has a connection with that uuid already, with id {id}")]
    UuidTaken {
        /// The existing one.
        id: i64,
    },
    /// It cannot be deleted, because these use it.
    #[error("the connection is in use by {}", .0.join(", "))]
    Dependents(Vec<String>),
    /// Superset refused it for a reason of its own.
    #[error("superset refused it: {0}")]
    Refused(String),
}

impl CallError {
    /// When the same call may succeed.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Setup(_) | Self::Gone => Retry::Never,
            Self::WrongCredentials(_)
            | Self::NoDriver(_)
            | Self::NameTaken { .. }
            | Self::Dependents(_)
            | Self::Unexpected(_)
            | Self::Refused(_) => Retry::AfterChange,
            // A user or a permission that is missing comes with `superset init`, which nobody announces. A connection whose
            // UUID is taken is, once observed, there to be updated.
            Self::LoginRefused { .. }
            | Self::Forbidden { .. }
            | Self::UuidTaken { .. }
            | Self::Down(_)
            | Self::TimedOut(_)
            | Self::BrokenOff(_)
            | Self::Unanswered { .. }
            | Self::Gateway(_)
            | Self::RateLimited { .. }
            | Self::Server { .. }
            | Self::Unreachable(_) => Retry::Soon,
        }
    }

    /// Whether Superset may not be as it was known to be: a write may have been carried out although it failed, or what it was
    /// meant for is another connection now. Observe before writing again.
    #[must_use]
    pub fn must_observe(&self) -> bool {
        matches!(
            self,
            Self::Unanswered { .. }
                | Self::Gateway(_)
                | Self::Server { .. }
                | Self::Unexpected(_)
                | Self::Gone
                | Self::UuidTaken { .. }
        )
    }

    /// Whether Superset itself, rather than this one connection, is what fails: every other call would fail alike.
    #[must_use]
    pub fn is_about_superset(&self) -> bool {
        matches!(
            self,
            Self::Setup(_) | Self::Down(_) | Self::LoginRefused { .. } | Self::Forbidden { .. } | Self::RateLimited { .. }
        )
    }
}
