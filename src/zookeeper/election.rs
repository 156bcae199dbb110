//! The election: who of those entitled leads, and until when that is certain.
//!
//! Contenders hold the instance's id; the first leads. [`contenders`] says in which order they stand, and why a leader is certain
//! only until [`Standing::Leader::until`], a deadline on its own clock (law 7).

use std::convert::Infallible;

use tokio::sync::watch;
use tokio::time::sleep;
use tracing::info;

use super::contenders::{self, Contender};
use super::error::Error;
use super::link::{Concern, Reporter};
use super::session::Session;
use super::statuses::{self, Statuses};
use crate::model::instance::{InstanceId, Standing};
use crate::processes::clock::Moment;

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
        contenders::withdraw(session, &session.paths.leader()).await?;
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
    let parent = session.paths.leader();
    let me = contenders::enter(session, &parent, id.as_str().as_bytes()).await?;
    link.works(Concern::Election);
    while let Some(before) = contenders::predecessor(session, &parent, &me).await? {
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

/// Holds the leadership: confirms it again and again, and says until when it is certain.
async fn hold(session: &Session, me: &Contender, standing: &watch::Sender<Standing>) -> Result<Infallible, Error> {
    loop {
        let sent = Moment::now();
        let confirmation = contenders::confirm(session, me);
        tokio::pin!(confirmation);
        tokio::select! {
            confirmed = &mut confirmation => confirmed?,
            () = runs_out(*standing.borrow()) => {
                step_down(standing);
                confirmation.await?;
            }
        }
        let until = sent + contenders::certain_for(session.timeout());
        standing.send_if_modified(|standing| {
            let news = is_news(*standing, me.term);
            *standing = Standing::Leader { until, term: me.term };
            news
        });
        sleep(contenders::confirm_every(session.timeout())).await;
    }
}

/// Whether leading on is news. Being certain for longer is nothing to wake anybody for, unless the end had come: whoever looked after it
/// has stopped, and begins again.
fn is_news(before: Standing, term: u64) -> bool {
    !matches!(before, Standing::Leader { term: own, until } if own == term && !until.has_come())
}

async fn runs_out(standing: Standing) {
    match standing {
        Standing::Leader { until, .. } => sleep(until.from_now()).await,
        Standing::Follower => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn leading_on_wakes_whoever_may_have_stopped() {
        let leader = |until| Standing::Leader { until, term: 7 };
        assert!(!is_news(leader(Moment::now() + Duration::from_secs(60)), 7));
        assert!(is_news(leader(Moment::now() + Duration::from_secs(60)), 8), "an election was won anew");
        assert!(is_news(leader(Moment::now()), 7), "it had run out");
        assert!(is_news(Standing::Follower, 7));
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
