//! (e) A thousand instances on one ZooKeeper: how soon a change reaches all, and what it costs the others that some join.
//!
//! Each instance is the agent's whole ZooKeeper side, as the library runs it: a session, three watches, a record, a contender
//! in the election. All live in this one process, on the cores that the server uses too.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use setkeeper::settings::Zookeeper;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use zookeeper_client as zk;

use super::figures::{Figure, ms};
use super::process::PATIENCE;
use super::report::{Part, Target, progress};
use super::support::agent::{Agent, access, client, settings, text};
use super::support::server::Server;
use super::tree::{self, Shape};

/// How many instances there are before others join.
const FIRST: usize = 700;

/// How many join.
const JOINING: usize = 300;

/// How long packets are counted: with a join in it, and without. Every session pings some times in it.
const SPAN: Duration = Duration::from_secs(12);

/// How many changes are made.
const CHANGES: u64 = 20;

const ROOT: &str = "/superset";

pub fn measure(runtime: &Runtime) -> Part {
    let server = runtime.block_on(Server::start());
    let client = runtime.block_on(client(&server.connect()));
    tree::plant(runtime, &client, ROOT, Shape::One, 0);
    runtime.block_on(measured(&server, &client))
}

async fn measured(server: &Server, client: &zk::Client) -> Part {
    let mut others = join(server, client, 0, FIRST).await;
    progress(format!("{FIRST} instances are there"));
    let older = Traffic::now(server, client).await;
    for agent in &mut others {
        agent.tree.mark_unchanged();
    }
    let began = Instant::now();
    let newcomers = join(server, client, FIRST, FIRST + JOINING).await;
    let joining = began.elapsed();
    sleep(SPAN.saturating_sub(joining)).await;
    let joined = Traffic::now(server, client).await;
    let woken = others.iter().filter(|agent| agent.tree.has_changed().unwrap()).count();
    progress(format!("{JOINING} have joined"));
    sleep(SPAN).await;
    let quiet = Traffic::now(server, client).await;

    let agents: Vec<_> = others.into_iter().chain(newcomers).collect();
    let mut reached = reaching(client, &agents).await;
    let changed = Traffic::now(server, client).await;
    let missing = reached.iter().map(|change| agents.len() - change.len()).sum::<usize>();
    let last = reached.iter().map(|change| change.iter().copied().fold(0.0, f64::max)).collect();
    let (during, after) = (joined.sent_since(&older), quiet.sent_since_to(&joined, &older));
    let fired = joined.fired - older.fired;
    let all = Figure::of("from the write to an instance's new tree", "ms", reached.drain(..).flatten().collect());
    let per_session = |what: String, count: u64| Figure::one(what, "", count as f64 / FIRST as f64);
    let targets = vec![
        Target::at_most(format!("a change reaches {} instances, p99", agents.len()), "ms", 1_000.0, all.p99),
        Target::new("instances that a change did not reach", "0", format!("{missing} of {}", all.samples), missing == 0),
        Target::new(format!("trees announced to {FIRST} instances while {JOINING} join"), "0", woken.to_string(), woken == 0),
        Target::new(format!("watches that fired on the server while {JOINING} join"), "0", fired.to_string(), fired == 0),
        Target::new(
            format!("packets to each of the {FIRST} while {JOINING} join, beside as long a time of quiet"),
            "less than one more",
            format!("{:.2} beside {:.2}", during as f64 / FIRST as f64, after as f64 / FIRST as f64),
            // All began at nearly one time and ping in step, so a ping of each may fall into one span or the other.
            during < after + FIRST as u64,
        ),
    ];
    let figures = vec![
        all,
        Figure::of("from the write to the last instance's new tree", "ms", last),
        Figure::one(format!("{JOINING} join: sessions, trees, records and contenders all there"), "ms", ms(joining)),
        per_session(format!("packets to each of the {FIRST} in the {} s from their first on", SPAN.as_secs()), during),
        per_session("packets to each of the same in as long a time of quiet".to_owned(), after),
        // That they are counted at all.
        Figure::one("watches that fired on the server for the changes", "", (changed.fired - quiet.fired) as f64),
    ];
    drop(agents);
    Part {
        letter: 'e',
        title: "A thousand instances on one ZooKeeper",
        how: vec![
            "Each instance is the agent's ZooKeeper side from the library (session, watches, record, contender), all in one process \
             that shares the cores with the server; session timeout 15 s."
                .to_owned(),
            format!("{CHANGES} writes, one after the other; each instance's time is from the write to its new tree."),
            "Joining: the server's own counts, of packets sent to each session (`cons`; pings are among them, and all sessions ping \
             nearly in step) and of watches that fired (`mntr`)."
                .to_owned(),
        ],
        figures,
        targets,
    }
}

/// Starts instances, and waits until each has its tree, its record and its contender.
async fn join(server: &Server, client: &zk::Client, from: usize, to: usize) -> Vec<Agent> {
    let settings = Zookeeper { session_timeout: Duration::from_secs(15), ..settings(&server.connect()) };
    let mut agents: Vec<_> = (from..to).map(|n| Agent::with(access(&settings), &format!("web-{n:04}"))).collect();
    for agent in &mut agents {
        agent.tree_where("anything", |_| true).await;
    }
    for folder in ["instances", "leader"] {
        let all_there = async {
            while client.list_children(&format!("{ROOT}/{folder}")).await.unwrap().len() < to {
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(PATIENCE, all_there).await.unwrap_or_else(|_| panic!("not every instance is in {folder}"));
    }
    agents
}

/// Makes changes, and says for each how long it took to reach each instance, in milliseconds.
async fn reaching(client: &zk::Client, agents: &[Agent]) -> Vec<Vec<f64>> {
    let (sender, mut arrivals) = mpsc::unbounded_channel();
    for agent in agents {
        let (mut tree, sender) = (agent.tree.clone(), sender.clone());
        tokio::spawn(async move {
            while tree.changed().await.is_ok() {
                let arrived = Instant::now();
                let value = tree.borrow_and_update().as_ref().and_then(|tree| text(&tree.snapshot, "50-bench"));
                if sender.send((value, arrived)).is_err() {
                    return;
                }
            }
        });
    }
    let mut reached = Vec::new();
    for value in 1..=CHANGES {
        let wanted = tree::setting(value);
        let began = Instant::now();
        client.set_data(&format!("{ROOT}/{}", tree::KEY), wanted.as_bytes(), None).await.unwrap();
        let mut times = Vec::new();
        while times.len() < agents.len() {
            let Ok(Some((value, arrived))) = timeout(PATIENCE / 6, arrivals.recv()).await else { break };
            if value.as_deref() == Some(&*wanted) {
                times.push(ms(arrived - began));
            }
        }
        reached.push(times);
    }
    reached
}

/// What the server has done so far, by its own account.
struct Traffic {
    /// How many packets each session was sent.
    sent: BTreeMap<String, u64>,
    /// How many watches fired.
    fired: u64,
}

impl Traffic {
    /// Of every session but the bench's own.
    async fn now(server: &Server, client: &zk::Client) -> Self {
        let own = format!("{:#x}", client.session_id().0);
        let (connections, counters) = (server.four_letters("cons").await.unwrap(), server.four_letters("mntr").await.unwrap());
        let sent = connections.lines().filter_map(|line| {
            let field = |name: &str| line.split_once(name)?.1.split([',', ')']).next();
            Some((field("sid=")?.to_owned(), field(",sent=")?.parse().unwrap()))
        });
        let fired = counters.lines().filter_map(|line| {
            let (name, count) = line.split_once('\t')?;
            let counts = name.starts_with("zk_sum_node_") && name.ends_with("_watch_count");
            counts.then(|| count.parse::<f64>().unwrap() as u64)
        });
        Self { sent: sent.filter(|(session, _)| *session != own).collect(), fired: fired.sum() }
    }

    /// How many packets the sessions of `before` were sent since.
    fn sent_since(&self, before: &Self) -> u64 {
        self.sent_since_to(before, before)
    }

    /// The same for the sessions of `whose` only.
    fn sent_since_to(&self, before: &Self, whose: &Self) -> u64 {
        let sessions: BTreeSet<_> = whose.sent.keys().collect();
        sessions.into_iter().map(|session| self.sent[session] - before.sent[session]).sum()
    }
}
