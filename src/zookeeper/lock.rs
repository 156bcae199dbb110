//! Named locks: a line of contenders, of whom the first holds the lock for as long as that is certain.
//!
//! ```text
//!   stand_in_line ─▶ become_first (a watch on the one before) ─▶ hold: a Lease, again and again ─▶ leave
//! ```
//!
//! In: a name, and who stands there. Out: a [`Line`], and while it is held [`Lease`]s, by which whatever runs under the lock must
//! end in time. A connection that is lost and comes back within the session costs nothing; one that stays away costs the lock. The
//! place in the line is the session's: whoever opens another begins anew at its end.

use std::time::Duration;

use serde_json::Value as Json;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use zookeeper_client as zk;

use super::cluster::Cluster;
use super::contenders::{self, Contender};
use super::edit::Edit;
use super::error::Error;
use super::paths::prefixes;
use super::session::Session;
use crate::model::lock::{Holder, LockName};
use crate::processes::clock::Moment;
use crate::supervise::leased::wire::Lease;

/// How often who waits looks by itself: an event may be lost while the connection is.
const LOOK: Duration = Duration::from_secs(30);

/// How long after a failed confirmation the next is asked for.
const AGAIN: Duration = Duration::from_millis(100);

/// A place in the line before a lock.
#[derive(Debug)]
pub struct Line<'c> {
    session: &'c Session,
    parent: String,
    me: Contender,
}

impl Cluster {
    /// Takes a place in the line.
    pub async fn stand_in_line(&self, name: &LockName, me: &Holder) -> Result<Line<'_>, Error> {
        let (session, parent) = (&self.session, self.paths().lock(name));
        make(session, &parent).await?;
        let me = contenders::enter(session, &parent, &text(me)).await?;
        Ok(Line { session, parent, me })
    }

    /// How long the server lets a session live that it does not hear from.
    #[must_use]
    pub fn session_timeout(&self) -> Duration {
        self.session.timeout()
    }
}

impl Line<'_> {
    /// Waits until ours is the first place, telling who has it each time that may have changed.
    pub async fn become_first(&self, mut told: impl FnMut(&Holder)) -> Result<(), Error> {
        let Self { session, parent, me } = self;
        while let Some(before) = contenders::predecessor(session, parent, me).await? {
            let (stat, watcher) = session.ask("watch", &before, session.client.check_and_watch_stat(&before)).await?;
            if stat.is_none() {
                continue;
            }
            if let Some(holder) = self.holder().await? {
                told(&holder);
            }
            // Not to be woken by an event only costs time.
            let _ = timeout(LOOK, watcher.changed()).await;
        }
        Ok(())
    }

    /// Who has the first place.
    async fn holder(&self) -> Result<Option<Holder>, Error> {
        let Some(first) = contenders::names(self.session, &self.parent).await?.into_iter().next() else { return Ok(None) };
        let found = self.session.get(&format!("{}/{first}", self.parent)).await?;
        Ok(found.map(|(text, _)| Holder::read(&text)))
    }

    /// Lets those behind us know who holds the lock, and since when.
    pub async fn announce(&self, holder: &Holder) -> Result<(), Error> {
        let path = &self.me.path;
        self.session.ask("write", path, self.session.client.set_data(path, &text(holder), None)).await.map(|_| ())
    }

    /// Holds the first place: confirms it again and again, each time with a new lease. Ends only once the place is lost for good;
    /// while the connection is away the lease runs out.
    pub async fn hold(&self, leases: &watch::Sender<Option<Lease>>) -> Error {
        loop {
            let sent = Moment::now();
            match contenders::confirm(self.session, &self.me).await {
                Ok(()) => {
                    leases.send_replace(Some(lease(sent, self.session.timeout())));
                    sleep(contenders::confirm_every(self.session.timeout())).await;
                }
                Err(error) if may_come_back(&error) => sleep(AGAIN).await,
                Err(error) => return error,
            }
        }
    }

    /// What a transaction adds that may count only while the place is ours.
    #[must_use]
    pub fn check(&self) -> Edit {
        Edit::Check { path: self.me.path.clone(), version: None }
    }

    /// What an error of such a transaction means.
    #[must_use]
    pub fn explained(&self, error: Error) -> Error {
        match &error {
            Error::Request { path, source: zk::Error::NoNode, .. } if *path == self.me.path => {
                Error::Deposed { path: path.clone() }
            }
            _ => error,
        }
    }

    /// Gives the place up.
    pub async fn leave(&self) -> Result<(), Error> {
        contenders::withdraw(self.session, &self.parent).await
    }
}

/// Whether the session may live on although a request failed.
#[must_use]
pub fn may_come_back(error: &Error) -> bool {
    let is_over = matches!(error.code(), Some(zk::Error::SessionExpired | zk::Error::ClientClosed | zk::Error::AuthFailed));
    error.is_loss() && !is_over
}

/// What is told to end is told at half of the session's timeout, and killed at five eighths: that leaves it time to end by itself,
/// and the kernel time to end it, before the place stops being certain at two thirds. A connection that is away for less than
/// half of the timeout costs nothing.
fn lease(sent: Moment, session_timeout: Duration) -> Lease {
    let kill = session_timeout * 5 / 8;
    debug_assert!(kill < contenders::certain_for(session_timeout));
    Lease { term: sent + session_timeout / 2, kill: sent + kill }
}

/// Makes a node and those above it, whichever are missing.
async fn make(session: &Session, path: &str) -> Result<(), Error> {
    if exists(session, path).await? {
        return Ok(());
    }
    for path in prefixes(path) {
        match session.create(path, b"", zk::CreateMode::Persistent).await {
            Err(error) if error.code() == Some(&zk::Error::NodeExists) => {}
            // Whoever may use what is there need not be able to add to what is above it.
            Err(error) if error.code() == Some(&zk::Error::NoAuth) && exists(session, path).await? => {}
            answer => drop(answer?),
        }
    }
    Ok(())
}

async fn exists(session: &Session, path: &str) -> Result<bool, Error> {
    Ok(session.ask("check", path, session.client.check_stat(path)).await?.is_some())
}

fn text(holder: &Holder) -> Vec<u8> {
    serde_json::to_value(holder).as_ref().map(Json::to_string).unwrap_or_default().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_runs_is_killed_before_the_place_stops_being_certain() {
        for seconds in [1, 4, 15, 600] {
            let (sent, timeout) = (Moment::now(), Duration::from_secs(seconds));
            let Lease { term, kill } = lease(sent, timeout);
            assert!(sent < term && term < kill && kill < sent + contenders::certain_for(timeout), "{seconds}");
            assert!(contenders::confirm_every(timeout) < timeout / 4, "a confirmation may be missed");
        }
    }

    #[test]
    fn a_session_that_is_over_does_not_come_back() {
        let failed = |source| Error::Request { verb: "check", path: "/a".into(), source };
        assert!(may_come_back(&failed(zk::Error::ConnectionLoss)) && may_come_back(&Error::Lost));
        for source in [zk::Error::SessionExpired, zk::Error::ClientClosed, zk::Error::NoAuth] {
            assert!(!may_come_back(&failed(source)));
        }
        assert!(!may_come_back(&Error::Deposed { path: "/a".into() }));
    }
}
