//! Carrying out one job of the ledger: which lane it takes, and whether it still has leave to write.
//!
//! What failed last time has a lane of its own, so that it never takes the place of what works (law 11). Leave is asked for again
//! right before each write (law 7). In: a job. Out: its outcome. Nothing is chosen here.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Semaphore, watch};

use super::ledger::job::{Job, Outcome};
use super::resolve::Resolved;
use crate::metrics;
use crate::model::instance::Standing;
use crate::plan::connections::{Step, Wanted};
use crate::processes::clock::Moment;
use crate::world::{Connections, Fault, FaultKind};

/// The two lanes.
#[derive(Clone)]
pub(super) struct Lanes {
    healthy: Arc<Semaphore>,
    suspect: Arc<Semaphore>,
}

impl Lanes {
    /// For this many calls at once, and one of those that failed last time.
    pub(super) fn new(concurrency: usize) -> Self {
        Self { healthy: Arc::new(Semaphore::new(concurrency)), suspect: Arc::new(Semaphore::new(1)) }
    }
}

/// Leave to write: the election, the term under which a job was begun, and no pause.
pub(super) struct Leave {
    pub standing: watch::Receiver<Standing>,
    pub resolved: watch::Receiver<Option<Arc<Resolved>>>,
    pub term: u64,
}

impl Leave {
    /// Why there is none, if there is none.
    fn missing(&self) -> Option<&'static str> {
        let standing = *self.standing.borrow();
        let leads = standing.leads(Moment::now()) && matches!(standing, Standing::Leader { term, .. } if term == self.term);
        if !leads {
            return Some("leadership was lost before the write");
        }
        is_paused(&self.resolved).then_some("a person paused the cluster before the write")
    }
}

/// Whether a person's pause is on now.
pub(super) fn is_paused(resolved: &watch::Receiver<Option<Arc<Resolved>>>) -> bool {
    let now = jiff::Timestamp::now();
    resolved.borrow().as_ref().and_then(|resolved| resolved.pause.as_ref()).is_some_and(|pause| pause.holds(now))
}

/// Carries out a job.
pub(super) async fn run<C: Connections>(world: Arc<C>, job: Job, lanes: Lanes, leave: Leave) -> Outcome {
    match job {
        Job::List => Outcome::Listed(world.list().await),
        Job::Look { name, id } => {
            let _lane = lanes.healthy.acquire().await;
            Outcome::Looked { name, id, result: world.look(id).await }
        }
        Job::Push { name, step, wanted, suspect } => {
            let lane = if suspect { &lanes.suspect } else { &lanes.healthy };
            let result = push(&*world, &step, wanted.as_deref(), lane, &leave).await;
            Outcome::Pushed { name, step, wanted, result }
        }
    }
}

/// Probes outside the lane, since a dead server costs the probe's whole deadline, and writes inside it.
async fn push<C: Connections>(
    world: &C,
    step: &Step,
    wanted: Option<&Wanted>,
    lane: &Semaphore,
    leave: &Leave,
) -> Result<i64, Fault> {
    if let Some(server) = wanted.and_then(|wanted| wanted.server.as_ref()) {
        world.probe(server).await?;
    }
    let _lane = lane.acquire().await;
    if let Some(why) = leave.missing() {
        return Err(Fault { kind: FaultKind::Superset, message: why.to_owned() });
    }
    let began = Instant::now();
    let applied = world.apply(step).await;
    metrics::pushed(began.elapsed());
    applied
}
