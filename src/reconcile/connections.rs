//! The loop that keeps Superset's connections as the tree wants them, while this instance leads.
//!
//! Reads what is wanted from the resolving loop, who leads from the election, and the generation of secret files; reports every
//! datasource's status. All judgement is in the [`Ledger`]; this loop runs its jobs side by side, in two lanes: what failed
//! last time never takes the place of what works (law 11), and one that dies takes none with it. Leadership is asked for again right before each write (law 7);
//! once it is in doubt, everything under way is dropped and the next term observes first. While a person's pause is on, nothing
//! is begun but lists; a write in hand goes on.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::{self, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::lanes::{Lanes, Leave, is_paused, run};
use super::ledger::Ledger;
use super::ledger::job::{Fate, Job, Outcome, Rules};
use super::resolve::Resolved;
use super::sleep_to;
use super::wants::Wants;
use crate::model::datasource::DatasourceName;
use crate::model::instance::{InstanceId, Standing};
use crate::model::status::{DatasourceState, DatasourceStatus};
use crate::plan::connections::Step;
use crate::processes::clock::Moment;
use crate::world::{Connections, Fault, FaultKind};

/// How many jobs may be begun at once: most of them wait for a lane or for a server's answer to a probe.
const BEGUN_AT_ONCE: usize = 64;
/// How long statuses are gathered before they are reported: a thousand pushes are not a thousand reports.
const REPORT_EVERY: Duration = Duration::from_millis(200);
/// What is said of a job that panicked.
const DIED: &str = "a call to superset died of a mistake in setkeeper";

/// What the loop reads.
pub struct Inputs {
    /// What the tree wants.
    pub resolved: watch::Receiver<Option<Arc<Resolved>>>,
    /// Whether this instance leads.
    pub standing: watch::Receiver<Standing>,
    /// Grows when a secret's file changed.
    pub secrets: watch::Receiver<u64>,
}

/// Every datasource's status, as last reported.
pub type Statuses = Arc<BTreeMap<DatasourceName, DatasourceStatus>>;

/// The loop and what it needs.
pub struct ConnectionsLoop<C> {
    /// Superset.
    pub world: Arc<C>,
    /// The ledger's rules.
    pub rules: Rules,
    /// How many calls at once.
    pub concurrency: usize,
    /// Who reports.
    pub instance: InstanceId,
    /// What it reads.
    pub inputs: Inputs,
    /// What it reports.
    pub statuses: watch::Sender<Option<Statuses>>,
    /// Why a leader cannot observe Superset's connections.
    pub trouble: watch::Sender<Option<String>>,
    /// What each datasource's connection should hold.
    pub wants: Wants,
}

/// One term of leadership: its ledger and its jobs.
struct Term {
    number: u64,
    ledger: Ledger,
    jobs: JoinSet<Outcome>,
    /// What each of them does: one that dies does not say it itself.
    running: HashMap<task::Id, Job>,
    lanes: Lanes,
}

impl<C: Connections> ConnectionsLoop<C> {
    /// Runs until cancelled; then waits for no call: what it began may be done or not, and whoever leads next observes first.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut term = None;
        let mut report_at = None;
        loop {
            let now = Instant::now();
            if self.follow_standing(&mut term, now).await {
                report_at = Some(now);
            }
            let pause_ends = self.pause_ends(now);
            let wake = term.as_mut().and_then(|term| self.advance(term, now));
            tokio::select! {
                () = cancel.cancelled() => break,
                changed = self.inputs.resolved.changed() => match changed {
                    Ok(()) => {
                        self.take_wanted(&mut term).await;
                        report_at = Some(Instant::now());
                    }
                    Err(_) => break,
                },
                changed = self.inputs.secrets.changed() => match changed {
                    Ok(()) => {
                        self.take_wanted(&mut term).await;
                        report_soon(&mut report_at);
                    }
                    Err(_) => break,
                },
                changed = self.inputs.standing.changed() => if changed.is_err() { break },
                Some(ended) = next_ended(&mut term) => {
                    if let Some(term) = &mut term {
                        term.take(ended);
                    }
                    report_soon(&mut report_at);
                }
                () = sleep_to(report_at) => {
                    report_at = None;
                    self.report(term.as_ref());
                    self.tell_trouble(term.as_ref().and_then(|term| term.ledger.trouble()));
                }
                // What the ledger does then may settle a datasource without a job, and so without an outcome.
                () = sleep_to(wake) => report_soon(&mut report_at),
                () = sleep_to(pause_ends) => report_soon(&mut report_at),
            }
        }
    }

    /// Begins and ends terms, and says whether one began.
    async fn follow_standing(&mut self, term: &mut Option<Term>, now: Instant) -> bool {
        let standing = *self.inputs.standing.borrow_and_update();
        let number = match standing {
            Standing::Leader { term, .. } if standing.leads(Moment::now()) => Some(term),
            _ => None,
        };
        if term.as_ref().map(|term| term.number) == number {
            return false;
        }
        *term = number.map(|number| Term {
            number,
            ledger: Ledger::open(self.rules.clone(), now),
            jobs: JoinSet::new(),
            running: HashMap::new(),
            lanes: Lanes::new(self.concurrency),
        });
        if term.is_none() {
            self.statuses.send_replace(None);
            self.tell_trouble(None);
        }
        self.wants.forget_listener();
        self.take_wanted(term).await;
        term.is_some()
    }

    /// Begins what can be begun, and says when to look again.
    fn advance(&self, term: &mut Term, now: Instant) -> Option<Instant> {
        term.ledger.pause(is_paused(&self.inputs.resolved));
        while term.jobs.len() < BEGUN_AT_ONCE {
            let Some(job) = term.ledger.next(now) else { break };
            let (standing, resolved) = (self.inputs.standing.clone(), self.inputs.resolved.clone());
            let leave = Leave { standing, resolved, term: term.number };
            let running = term.jobs.spawn(run(Arc::clone(&self.world), job.clone(), term.lanes.clone(), leave));
            term.running.insert(running.id(), job);
        }
        term.ledger.wake_after(now)
    }

    /// When a pause ends by itself; nobody announces that.
    fn pause_ends(&self, now: Instant) -> Option<Instant> {
        let resolved = self.inputs.resolved.borrow();
        let until = resolved.as_ref()?.pause.as_ref()?.until?;
        let left = Duration::try_from(until.duration_since(jiff::Timestamp::now())).ok()?;
        // A step beyond, so that the pause is over by then.
        (!left.is_zero()).then(|| now.checked_add(left + REPORT_EVERY)).flatten()
    }

    async fn take_wanted(&mut self, term: &mut Option<Term>) {
        let resolved = self.inputs.resolved.borrow_and_update().clone();
        let generation = *self.inputs.secrets.borrow_and_update();
        let (Some(term), Some(resolved)) = (term, resolved) else { return };
        if let Some((wanted, unfit)) = self.wants.take(&*self.world, &self.rules.cluster, &resolved, generation).await {
            term.ledger.want(wanted, unfit);
        }
    }

    fn tell_trouble(&self, why: Option<&str>) {
        self.trouble.send_if_modified(|told| {
            let is_new = told.as_deref() != why;
            *told = why.map(str::to_owned);
            is_new
        });
    }

    /// Reports every datasource, once Superset has been observed in this term: before that nothing is known of any.
    fn report(&self, term: Option<&Term>) {
        let Some(term) = term.filter(|term| term.ledger.has_observed()) else { return };
        let fates = term.ledger.fates();
        self.statuses.send_if_modified(|statuses| {
            let now = jiff::Timestamp::now().to_string();
            let before = statuses.as_deref();
            let status = |(name, fate): (DatasourceName, Fate)| {
                let status = self.status(name.clone(), fate, before.and_then(|before| before.get(&name)), &now);
                (name, status)
            };
            let next: BTreeMap<_, _> = fates.into_iter().map(status).collect();
            let is_new = before != Some(&next);
            if is_new {
                *statuses = Some(Arc::new(next));
            }
            is_new
        });
    }

    /// The status of one datasource; what did not change keeps its time.
    fn status(&self, name: DatasourceName, fate: Fate, before: Option<&DatasourceStatus>, now: &str) -> DatasourceStatus {
        let Fate { state, uuid, database_id, error } = fate;
        let is_pending = state == DatasourceState::Pending;
        let mut status = DatasourceStatus { name, state, uuid, database_id, error, at: None, by: None };
        if let Some(before) = before {
            (status.at, status.by) = (before.at.clone(), before.by.clone());
            if status == *before {
                return status;
            }
        }
        status.at = (!is_pending).then(|| now.to_owned());
        status.by = (!is_pending).then(|| self.instance.clone());
        status
    }
}

fn report_soon(report_at: &mut Option<Instant>) {
    report_at.get_or_insert_with(|| Instant::now() + REPORT_EVERY);
}

/// How a job ended: with an outcome, or by dying.
type Ended = Result<(task::Id, Outcome), JoinError>;

async fn next_ended(term: &mut Option<Term>) -> Option<Ended> {
    match term {
        Some(term) if !term.jobs.is_empty() => term.jobs.join_next_with_id().await,
        _ => std::future::pending().await,
    }
}

impl Term {
    /// Writes down how a job ended. Nobody knows what one did that died: it has failed, so that it rests, is observed before it is
    /// made again, and holds up no other (laws 7 and 11).
    fn take(&mut self, ended: Ended) {
        let outcome = match ended {
            Ok((id, outcome)) => {
                self.running.remove(&id);
                log(&outcome, &self.ledger);
                Some(outcome)
            }
            Err(died) => {
                let job = self.running.remove(&died.id());
                error!(datasource = job.as_ref().and_then(Job::name).map(tracing::field::display), error = %died, "{DIED}");
                job.map(|job| job.failed(&Fault { kind: FaultKind::Unknown, message: DIED.to_owned() }))
            }
        };
        if let Some(outcome) = outcome {
            self.ledger.record(outcome, Instant::now());
        }
    }
}

/// A failure that is known already is no news: it backs off, and its status says so.
fn log(outcome: &Outcome, ledger: &Ledger) {
    match outcome {
        Outcome::Pushed { name, step, result: Ok(id), .. } => {
            let fields = if let Step::Update { differs, .. } = step { Some(differs.join(", ")) } else { None };
            info!(datasource = %name, step = step.verb(), database_id = id, fields, "pushed a connection");
        }
        Outcome::Pushed { name, result: Err(fault), .. } | Outcome::Looked { name, result: Err(fault), .. }
            if ledger.is_known(name, fault) =>
        {
            debug!(datasource = %name, error = %fault, "failed again");
        }
        Outcome::Pushed { name, step, result: Err(fault), .. } => {
            warn!(datasource = %name, step = step.verb(), error = %fault, "failed to push a connection");
        }
        Outcome::Looked { name, result: Err(fault), .. } => {
            warn!(datasource = %name, error = %fault, "failed to look at a connection");
        }
        Outcome::Listed(Err(fault)) => warn!(error = %fault, "failed to list connections"),
        Outcome::Listed(Ok(_)) | Outcome::Looked { .. } => {}
    }
}
