//! The link: what status, metrics and logs tell about the connection to ZooKeeper.
//!
//! One writer, the session's loop; readers borrow the newest [`Link`]. Merely having heard from the server again changes the
//! value without waking anybody. Errors are one line each, by what they keep from working, and hold no secret.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;
use tracing::{error, info, warn};

use super::error::{Error, Retry, line};

/// The connection to ZooKeeper, as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// Whether there is one.
    pub connected: bool,
    /// Since when that is so.
    pub since: SystemTime,
    /// When the server last answered.
    pub last_seen: Option<SystemTime>,
    /// The session's id, as ZooKeeper's own tools show it.
    pub session: Option<String>,
    /// What does not work now, and why.
    pub errors: BTreeMap<Concern, String>,
    /// Whether the record under our id is ours: before that is known nothing may be done in the name of this id.
    pub registered: bool,
    /// Who holds our id, where it is not us.
    pub taken: Option<Taken>,
    /// How often the watches were armed again.
    pub rearms: u64,
    /// How many sessions there have been.
    pub sessions: u64,
}

/// What a part of the session is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Concern {
    /// Being connected at all.
    Connection,
    /// Creating our own nodes.
    Layout,
    /// Reading and watching the tree.
    Tree,
    /// The instance's record.
    Record,
    /// The election.
    Election,
    /// The datasources' statuses.
    Statuses,
}

/// Somebody else's record under our id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The session that holds it.
    pub owner: String,
    /// The host that its record names.
    pub host: Option<String>,
    /// The process that its record names.
    pub pid: Option<u32>,
    /// Since when we see it.
    pub since: Instant,
    /// Whether that is longer than any ghost lives, so that a person must look.
    pub overdue: bool,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            connected: false,
            since: SystemTime::now(),
            last_seen: None,
            session: None,
            errors: BTreeMap::new(),
            registered: false,
            taken: None,
            rearms: 0,
            sessions: 0,
        }
    }
}

impl fmt::Display for Concern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connection => "connection",
            Self::Layout => "layout",
            Self::Tree => "tree",
            Self::Record => "record",
            Self::Election => "election",
            Self::Statuses => "statuses",
        })
    }
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the id is held by session {}", self.owner)?;
        if let Some(host) = &self.host {
            write!(f, ", host {host}")?;
        }
        if let Some(pid) = self.pid {
            write!(f, ", pid {pid}")?;
        }
        Ok(())
    }
}

/// The one writer of the link.
#[derive(Debug)]
pub(super) struct Reporter(watch::Sender<Link>);

impl Reporter {
    pub fn new(link: watch::Sender<Link>) -> Self {
        Self(link)
    }

    pub fn connected(&self, session: &str, new: bool) {
        self.0.send_modify(|link| {
            let now = SystemTime::now();
            link.connected = true;
            link.since = now;
            link.last_seen = Some(now);
            link.session = Some(session.to_owned());
            link.sessions += u64::from(new);
            link.errors.remove(&Concern::Connection);
        });
        info!(session, new, "connected to ZooKeeper");
    }

    pub fn disconnected(&self, why: &str) {
        self.0.send_modify(|link| {
            if link.connected {
                link.since = SystemTime::now();
            }
            link.connected = false;
            link.registered = false;
            link.session = None;
            link.errors.clear();
            link.errors.insert(Concern::Connection, why.to_owned());
        });
        warn!(why, "disconnected from ZooKeeper");
    }

    /// The server answered.
    pub fn seen(&self) {
        self.0.send_if_modified(|link| {
            link.last_seen = Some(SystemTime::now());
            false
        });
    }

    /// Every watch was armed; `again` unless it was the first time.
    pub fn armed(&self, again: bool) {
        if again {
            self.0.send_modify(|link| link.rearms += 1);
        }
    }

    /// Something does not work. Only a change of it is logged.
    pub fn failed(&self, concern: Concern, failure: &Error) {
        let text = line(failure);
        let changed = self.0.send_if_modified(|link| link.errors.insert(concern, text.clone()).as_ref() != Some(&text));
        let hint = failure.hint().unwrap_or_default();
        match failure.retry() {
            _ if !changed => {}
            Retry::Soon => warn!(%concern, error = text, "ZooKeeper request failed"),
            Retry::AfterChange => error!(%concern, error = text, hint, "ZooKeeper request failed"),
        }
    }

    /// It works (again).
    pub fn works(&self, concern: Concern) {
        self.0.send_if_modified(|link| link.errors.remove(&concern).is_some());
    }

    /// Our id is held by somebody else; an error from twice the session timeout on, since no ghost lives that long.
    pub fn taken(&self, owner: String, host: Option<String>, pid: Option<u32>, session_timeout: Duration) {
        let now = Instant::now();
        let mut shown = None;
        self.0.send_if_modified(|link| {
            let earlier = link.taken.take();
            let since = earlier.as_ref().filter(|taken| taken.owner == owner).map_or(now, |taken| taken.since);
            let overdue = now.duration_since(since) >= 2 * session_timeout;
            let taken = Taken { owner, host, pid, since, overdue };
            let changed = earlier.as_ref() != Some(&taken);
            shown = changed.then(|| taken.clone());
            link.taken = Some(taken);
            changed
        });
        match shown {
            Some(taken) if taken.overdue => error!(%taken, "another agent runs under this instance's id"),
            Some(taken) => warn!(%taken, "this instance's id is taken, most likely by its own ghost"),
            None => {}
        }
    }

    /// Whether the record under our id is ours.
    pub fn registered(&self, is_ours: bool) {
        self.0.send_if_modified(|link| std::mem::replace(&mut link.registered, is_ours) != is_ours);
    }

    /// Nobody else holds the id.
    pub fn free(&self) {
        self.0.send_if_modified(|link| link.taken.take().is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_id_becomes_an_error_after_two_session_timeouts_and_keeps_its_beginning() {
        let (sender, receiver) = watch::channel(Link::default());
        let reporter = Reporter::new(sender);
        let taken = |timeout| {
            reporter.taken("0x1".into(), Some("a".into()), Some(7), timeout);
            receiver.borrow().taken.clone().unwrap()
        };
        let first = taken(Duration::from_secs(60));
        assert!(!first.overdue);
        assert_eq!(first.to_string(), "the id is held by session 0x1, host a, pid 7");
        let second = taken(Duration::ZERO);
        assert!(second.overdue);
        assert_eq!(second.since, first.since);
        reporter.free();
        assert!(receiver.borrow().taken.is_none());
    }

    #[test]
    fn hearing_from_the_server_wakes_nobody() {
        let (sender, mut receiver) = watch::channel(Link::default());
        let reporter = Reporter::new(sender);
        receiver.mark_unchanged();
        reporter.seen();
        assert!(!receiver.has_changed().unwrap());
        assert!(receiver.borrow().last_seen.is_some());
    }
}
