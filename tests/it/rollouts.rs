//! Thousands of seeded schedules of a rollout on a simulated cluster.
//!
//! The clock, ZooKeeper's slots and quarantine, hosts, their Supersets and everything that can happen to them are simulated; each
//! host's course, the choice of the release and the rule of its completion are the real ones. Asserted all the time: never more reloads than slots, nothing
//! unproven on the live path, nothing quarantined begun; at the end: rest, with every healthy host on what it should run,
//! whatever became of the sick ones. A failing seed is printed; `SETKEEPER_SEED=n` runs that one alone, `SETKEEPER_SEEDS=n` so many.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use setkeeper::model::digest::{Release, Revision};
use setkeeper::model::instance::{Instance, InstanceId, Role, State, SupersetSeen, Version};
use setkeeper::model::rollout::{Quarantined, Rollout, is_completed};
use setkeeper::model::slot::{self, Boot};
use setkeeper::rollout::course::Course;
use setkeeper::rollout::job::{Canaries, Due, Job, Leave, Outcome, Place, ReloadFailed, Rules, Suspect, Target, Verdict, View};
use setkeeper::rollout::journal::Journal;
use setkeeper::rollout::target::{Choice, Goal, choose, choose_at_start};
use setkeeper::zookeeper::slots::judge::{Holder, Memory, Move, Seeker, Seen as SlotSeen};

const SEEDS: u64 = 2_000;
const RELOAD_LIMIT: Duration = Duration::from_secs(180);
const VERIFY_LIMIT: Duration = Duration::from_secs(90);
const LEASE: Duration = Duration::from_secs(360);
const REWRITE: Duration = Duration::from_secs(10);
const BY_HAND: &str = "edited by hand";

#[test]
fn laws_1_4_5_6_every_schedule_of_a_rollout_comes_to_rest_and_harms_nobody() {
    let seeds: Vec<u64> = match std::env::var("SETKEEPER_SEED") {
        Ok(seed) => vec![seed.parse().expect("SETKEEPER_SEED is a number")],
        Err(_) => (0..std::env::var("SETKEEPER_SEEDS").map_or(SEEDS, |seeds| seeds.parse().expect("a number"))).collect(),
    };
    let mut seen = Seen::default();
    for seed in &seeds {
        let run = std::panic::catch_unwind(|| Cluster::new(*seed).run());
        let Ok(counted) = run else { panic!("schedule failed; run it alone with SETKEEPER_SEED={seed}") };
        seen.add(counted);
    }
    if seeds.len() > 100 {
        assert!(seen.all_happened(), "what never happens proves nothing: {seen:?}");
    }
}

/// How often what matters happened.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    arrived: u32,
    invalid: u32,
    rolled_back: u32,
    quarantined: u32,
    crashed_amid: u32,
    taken_over: u32,
    sick: u32,
    started: u32,
    back_alone: u32,
    completed_beside_held: u32,
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.arrived += other.arrived;
        self.invalid += other.invalid;
        self.rolled_back += other.rolled_back;
        self.quarantined += other.quarantined;
        self.crashed_amid += other.crashed_amid;
        self.taken_over += other.taken_over;
        self.sick += other.sick;
        self.started += other.started;
        self.back_alone += other.back_alone;
        self.completed_beside_held += other.completed_beside_held;
    }

    fn all_happened(&self) -> bool {
        let Self {
            arrived,
            invalid,
            rolled_back,
            quarantined,
            crashed_amid,
            taken_over,
            sick,
            started,
            back_alone,
            completed_beside_held,
        } = *self;
        let all = [arrived, invalid, rolled_back, quarantined, crashed_amid, taken_over, sick, started, back_alone];
        all.into_iter().chain([completed_beside_held]).all(|count| count > 0)
    }
}

/// What a published tree is like.
#[derive(Clone, Debug)]
struct Tree {
    release: Release,
    /// Whether each label resolves to a revision of its own.
    is_mixed: bool,
    is_invalid: bool,
    is_broken: bool,
}

impl Tree {
    fn goal(&self, label: &str) -> Goal {
        let revision = if self.is_mixed { format!("{}-{label}", self.release) } else { format!("{}-all", self.release) };
        Goal { release: self.release.clone(), revision: Revision::new(revision) }
    }
}

/// One znode below `slots`.
#[derive(Clone, Debug)]
struct Slot {
    owner: usize,
    version: u64,
}

struct Host {
    label: &'static str,
    rules: Rules,
    target: Target,
    course: Option<Course>,
    journal: Journal,
    back_at: Instant,
    frozen_until: Instant,
    connected: bool,
    sick: bool,
    confused: u32,
    disk: Option<Revision>,
    superset: Option<Revision>,
    job: Option<Running>,
    slot: Option<(usize, Instant)>,
    /// Since when it has seen the slots as they are.
    memory: Memory,
    rollout: Rollout,
}

impl Host {
    fn checks(&self) -> bool {
        self.rules.proof == Due::Always
    }
}

struct Running {
    job: Job,
    done_at: Instant,
    /// Whether nobody else could have had the slot while it lasts.
    leased: bool,
}

fn id(index: usize) -> InstanceId {
    InstanceId::parse(&format!("host-{index}")).unwrap()
}

/// A slot as somebody reads it.
fn seen(number: usize, slot: Option<&Slot>) -> SlotSeen {
    let known =
        |slot: &Slot| slot::Slot { instance: id(slot.owner), boot: Boot::new(0), revision: Revision::new("r"), lease: LEASE };
    SlotSeen {
        number: u32::try_from(number).unwrap(),
        holder: slot.map_or(Holder::Nobody, |slot| Holder::Known(known(slot))),
        version: 0,
        mark: slot.map_or(-1, |slot| i64::try_from(slot.version).unwrap()),
    }
}

struct Cluster {
    rng: StdRng,
    now: Instant,
    hosts: Vec<Host>,
    slots: Vec<Option<Slot>>,
    versions: u64,
    trees: Vec<Tree>,
    published: usize,
    completed: Option<usize>,
    rollout: Rollout,
    paused: bool,
    calm: bool,
    seen: Seen,
}

impl Cluster {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let now = Instant::now();
        let good = Tree { release: Release::new("r0"), is_mixed: false, is_invalid: false, is_broken: false };
        let has_canary = rng.random_bool(0.3);
        let first = good.goal("web");
        let count = rng.random_range(1..=4);
        let hosts = (0..count).map(|index| {
            let place = if has_canary && index == 0 { Place::Canary } else { Place::InTurn };
            let rules = Rules {
                proof: if rng.random_bool(0.9) { Due::Always } else { Due::Never },
                place,
                settle: Duration::from_secs(2),
                soak: Duration::from_secs(5),
                canary_wait: Duration::from_secs(120),
                reload_limit: RELOAD_LIMIT,
                verify_limit: VERIFY_LIMIT,
                alone_after: Duration::from_secs(15),
                ask_every: Duration::from_secs(3),
                jitter: rng.random_range(0.8..1.2),
            };
            let target = match rng.random_range(0..10) {
                0 => Target::Nobody,
                1 => Target::Unstarted,
                _ => Target::Running,
            };
            // A newcomer has nothing.
            let revision = (target != Target::Unstarted).then(|| first.revision.clone());
            let journal = Journal { live: revision.clone(), good: revision.clone(), refused: BTreeMap::new() };
            Host {
                label: if index % 2 == 0 { "web" } else { "worker" },
                course: Some(Course::resume(rules.clone(), journal.clone())),
                rules,
                target,
                journal,
                back_at: now,
                frozen_until: now,
                connected: true,
                sick: false,
                confused: 0,
                disk: revision.clone(),
                superset: revision,
                job: None,
                slot: None,
                memory: Memory::default(),
                rollout: Rollout::default(),
            }
        });
        let hosts = hosts.collect();
        let slots = vec![None; rng.random_range(1..=2)];
        Self {
            rng,
            now,
            hosts,
            slots,
            versions: 0,
            trees: vec![good],
            published: 0,
            completed: Some(0),
            rollout: Rollout { completed: Some(Release::new("r0")), ..Rollout::default() },
            paused: false,
            calm: false,
            seen: Seen::default(),
        }
    }

    fn run(mut self) -> Seen {
        for _ in 0..self.rng.random_range(100..700) {
            self.disturb();
            self.tick();
        }
        self.calm_down();
        for turn in 0..20_000 {
            self.tick();
            if turn > 300 && turn % 50 == 0 && self.is_at_rest() {
                break;
            }
        }
        self.assert_as_wanted();
        self.seen
    }

    fn disturb(&mut self) {
        let index = self.rng.random_range(0..self.hosts.len());
        let now = self.now;
        let long = Duration::from_secs(self.rng.random_range(1..600));
        match self.rng.random_range(0..1_000) {
            0..25 => self.publish(),
            25..35 => self.crash(index, long / 10),
            35..40 => self.hosts[index].frozen_until = now + long,
            40..52 => self.hosts[index].connected ^= true,
            52..56 => self.hosts[index].sick ^= true,
            56..60 => self.hosts[index].confused = self.rng.random_range(1..4),
            60..64 => self.paused ^= true,
            64..67 => self.rollout.quarantine.clear(),
            67..70 => {
                self.hosts[index].disk = Some(Revision::new(BY_HAND));
            }
            _ => {}
        }
    }

    fn publish(&mut self) {
        if self.rng.random_bool(0.2) {
            self.published = self.rng.random_range(0..self.trees.len());
            return;
        }
        let tree = Tree {
            release: Release::new(format!("r{}", self.trees.len())),
            is_mixed: self.rng.random_bool(0.4),
            is_invalid: self.rng.random_bool(0.2),
            is_broken: self.rng.random_bool(0.2),
        };
        self.trees.push(tree);
        self.published = self.trees.len() - 1;
    }

    /// The agent is gone; what it had begun outside may or may not have happened.
    fn crash(&mut self, index: usize, away: Duration) {
        let happened = self.rng.random_bool(0.5);
        let back_at = self.now + away;
        let host = &mut self.hosts[index];
        if host.course.take().is_none() {
            return;
        }
        host.back_at = back_at;
        host.slot = None;
        host.memory = Memory::default();
        if let Some(running) = host.job.take() {
            self.seen.crashed_amid += 1;
            if happened {
                self.happen(index, &running.job);
            }
        }
    }

    fn calm_down(&mut self) {
        self.calm = true;
        self.paused = false;
        for host in &mut self.hosts {
            host.connected = true;
            host.frozen_until = self.now;
            host.back_at = host.back_at.min(self.now + Duration::from_secs(30));
            host.confused = 0;
        }
        // Whoever is sick stays so, as long as one is not.
        if self.hosts.iter().all(|host| host.sick) {
            self.hosts[0].sick = false;
        }
    }

    fn tick(&mut self) {
        self.now += Duration::from_millis(self.rng.random_range(100..4_000));
        for index in 0..self.hosts.len() {
            self.step(index);
        }
        self.complete();
    }

    fn step(&mut self, index: usize) {
        let now = self.now;
        if self.hosts[index].course.is_none() {
            if self.hosts[index].back_at > now {
                return;
            }
            let host = &mut self.hosts[index];
            host.course = Some(Course::resume(host.rules.clone(), host.journal.clone()));
            if host.disk != host.journal.live {
                host.course.iter_mut().for_each(Course::doubt_files);
            }
        }
        if self.hosts[index].frozen_until > now {
            return;
        }
        if self.hosts[index].connected {
            self.look(index);
        }
        self.finish(index);
        self.resync(index);
        self.begin(index);
    }

    /// Now and then the files are looked at although nothing happened.
    fn resync(&mut self, index: usize) {
        let is_due = self.rng.random_bool(0.03);
        let host = &mut self.hosts[index];
        if is_due && host.job.is_none() && host.disk.as_ref().is_some_and(|disk| disk.as_str() == BY_HAND) {
            host.course.iter_mut().for_each(Course::doubt_files);
        }
    }

    /// What a connected host reads and rewrites: the quarantine, the others' slots, its own.
    fn look(&mut self, index: usize) {
        let now = self.now;
        let host = &mut self.hosts[index];
        host.rollout.clone_from(&self.rollout);
        if let Some(course) = &mut host.course {
            course.follow_quarantine(&self.rollout);
        }
        let Some((number, acknowledged)) = host.slot else { return };
        match &mut self.slots[number] {
            Some(slot) if slot.owner == index => {
                if now >= acknowledged + REWRITE {
                    self.versions += 1;
                    slot.version = self.versions;
                    host.slot = Some((number, now));
                    host.course.iter_mut().for_each(|course| course.lease(Some(now + LEASE)));
                }
            }
            _ => {
                host.slot = None;
                host.course.iter_mut().for_each(|course| course.lease(None));
            }
        }
    }

    fn finish(&mut self, index: usize) {
        let now = self.now;
        let Some(running) = self.hosts[index].job.take_if(|running| running.done_at <= now) else { return };
        let outcome = self.happen(index, &running.job);
        let host = &mut self.hosts[index];
        let Some(course) = &mut host.course else { return };
        course.record(outcome, now);
        host.journal.clone_from(course.journal());
    }

    fn tree_of(&self, revision: &Revision) -> Tree {
        let release = revision.as_str().split('-').next().unwrap_or_default();
        self.trees.iter().find(|tree| tree.release.as_str() == release).expect("only what was published is carried out").clone()
    }

    /// Carries a job out, for good or bad.
    fn happen(&mut self, index: usize, job: &Job) -> Outcome {
        let is_unlucky = !self.calm && self.rng.random_bool(0.05);
        match job {
            Job::Check(Goal { revision, .. }) => {
                let tree = self.tree_of(revision);
                let host = &mut self.hosts[index];
                if host.confused > 0 {
                    host.confused -= 1;
                    return Outcome::Checked(Verdict::Inconclusive("a variable is missing".to_owned()));
                }
                self.seen.invalid += u32::from(tree.is_invalid);
                Outcome::Checked(if tree.is_invalid { Verdict::Invalid("it raises".to_owned()) } else { Verdict::Proven })
            }
            Job::TakeSlot(goal) => Outcome::Slot(self.take_slot(index, goal)),
            Job::Install(revision) => {
                if is_unlucky {
                    return Outcome::Installed(Err("the disk is full".to_owned()));
                }
                self.hosts[index].disk = Some(revision.clone());
                Outcome::Installed(Ok(()))
            }
            // The old gunicorn serves on beside one that never answers.
            Job::Reload(revision) if self.tree_of(revision).is_broken && self.rng.random_bool(0.3) => {
                let failed = ReloadFailed { why: "it is silent".to_owned(), unaffected: true, suspect: Suspect::Either };
                Outcome::Reloaded(Err(failed))
            }
            Job::Reload(_) => {
                let (host, mut started) = (&mut self.hosts[index], 0);
                if is_unlucky {
                    let failed = ReloadFailed { why: "no leave".to_owned(), unaffected: true, suspect: Suspect::Host };
                    return Outcome::Reloaded(Err(failed));
                }
                host.superset.clone_from(&host.disk);
                if host.target == Target::Unstarted {
                    host.target = Target::Running;
                    started += 1;
                }
                self.seen.started += started;
                Outcome::Reloaded(Ok(()))
            }
            Job::Verify(revision) => {
                let is_broken = self.tree_of(revision).is_broken;
                let host = &self.hosts[index];
                self.seen.sick += u32::from(host.sick);
                if host.superset.as_ref() != Some(revision) || is_broken || host.sick {
                    return Outcome::Verified(Err("it answers 500".to_owned()));
                }
                self.seen.arrived += 1;
                Outcome::Verified(Ok(()))
            }
            Job::FreeSlot => {
                let host = &mut self.hosts[index];
                if !host.connected {
                    return Outcome::Freed(false);
                }
                if let Some((number, _)) = host.slot.take()
                    && self.slots[number].as_ref().is_some_and(|slot| slot.owner == index)
                {
                    self.slots[number] = None;
                }
                Outcome::Freed(true)
            }
            Job::Quarantine(bad) => {
                // Others may keep changing the record, each time a moment before.
                if !self.hosts[index].connected || is_unlucky {
                    return Outcome::Told(false);
                }
                self.seen.quarantined += 1;
                let Goal { release, revision } = bad.goal.clone();
                self.rollout.quarantine(Quarantined::new(release, revision, id(index), bad.why.clone()));
                self.hosts[index].rollout.clone_from(&self.rollout);
                Outcome::Told(true)
            }
        }
    }

    fn take_slot(&mut self, index: usize, goal: &Goal) -> Leave {
        let now = self.now;
        if !self.hosts[index].connected {
            return Leave::NotNow;
        }
        let seen: Vec<_> = self.slots.iter().enumerate().map(|(number, slot)| seen(number, slot.as_ref())).collect();
        let me =
            Seeker { instance: id(index), boot: Boot::new(0), count: u32::try_from(self.slots.len()).unwrap(), lease: LEASE };
        let (number, from) = match self.hosts[index].memory.decide(&me, &seen, now) {
            Move::Mine { number, .. } => (number as usize, None),
            Move::Take { number, from, .. } => (number as usize, from),
            Move::Wait { .. } => return Leave::NotNow,
        };
        if !goal.is_back() && self.rollout.bars(&goal.release, Some(&goal.revision)).is_some() {
            return Leave::NotNow;
        }
        self.seen.taken_over += u32::from(from.is_some());
        self.versions += 1;
        self.slots[number] = Some(Slot { owner: index, version: self.versions });
        self.hosts[index].slot = Some((number, now));
        Leave::Until(now + LEASE)
    }

    fn view(&self, index: usize) -> View {
        let goal = self.choice(index).goal().cloned();
        let works = |host: &Host| {
            let is_there = host.course.is_some() && host.connected && host.rules.place == Place::Canary;
            let refused = |goal: &Goal| host.journal.refused.contains_key(&goal.revision);
            is_there && goal.as_ref().is_some_and(|goal| host.journal.good.as_ref() != Some(&goal.revision) && !refused(goal))
        };
        let canaries = match self.hosts.iter().find(|host| works(host)) {
            None => Canaries::Done,
            Some(host) if host.job.is_some() => Canaries::Working,
            Some(_) => Canaries::Awaited,
        };
        View { target: self.hosts[index].target, connected: self.hosts[index].connected, paused: self.paused, canaries }
    }

    fn choice(&self, index: usize) -> Choice {
        let host = &self.hosts[index];
        let is_new = host.target == Target::Unstarted || host.journal.good.is_none();
        let choose = if is_new { choose_at_start } else { choose };
        let published = self.trees[self.published].goal(host.label);
        let completed = self.completed.map(|completed| self.trees[completed].goal(host.label));
        choose(Some(&published), completed.as_ref(), &host.rollout)
    }

    fn begin(&mut self, index: usize) {
        let (now, view, goal) = (self.now, self.view(index), self.choice(index).goal().cloned());
        let host = &mut self.hosts[index];
        let Some(course) = &mut host.course else { return };
        if host.target == Target::Unstarted {
            course.doubt_superset();
        }
        if view.connected {
            course.aim(goal, now);
        }
        let Some(job) = course.next(now, view) else { return };
        host.journal.clone_from(course.journal());
        let takes = match &job {
            Job::Reload(_) => RELOAD_LIMIT,
            Job::Verify(_) => VERIFY_LIMIT,
            _ => Duration::from_secs(5),
        };
        let takes = takes.mul_f64(self.rng.random_range(0.01..1.0));
        let leased = self.slots.iter().flatten().any(|slot| slot.owner == index)
            && self.hosts[index].slot.is_some_and(|(_, acknowledged)| now + takes <= acknowledged + LEASE);
        self.assert_allowed(index, &job, leased);
        self.hosts[index].job = Some(Running { job, done_at: now + takes, leased });
    }

    fn assert_allowed(&mut self, index: usize, job: &Job, leased: bool) {
        let host = &self.hosts[index];
        let is_good = |revision: &Revision| host.journal.good.as_ref() == Some(revision);
        match job {
            Job::Install(revision) => {
                let tree = self.tree_of(revision);
                assert!(!host.checks() || !tree.is_invalid || is_good(revision), "law 4: {revision} is on the live path");
                // Whoever needs no slot begins here; what is live already is only put right.
                if host.target != Target::Running && !is_good(revision) && host.journal.live.as_ref() != Some(revision) {
                    assert!(host.connected, "law 1: begun without ZooKeeper");
                    let is_bad = host.rollout.bars(&tree.release, Some(revision)).is_some();
                    assert!(!is_bad, "law 6: {revision} proved bad and is begun");
                }
                self.seen.rolled_back += u32::from(is_good(revision) && host.journal.live.is_none());
            }
            Job::Reload(revision) => {
                let others = self.hosts.iter().filter_map(|host| host.job.as_ref());
                // That of a frozen agent ends without it.
                let reloads = |running: &&Running| matches!(running.job, Job::Reload(_)) && running.done_at > self.now;
                let reloading = others.filter(reloads).filter(|running| running.leased).count();
                if host.target == Target::Unstarted {
                    return;
                }
                assert!(!leased || reloading < self.slots.len(), "law 5: {} reload at once", reloading + 1);
                assert!(leased || is_good(revision), "law 5: {revision} is loaded without a slot");
                self.seen.back_alone += u32::from(!host.connected && host.slot.is_none());
            }
            Job::TakeSlot(goal) => {
                assert!(host.connected, "law 1: begun without ZooKeeper");
                let is_bad = host.rollout.bars(&goal.release, Some(&goal.revision)).is_some();
                assert!(!is_bad || is_good(&goal.revision), "law 6: {} proved bad and is begun", goal.revision);
            }
            _ => {}
        }
    }

    /// What any agent writes that runs the published release: it is completed, if the records of the live say so.
    fn complete(&mut self) {
        let release = self.trees[self.published].release.clone();
        let live: Vec<_> = (0..self.hosts.len()).filter_map(|index| self.record(index)).collect();
        if !is_completed(&release, &live) || self.completed == Some(self.published) {
            return;
        }
        let is_held = |instance: &&Instance| instance.state == State::Held;
        if self.rollout.complete(&release) {
            self.completed = Some(self.published);
            self.seen.completed_beside_held += u32::from(live.iter().any(|instance| is_held(&instance)));
        }
    }

    /// A host as the cluster sees it; not at all where its agent is gone.
    fn record(&self, index: usize) -> Option<Instance> {
        let host = &self.hosts[index];
        let (state, error) = host.course.as_ref()?.state(self.view(index));
        let of =
            |revision: &Revision| Version { release: Some(self.tree_of(revision).release), revision: Some(revision.clone()) };
        let applied = host.journal.good.as_ref().filter(|good| host.journal.live.as_ref() == Some(good)).map(of);
        let serves = host.superset.as_ref().filter(|_| host.target == Target::Running && !host.sick);
        Some(Instance {
            id: id(index),
            host: String::new(),
            pid: 1,
            version: String::new(),
            labels: [("role".to_owned(), host.label.to_owned())].into(),
            started_at: String::new(),
            role: Role::Follower,
            state,
            since: String::new(),
            desired: of(&self.trees[self.published].goal(host.label).revision),
            applied: applied.unwrap_or_default(),
            superset: SupersetSeen { healthy: serves.is_some(), ..SupersetSeen::default() },
            error,
        })
    }

    fn is_at_rest(&self) -> bool {
        self.hosts.iter().all(|host| host.sick || host.course.as_ref().is_some_and(Course::is_at_rest))
    }

    fn assert_as_wanted(&self) {
        for (index, host) in self.hosts.iter().enumerate().filter(|(_, host)| !host.sick) {
            let course = host.course.as_ref().expect("it came back");
            assert!(course.is_at_rest(), "host {index} does not come to rest; slots {:?}: {course:#?}", self.slots);
            let Some(goal) = self.choice(index).goal().cloned() else { continue };
            let is_refused = host.journal.refused.contains_key(&goal.revision);
            let wanted = if is_refused { host.journal.good.clone() } else { Some(goal.revision) };
            assert_eq!(host.disk, wanted, "host {index}: {course:#?}");
            assert!(host.target != Target::Running || host.superset == wanted, "host {index}: {course:#?}");
            let tree = self.tree_of(&wanted.expect("something is live"));
            assert!(!host.checks() || !tree.is_invalid, "law 4");
            assert!(host.target != Target::Running || !tree.is_broken, "what does not verify is live");
        }
    }
}
