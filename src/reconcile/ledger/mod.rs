//! The ledger of pushes: what is wanted, what was observed, what is under way, what failed and when it may be tried again.
//!
//! Pure bookkeeping with the clock handed in: events go in, [`Job`]s come out one at a time, and the loop beside it runs them.
//! Keeps law 3 (an empty plan after success), law 7 (a new leader observes first; deletions wait; after an unknown
//! outcome it observes before writing again), law 8 (in [`plan::connections`](crate::plan::connections)) and law 11 (what failed backs off
//! by itself and has a lane of its own, so that it never takes the place of what works).

pub mod job;
mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use uuid::Uuid;

use self::job::{Fate, Job, Rules, Unfit};
use super::backoff::Backoff;
use crate::model::datasource::DatasourceName;
use crate::model::status::DatasourceState;
use crate::plan::connections::{self, Observed, Seen, Step, Verdict, Wanted};
use crate::world::Fault;

/// After how many times `resync` every connection is compared whole, whatever its list entry says.
const WHOLE_COMPARISON: u32 = 12;

/// The field that holds the name people see.
const DATABASE_NAME: &str = "database_name";

/// The ledger of one term of leadership.
#[derive(Debug)]
pub struct Ledger {
    rules: Rules,
    /// Whether the tree has been heard yet: before that, nothing is an orphan.
    told: bool,
    /// Whether a person paused the cluster: then Superset is observed and nothing is begun.
    paused: bool,
    wanted: BTreeMap<DatasourceName, Arc<Wanted>>,
    unfit: BTreeMap<DatasourceName, Unfit>,
    observed: Observed,
    seen: Seen,
    /// Written since the last list was asked for: a list under way may not know it yet.
    touched: BTreeSet<Uuid>,
    /// Pushed since then, and with which digest: whatever `changed_on` the next list shows is our own doing.
    fresh: BTreeMap<Uuid, (DatasourceName, String)>,
    unjudged: BTreeSet<DatasourceName>,
    /// With the UUID of each: the tree may drop a datasource while its job is under way.
    in_flight: BTreeMap<DatasourceName, Uuid>,
    failures: BTreeMap<DatasourceName, Backoff>,
    /// What Superset said when it refused them last.
    refusals: BTreeMap<DatasourceName, String>,
    /// Of those that Superset took and did not keep: a push that succeeds must not make the next pause short again.
    unkept: BTreeMap<DatasourceName, Backoff>,
    /// A write of theirs ended nobody knows how: not to be judged before a list that was asked for afterwards.
    awaiting_list: BTreeMap<DatasourceName, Uuid>,
    /// Those of them that have had a list since: judged once although they rest, since the write may have been carried out.
    doubtful: BTreeSet<DatasourceName>,
    deletions: BTreeMap<DatasourceName, Step>,
    fates: BTreeMap<DatasourceName, Fate>,
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
            paused: false,
            wanted: BTreeMap::new(),
            unfit: BTreeMap::new(),
            observed: Observed::default(),
            seen: Seen::new(),
            touched: BTreeSet::new(),
            fresh: BTreeMap::new(),
            unjudged: BTreeSet::new(),
            in_flight: BTreeMap::new(),
            failures: BTreeMap::new(),
            refusals: BTreeMap::new(),
            unkept: BTreeMap::new(),
            deletions: BTreeMap::new(),
            fates: BTreeMap::new(),
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
                self.refusals.remove(name);
                self.unkept.remove(name);
                self.unjudged.insert(name.clone());
            }
        }
        let has_left =
            self.wanted.keys().chain(self.unfit.keys()).any(|name| !wanted.contains_key(name) && !unfit.contains_key(name));
        let is_first = !std::mem::replace(&mut self.told, true);
        (self.wanted, self.unfit) = (wanted, unfit);
        let (wanted, unfit) = (&self.wanted, &self.unfit);
        self.fates.retain(|name, _| wanted.contains_key(name) || unfit.contains_key(name));
        self.failures.retain(|name, _| wanted.contains_key(name));
        self.refusals.retain(|name, _| wanted.contains_key(name));
        self.unkept.retain(|name, _| wanted.contains_key(name));
        self.unjudged.retain(|name| wanted.contains_key(name));
        // A deletion may have waited for a pause or for jobs under way: what is wanted again is none's orphan.
        self.deletions.retain(|name, _| !wanted.contains_key(name) && !unfit.contains_key(name));
        for (name, unfit) in unfit {
            let fate = Fate { state: unfit.state, uuid: unfit.uuid, database_id: None, error: Some(unfit.error.clone()) };
            self.fates.insert(name.clone(), fate);
        }
        if (has_left || is_first) && self.list.sighted {
            self.judge_orphans();
        }
    }

    /// Observes again soon: something happened that makes the last list doubtful.
    pub fn ask_for_list(&mut self, now: Instant) {
        self.list.due = self.list.due.min(now);
    }

    /// Begins nothing but lists while a person's pause is on.
    pub fn pause(&mut self, is_on: bool) {
        self.paused = is_on;
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
        if !self.list.sighted || self.paused {
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
                    let step = self.step_aside(wanted).unwrap_or(step);
                    let wanted = Some(Arc::clone(wanted));
                    return Some(self.begin(name, step, wanted));
                }
            }
        }
    }

    /// Datasources that change names with each other would wait for each other for ever, since no name may be there twice: one
    /// whose new name is held by one that will move too, and whose old name another waits for, takes a name in between first.
    fn step_aside(&self, wanted: &Wanted) -> Option<Step> {
        let own = self.observed.by_uuid(wanted.uuid)?;
        let holder = self.observed.by_name(&wanted.database_name).filter(|holder| holder.uuid != wanted.uuid)?;
        let others = || self.wanted.values().filter(|other| other.uuid != wanted.uuid);
        let will_move = others().any(|other| other.uuid == holder.uuid && other.database_name != holder.database_name);
        if !will_move || !others().any(|other| other.database_name == own.database_name) {
            return None;
        }
        let name = format!("{} (being renamed)", wanted.uuid);
        let mut request = wanted.request.only(&[DATABASE_NAME]);
        request.open.insert(DATABASE_NAME.to_owned(), name.into());
        Some(Step::Update { id: own.id, request, differs: vec![DATABASE_NAME.to_owned()] })
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
        self.fates.get(name).is_some_and(|fate| fate.error.as_ref() == Some(&fault.message))
    }

    /// How every datasource fares: those of the tree, and orphans.
    #[must_use]
    pub fn fates(&self) -> BTreeMap<DatasourceName, Fate> {
        let mut all = self.fates.clone();
        for (name, wanted) in &self.wanted {
            all.entry(name.clone()).or_insert_with(|| Fate::pending(wanted.uuid));
        }
        all
    }
}

impl Fate {
    fn pending(uuid: Uuid) -> Self {
        Self { state: DatasourceState::Pending, uuid, database_id: None, error: None }
    }
}
