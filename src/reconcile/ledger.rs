//! The ledger of pushes: what is wanted, what was observed, what is under way, what failed and when it may be tried again.
//!
//! Pure bookkeeping with the clock handed in: events go in, [`Job`]s come out one at a time, and the loop beside it runs them.
//! Keeps law 3 (an empty plan after success), law 7 (a new leader observes first; deletions wait; after an unknown
//! outcome it observes before writing again), law 8 (in [`plan::connections`](crate::plan::connections)) and law 11 (what failed backs off
//! by itself and has a lane of its own, so that it never takes the place of what works).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::backoff::Backoff;
use crate::model::connection::{Connection, Mark, Stored};
use crate::model::datasource::DatasourceName;
use crate::model::status::DatasourceState;
use crate::plan::connections::{self, Observed, Pruning, Seen, Settled, Step, Verdict, Wanted};
use crate::world::{Fault, FaultKind};

/// After how many times `resync` every connection is compared whole, whatever its list entry says.
const WHOLE_COMPARISON: u32 = 12;

/// The rules by which it keeps its books.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The cluster's name.
    pub cluster: String,
    /// What may be deleted.
    pub pruning: Pruning,
    /// How often Superset is compared although nothing changed.
    pub resync: Duration,
    /// The deadline of one call: how long an earlier leader's last write may still be under way.
    pub call_deadline: Duration,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Job {
    /// List all connections.
    List,
    /// Ask for one connection.
    Look {
        /// Whose it is.
        name: DatasourceName,
        /// Superset's number for it.
        id: i64,
    },
    /// Write one connection.
    Push {
        /// Whose it is.
        name: DatasourceName,
        /// What to write.
        step: Step,
        /// What was wanted when the step was planned.
        wanted: Option<Arc<Wanted>>,
        /// Whether the last attempt failed: then it must not take the place of those that work.
        suspect: bool,
    },
}

/// What came of a [`Job`].
#[derive(Debug)]
pub enum Outcome {
    /// Of [`Job::List`].
    Listed(Result<Vec<Connection>, Fault>),
    /// Of [`Job::Look`].
    Looked {
        /// Whose it is.
        name: DatasourceName,
        /// Superset's number for it.
        id: i64,
        /// What it told.
        result: Result<Stored, Fault>,
    },
    /// Of [`Job::Push`]: Superset's number for the connection.
    Pushed {
        /// Whose it is.
        name: DatasourceName,
        /// What was written.
        step: Step,
        /// What was wanted when the step was planned.
        wanted: Option<Arc<Wanted>>,
        /// What Superset said.
        result: Result<i64, Fault>,
    },
}

/// What is known of one datasource's fate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// How it fares.
    pub state: DatasourceState,
    /// Its UUID.
    pub uuid: Uuid,
    /// Superset's number for it.
    pub database_id: Option<i64>,
    /// Why it is not in sync.
    pub error: Option<String>,
}

/// A datasource that cannot be pushed as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// Invalid, or failed where only its secrets cannot be had now.
    pub state: DatasourceState,
    /// Its UUID.
    pub uuid: Uuid,
    /// Why.
    pub error: String,
}

/// The ledger of one term of leadership.
#[derive(Debug)]
pub struct Ledger {
    rules: Rules,
    /// Whether the tree has been heard yet: before that, nothing is an orphan.
    told: bool,
    wanted: BTreeMap<DatasourceName, Arc<Wanted>>,
    unfit: BTreeMap<DatasourceName, Unfit>,
    observed: Observed,
    seen: Seen,
    /// Written since the last list was asked for: a list under way may not know it yet.
    touched: BTreeSet<Uuid>,
    /// Pushed since then: whatever `changed_on` the next list shows is our own doing.
    fresh: BTreeSet<Uuid>,
    unjudged: BTreeSet<DatasourceName>,
    /// With the UUID of each: the tree may drop a datasource while its job is under way.
    in_flight: BTreeMap<DatasourceName, Uuid>,
    failures: BTreeMap<DatasourceName, Backoff>,
    /// A write of theirs ended nobody knows how: not to be judged before a list that was asked for afterwards.
    awaiting_list: BTreeMap<DatasourceName, Uuid>,
    /// Those of them that have had a list since: judged once although they rest, since the write may have been carried out.
    doubtful: BTreeSet<DatasourceName>,
    deletions: BTreeMap<DatasourceName, Step>,
    standings: BTreeMap<DatasourceName, Standing>,
    list: List,
    /// Whether Superset has been listed in this term.
    has_observed: bool,
    /// From when on the next list makes every connection be compared whole.
    whole_comparison_due: Instant,
    /// When to observe once more, because of a write that nobody answered.
    look_again_at: Option<Instant>,
    deletions_from: Instant,
}

/// Where the ledger is with its list.
#[derive(Debug)]
struct List {
    /// When the next one is to be asked for.
    due: Instant,
    /// Whether one is under way.
    asked: bool,
    /// Whether the last one still tells the truth: it does not once Superset has failed.
    sighted: bool,
    /// Why there is none now.
    error: Option<String>,
    backoff: Backoff,
}

impl Ledger {
    /// Opens the ledger at the start of a term: it knows nothing, so it observes first.
    #[must_use]
    pub fn open(rules: Rules, now: Instant) -> Self {
        let deletions_from = now + rules.call_deadline;
        let whole_comparison_due = now + WHOLE_COMPARISON * rules.resync;
        Self {
            rules,
            told: false,
            wanted: BTreeMap::new(),
            unfit: BTreeMap::new(),
            observed: Observed::default(),
            seen: Seen::new(),
            touched: BTreeSet::new(),
            fresh: BTreeSet::new(),
            unjudged: BTreeSet::new(),
            in_flight: BTreeMap::new(),
            failures: BTreeMap::new(),
            deletions: BTreeMap::new(),
            standings: BTreeMap::new(),
            awaiting_list: BTreeMap::new(),
            doubtful: BTreeSet::new(),
            list: List { due: now, asked: false, sighted: false, error: None, backoff: Backoff::default() },
            has_observed: false,
            whole_comparison_due,
            look_again_at: None,
            deletions_from,
        }
    }

    /// Takes what the tree wants now. What changed may be tried at once, whatever happened to it before.
    pub fn want(&mut self, wanted: BTreeMap<DatasourceName, Arc<Wanted>>, unfit: BTreeMap<DatasourceName, Unfit>) {
        for (name, new) in &wanted {
            if self.wanted.get(name) != Some(new) {
                self.failures.remove(name);
                self.unjudged.insert(name.clone());
            }
        }
        let has_left =
            self.wanted.keys().chain(self.unfit.keys()).any(|name| !wanted.contains_key(name) && !unfit.contains_key(name));
        let is_first = !std::mem::replace(&mut self.told, true);
        (self.wanted, self.unfit) = (wanted, unfit);
        let (wanted, unfit) = (&self.wanted, &self.unfit);
        self.standings.retain(|name, _| wanted.contains_key(name) || unfit.contains_key(name));
        self.failures.retain(|name, _| wanted.contains_key(name));
        self.unjudged.retain(|name| wanted.contains_key(name));
        for (name, unfit) in unfit {
            let standing = Standing { state: unfit.state, uuid: unfit.uuid, database_id: None, error: Some(unfit.error.clone()) };
            self.standings.insert(name.clone(), standing);
        }
        if (has_left || is_first) && self.list.sighted {
            self.judge_orphans();
        }
    }

    /// Observes again soon: something happened that makes the last list doubtful.
    pub fn ask_for_list(&mut self, now: Instant) {
        self.list.due = self.list.due.min(now);
    }

    /// The next job that may begin at `now`, if there is one.
    pub fn next(&mut self, now: Instant) -> Option<Job> {
        if self.look_again_at.is_some_and(|at| at <= now) {
            self.look_again_at = None;
            self.ask_for_list(now);
        }
        if !self.list.asked && self.list.due <= now {
            self.list.asked = true;
            self.list.due = now + self.rules.resync;
            self.touched = self.in_flight.values().copied().collect();
            return Some(Job::List);
        }
        if !self.list.sighted {
            return None;
        }
        self.next_push(now).or_else(|| self.next_deletion(now))
    }

    fn next_push(&mut self, now: Instant) -> Option<Job> {
        loop {
            let name = self.unjudged.iter().find(|name| self.may_begin(name, now))?.clone();
            let Some(wanted) = self.wanted.get(&name) else {
                self.unjudged.remove(&name);
                continue;
            };
            match connections::judge(wanted, &self.observed, &self.seen) {
                Verdict::Settled(settled) => self.settle(&name, &settled),
                Verdict::Look { id } => {
                    self.in_flight.insert(name.clone(), wanted.uuid);
                    return Some(Job::Look { name, id });
                }
                Verdict::Push(_) if self.rests(&name, now) => drop(self.doubtful.remove(&name)),
                Verdict::Push(step) => {
                    let wanted = Some(Arc::clone(wanted));
                    return Some(self.begin(name, step, wanted));
                }
            }
        }
    }

    fn may_begin(&self, name: &DatasourceName, now: Instant) -> bool {
        !self.in_flight.contains_key(name)
            && !self.awaiting_list.contains_key(name)
            && (self.doubtful.contains(name) || !self.rests(name, now))
    }

    fn rests(&self, name: &DatasourceName, now: Instant) -> bool {
        self.failures.get(name).is_some_and(|backoff| !backoff.is_over(now))
    }

    fn next_deletion(&mut self, now: Instant) -> Option<Job> {
        if !self.in_flight.is_empty() || self.list.asked || now < self.deletions_from {
            return None;
        }
        let (name, step) = self.deletions.pop_first()?;
        Some(self.begin(name, step, None))
    }

    fn begin(&mut self, name: DatasourceName, step: Step, wanted: Option<Arc<Wanted>>) -> Job {
        let uuid = if let Step::Delete { uuid, .. } = &step { Some(*uuid) } else { wanted.as_ref().map(|wanted| wanted.uuid) };
        let uuid = uuid.unwrap_or_default();
        self.touched.insert(uuid);
        self.in_flight.insert(name.clone(), uuid);
        let suspect = self.failures.contains_key(&name);
        Job::Push { name, step, wanted, suspect }
    }

    /// Writes down what came of a job.
    pub fn record(&mut self, outcome: Outcome, now: Instant) {
        match outcome {
            Outcome::Listed(Ok(connections)) => self.take_list(connections, now),
            Outcome::Listed(Err(fault)) => self.lose_sight(&fault, now),
            Outcome::Looked { name, id, result } => {
                let uuid = self.in_flight.remove(&name).unwrap_or_default();
                match result {
                    Ok(stored) => self.observed.store(id, stored),
                    Err(fault) => self.fail(&name, uuid, &fault, now),
                }
            }
            Outcome::Pushed { name, step, wanted, result } => {
                let uuid = self.in_flight.remove(&name).unwrap_or_default();
                match result {
                    Ok(id) => self.pushed(&name, &step, wanted.as_deref(), id),
                    Err(fault) => self.fail(&name, uuid, &fault, now),
                }
                if self.in_flight.is_empty()
                    && !self.fresh.is_empty()
                    && !self.unjudged.iter().any(|name| self.may_begin(name, now))
                {
                    // One list after a batch: it tells the `changed_on` that our own writes left.
                    self.ask_for_list(now);
                }
            }
        }
    }

    fn take_list(&mut self, connections: Vec<Connection>, now: Instant) {
        self.list = List { due: self.list.due, asked: false, sighted: true, error: None, backoff: Backoff::default() };
        self.observed.refresh(connections, &self.touched);
        let (untouched, fresh): (BTreeSet<_>, _) = self.fresh.iter().copied().partition(|uuid| !self.touched.contains(uuid));
        self.fresh = fresh;
        for connection in untouched.into_iter().filter_map(|uuid| self.observed.by_uuid(uuid)) {
            self.seen.insert(connection.uuid, connection.changed_on.clone());
        }
        let touched = &self.touched;
        let (awaiting, listed): (BTreeMap<_, _>, _) =
            std::mem::take(&mut self.awaiting_list).into_iter().partition(|(_, uuid)| touched.contains(uuid));
        self.awaiting_list = awaiting;
        let silent = self.failures.iter().filter(|(_, backoff)| backoff.is_silence()).map(|(name, _)| name.clone());
        self.doubtful.extend(silent.chain(listed.into_keys()));
        self.has_observed = true;
        self.doubt_all_at_times(now);
        self.unjudged.extend(self.wanted.keys().cloned());
        self.judge_orphans();
        if now < self.deletions_from {
            // An earlier leader's last write may still be under way: look again before the first deletion.
            self.deletions.clear();
            self.list.due = self.list.due.min(self.deletions_from);
        }
    }

    /// A list entry does not show every field, and `changed_on` can be set back: so all are compared whole now and then. Every
    /// resync between costs Superset one call.
    fn doubt_all_at_times(&mut self, now: Instant) {
        if now >= self.whole_comparison_due {
            self.whole_comparison_due = now + WHOLE_COMPARISON * self.rules.resync;
            self.seen.clear();
        }
    }

    /// Superset itself does not answer: nothing is known and nothing is begun until a list comes back.
    fn lose_sight(&mut self, fault: &Fault, now: Instant) {
        let backoff = self.list.backoff.after_failure(now);
        self.list = List { due: backoff.until(), asked: false, sighted: false, error: Some(fault.message.clone()), backoff };
        for (name, wanted) in &self.wanted {
            let standing = self.standings.entry(name.clone()).or_insert_with(|| Standing::pending(wanted.uuid));
            if standing.state == DatasourceState::Pending {
                standing.error = Some(fault.message.clone());
            }
        }
    }

    fn pushed(&mut self, name: &DatasourceName, step: &Step, wanted: Option<&Wanted>, id: i64) {
        self.failures.remove(name);
        if let Step::Delete { uuid, .. } = step {
            self.observed.remove(*uuid);
            self.seen.remove(uuid);
            self.standings.remove(name);
            return;
        }
        let Some(wanted) = wanted else { return };
        let mark = Some(Mark { name: name.as_str().to_owned(), digest: wanted.request.digest.clone() });
        let changed_on = String::new();
        self.seen.insert(wanted.uuid, changed_on.clone());
        self.fresh.insert(wanted.uuid);
        self.observed.put(Connection { id, uuid: wanted.uuid, database_name: wanted.database_name.clone(), changed_on, mark });
        // Judged again rather than believed: it may be wanted otherwise by now.
        self.unjudged.insert(name.clone());
        if let Some(now_wanted) = self.wanted.get(name).cloned()
            && *now_wanted == *wanted
        {
            self.settle(name, &Settled::InSync { id });
        }
    }

    fn fail(&mut self, name: &DatasourceName, uuid: Uuid, fault: &Fault, now: Instant) {
        if matches!(fault.kind, FaultKind::Unknown | FaultKind::Silent | FaultKind::Superset | FaultKind::Conflict) {
            // What Superset has now is not known: observe before writing again.
            self.awaiting_list.insert(name.clone(), uuid);
            self.ask_for_list(now);
        }
        if fault.kind == FaultKind::Superset {
            return;
        }
        self.doubtful.remove(name);
        let backoff = self.failures.remove(name).unwrap_or_default();
        let backoff = if fault.kind == FaultKind::Silent {
            // What was slow has been carried out by then, or never will be.
            self.look_again_at = Some(now + self.rules.call_deadline);
            backoff.after_silence(now)
        } else {
            backoff.after_failure(now)
        };
        self.failures.insert(name.clone(), backoff);
        if let Some(wanted) = self.wanted.get(name) {
            let database_id = self.observed.by_uuid(wanted.uuid).map(|connection| connection.id);
            let standing =
                Standing { state: fault.kind.state(), uuid: wanted.uuid, database_id, error: Some(fault.message.clone()) };
            self.standings.insert(name.clone(), standing);
        } else if let Some(orphan) = self.standings.get_mut(name) {
            orphan.error = Some(fault.message.clone());
        }
    }

    fn settle(&mut self, name: &DatasourceName, settled: &Settled) {
        self.unjudged.remove(name);
        self.doubtful.remove(name);
        self.failures.remove(name);
        let Some(wanted) = self.wanted.get(name) else { return };
        let uuid = wanted.uuid;
        let standing = match settled {
            Settled::InSync { id } => {
                if let Some(connection) = self.observed.by_uuid(uuid) {
                    self.seen.insert(uuid, connection.changed_on.clone());
                }
                Standing { state: DatasourceState::InSync, uuid, database_id: Some(*id), error: None }
            }
            Settled::Conflict { id } => {
                let error = format!("superset has another connection named {:?} (id {id})", wanted.database_name);
                Standing { state: DatasourceState::Conflict, uuid, database_id: Some(*id), error: Some(error) }
            }
            Settled::Orphaned { id, uuid, why } => {
                Standing { state: DatasourceState::Orphaned, uuid: *uuid, database_id: Some(*id), error: Some((*why).to_owned()) }
            }
        };
        self.standings.insert(name.clone(), standing);
    }

    fn judge_orphans(&mut self) {
        if !self.told {
            return;
        }
        let kept = self.wanted.keys().chain(self.unfit.keys()).cloned().collect();
        let plan =
            connections::plan(&self.rules.cluster, &BTreeMap::new(), &kept, &self.observed, &self.seen, self.rules.pruning);
        let doomed = plan.deletions.iter().filter_map(|(name, step)| match step {
            Step::Delete { id, uuid, .. } => Some((name.clone(), *id, *uuid, None)),
            _ => None,
        });
        let staying = plan.settled.iter().filter_map(|(name, settled)| match settled {
            Settled::Orphaned { id, uuid, why } => Some((name.clone(), *id, *uuid, Some(*why))),
            _ => None,
        });
        let mut earlier = std::mem::take(&mut self.standings);
        for (name, id, uuid, why) in doomed.chain(staying) {
            // What stopped an earlier deletion stands until the next attempt says otherwise.
            let last = earlier.remove(&name).filter(|standing| standing.state == DatasourceState::Orphaned);
            let error = why.map(str::to_owned).or_else(|| last.and_then(|standing| standing.error));
            self.standings.insert(name, Standing { state: DatasourceState::Orphaned, uuid, database_id: Some(id), error });
        }
        earlier.retain(|_, standing| standing.state != DatasourceState::Orphaned);
        self.standings.append(&mut earlier);
        self.deletions = plan.deletions;
    }

    /// Why Superset's connections cannot be observed now.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.list.error.as_deref()
    }

    /// Whether Superset has been observed in this term.
    #[must_use]
    pub fn has_observed(&self) -> bool {
        self.has_observed
    }

    /// Whether nothing is to be done or under way.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        let is_idle = self.unjudged.is_empty() && self.in_flight.is_empty() && self.deletions.is_empty();
        self.list.sighted && is_idle && self.fresh.is_empty()
    }

    /// When after `now` [`Ledger::next`] may have a job although nothing happened; what is due already waits for an outcome.
    #[must_use]
    pub fn wake_after(&self, now: Instant) -> Option<Instant> {
        let retries = self.unjudged.iter().filter_map(|name| self.failures.get(name)).map(Backoff::until);
        [self.list.due, self.deletions_from].into_iter().chain(self.look_again_at).chain(retries).filter(|at| *at > now).min()
    }

    /// Whether this is what is known to be wrong with a datasource already.
    #[must_use]
    pub fn is_known(&self, name: &DatasourceName, fault: &Fault) -> bool {
        self.standings.get(name).is_some_and(|standing| standing.error.as_ref() == Some(&fault.message))
    }

    /// How every datasource fares: those of the tree, and orphans.
    #[must_use]
    pub fn standings(&self) -> BTreeMap<DatasourceName, Standing> {
        let mut all = self.standings.clone();
        for (name, wanted) in &self.wanted {
            all.entry(name.clone()).or_insert_with(|| Standing::pending(wanted.uuid));
        }
        all
    }
}

impl Standing {
    fn pending(uuid: Uuid) -> Self {
        Self { state: DatasourceState::Pending, uuid, database_id: None, error: None }
    }
}
