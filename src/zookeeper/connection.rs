//! What one connection is for: following the tree, keeping the record, standing for election; all of it or nothing.
//!
//! In: a session that is connected, and the [`Duties`] that outlive it. Out: the [`End`], at the first sign of loss, with
//! everything that was under way dropped. What fails for another reason is reported, and tried again after a
//! pause, without disturbing the rest.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use zookeeper_client as zk;

use super::channels::Inputs;
use super::election::{self, Leave};
use super::error::{Error, line};
use super::follow::{self, Known};
use super::link::{Concern, Reporter};
use super::session::Session;
use super::statuses::Statuses;
use super::{prepare, record};
use crate::model::instance::{Instance, InstanceId, Standing};
use crate::model::secret::SecretText;
use crate::model::snapshot::Tree;

/// After how long without a failure the next one is the first again.
const LONG: Duration = Duration::from_secs(60);

/// Why a session's work ended.
pub(super) enum End {
    /// We were asked to stop.
    Stopped,
    /// The connection is gone; the session may not be.
    Disconnected(String),
    /// Something went wrong that the client does not know of.
    Doubted(String),
    /// The session is gone, or given up.
    Over(String),
}

/// What has to be done in every connection, and where it leads.
pub(super) struct Duties {
    pub id: InstanceId,
    pub inputs: Inputs,
    pub tree: watch::Sender<Option<Tree>>,
    pub standing: watch::Sender<Standing>,
    pub link: Reporter,
    pub known: Known,
}

/// What ends it although nothing is wrong.
pub(super) struct Interrupts {
    pub stop: CancellationToken,
    pub password: watch::Receiver<Option<SecretText>>,
}

/// Does everything that one connection is for, until it ends.
pub(super) async fn serve(
    session: &Session,
    states: &mut zk::StateWatcher,
    duties: &mut Duties,
    interrupts: &mut Interrupts,
) -> End {
    let Duties { id, inputs, tree, standing, link, known } = duties;
    let link = &*link;
    let (ours, mut id_is_ours) = watch::channel(false);
    if states.peek_state() != zk::SessionState::SyncConnected {
        return ended(states.state());
    }
    let leave = Leave { entitled: &mut inputs.entitled, id_is_ours: &mut id_is_ours };
    tokio::select! {
        // The order counts: a lost connection comes before anything that might still be done with it.
        biased;
        state = states.changed() => ended(state),
        () = interrupts.stop.cancelled() => End::Stopped,
        Ok(()) = interrupts.password.changed() => End::Over("the password changed".to_owned()),
        end = follow_tree(session, known, tree, link, inputs.resync) => end,
        end = async {
            if let Some(end) = make_layout(session, link).await {
                return end;
            }
            tokio::select! {
                end = keep_record(session, id, &mut inputs.record, &ours, link) => end,
                end = stand(session, id, leave, &mut inputs.statuses, standing, link) => end,
            }
        } => end,
    }
}

async fn follow_tree(
    session: &Session,
    known: &mut Known,
    tree: &watch::Sender<Option<Tree>>,
    link: &Reporter,
    resync: Duration,
) -> End {
    let mut again = Again::new(Concern::Tree, link);
    loop {
        let Err(error) = follow::follow(session, known, tree, link, resync).await;
        if let Some(end) = again.after(session, &error).await {
            return end;
        }
    }
}

/// Makes what is missing of our own nodes. Where that is not allowed, whatever does exist is still of use.
async fn make_layout(session: &Session, link: &Reporter) -> Option<End> {
    match prepare::layout(session).await {
        Ok(()) => link.works(Concern::Layout),
        Err(error) if error.is_loss() => return Some(doubt(&error)),
        Err(error @ Error::Format { .. }) => return Some(refused(Concern::Layout, link, &error)),
        Err(error) => link.failed(Concern::Layout, &error),
    }
    None
}

async fn keep_record(
    session: &Session,
    id: &InstanceId,
    record: &mut watch::Receiver<Option<Instance>>,
    ours: &watch::Sender<bool>,
    link: &Reporter,
) -> End {
    let mut again = Again::new(Concern::Record, link);
    loop {
        let Err(error) = record::keep(session, id, record, ours, link).await;
        // Whether the id is still ours is no longer known.
        ours.send_replace(false);
        if let Some(end) = again.after(session, &error).await {
            return end;
        }
    }
}

async fn stand(
    session: &Session,
    id: &InstanceId,
    mut leave: Leave<'_>,
    statuses: &mut watch::Receiver<Option<Statuses>>,
    standing: &watch::Sender<Standing>,
    link: &Reporter,
) -> End {
    let mut again = Again::new(Concern::Election, link);
    loop {
        let Err(error) = election::stand(session, id, &mut leave, statuses, standing, link).await;
        if let Some(end) = again.after(session, &error).await {
            return end;
        }
    }
}

/// What follows a failure: the end where the connection is in doubt, else a report and another try after a pause.
struct Again<'a> {
    concern: Concern,
    link: &'a Reporter,
    pauses: ExponentialBackoff,
    last: Instant,
}

impl<'a> Again<'a> {
    fn new(concern: Concern, link: &'a Reporter) -> Self {
        Self { concern, link, pauses: pauses(250, 15_000), last: Instant::now() }
    }

    async fn after(&mut self, session: &Session, error: &Error) -> Option<End> {
        if error.is_loss() {
            return Some(doubt(error));
        }
        if let Error::TooOld { .. } | Error::Format { .. } = error {
            return Some(refused(self.concern, self.link, error));
        }
        self.link.failed(self.concern, error);
        if std::mem::replace(&mut self.last, Instant::now()).elapsed() > LONG {
            self.pauses = pauses(250, 15_000);
        }
        sleep(self.pauses.next().unwrap_or_default()).await;
        // Somebody may have deleted a node that is ours to make.
        if error.code() == Some(&zk::Error::NoNode) { make_layout(session, self.link).await } else { None }
    }
}

/// Leading without ever seeing a tree would help nobody.
fn refused(concern: Concern, link: &Reporter, error: &Error) -> End {
    link.failed(concern, error);
    End::Over(line(error))
}

/// Growing pauses with jitter, in milliseconds, without an end.
pub(super) fn pauses(least: u64, most: u64) -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(least))
        .with_max_delay(Duration::from_millis(most))
        .with_jitter()
        .without_max_times()
        .build()
}

fn ended(state: zk::SessionState) -> End {
    match state {
        zk::SessionState::Expired | zk::SessionState::AuthFailed | zk::SessionState::Closed => {
            End::Over(format!("the session ended: {state}"))
        }
        _ => End::Disconnected("the connection was lost".to_owned()),
    }
}

/// What an error that is a loss means for the session.
fn doubt(error: &Error) -> End {
    match error {
        // A watch may hear of it a moment before everybody else does.
        Error::Lost => End::Disconnected(line(error)),
        Error::Unanswered { .. } => End::Over(line(error)),
        _ => End::Doubted(line(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit_never_end_and_are_not_the_same_on_each_instance() {
        let some = || pauses(50, 500).take(50).collect::<Vec<_>>();
        let one = some();
        // With jitter a pause is up to twice as long as it would be.
        assert!(one[0] >= Duration::from_millis(50) && one[0] < Duration::from_millis(100), "{:?}", one[0]);
        assert!(one.len() == 50 && one.iter().all(|pause| *pause < Duration::from_secs(1)), "{one:?}");
        assert!(one[49] >= Duration::from_millis(500) && one != some(), "{one:?}");
    }
}
