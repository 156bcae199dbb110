//! Thousands of seeded schedules of the push ledger on a simulated Superset.
//!
//! The clock, Superset, its faults, people who edit by hand and rival leaders are simulated; the ledger and the plan are the real
//! ones. Each schedule must come to rest with Superset as wanted, must never touch what is not ours, and must never make
//! a connection twice. A failing seed is printed; `SETKEEPER_SEED=n` runs that one alone, `SETKEEPER_SEEDS=n` so many.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use setkeeper::model::connection::{Connection, MARK, Mark, Request, Stored};
use setkeeper::model::datasource::DatasourceName;
use setkeeper::model::status::DatasourceState;
use setkeeper::plan::connections::{Pruning, Step, Wanted};
use setkeeper::reconcile::ledger::Ledger;
use setkeeper::reconcile::ledger::job::{Job, Outcome, Rules};
use setkeeper::world::{Fault, FaultKind};
use uuid::Uuid;

const SEEDS: u64 = 2_000;
const CLUSTER: &str = "simulated";
const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

#[test]
fn laws_3_5_7_8_11_every_schedule_comes_to_rest_with_superset_as_wanted() {
    let seeds = match std::env::var("SETKEEPER_SEED") {
        Ok(seed) => vec![seed.parse().expect("SETKEEPER_SEED is a number")],
        Err(_) => {
            (0..std::env::var("SETKEEPER_SEEDS").map_or(SEEDS, |seeds| seeds.parse().expect("a number"))).collect::<Vec<u64>>()
        }
    };
    let mut deletions = 0;
    for seed in &seeds {
        let run = std::panic::catch_unwind(|| Schedule::new(*seed).run());
        let Ok(deleted) = run else { panic!("schedule failed; run it alone with SETKEEPER_SEED={seed}") };
        deletions += deleted;
    }
    assert!(deletions > 0 || seeds.len() == 1, "what is never deleted proves nothing of deletions");
}

/// One connection as the simulated Superset has it.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    uuid: Uuid,
    name: String,
    timeout: i64,
    mark: Option<Mark>,
    changed: u64,
}

/// A Superset that only answers.
#[derive(Default)]
struct Superset {
    rows: BTreeMap<i64, Row>,
    next_id: i64,
    clock: u64,
    is_down: bool,
    created: BTreeMap<Uuid, u32>,
    foreign: BTreeMap<i64, Row>,
}

impl Superset {
    fn list(&self) -> Vec<Connection> {
        let connection = |(id, row): (&i64, &Row)| Connection {
            id: *id,
            uuid: row.uuid,
            database_name: row.name.clone(),
            changed_on: row.changed.to_string(),
            mark: row.mark.clone(),
        };
        self.rows.iter().map(connection).collect()
    }

    fn look(&self, id: i64) -> Result<Stored, Fault> {
        let row = self.rows.get(&id).ok_or_else(|| fault(FaultKind::Refused))?;
        let mark = row.mark.as_ref().map_or(json!({}), |mark| json!({ MARK: mark.json() }));
        let fields = [
            ("database_name", json!(row.name)),
            ("uuid", json!(row.uuid)),
            ("cache_timeout", json!(row.timeout)),
            ("extra", mark),
        ];
        Ok(Stored { fields: fields.map(|(name, value)| (name.to_owned(), value)).into() })
    }

    fn apply(&mut self, step: &Step) -> Result<i64, Fault> {
        self.clock += 1;
        match step {
            Step::Create { request } => {
                let row = self.row(request, None);
                if self.rows.values().any(|other| other.uuid == row.uuid || other.name == row.name) {
                    return Err(fault(FaultKind::Conflict));
                }
                self.next_id += 1;
                *self.created.entry(row.uuid).or_default() += 1;
                self.rows.insert(self.next_id, row);
                Ok(self.next_id)
            }
            Step::Update { id, request, .. } | Step::Adopt { id, request } => {
                let before = self.rows.get(id).cloned().ok_or_else(|| fault(FaultKind::Refused))?;
                let row = self.row(request, Some(&before));
                if self.rows.iter().any(|(other, there)| other != id && there.name == row.name) {
                    return Err(fault(FaultKind::Conflict));
                }
                self.rows.insert(*id, row);
                Ok(*id)
            }
            Step::Delete { id, .. } => {
                assert!(!self.foreign.contains_key(id), "law 8: a foreign connection was deleted");
                self.rows.remove(id);
                Ok(*id)
            }
        }
    }

    fn carry_out(&mut self, job: Job) -> Outcome {
        match job {
            Job::List => Outcome::Listed(Ok(self.list())),
            Job::Look { name, id } => Outcome::Looked { name, id, result: self.look(id) },
            Job::Push { name, step, wanted, .. } => {
                let result = self.apply(&step);
                Outcome::Pushed { name, step, wanted, result }
            }
        }
    }

    fn row(&self, request: &Request, before: Option<&Row>) -> Row {
        let text = |name: &str| request.open.get(name).and_then(|value| value.as_str().map(str::to_owned));
        let mark = request.open.get("extra").map(|extra| {
            let extra = extra.as_str().map_or_else(|| extra.clone(), |text| serde_json::from_str(text).unwrap());
            Mark::of(&extra).unwrap()
        });
        Row {
            uuid: text("uuid").map_or_else(|| before.unwrap().uuid, |uuid| uuid.parse().unwrap()),
            name: text("database_name").unwrap_or_else(|| before.unwrap().name.clone()),
            timeout: request
                .open
                .get("cache_timeout")
                .and_then(serde_json::Value::as_i64)
                .unwrap_or_else(|| before.unwrap().timeout),
            mark: mark.or_else(|| before.unwrap().mark.clone()),
            changed: self.clock,
        }
    }
}

struct Schedule {
    rng: StdRng,
    now: Instant,
    superset: Superset,
    wanted: BTreeMap<DatasourceName, Arc<Wanted>>,
    rules: Rules,
    ledger: Ledger,
    /// Jobs under way, each with its outcome once Superset has carried it out: an answer may travel long after that.
    running: Vec<(Job, Option<Outcome>)>,
    /// Whether a write of an earlier leader arrived in this term: only then may a connection be there that nobody observed.
    had_stray: bool,
    deletions: u32,
    /// Writes of a leader that lost its role: they still arrive, at any time before the call's deadline.
    stray: Vec<(Instant, Step)>,
}

impl Schedule {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let now = Instant::now();
        let rules = rules(rng.random_bool(0.7));
        let superset = Superset::default();
        let ledger = Ledger::open(rules.clone(), now);
        let mut schedule = Self {
            rng,
            now,
            superset,
            wanted: BTreeMap::new(),
            rules,
            ledger,
            running: Vec::new(),
            had_stray: false,
            deletions: 0,
            stray: Vec::new(),
        };
        schedule.plant_foreign();
        schedule.publish();
        schedule
    }

    /// A connection that people made, under the name of one of our datasources.
    fn plant_foreign(&mut self) {
        if self.rng.random_bool(0.5) {
            let row = Row { uuid: Uuid::from_u128(1), name: "Name of f".to_owned(), timeout: 1, mark: None, changed: 0 };
            self.superset.rows.insert(1_000, row.clone());
            self.superset.foreign.insert(1_000, row);
        }
    }

    /// Says how many deletions were begun.
    fn run(mut self) -> u32 {
        for _ in 0..self.rng.random_range(20..120) {
            self.disturb();
            self.turn();
        }
        self.superset.is_down = false;
        self.ledger.pause(false);
        self.come_to_rest();
        self.assert_as_wanted();
        self.assert_quiet();
        self.deletions
    }

    /// Something happens outside.
    fn disturb(&mut self) {
        match self.rng.random_range(0..100) {
            0..15 => self.publish(),
            15..22 => self.superset.is_down = !self.superset.is_down,
            22..30 => self.edit_by_hand(),
            30..34 => self.another_leader(),
            34..38 => self.ledger.pause(true),
            38..44 => self.ledger.pause(false),
            44..66 => self.now += Duration::from_millis(self.rng.random_range(1..20_000)),
            _ => {}
        }
        let now = self.now;
        let (due, later) = std::mem::take(&mut self.stray).into_iter().partition(|(at, _)| *at <= now);
        self.stray = later;
        for (_, step) in due {
            self.had_stray = true;
            drop(self.superset.apply(&step));
        }
    }

    /// The tree changes: some datasources come, some go, some change.
    fn publish(&mut self) {
        self.wanted.clear();
        for name in NAMES {
            if self.rng.random_bool(0.7) {
                let wanted = wanted(name, self.rng.random_range(0..3));
                self.wanted.insert(DatasourceName::new(name), Arc::new(wanted));
            }
        }
        self.ledger.want(self.wanted.clone(), BTreeMap::new());
    }

    fn edit_by_hand(&mut self) {
        self.superset.clock += 1;
        let clock = self.superset.clock;
        let ours: Vec<_> = self.superset.rows.keys().filter(|id| !self.superset.foreign.contains_key(id)).copied().collect();
        if ours.is_empty() {
            return;
        }
        let id = ours[self.rng.random_range(0..ours.len())];
        if self.rng.random_bool(0.3) {
            self.superset.rows.remove(&id);
        } else if let Some(row) = self.superset.rows.get_mut(&id) {
            (row.timeout, row.changed) = (99, clock);
        }
    }

    /// The role moves: the old leader's calls under way may still arrive; the new one knows nothing.
    fn another_leader(&mut self) {
        self.had_stray = false;
        for (job, outcome) in std::mem::take(&mut self.running) {
            if let Job::Push { step, .. } = job
                && outcome.is_none()
                && self.rng.random_bool(0.5)
            {
                let late = self.now + self.rules.call_deadline.mul_f64(self.rng.random_range(0.0..0.9));
                self.stray.push((late, step));
            }
        }
        self.ledger = Ledger::open(self.rules.clone(), self.now);
        self.ledger.want(self.wanted.clone(), BTreeMap::new());
    }

    /// Begins what can be begun, and ends some of what runs, in any order.
    fn turn(&mut self) {
        while self.running.len() < 4 {
            let Some(job) = self.ledger.next(self.now) else { break };
            self.assert_not_running_twice(&job);
            self.assert_deleted_last(&job);
            self.running.push((job, None));
        }
        if self.running.is_empty() {
            return;
        }
        let index = self.rng.random_range(0..self.running.len());
        match self.running[index].1.take() {
            None => self.running[index].1 = Some(self.carry_out(self.running[index].0.clone())),
            Some(outcome) => {
                self.running.remove(index);
                self.ledger.record(outcome, self.now);
            }
        }
    }

    /// What Superset does not know of us cannot be there: whoever creates what exists has not observed.
    fn assert_observed(&self, step: &Step) {
        let Step::Create { request } = step else { return };
        let exists = self.superset.rows.values().any(|row| request.open["uuid"] == json!(row.uuid));
        assert!(!exists || self.had_stray, "law 7: created again what is already there: {request:?}");
    }

    fn assert_not_running_twice(&self, job: &Job) {
        let name = |job: &Job| match job {
            Job::Push { name, .. } | Job::Look { name, .. } => Some(name.clone()),
            Job::List => None,
        };
        let twice = name(job).is_some_and(|new| self.running.iter().any(|(running, _)| name(running) == Some(new.clone())));
        assert!(!twice, "two jobs for one datasource at once: {job:?}");
    }

    /// A deletion begins once everything that could be written has been, and by itself.
    fn assert_deleted_last(&mut self, job: &Job) {
        let Job::Push { name, step: Step::Delete { .. }, .. } = job else { return };
        self.deletions += 1;
        assert!(!self.wanted.contains_key(name), "{name} is deleted although it is wanted again");
        assert!(self.running.is_empty(), "law 5: deleted while others are under way: {:?}", self.running);
        let next = self.ledger.next(self.now);
        assert!(!matches!(next, Some(Job::Push { .. })), "law 5: deleted before {next:?}");
        if let Some(job) = next {
            self.running.push((job, None));
        }
    }

    fn carry_out(&mut self, job: Job) -> Outcome {
        let chance = self.rng.random_range(0..100);
        let down = self.superset.is_down;
        match job {
            Job::List if down => Outcome::Listed(Err(fault(FaultKind::Superset))),
            Job::List => Outcome::Listed(Ok(self.superset.list())),
            Job::Look { name, id } => {
                let result = if down { Err(fault(FaultKind::Superset)) } else { self.superset.look(id) };
                Outcome::Looked { name, id, result }
            }
            Job::Push { name, step, wanted, .. } => {
                self.assert_observed(&step);
                let result = match chance {
                    _ if down => Err(fault(FaultKind::Superset)),
                    0..8 => Err(fault(FaultKind::Unreachable)),
                    8..11 => Err(fault(FaultKind::Unknown)),
                    11..12 => Err(fault(FaultKind::Silent)),
                    12..18 => {
                        drop(self.superset.apply(&step));
                        Err(fault(if chance < 15 { FaultKind::Unknown } else { FaultKind::Silent }))
                    }
                    _ => self.superset.apply(&step),
                };
                Outcome::Pushed { name, step, wanted, result }
            }
        }
    }

    /// Without any more disturbance, time alone must bring rest.
    fn come_to_rest(&mut self) {
        for _ in 0..5_000 {
            self.disturb_nothing();
            while let Some(job) = self.ledger.next(self.now) {
                self.running.push((job, None));
            }
            let Some((job, outcome)) = self.running.pop() else {
                if self.ledger.is_at_rest() && self.stray.is_empty() && self.settled_for_good() {
                    return;
                }
                self.now = self.ledger.wake_after(self.now).expect("the ledger waits for nothing and is not at rest");
                continue;
            };
            let outcome = outcome.unwrap_or_else(|| self.carry_out_well(job));
            self.ledger.record(outcome, self.now);
        }
        panic!("never came to rest");
    }

    fn disturb_nothing(&mut self) {
        let now = self.now;
        let (due, later) = std::mem::take(&mut self.stray).into_iter().partition::<Vec<_>, _>(|(at, _)| *at <= now);
        self.stray = later;
        for (_, step) in due {
            drop(self.superset.apply(&step));
        }
    }

    /// A stray write or a hand's edit is noticed at the next resync at the latest: go on until Superset is right.
    fn settled_for_good(&self) -> bool {
        self.wrong().is_none()
    }

    fn carry_out_well(&mut self, job: Job) -> Outcome {
        match job {
            Job::List => Outcome::Listed(Ok(self.superset.list())),
            Job::Look { name, id } => Outcome::Looked { name, id, result: self.superset.look(id) },
            Job::Push { name, step, wanted, .. } => {
                let result = self.superset.apply(&step);
                Outcome::Pushed { name, step, wanted, result }
            }
        }
    }

    /// What is not as it should be, if anything.
    fn wrong(&self) -> Option<String> {
        for (name, wanted) in &self.wanted {
            let taken = self.superset.foreign.values().any(|row| row.name == wanted.database_name);
            let rows: Vec<_> = self.superset.rows.values().filter(|row| row.uuid == wanted.uuid).collect();
            match rows.as_slice() {
                [] if taken => {}
                [row] => {
                    let timeout = wanted.request.open["cache_timeout"].as_i64();
                    if timeout != Some(row.timeout) || row.mark.as_ref().map(|mark| &mark.digest) != Some(&wanted.request.digest)
                    {
                        return Some(format!("{name} differs: {row:?}"));
                    }
                }
                rows => return Some(format!("{name} has {} connections", rows.len())),
            }
        }
        let known: BTreeSet<_> = self.wanted.values().map(|wanted| wanted.uuid).collect();
        let orphan = |id: &i64, row: &Row| !self.superset.foreign.contains_key(id) && !known.contains(&row.uuid);
        let orphans = self.superset.rows.iter().filter(|(id, row)| orphan(id, row)).count();
        (self.rules.pruning.prune && orphans > 0).then(|| format!("{orphans} orphans are left"))
    }

    fn assert_as_wanted(&self) {
        assert_eq!(self.wrong(), None);
        for (id, row) in &self.superset.foreign {
            assert_eq!(self.superset.rows.get(id), Some(row), "law 8: a foreign connection was touched");
        }
        for (name, fate) in self.ledger.fates() {
            let taken = self.superset.foreign.values().any(|row| row.name == format!("Name of {name}"));
            let expected: &[_] = match self.wanted.get(&name) {
                Some(_) if taken => &[DatasourceState::Conflict],
                Some(_) => &[DatasourceState::InSync],
                None => &[DatasourceState::Orphaned],
            };
            assert!(expected.contains(&fate.state), "{name}: {fate:?}");
        }
    }

    /// Law 3: with nothing disturbed, the next resyncs write nothing.
    fn assert_quiet(&mut self) {
        let before = self.superset.rows.clone();
        for _ in 0..30 {
            self.now += self.rules.resync;
            while let Some(job) = self.ledger.next(self.now) {
                assert!(!matches!(job, Job::Push { .. }), "a push although nothing changed: {job:?}");
                let outcome = self.carry_out_well(job);
                self.ledger.record(outcome, self.now);
            }
        }
        assert_eq!(self.superset.rows, before);
    }
}

#[test]
fn law_7_a_new_leader_deletes_nothing_until_a_call_of_its_predecessor_is_over_and_it_has_looked_again() {
    let both = || ["a", "b"].map(|name| (DatasourceName::new(name), Arc::new(wanted(name, 1)))).into_iter().collect();
    let (mut superset, begin) = (Superset::default(), Instant::now());
    let mut predecessor = Ledger::open(rules(true), begin);
    predecessor.want(both(), BTreeMap::new());
    while let Some(job) = predecessor.next(begin) {
        predecessor.record(superset.carry_out(job), begin);
    }
    assert_eq!(superset.rows.len(), 2);

    let mut ledger = Ledger::open(rules(true), begin);
    ledger.want([(DatasourceName::new("a"), Arc::new(wanted("a", 1)))].into(), BTreeMap::new());
    let (mut listed, mut deleted) = (Vec::new(), Vec::new());
    for passed in (0..400).map(|tenths| Duration::from_millis(100) * tenths) {
        while let Some(job) = ledger.next(begin + passed) {
            match &job {
                Job::List => listed.push(passed),
                Job::Push { step: Step::Delete { .. }, .. } => deleted.push(passed),
                Job::Look { .. } => {}
                Job::Push { .. } => panic!("{job:?}"),
            }
            ledger.record(superset.carry_out(job), begin + passed);
        }
    }
    let deadline = rules(true).call_deadline;
    assert!(listed[0] < deadline && deleted.len() == 1, "{listed:?} {deleted:?}");
    assert!(deleted[0] >= deadline, "deleted after {:?}", deleted[0]);
    assert!(listed.iter().any(|at| (deadline..=deleted[0]).contains(at)), "it did not look again: {listed:?}");
    assert_eq!(superset.rows.len(), 1);
}

#[test]
fn law_11_what_superset_takes_and_does_not_keep_is_pushed_ever_more_rarely() {
    let begin = Instant::now();
    let one = wanted("a", 1);
    let foreign_mark = Connection {
        id: 7,
        uuid: one.uuid,
        database_name: one.database_name.clone(),
        changed_on: "always another".to_owned(),
        mark: None,
    };
    for shown in [Vec::new(), vec![foreign_mark]] {
        let mut ledger = Ledger::open(rules(false), begin);
        ledger.want([(DatasourceName::new("a"), Arc::new(one.clone()))].into(), BTreeMap::new());
        let mut pushes = Vec::new();
        // An hour in steps of a tenth of a second.
        for now in (0..36_000).map(|tenths| begin + Duration::from_millis(100) * tenths) {
            // A loop that never rests would be endless here.
            for _ in 0..10 {
                let Some(job) = ledger.next(now) else { break };
                let outcome = match job {
                    Job::List => Outcome::Listed(Ok(shown.clone())),
                    Job::Look { name, id } => Outcome::Looked { name, id, result: Ok(Stored { fields: BTreeMap::new() }) },
                    Job::Push { name, step, wanted, .. } => {
                        pushes.push(now);
                        Outcome::Pushed { name, step, wanted, result: Ok(7) }
                    }
                };
                ledger.record(outcome, now);
            }
        }
        assert!((10..30).contains(&pushes.len()), "{} pushes in an hour", pushes.len());
        let fate = &ledger.fates()[&DatasourceName::new("a")];
        assert_eq!(fate.state, DatasourceState::Failed);
        assert!(fate.error.as_ref().unwrap().starts_with("superset took the connection and "), "{fate:?}");
        // What somebody changes is tried at once.
        ledger.want([(DatasourceName::new("a"), Arc::new(wanted("a", 2)))].into(), BTreeMap::new());
        assert!(ledger.next(*pushes.last().unwrap()).is_some());
    }
}

#[test]
fn what_superset_stored_although_it_refused_it_is_in_sync_and_says_so() {
    let now = Instant::now();
    let (name, one) = (DatasourceName::new("a"), wanted("a", 1));
    let mut ledger = Ledger::open(rules(false), now);
    ledger.want([(name.clone(), Arc::new(one.clone()))].into(), BTreeMap::new());
    assert_eq!(ledger.next(now), Some(Job::List));
    ledger.record(Outcome::Listed(Ok(Vec::new())), now);
    let Some(Job::Push { step, wanted, .. }) = ledger.next(now) else { panic!("nothing is pushed") };
    let refused = Outcome::Pushed { name: name.clone(), step, wanted, result: Err(fault(FaultKind::Refused)) };
    ledger.record(refused, now);
    assert_eq!(ledger.fates()[&name].state, DatasourceState::Failed);

    let mark = Some(Mark { name: "a".to_owned(), digest: one.request.digest.clone() });
    let stored = Connection { id: 7, uuid: one.uuid, database_name: one.database_name, changed_on: "1".to_owned(), mark };
    let later = now + Duration::from_secs(3_600);
    for _ in 0..3 {
        match ledger.next(later) {
            Some(Job::List) => ledger.record(Outcome::Listed(Ok(vec![stored.clone()])), later),
            Some(Job::Look { name, id }) => {
                let extra = json!({ MARK: stored.mark.as_ref().unwrap().json() });
                let fields = one.request.open.iter().map(|(field, value)| (field.clone(), value.clone()));
                let fields = fields.chain([("extra".to_owned(), extra)]).collect();
                ledger.record(Outcome::Looked { name, id, result: Ok(Stored { fields }) }, later);
            }
            other => assert_eq!(other, None),
        }
    }
    let fate = &ledger.fates()[&name];
    assert_eq!((fate.state, fate.database_id), (DatasourceState::InSync, Some(7)), "{fate:?}");
    assert!(fate.error.as_ref().unwrap().starts_with("superset has it as wanted, and said: "), "{fate:?}");
}

#[test]
fn datasources_that_change_names_with_each_other_come_to_rest() {
    let named = |names: [(&str, &str); 4], digest: i64| {
        let entry = |(name, database_name): (&str, &str)| {
            let mut wanted = wanted(name, digest);
            wanted.database_name = database_name.to_owned();
            wanted.request.open.insert("database_name".to_owned(), json!(database_name));
            (DatasourceName::new(name), Arc::new(wanted))
        };
        names.map(entry).into_iter().collect::<BTreeMap<_, _>>()
    };
    let mut superset = Superset::default();
    let mut now = Instant::now();
    let mut ledger = Ledger::open(rules(false), now);
    let first = [("a", "one"), ("b", "two"), ("c", "three"), ("d", "four")];
    // A circle of three, and one that waits for a name which nobody waits to give up.
    let second = [("a", "two"), ("b", "three"), ("c", "one"), ("d", "five")];
    for (digest, names) in [(1, first), (2, second), (3, first)] {
        ledger.want(named(names, digest), BTreeMap::new());
        for _ in 0..200 {
            let Some(job) = ledger.next(now) else {
                now += Duration::from_millis(100);
                continue;
            };
            ledger.record(superset.carry_out(job), now);
        }
        assert!(ledger.is_at_rest());
        for (name, database_name) in names {
            let uuid = DatasourceName::new(name).uuid(CLUSTER);
            let row = superset.rows.values().find(|row| row.uuid == uuid).unwrap();
            assert_eq!((&*row.name, row.mark.as_ref().unwrap().digest.clone()), (database_name, format!("digest-{digest}")));
        }
    }
    assert!(superset.created.values().all(|times| *times == 1));
}

fn rules(prune: bool) -> Rules {
    Rules {
        cluster: CLUSTER.to_owned(),
        pruning: Pruning { prune, max_delete: 0.5 },
        resync: Duration::from_secs(300),
        call_deadline: Duration::from_secs(30),
    }
}

fn wanted(name: &str, timeout: i64) -> Wanted {
    let name = DatasourceName::new(name);
    let uuid = name.uuid(CLUSTER);
    let database_name = format!("Name of {name}");
    let digest = format!("digest-{timeout}");
    let mark = Mark { name: name.as_str().to_owned(), digest: digest.clone() };
    let open = [
        ("cache_timeout", json!(timeout)),
        ("database_name", json!(database_name)),
        ("extra", json!(json!({ MARK: mark.json() }).to_string())),
        ("uuid", json!(uuid)),
    ];
    let request = Request { open: open.map(|(name, value)| (name.to_owned(), value)).into(), digest, ..Request::default() };
    Wanted { uuid, database_name, adopt: false, server: None, request }
}

fn fault(kind: FaultKind) -> Fault {
    Fault { kind, message: format!("{kind:?}") }
}
