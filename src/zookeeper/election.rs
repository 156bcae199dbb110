//! The election: who of those entitled leads, and until when that is certain.
//!
//! Contenders are ephemeral sequential nodes that hold the instance's id; the lowest leads. Each watches only the one
//! before it, so that a leader's end wakes one agent and not all.
//!
//! A leader is certain only until [`Standing::Leader::until`]: two thirds of the session's timeout after it *sent* the last
//! request that was answered (law 7). The server cannot have ended the session before: it counts the timeout from a moment
//! no earlier than the last sign of life that it passed on to the ensemble's leader, which is at most one
//! beat and half a tick older than that request, and a session is at least two ticks long. The request is a multi that only
//! checks our election node: as a write it needs a quorum, so a server that is cut off cannot answer it, and since it
//! changes nothing it wakes nobody.
//!
//! The client's own `LockClient` is not used: cancelling it may leave an orphan contender, any clone that is dropped gives the
//! lock up, and it cannot say since when it was last certain.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::sleep;
use tracing::info;
use zookeeper_client as zk;

use super::error::Error;
use super::link::{Concern, Reporter};
use super::session::Session;
use super::statuses::{self, Statuses};
use crate::model::instance::{InstanceId, Standing};

/// The contender of this session: its node, and the transaction that created it.
#[derive(Clone, Debug)]
struct Contender {
    path: String,
    term: u64,
}

/// Whether this instance may stand: it is entitled to, and its id is its own.
pub(super) struct Leave<'a> {
    pub entitled: &'a mut watch::Receiver<bool>,
    pub id_is_ours: &'a mut watch::Receiver<bool>,
}

impl Leave<'_> {
    fn given(&mut self) -> bool {
        *self.entitled.borrow_and_update() && *self.id_is_ours.borrow_and_update()
    }

    /// Waits until it is `wanted`; for ever if nobody can change it any more.
    async fn becomes(&mut self, wanted: bool) {
        while self.given() != wanted {
            let changed = tokio::select! {
                changed = self.entitled.changed() => changed,
                changed = self.id_is_ours.changed() => changed,
            };
            if changed.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Stands for election whenever there is leave, for as long as the connection lives.
pub(super) async fn stand(
    session: &Session,
    id: &InstanceId,
    leave: &mut Leave<'_>,
    statuses: &mut watch::Receiver<Option<Statuses>>,
    standing: &watch::Sender<Standing>,
    link: &Reporter,
) -> Result<Infallible, Error> {
    loop {
        leave.becomes(true).await;
        let failure = tokio::select! {
            biased;
            () = leave.becomes(false) => None,
            Err(error) = contend(session, id, statuses, standing, link) => Some(error),
        };
        step_down(standing);
        match failure {
            None => {}
            Some(Error::Deposed { path }) => info!(path, "lost the election node"),
            Some(error) => return Err(error),
        }
        withdraw(session).await?;
    }
}

/// Says at once that we do not lead.
pub(super) fn step_down(standing: &watch::Sender<Standing>) {
    standing.send_if_modified(|standing| std::mem::take(standing) != Standing::Follower);
}

async fn contend(
    session: &Session,
    id: &InstanceId,
    statuses: &mut watch::Receiver<Option<Statuses>>,
    standing: &watch::Sender<Standing>,
    link: &Reporter,
) -> Result<Infallible, Error> {
    let me = enter(session, id).await?;
    link.works(Concern::Election);
    while let Some(before) = predecessor(session, &me).await? {
        let (stat, watcher) = session.ask("watch", &before, session.client.check_and_watch_stat(&before)).await?;
        if stat.is_some() {
            watcher.changed().await;
        }
    }
    tokio::select! {
        biased;
        held = hold(session, &me, standing) => held,
        failed = statuses::keep(session, &me.path, statuses, link) => failed,
    }
}

/// Puts our contender there, or finds the one that this session has. Those of earlier sessions of this process go.
async fn enter(session: &Session, id: &InstanceId) -> Result<Contender, Error> {
    let parent = session.paths.leader();
    let names = contenders(session).await?;
    for earlier in &session.earlier {
        for name in names.iter().filter(|name| name.starts_with(&prefix(*earlier))) {
            session.delete(&format!("{parent}/{name}"), None).await?;
        }
    }
    let mine = format!("{parent}/{}", prefix(session.client.session_id()));
    for name in names.iter().filter(|name| name.starts_with(&prefix(session.client.session_id()))) {
        let path = format!("{parent}/{name}");
        if let Some(stat) = session.ask("check", &path, session.client.check_stat(&path)).await? {
            return Ok(Contender { path, term: stat.czxid.unsigned_abs() });
        }
    }
    let (stat, sequence) = session.create(&mine, id.as_str().as_bytes(), zk::CreateMode::EphemeralSequential).await?;
    Ok(Contender { path: format!("{mine}{sequence}"), term: stat.czxid.unsigned_abs() })
}

/// The node right before ours; `None` if ours is the first.
///
/// A server that lags behind may show contenders that are gone, but never hides one that is there: whoever is first
/// here is first everywhere, provided its own node still exists, which [`hold`] asks a quorum.
async fn predecessor(session: &Session, me: &Contender) -> Result<Option<String>, Error> {
    let names = contenders(session).await?;
    let parent = session.paths.leader();
    let mine = names.iter().position(|name| me.path == format!("{parent}/{name}"));
    let mine = mine.ok_or_else(|| Error::Deposed { path: me.path.clone() })?;
    Ok(mine.checked_sub(1).map(|before| format!("{parent}/{}", names[before])))
}

/// Holds the leadership: confirms it again and again, and says until when it is certain.
async fn hold(session: &Session, me: &Contender, standing: &watch::Sender<Standing>) -> Result<Infallible, Error> {
    loop {
        let sent = Instant::now();
        let confirmation = confirm(session, me);
        tokio::pin!(confirmation);
        tokio::select! {
            confirmed = &mut confirmation => confirmed?,
            () = runs_out(*standing.borrow()) => {
                step_down(standing);
                confirmation.await?;
            }
        }
        let until = sent + certain_for(session.timeout());
        standing.send_if_modified(|standing| {
            // Being certain for longer is nothing to wake anybody for.
            let news = !matches!(standing, Standing::Leader { term, .. } if *term == me.term);
            *standing = Standing::Leader { until, term: me.term };
            news
        });
        sleep(session.timeout() / 6).await;
    }
}

fn certain_for(session_timeout: Duration) -> Duration {
    session_timeout * 2 / 3
}

async fn runs_out(standing: Standing) {
    match standing {
        Standing::Leader { until, .. } => tokio::time::sleep_until(until.into()).await,
        Standing::Follower => std::future::pending().await,
    }
}

async fn confirm(session: &Session, me: &Contender) -> Result<(), Error> {
    let refused = |source| Error::Request { verb: "check", path: me.path.clone(), source };
    let mut check = session.client.new_multi_writer();
    check.add_check_version(&me.path, -1).map_err(refused)?;
    let answer = async { check.commit().await.map_err(zk::Error::from) };
    match session.ask("check", &me.path, answer).await {
        Err(error) if error.code() == Some(&zk::Error::NoNode) => Err(Error::Deposed { path: me.path.clone() }),
        answer => answer.map(|_| ()),
    }
}

/// Takes back every contender of this session: also one whose creation was cut short, since requests keep their order.
pub(super) async fn withdraw(session: &Session) -> Result<(), Error> {
    let mine = prefix(session.client.session_id());
    for name in contenders(session).await?.iter().filter(|name| name.starts_with(&mine)) {
        session.delete(&format!("{}/{name}", session.paths.leader()), None).await?;
    }
    Ok(())
}

/// The contenders' names, first to last.
pub(super) async fn contenders(session: &Session) -> Result<Vec<String>, Error> {
    Ok(in_order(session.children(&session.paths.leader()).await?.unwrap_or_default()))
}

/// What the names of a session's contenders begin with: so they are recognized without being read.
fn prefix(session: zk::SessionId) -> String {
    format!("c-{:016x}-", session.0)
}

fn in_order(names: Vec<String>) -> Vec<String> {
    let mut contenders: Vec<_> = names.into_iter().filter_map(|name| Some((sequence(&name)?, name))).collect();
    contenders.sort_unstable();
    contenders.into_iter().map(|(_, name)| name).collect()
}

fn sequence(name: &str) -> Option<i64> {
    name.rsplit_once('-')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contenders_stand_in_the_order_of_their_sequence_whatever_their_session() {
        let names = ["c-ff-0000000003", "c-0a-0000000010", "stranger", "c-0b-0000000002"];
        let order = in_order(names.map(ToOwned::to_owned).to_vec());
        assert_eq!(order, ["c-0b-0000000002", "c-ff-0000000003", "c-0a-0000000010"]);
    }

    #[test]
    fn a_sessions_prefix_is_no_other_sessions_prefix() {
        assert_eq!(prefix(zk::SessionId(0x1f)), "c-000000000000001f-");
        assert_eq!(prefix(zk::SessionId(-1)), "c-ffffffffffffffff-");
    }

    #[tokio::test]
    async fn leave_needs_both() {
        let (entitled, mut entitled_rx) = watch::channel(false);
        let (ours, mut ours_rx) = watch::channel(false);
        let mut leave = Leave { entitled: &mut entitled_rx, id_is_ours: &mut ours_rx };
        entitled.send_replace(true);
        assert!(!leave.given());
        ours.send_replace(true);
        tokio::time::timeout(Duration::from_secs(5), leave.becomes(true)).await.unwrap();
        entitled.send_replace(false);
        tokio::time::timeout(Duration::from_secs(5), leave.becomes(false)).await.unwrap();
    }
}
