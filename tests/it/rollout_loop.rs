//! The config loop on a machine and a cluster that live in the test: what it does with a release, and in which order.

use std::collections::BTreeMap;
use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use setkeeper::check::report::{Outcome as Checked, Report};
use setkeeper::desired::lens::Lens;
use setkeeper::desired::resolver::Resolver;
use setkeeper::files::state::LastGood;
use setkeeper::model::digest::{DigestKey, Release, Revision};
use setkeeper::model::instance::{State, SupersetSeen};
use setkeeper::model::pause::Pause;
use setkeeper::model::problem::Problem;
use setkeeper::model::protected::Protected;
use setkeeper::model::snapshot::{Branch, Node, Origin, Snapshot, Tree};
use setkeeper::plan::files::{FileSeen, FileWanted};
use setkeeper::reconcile::config::{Account, ConfigLoop};
use setkeeper::reconcile::resolve::ResolveLoop;
use setkeeper::render::renderer::{Renderer, Sources, Target as Place};
use setkeeper::rollout::job::{Bad, Canaries, Due, Leave, Place as Turn, ReloadFailed, Rules, Target};
use setkeeper::rollout::target::Goal;
use setkeeper::world::{Board, Fault, FaultKind, Host, Proof};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(20);
const FILE: &str = "/superset_config.py";

/// What the test may set and look at; every clone is the same machine.
#[derive(Clone)]
struct Machine {
    disk: watch::Sender<BTreeMap<PathBuf, FileSeen>>,
    /// What Superset has loaded.
    loaded: watch::Sender<Vec<u8>>,
    target: watch::Sender<Target>,
    did: watch::Sender<Vec<String>>,
    /// Texts of which a check finds that they do not load.
    invalid: watch::Sender<Vec<&'static str>>,
    /// Texts with which Superset does not answer well.
    broken: watch::Sender<Vec<&'static str>>,
    /// Whether a check never ends.
    endless: watch::Sender<bool>,
    disk_is_full: watch::Sender<bool>,
    /// Whether the next installation fails although its files lie there by then.
    sync_fails: watch::Sender<bool>,
    /// Whether ZooKeeper is away.
    is_alone: watch::Sender<bool>,
    bad: watch::Sender<Vec<String>>,
    forgotten: watch::Sender<Vec<Revision>>,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            disk: watch::Sender::default(),
            loaded: watch::Sender::default(),
            target: watch::Sender::new(Target::Running),
            did: watch::Sender::default(),
            invalid: watch::Sender::default(),
            broken: watch::Sender::default(),
            endless: watch::Sender::default(),
            disk_is_full: watch::Sender::default(),
            sync_fails: watch::Sender::default(),
            is_alone: watch::Sender::default(),
            bad: watch::Sender::default(),
            forgotten: watch::Sender::default(),
        }
    }
}

fn refused(message: &str) -> Fault {
    Fault { kind: FaultKind::Refused, message: message.to_owned() }
}

impl Machine {
    fn note(&self, what: &str) {
        self.did.send_modify(|did| did.push(what.to_owned()));
    }

    fn did(&self) -> Vec<String> {
        self.did.borrow().clone()
    }

    fn live(&self) -> String {
        self.disk
            .borrow()
            .get(&PathBuf::from(FILE))
            .map(|file| String::from_utf8(file.bytes.clone()).unwrap())
            .unwrap_or_default()
    }

    fn judge(&self, key: &DigestKey, files: &Proof<'_>) -> Report {
        let text = String::from_utf8(files.files[0].bytes.to_vec()).unwrap();
        let bad = self.invalid.borrow().iter().any(|bad| text.contains(bad));
        let secret_key = text.lines().find(|line| line.starts_with("SECRET_KEY")).map(|line| {
            let mut digest = key.digest("protected");
            digest.field(line.as_bytes());
            digest.short()
        });
        let under = secret_key.is_some().then(|| key.digest("key").short());
        Report {
            outcome: if bad { Checked::Invalid } else { Checked::Proven },
            why: "it raises".to_owned(),
            last_lines: vec!["the last line".to_owned()],
            warnings: Vec::new(),
            protected: Protected { under, secret_key, metadata_uri: None },
        }
    }
}

impl Host for Machine {
    fn sources(&self) -> Result<Sources, Vec<Problem>> {
        Ok(Sources::default())
    }

    fn observe(&self, wanted: &[FileWanted]) -> Result<Vec<Option<FileSeen>>, Fault> {
        Ok(wanted.iter().map(|file| self.disk.borrow().get(&file.path).cloned()).collect())
    }

    async fn target(&mut self) -> Target {
        *self.target.borrow()
    }

    async fn save(&self, _: LastGood) -> Result<(), Fault> {
        if *self.disk_is_full.borrow() { Err(refused("no space left")) } else { Ok(()) }
    }

    async fn check(&self, key: &DigestKey, _: &Revision, files: &Proof<'_>) -> Report {
        self.note("check");
        if *self.endless.borrow() {
            pending::<()>().await;
        }
        self.judge(key, files)
    }

    async fn check_anew(&self, key: &DigestKey, files: &Proof<'_>) -> Report {
        self.note("check the last good one");
        self.judge(key, files)
    }

    async fn forget(&self, revision: &Revision) {
        self.forgotten.send_modify(|all| all.push(revision.clone()));
    }

    async fn install(&mut self, files: &[FileWanted]) -> Result<(), Fault> {
        let fails = self.sync_fails.send_replace(false);
        self.note(if fails { "install, and fail" } else { "install" });
        self.disk.send_modify(|disk| {
            for file in files {
                disk.insert(file.path.clone(), FileSeen { mode: file.mode, bytes: file.bytes.to_vec() });
            }
        });
        if fails { Err(refused("read-only file system")) } else { Ok(()) }
    }

    async fn start(&mut self) -> Result<(), Fault> {
        self.note("start");
        self.loaded.send_replace(self.live().into_bytes());
        self.target.send_replace(Target::Running);
        Ok(())
    }

    async fn reload(&mut self, _: &Revision) -> Result<(), ReloadFailed> {
        self.note("reload");
        self.loaded.send_replace(self.live().into_bytes());
        Ok(())
    }

    async fn verify(&mut self, revision: &Revision) -> Result<(), Fault> {
        self.note("verify");
        tokio::time::sleep(Duration::from_millis(50)).await;
        if *self.target.borrow() == Target::Absent {
            return Err(refused("nobody answers"));
        }
        let loaded = String::from_utf8(self.loaded.borrow().clone()).unwrap();
        let is_it = revision.is_unnamed() || loaded.contains(revision.as_str());
        let is_well = !self.broken.borrow().iter().any(|broken| loaded.contains(broken));
        if is_it && is_well { Ok(()) } else { Err(refused("it answers 500")) }
    }
}

/// A cluster of one, in which slots are free.
struct Alone {
    machine: Machine,
    lease: Option<Instant>,
}

impl Board for Alone {
    fn is_shared(&self) -> bool {
        true
    }

    fn connected(&self) -> bool {
        !*self.machine.is_alone.borrow()
    }

    async fn changed(&mut self) {
        pending::<()>().await;
    }

    async fn kept(&self, _: &Release) -> Result<Option<Branch>, Fault> {
        Ok(None)
    }

    async fn canaries(&mut self, _: &Release) -> Result<Canaries, Fault> {
        Ok(Canaries::Done)
    }

    async fn recall(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    async fn take(&mut self, _: &Goal) -> Result<Leave, Fault> {
        self.machine.note("take a slot");
        let until = Instant::now() + Duration::from_secs(60);
        self.lease = Some(until);
        Ok(Leave::Until(until))
    }

    fn lease(&self) -> Option<Instant> {
        self.lease
    }

    async fn free(&mut self) -> Result<(), Fault> {
        self.machine.note("free the slot");
        self.lease = None;
        Ok(())
    }

    async fn quarantine(&self, bad: &Bad) -> Result<(), Fault> {
        self.machine.bad.send_modify(|all| all.push(bad.why.clone()));
        Ok(())
    }

    async fn complete(&self, _: &Release, _: &Branch) -> Result<bool, Fault> {
        Ok(true)
    }
}

/// Both loops while they run.
struct Agent {
    machine: Machine,
    tree: watch::Sender<Option<Tree>>,
    account: watch::Sender<Account>,
    memory: watch::Sender<LastGood>,
    allow_protected: Vec<String>,
    resync: Duration,
    running: Option<(CancellationToken, Vec<JoinHandle<()>>)>,
}

impl Agent {
    fn new() -> Self {
        Self {
            machine: Machine::default(),
            tree: watch::Sender::default(),
            account: watch::Sender::default(),
            memory: watch::Sender::default(),
            allow_protected: Vec::new(),
            resync: Duration::from_millis(300),
            running: None,
        }
    }

    fn start(&mut self) {
        let cancel = CancellationToken::new();
        let (resolved, accepted) = (watch::Sender::default(), watch::Sender::default());
        let superset = watch::Sender::new(SupersetSeen::default());
        let resolve = ResolveLoop {
            tree: self.tree.subscribe(),
            superset: superset.subscribe(),
            resolver: Resolver::new(Lens::default()),
            max_loss: 0.5,
            accepted,
            resolved: resolved.clone(),
        };
        let soon = Duration::from_millis(10);
        let config = ConfigLoop {
            host: self.machine.clone(),
            board: Alone { machine: self.machine.clone(), lease: None },
            renderer: Renderer::new(Place { path: FILE.into(), mode: 0o640 }, BTreeMap::new()),
            lens: Lens::default(),
            rules: Rules {
                proof: Due::Always,
                place: Turn::InTurn,
                settle: soon,
                soak: soon,
                canary_wait: soon,
                reload_limit: Duration::from_secs(10),
                verify_limit: Duration::from_secs(10),
                alone_after: Duration::from_millis(300),
                ask_every: soon,
                jitter: 0.01,
            },
            boot: None,
            allow_protected: self.allow_protected.clone(),
            resync: self.resync,
            resolved: resolved.subscribe(),
            account: self.account.clone(),
            memory: self.memory.clone(),
            heartbeat: watch::Sender::new(Instant::now()),
        };
        let (one, other) = (cancel.clone(), cancel.clone());
        let resolve = tokio::spawn(async move {
            resolve.run(one).await;
            drop(superset);
        });
        self.running = Some((cancel, vec![resolve, tokio::spawn(config.run(other))]));
    }

    async fn stop(&mut self) {
        let (cancel, loops) = self.running.take().unwrap();
        cancel.cancel();
        for one in loops {
            tokio::time::timeout(PATIENCE, one).await.unwrap().unwrap();
        }
    }

    fn publish_with(&self, text: &str, pause: Option<Pause>) {
        self.publish_under(7, text, pause);
    }

    /// Under this key of the cluster.
    fn publish_under(&self, key: u8, text: &str, pause: Option<Pause>) {
        let node = Node::new(Origin::new("/superset/config"), text, 1);
        let config = Branch { root: Some(node), ..Branch::default() };
        let key = Arc::new(DigestKey::from_bytes(&[key; DigestKey::LEN]).unwrap());
        self.tree.send_replace(Some(Tree { key, snapshot: Snapshot { config, ..Snapshot::default() }, pause }));
    }

    fn publish(&self, text: &str) {
        self.publish_with(text, None);
    }

    async fn is(&self, what: &str, wanted: impl FnMut(&Account) -> bool) -> Account {
        let mut account = self.account.subscribe();
        let seen = tokio::time::timeout(PATIENCE, account.wait_for(wanted)).await.map(|seen| seen.unwrap().clone());
        seen.unwrap_or_else(|_| panic!("never {what}: {:#?}\n{:#?}", self.account.borrow(), self.machine.did()))
    }

    async fn runs(&self, line: &str) {
        let has_it = |account: &Account| {
            account.state == State::InSync
                && account.applied == account.desired
                && self.machine.live().lines().any(|own| own == line)
        };
        self.is(line, has_it).await;
        assert_eq!(self.machine.live().into_bytes(), *self.machine.loaded.borrow());
    }

    fn runs_still(&self, line: &str) {
        assert!(self.machine.live().lines().any(|own| own == line));
        assert_eq!(self.machine.live().into_bytes(), *self.machine.loaded.borrow());
    }

    async fn held(&self, why: &str) -> String {
        let is_held =
            |account: &Account| account.state == State::Held && account.error.as_deref().is_some_and(|error| error.contains(why));
        self.is(why, is_held).await.error.unwrap()
    }
}

#[tokio::test]
async fn a_release_goes_its_way_in_order_and_a_restart_changes_nothing() {
    let mut agent = Agent::new();
    agent.start();
    agent.publish("A: 1");
    agent.runs("A = 1").await;
    let freed = |did: &Vec<String>| did.last().is_some_and(|last| last == "free the slot");
    tokio::time::timeout(PATIENCE, agent.machine.did.subscribe().wait_for(freed)).await.unwrap().unwrap();
    let way = ["check", "take a slot", "install", "reload", "verify", "verify", "free the slot"];
    assert_eq!(agent.machine.did(), way);
    agent.stop().await;
    agent.start();
    agent.publish("A: 1");
    agent.runs("A = 1").await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(agent.machine.did(), way, "law 10");
}

#[tokio::test]
async fn law_4_what_does_not_load_is_never_installed_unless_the_last_good_one_does_not_load_either() {
    let mut agent = Agent::new();
    agent.start();
    agent.publish("A: 1");
    agent.runs("A = 1").await;
    agent.machine.invalid.send_replace(vec!["A = 2"]);
    agent.publish("A: 2");
    let error = agent.held("it raises").await;
    assert_eq!(error, "it raises\nthe last line");
    agent.runs_still("A = 1");
    assert_eq!(*agent.machine.bad.borrow(), ["it raises\nthe last line"]);
    // The host is not well: nothing can be said of anybody.
    agent.machine.invalid.send_replace(vec!["A = "]);
    agent.publish("A: 3");
    agent.held("the last good revision does not pass either").await;
    assert_eq!(agent.machine.bad.borrow().len(), 1, "one sick host vetoes nothing");
    agent.machine.invalid.send_replace(Vec::new());
    agent.runs("A = 3").await;
}

#[tokio::test]
async fn law_6_what_does_not_verify_is_taken_back_and_not_tried_again() {
    let mut agent = Agent::new();
    agent.start();
    agent.publish("A: 1");
    agent.runs("A = 1").await;
    agent.machine.broken.send_replace(vec!["A = 2"]);
    agent.publish("A: 2");
    agent.held("it answers 500").await;
    agent.runs_still("A = 1");
    assert_eq!(*agent.machine.bad.borrow(), ["it answers 500"]);
    let reloads = |agent: &Agent| agent.machine.did().iter().filter(|did| *did == "reload").count();
    let before = reloads(&agent);
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(reloads(&agent), before);
    // Nor by the next run.
    agent.stop().await;
    agent.start();
    agent.publish("A: 2");
    agent.held("it answers 500").await;
    assert_eq!(reloads(&agent), before);
    agent.publish("A: 3");
    agent.runs("A = 3").await;
}

#[tokio::test]
async fn files_that_were_there_before_are_brought_back_where_the_first_release_does_not_verify() {
    let mut agent = Agent::new();
    let own = FileSeen { mode: 0o644, bytes: b"MINE = 1\n".to_vec() };
    agent.machine.disk.send_modify(|disk| drop(disk.insert(FILE.into(), own.clone())));
    agent.machine.loaded.send_replace(own.bytes.clone());
    agent.machine.broken.send_replace(vec!["A = 1"]);
    agent.start();
    agent.publish("A: 1");
    let account = agent.held("it answers 500").await;
    assert_eq!(account, "it answers 500");
    assert_eq!(agent.machine.live(), "MINE = 1\n");
    assert_eq!(*agent.machine.loaded.borrow(), own.bytes);
    assert_eq!(agent.account.borrow().applied.revision, None, "it is not ours");
}

#[tokio::test]
async fn a_protected_setting_changes_only_where_that_is_allowed() {
    let mut agent = Agent::new();
    agent.start();
    agent.publish("SECRET_KEY: one");
    agent.runs("SECRET_KEY = \"one\"").await;
    agent.publish("SECRET_KEY: two");
    let error = agent.held("SECRET_KEY would be another one").await;
    assert!(error.contains("rollout.allow_protected") && !error.contains("two"), "{error}");
    agent.runs_still("SECRET_KEY = \"one\"");
    assert!(agent.machine.bad.borrow().is_empty(), "that release may be meant");
    agent.stop().await;
    agent.allow_protected = vec!["SECRET_KEY".to_owned()];
    agent.start();
    agent.publish("SECRET_KEY: two");
    agent.runs("SECRET_KEY = \"two\"").await;
}

#[tokio::test]
async fn nothing_is_reloaded_that_cannot_be_written_down_before() {
    let mut agent = Agent::new();
    agent.start();
    agent.publish("A: 1");
    agent.runs("A = 1").await;
    agent.machine.disk_is_full.send_replace(true);
    agent.publish("A: 2");
    agent.is("it failed", |account| account.error.as_deref().is_some_and(|error| error.contains("no space left"))).await;
    agent.runs_still("A = 1");
    agent.machine.disk_is_full.send_replace(false);
    agent.runs("A = 2").await;
}

#[tokio::test]
async fn a_check_is_given_up_for_a_newer_release_and_when_the_agent_stops() {
    let mut agent = Agent::new();
    agent.start();
    agent.publish("A: 1");
    agent.runs("A = 1").await;
    agent.machine.endless.send_replace(true);
    agent.publish("A: 2");
    agent.is("checking", |account| account.state == State::Checking).await;
    let checks = |did: &Vec<String>| did.iter().filter(|did| *did == "check").count() == 2;
    tokio::time::timeout(PATIENCE, agent.machine.did.subscribe().wait_for(checks)).await.unwrap().unwrap();
    agent.machine.endless.send_replace(false);
    agent.publish("A: 3");
    agent.runs("A = 3").await;
    agent.machine.endless.send_replace(true);
    agent.publish("A: 4");
    agent.is("checking", |account| account.state == State::Checking).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_pause_stops_what_has_not_begun_and_ends_by_itself() {
    let mut agent = Agent::new();
    agent.start();
    agent.publish("A: 1");
    agent.runs("A = 1").await;
    let until = jiff::Timestamp::now() + jiff::SignedDuration::from_millis(900);
    agent.publish_with("A: 2", Some(Pause { until: Some(until), ..Pause::default() }));
    agent.is("paused", |account| account.state == State::Paused).await;
    agent.runs_still("A = 1");
    agent.runs("A = 2").await;
    assert!(jiff::Timestamp::now() >= until);
}

#[tokio::test]
async fn a_file_that_was_changed_by_hand_is_put_back() {
    let mut agent = Agent::new();
    agent.start();
    agent.publish("A: 1");
    agent.runs("A = 1").await;
    let by_hand = FileSeen { mode: 0o640, bytes: b"A = 9\n".to_vec() };
    agent.machine.disk.send_modify(|disk| drop(disk.insert(FILE.into(), by_hand)));
    let is_back = |disk: &BTreeMap<PathBuf, FileSeen>| disk[&PathBuf::from(FILE)].bytes != b"A = 9\n";
    tokio::time::timeout(PATIENCE, agent.machine.disk.subscribe().wait_for(is_back)).await.unwrap().unwrap();
    agent.runs("A = 1").await;
    assert_eq!(agent.machine.did().iter().filter(|did| *did == "reload").count(), 1, "superset never loaded it");
}

#[tokio::test]
async fn a_release_that_fails_right_after_another_has_arrived_goes_back_to_that_one() {
    let mut agent = Agent::new();
    agent.start();
    agent.publish("A: 1");
    agent.runs("A = 1").await;
    agent.machine.broken.send_replace(vec!["A = 3"]);
    agent.publish("A: 2");
    let reloads = |did: &Vec<String>| did.iter().filter(|did| *did == "reload").count() == 2;
    tokio::time::timeout(PATIENCE, agent.machine.did.subscribe().wait_for(reloads)).await.unwrap().unwrap();
    agent.publish("A: 3");
    agent.held("it answers 500").await;
    agent.runs_still("A = 2");
    assert_eq!(agent.account.borrow().applied, agent.memory.borrow().applied.version);
}

#[tokio::test]
async fn what_was_installed_while_superset_was_down_is_proved_when_it_is_back_and_taken_back_if_it_must() {
    // Nothing but looking for it tells that it is back.
    let mut agent = Agent { resync: Duration::from_secs(3600), ..Agent::new() };
    agent.start();
    agent.publish("A: 1");
    agent.runs("A = 1").await;
    for (limit, is_broken) in [(2, false), (3, true)] {
        agent.machine.target.send_replace(Target::Absent);
        agent.machine.broken.send_replace(vec!["A = 3"]);
        agent.publish(&format!("A: {limit}"));
        agent.is("it waits", |account| account.error.as_deref().is_some_and(|error| error.contains("does not run"))).await;
        assert!(agent.machine.live().contains(&format!("A = {limit}\n")));
        assert_ne!(agent.account.borrow().applied, agent.account.borrow().desired, "nobody has proved it");
        agent.machine.loaded.send_replace(agent.machine.live().into_bytes());
        agent.machine.target.send_replace(Target::Running);
        if is_broken {
            agent.held("it answers 500").await;
        } else {
            agent.runs(&format!("A = {limit}")).await;
        }
    }
    agent.runs_still("A = 2");
}

#[tokio::test]
async fn what_a_sick_host_said_of_a_release_counts_for_nothing_once_it_is_well() {
    let mut agent = Agent::new();
    agent.start();
    agent.publish("A: 1");
    agent.runs("A = 1").await;
    agent.machine.invalid.send_replace(vec!["A = "]);
    agent.publish("A: 2");
    agent.held("does not pass either").await;
    assert!(!agent.machine.forgotten.borrow().is_empty());
    agent.machine.invalid.send_replace(Vec::new());
    agent.runs("A = 2").await;
    assert!(agent.machine.bad.borrow().is_empty());
}

#[tokio::test]
async fn a_superset_that_starts_just_before_an_install_is_told_and_one_that_starts_later_is_left_alone() {
    let mut agent = Agent::new();
    agent.machine.target.send_replace(Target::Nobody);
    agent.start();
    let installed = async |agent: &Agent, line: &str| {
        agent.publish(&line.replace(" =", ":"));
        let has_it = |account: &Account| account.state == State::InSync && agent.machine.live().lines().any(|own| own == line);
        agent.is(line, has_it).await;
    };
    let reloads = |agent: &Agent| agent.machine.did().iter().filter(|did| *did == "reload").count();
    installed(&agent, "A = 1").await;
    // It has read that, and is not seen before the next is installed.
    let read = agent.machine.live().into_bytes();
    installed(&agent, "A = 2").await;
    agent.machine.loaded.send_replace(read);
    agent.machine.target.send_replace(Target::Running);
    let loads = |loaded: &Vec<u8>| String::from_utf8_lossy(loaded).contains("A = 2");
    tokio::time::timeout(PATIENCE, agent.machine.loaded.subscribe().wait_for(loads)).await.unwrap().unwrap();
    agent.runs("A = 2").await;
    assert_eq!(reloads(&agent), 1);
    agent.machine.target.send_replace(Target::Nobody);
    tokio::time::sleep(Duration::from_millis(700)).await;
    installed(&agent, "A = 3").await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    agent.machine.loaded.send_replace(agent.machine.live().into_bytes());
    agent.machine.target.send_replace(Target::Running);
    tokio::time::sleep(Duration::from_millis(700)).await;
    agent.runs_still("A = 3");
    assert_eq!(reloads(&agent), 1, "it has loaded what lies there");
}

#[tokio::test]
async fn law_1_a_way_that_a_crash_cut_off_is_gone_back_although_zookeeper_stays_away() {
    let mut agent = Agent::new();
    agent.start();
    agent.publish("A: 1");
    agent.runs("A = 1").await;
    agent.stop().await;
    // An earlier run was killed between the reload and its proof.
    let cut_off = FileSeen { mode: 0o640, bytes: b"A = 2\n".to_vec() };
    agent.machine.disk.send_modify(|disk| drop(disk.insert(FILE.into(), cut_off.clone())));
    agent.machine.loaded.send_replace(cut_off.bytes);
    agent.memory.send_modify(|memory| memory.journal.live = None);
    agent.machine.is_alone.send_replace(true);
    agent.tree = watch::Sender::default();
    agent.start();
    let is_back = |loaded: &Vec<u8>| String::from_utf8_lossy(loaded).contains("A = 1");
    tokio::time::timeout(PATIENCE, agent.machine.loaded.subscribe().wait_for(is_back)).await.unwrap().unwrap();
    let live = |memory: &LastGood| memory.journal.live.is_some() && memory.journal.live == memory.journal.good;
    tokio::time::timeout(PATIENCE, agent.memory.subscribe().wait_for(live)).await.unwrap().unwrap();
    // What is new waits for ZooKeeper.
    agent.publish("A: 3");
    tokio::time::sleep(Duration::from_millis(900)).await;
    agent.runs_still("A = 1");
    agent.machine.is_alone.send_replace(false);
    agent.runs("A = 3").await;
}

#[tokio::test]
async fn a_host_whose_superset_was_away_while_it_went_back_is_well_again_once_that_is_proved() {
    let mut agent = Agent::new();
    agent.start();
    agent.publish("A: 1");
    agent.runs("A = 1").await;
    agent.machine.broken.send_replace(vec!["A = 2"]);
    let proofs = |did: &Vec<String>| did.iter().filter(|did| *did == "verify").count();
    let before = proofs(&agent.machine.did());
    agent.publish("A: 2");
    let begins = |did: &Vec<String>| proofs(did) > before;
    tokio::time::timeout(PATIENCE, agent.machine.did.subscribe().wait_for(begins)).await.unwrap().unwrap();
    agent.machine.target.send_replace(Target::Absent);
    agent.is("sick", |account| account.state == State::Failed).await;
    assert!(agent.machine.bad.borrow().is_empty(), "nobody can say what is wrong");
    agent.machine.broken.send_replace(Vec::new());
    agent.machine.loaded.send_replace(agent.machine.live().into_bytes());
    agent.machine.target.send_replace(Target::Running);
    agent.runs("A = 2").await;
}

#[tokio::test]
async fn a_release_that_comes_while_another_is_checked_is_checked_in_its_place_and_once() {
    let mut agent = Agent::new();
    agent.start();
    agent.publish("A: 1");
    agent.runs("A = 1").await;
    agent.machine.endless.send_replace(true);
    let checks = |did: &Vec<String>| did.iter().filter(|did| *did == "check").count();
    for (limit, expected) in [(2, 2), (3, 3)] {
        agent.publish(&format!("A: {limit}"));
        let begun = |did: &Vec<String>| checks(did) == expected;
        tokio::time::timeout(PATIENCE, agent.machine.did.subscribe().wait_for(begun)).await.unwrap().unwrap();
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(checks(&agent.machine.did()), 3, "it goes in circles");
    let release = agent.account.borrow().desired.release.clone();
    agent.machine.endless.send_replace(false);
    agent.publish("A: 4");
    agent.runs("A = 4").await;
    assert_ne!(agent.account.borrow().desired.release, release);
}

#[tokio::test]
async fn another_key_of_the_cluster_is_no_other_secret_key() {
    let mut agent = Agent::new();
    agent.start();
    agent.publish("SECRET_KEY: one");
    agent.runs("SECRET_KEY = \"one\"").await;
    let before = agent.account.borrow().applied.revision.clone();
    // Every digest is another one then: that of the release, that of the revision, and that of the secret key.
    agent.publish_under(8, "SECRET_KEY: one", None);
    let is_new = |account: &Account| account.state == State::InSync && account.applied.revision != before;
    agent.is("in sync under the new key", is_new).await;
    agent.publish_under(8, "SECRET_KEY: two", None);
    agent.held("SECRET_KEY would be another one").await;
}

#[tokio::test]
async fn what_an_installation_had_replaced_before_it_failed_is_put_back() {
    let mut agent = Agent::new();
    agent.start();
    agent.publish("A: 1");
    agent.runs("A = 1").await;
    agent.machine.sync_fails.send_replace(true);
    agent.publish("A: 2");
    agent.runs("A = 2").await;
    let did = agent.machine.did();
    let failed = did.iter().position(|did| did == "install, and fail").unwrap();
    assert_eq!(did[failed + 1], "install", "what was replaced is put back at once: {did:?}");
}

#[tokio::test]
async fn an_unproven_file_that_a_dead_run_left_is_replaced_although_nobody_says_what_is_meant() {
    let mut agent = Agent { resync: Duration::from_secs(3600), ..Agent::new() };
    agent.start();
    agent.publish("A: 1");
    agent.runs("A = 1").await;
    agent.stop().await;
    let good = agent.machine.live();
    let left = FileSeen { mode: 0o640, bytes: b"A = 2\n".to_vec() };
    agent.machine.disk.send_modify(|disk| drop(disk.insert(FILE.into(), left)));
    // ZooKeeper is away: no tree comes.
    (agent.tree, agent.resync) = (watch::Sender::default(), Duration::from_secs(3600));
    agent.machine.is_alone.send_replace(true);
    agent.start();
    let is_back = |disk: &BTreeMap<PathBuf, FileSeen>| disk[&PathBuf::from(FILE)].bytes == good.as_bytes();
    tokio::time::timeout(PATIENCE, agent.machine.disk.subscribe().wait_for(is_back)).await.unwrap().unwrap();
    agent.stop().await;
}

#[tokio::test]
async fn while_nobody_knows_whether_superset_was_started_nothing_is_begun() {
    let mut agent = Agent { resync: Duration::from_secs(3600), ..Agent::new() };
    agent.machine.target.send_replace(Target::Unknown);
    agent.start();
    agent.publish("A: 1");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(agent.machine.did(), Vec::<String>::new());
    agent.machine.target.send_replace(Target::Running);
    agent.runs("A = 1").await;
}
