//! The agent's side of ZooKeeper: sessions one after the other, and what lives in each.
//!
//! ```text
//!   run ─ connect ─▶ session ─▶ follow   the tree, newest snapshot out
//!     ▲                     ├─▶ keep     the instance's record
//!     │                     └─▶ stand    the election ─▶ hold, statuses
//!     └── any loss: follower first, then all of these dropped, then again
//! ```
//!
//! Whatever depends on the connection is one future and ends with it; nothing else is cleaned up, because everything begins
//! by looking at what is there. A connection that comes back within [`GRACE`] keeps its session. After that we ask for a
//! new one ourselves, because the client's own pauses double without a limit; the client that is given up closes the
//! old session as soon as it gets through, and what is left of it until then is known to be ours ([`Session::earlier`]).
//!
//! Losing ZooKeeper publishes nothing (law 1).

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};
use zookeeper_client as zk;

use super::access::{Access, AccessError};
use super::cluster::Cluster;
use super::election::{self, Leave};
use super::error::{Error, Retry, line};
use super::follow::{self, Known};
use super::link::{Concern, Link, Reporter};
use super::session::Session;
use super::statuses::Statuses;
use super::{prepare, record};
use crate::model::instance::{Instance, InstanceId, Standing};
use crate::model::secret::SecretText;
use crate::model::snapshot::Tree;

/// For how long a lost connection may come back by itself. The client tries after 0.1, 0.3 and 0.7 s; then its pauses get
/// long.
const GRACE: Duration = Duration::from_secs(1);

/// How long to leave a connection alone that failed us although the client believes in it.
const DOUBT: Duration = Duration::from_millis(250);

/// How long closing the session may take.
const CLOSING: Duration = Duration::from_secs(2);

/// A session that ends before it is this old is followed by a pause.
const SHORT: Duration = Duration::from_secs(5);

/// How many earlier sessions are remembered.
const EARLIER: usize = 16;

/// What ZooKeeper is told.
#[derive(Debug)]
pub struct Inputs {
    /// The record to publish; none yet while it is `None`.
    pub record: watch::Receiver<Option<Instance>>,
    /// Whether this instance may stand for election.
    pub entitled: watch::Receiver<bool>,
    /// The statuses to write while leading; `None` while none are known, so that a new leader deletes nothing.
    pub statuses: watch::Receiver<Option<Statuses>>,
}

/// What ZooKeeper tells.
#[derive(Debug)]
pub struct Outputs {
    /// The tree, sent only when it changed, and kept when ZooKeeper is lost.
    pub tree: watch::Sender<Option<Tree>>,
    /// How the connection fares.
    pub link: watch::Sender<Link>,
    /// Whether this instance leads. While it leads, only losing or winning wakes the receivers: borrow it right before use.
    pub standing: watch::Sender<Standing>,
    /// The live session, for whoever wants to look at other parts of the tree.
    pub cluster: watch::Sender<Option<Cluster>>,
}

/// Why a session's work ended.
enum End {
    /// We were asked to stop.
    Stopped,
    /// The connection is gone; the session may not be.
    Disconnected(String),
    /// Something went wrong that the client does not know of.
    Doubted(String),
    /// The session is gone, or given up.
    Over(String),
}

struct Agent {
    access: Access,
    password: watch::Receiver<Option<SecretText>>,
    id: InstanceId,
    inputs: Inputs,
    tree: watch::Sender<Option<Tree>>,
    standing: watch::Sender<Standing>,
    cluster: watch::Sender<Option<Cluster>>,
    link: Reporter,
    known: Known,
    earlier: Vec<zk::SessionId>,
    stop: CancellationToken,
}

/// Runs until `stop` is cancelled, and then leaves nothing behind. Ends earlier only if the settings cannot work.
pub async fn run(
    access: Access,
    id: InstanceId,
    inputs: Inputs,
    outputs: Outputs,
    stop: CancellationToken,
) -> Result<(), AccessError> {
    access.connector()?;
    let Outputs { tree, link, standing, cluster } = outputs;
    let link = Reporter::new(link);
    let known = Known::default();
    let password = access.password();
    let mut agent = Agent { access, password, id, inputs, tree, standing, cluster, link, known, earlier: Vec::new(), stop };
    let mut pauses_after_short = pauses(250, 5_000);
    while let Some(session) = agent.connect().await? {
        let began = Instant::now();
        if agent.live(session).await {
            break;
        }
        if began.elapsed() >= SHORT {
            pauses_after_short = pauses(250, 5_000);
        } else if !agent.pause(&mut pauses_after_short).await {
            break;
        }
    }
    Ok(())
}

impl Agent {
    /// Asks for a session until there is one; `None` when stopped.
    async fn connect(&mut self) -> Result<Option<Session>, AccessError> {
        // A server that does not answer costs little to ask again; one that refuses will refuse for a while.
        let (mut soon, mut refused) = (pauses(50, 500), pauses(500, 5_000));
        loop {
            self.password.mark_unchanged();
            let attempt = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(None),
                attempt = Session::open(&self.access, self.earlier.clone()) => attempt,
            };
            let failure = match attempt {
                Ok(session) => return Ok(Some(session)),
                Err(Error::Access(error @ AccessError::Connect(_))) => return Err(error),
                Err(failure) => failure,
            };
            self.link.failed(Concern::Connection, &failure);
            let pauses = if failure.retry() == Retry::Soon { &mut soon } else { &mut refused };
            if !self.pause(pauses).await {
                return Ok(None);
            }
        }
    }

    /// Waits for the next pause to pass; says whether to go on.
    async fn pause(&self, pauses: &mut ExponentialBackoff) -> bool {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            () = sleep(pauses.next().unwrap_or_default()) => true,
        }
    }

    /// Works in one session until it is gone. Says whether we were asked to stop.
    async fn live(&mut self, session: Session) -> bool {
        let id = session.client.session_id();
        let mut states = session.client.state_watcher();
        let mut new = true;
        let stopped = loop {
            self.link.connected(&id.to_string(), std::mem::take(&mut new));
            self.cluster.send_replace(Some(Cluster::within(session.clone())));
            let end = self.serve(&session, &mut states).await;
            election::step_down(&self.standing);
            match end {
                End::Stopped => {
                    leave(&session).await;
                    break true;
                }
                End::Over(why) => {
                    self.link.disconnected(&why);
                    break false;
                }
                End::Disconnected(why) => {
                    self.link.disconnected(&why);
                    if !comes_back(&mut states).await {
                        break false;
                    }
                }
                End::Doubted(why) => {
                    self.link.disconnected(&why);
                    sleep(DOUBT).await;
                    if !comes_back(&mut states).await {
                        break false;
                    }
                }
            }
        };
        self.cluster.send_replace(None);
        self.earlier.push(id);
        if self.earlier.len() > EARLIER {
            self.earlier.remove(0);
        }
        drop(session);
        if stopped {
            close(states).await;
        }
        stopped
    }

    /// Does everything that one connection is for, until it ends.
    async fn serve(&mut self, session: &Session, states: &mut zk::StateWatcher) -> End {
        let Self { inputs, tree, standing, link, known, id, stop, password, .. } = self;
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
            () = stop.cancelled() => End::Stopped,
            Ok(()) = password.changed() => End::Over("the password changed".to_owned()),
            end = follow_tree(session, known, tree, link) => end,
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
}

async fn follow_tree(session: &Session, known: &mut Known, tree: &watch::Sender<Option<Tree>>, link: &Reporter) -> End {
    let mut again = Again::new(Concern::Tree, link);
    loop {
        let Err(error) = follow::follow(session, known, tree, link).await;
        if let Some(end) = again.after(&error).await {
            return end;
        }
    }
}

/// Makes what is missing of our own nodes. Where that is not allowed, whatever does exist is still of use.
async fn make_layout(session: &Session, link: &Reporter) -> Option<End> {
    match prepare::layout(session).await {
        Ok(()) => link.works(Concern::Layout),
        Err(error) if error.is_loss() => return Some(doubt(&error)),
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
        if let Some(end) = again.after(&error).await {
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
        if let Some(end) = again.after(&error).await {
            return end;
        }
    }
}

/// What follows a failure: the end where the connection is in doubt, else a report and another try after a pause.
struct Again<'a> {
    concern: Concern,
    link: &'a Reporter,
    pauses: ExponentialBackoff,
}

impl<'a> Again<'a> {
    fn new(concern: Concern, link: &'a Reporter) -> Self {
        Self { concern, link, pauses: pauses(250, 15_000) }
    }

    async fn after(&mut self, error: &Error) -> Option<End> {
        if error.is_loss() {
            return Some(doubt(error));
        }
        self.link.failed(self.concern, error);
        sleep(self.pauses.next().unwrap_or_default()).await;
        None
    }
}

/// Growing pauses with jitter, in milliseconds, without an end.
fn pauses(least: u64, most: u64) -> ExponentialBackoff {
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

/// The client may not have noticed yet. What it says within its grace decides; an answer that never came ends the session.
fn doubt(error: &Error) -> End {
    match error {
        Error::Unanswered { .. } => End::Over(line(error)),
        error => End::Doubted(line(error)),
    }
}

/// Whether the same session is connected again in time.
async fn comes_back(states: &mut zk::StateWatcher) -> bool {
    let back = async {
        loop {
            match states.state() {
                zk::SessionState::SyncConnected => return true,
                zk::SessionState::Disconnected => {}
                _ => return false,
            }
            states.changed().await;
        }
    };
    timeout(GRACE, back).await.unwrap_or(false)
}

/// Takes back what this session put there, the contender first, in one transaction. Closing the session would do the same,
/// but only once nobody else uses it.
async fn leave(session: &Session) {
    let root = session.paths.root();
    let taken_back = async {
        let mut mine = session.ask("list", root, session.client.list_ephemerals(root)).await?;
        let leader = session.paths.leader();
        mine.sort_by_key(|path| !path.starts_with(&leader));
        let refused = |source| Error::Request { verb: "delete", path: root.to_owned(), source };
        let mut multi = session.client.new_multi_writer();
        for path in &mine {
            multi.add_delete(path, None).map_err(refused)?;
        }
        let answer = async { multi.commit().await.map_err(zk::Error::from) };
        session.ask("delete", root, answer).await
    };
    match timeout(CLOSING, taken_back).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => debug!(error = line(&error), "left ephemeral nodes to the end of the session"),
        Err(_) => debug!("left ephemeral nodes to the end of the session"),
    }
}

/// Waits until the server has confirmed the end of the session.
async fn close(mut states: zk::StateWatcher) {
    let closed =
        async { while states.state() != zk::SessionState::Closed && states.changed().await != zk::SessionState::Closed {} };
    if timeout(CLOSING, closed).await.is_ok() {
        info!("closed the ZooKeeper session");
    } else {
        debug!("left the ZooKeeper session to its timeout");
    }
}
