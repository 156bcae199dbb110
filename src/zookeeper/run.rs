//! The agent's side of ZooKeeper: sessions one after the other, and what lives in each.
//!
//! ```text
//!   run ─ connect ─▶ session ─▶ follow   the tree, newest snapshot out
//!     ▲                     ├─▶ keep     the instance's record
//!     │                     └─▶ stand    the election ─▶ hold, statuses
//!     └── any loss: all of these dropped and follower at once, then again
//! ```
//!
//! Whatever depends on the connection is one future and ends with it; nothing else is cleaned up, because everything begins
//! by looking at what is there. A connection that comes back within a second keeps its session. After that we ask for a
//! new one ourselves, because the client's own pauses double without a limit; the client that is given up closes the
//! old session as soon as it gets through, and what is left of it until then is known to be ours.
//!
//! Losing ZooKeeper publishes nothing (law 1).

use std::time::Duration;

use backon::ExponentialBackoff;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};
use zookeeper_client as zk;

use super::access::{Access, AccessError};
use super::channels::{Inputs, Outputs};
use super::cluster::Cluster;
use super::connection::{self, Duties, End, Interrupts, pauses};
use super::election;
use super::error::{Error, Retry, line};
use super::follow::Known;
use super::link::{Concern, Reporter};
use super::session::Session;
use crate::model::instance::InstanceId;

/// For how long a lost connection may come back by itself. The client tries after 0.1, 0.3 and 0.7 s; then its pauses get
/// long.
const GRACE: Duration = Duration::from_secs(1);

/// How long closing the session may take.
const CLOSING: Duration = Duration::from_secs(2);

/// A session that ends before it is this old is followed by a pause.
const SHORT: Duration = Duration::from_secs(5);

/// How many earlier sessions are remembered.
const EARLIER: usize = 16;

struct Agent {
    access: Access,
    duties: Duties,
    cluster: watch::Sender<Option<Cluster>>,
    earlier: Vec<zk::SessionId>,
    interrupts: Interrupts,
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
    let interrupts = Interrupts { stop, password: access.password() };
    let duties = Duties { id, inputs, tree, standing, link: Reporter::new(link), known: Known::default() };
    let mut agent = Agent { access, duties, cluster, earlier: Vec::new(), interrupts };
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
            self.interrupts.password.mark_unchanged();
            let attempt = tokio::select! {
                biased;
                () = self.interrupts.stop.cancelled() => return Ok(None),
                attempt = Session::open(&self.access, self.earlier.clone()) => attempt,
            };
            let failure = match attempt {
                Ok(session) => return Ok(Some(session)),
                Err(Error::Access(error @ AccessError::Connect(_))) => return Err(error),
                Err(failure) => failure,
            };
            self.duties.link.failed(Concern::Connection, &failure);
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
            () = self.interrupts.stop.cancelled() => false,
            () = sleep(pauses.next().unwrap_or_default()) => true,
        }
    }

    /// Works in one session until it is gone. Says whether we were asked to stop.
    async fn live(&mut self, session: Session) -> bool {
        let id = session.client.session_id();
        let mut states = session.client.state_watcher();
        let mut new = true;
        let mut doubts = pauses(250, 5_000);
        let stopped = loop {
            self.cluster.send_replace(Some(Cluster::within(session.clone())));
            self.duties.link.connected(&id.to_string(), std::mem::take(&mut new));
            let end = connection::serve(&session, &mut states, &mut self.duties, &mut self.interrupts).await;
            election::step_down(&self.duties.standing);
            match end {
                End::Stopped => {
                    leave(&session).await;
                    break true;
                }
                End::Over(why) => {
                    self.duties.link.disconnected(&why);
                    break false;
                }
                End::Disconnected(why) => {
                    self.duties.link.disconnected(&why);
                    if !comes_back(&mut states).await {
                        break false;
                    }
                }
                End::Doubted(why) => {
                    self.duties.link.disconnected(&why);
                    // The client believes in the connection although it failed us: not at once again.
                    if self.pause(&mut doubts).await && !comes_back(&mut states).await {
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
