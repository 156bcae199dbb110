//! (c) A thousand datasources pushed to Superset, beside a bare loop of POSTs; and a resync with nothing to do.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use tokio::runtime::Runtime;
use zookeeper_client as zk;

use super::api::Api;
use super::figures::Figure;
use super::process::{PATIENCE, Process};
use super::report::{Part, Target, progress};
use super::services::{Postgres, Superset};
use super::support::agent::client;
use super::support::server::Server;
use super::tree::{self, Shape};

/// How many turns the bare loop and the agent each have.
const TURNS: usize = 5;

/// How many connections are created in a turn.
const COUNT: usize = 200;

/// How many calls run at once: what the agent does by default.
const CONCURRENCY: usize = 4;

/// How many connections are created and deleted first, one after the other.
const WARMING: usize = 20;

/// How often the agent compares Superset with the tree here.
const RESYNC: Duration = Duration::from_secs(10);

/// How many resyncs are looked at.
const RESYNCS: u32 = 3;

const ROOT: &str = "/superset";

/// How long a turn may take.
const TURN: Duration = Duration::from_secs(120);

const POSTED: &str = "POST /api/v1/database/ 201";
const LISTED: &str = "GET /api/v1/database/ 200";

pub fn measure(runtime: &Runtime) -> Part {
    let postgres = Postgres::start();
    let superset = Superset::start(runtime, &postgres);
    warm_up(runtime, &superset, &postgres);
    progress("PostgreSQL and Superset are up and warm");
    let server = runtime.block_on(Server::start());
    let client = runtime.block_on(client(&server.connect()));
    tree::plant(runtime, &client, ROOT, Shape::One, 0);
    let agent = start(&server, &superset, &json!({}));
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for turn in 0..TURNS {
        // Now one first, now the other, so that neither always finds the larger Superset or the busier machine.
        if turn % 2 == 0 {
            bare.push(bare_turn(runtime, &superset, &postgres, turn));
            ours.push(agent_turn(runtime, &superset, &postgres, &client, turn));
        } else {
            ours.push(agent_turn(runtime, &superset, &postgres, &client, turn));
            bare.push(bare_turn(runtime, &superset, &postgres, turn));
        }
        progress(format!("turn {} of {TURNS}: {:.1} s bare, {:.1} s by the agent", turn + 1, bare[turn], ours[turn]));
    }
    let memory = agent.memory().resident;
    agent.stop();
    let resyncs = resyncs(&server, &superset);
    part(&postgres.version(), &bare, &ours, &resyncs, memory)
}

/// From the seconds of each turn and the requests of the resyncs.
fn part(postgres: &str, bare: &[f64], ours: &[f64], resyncs: &[String], memory: f64) -> Part {
    let all = TURNS * COUNT;
    let lists = resyncs.iter().filter(|request| *request == LISTED).count();
    let others = resyncs.len() - lists;
    let rates = |what: &str, turns: &[f64]| Figure::of(what, "/s", turns.iter().map(|seconds| COUNT as f64 / seconds).collect());
    let ratios = bare.iter().zip(ours).map(|(bare, ours)| 100.0 * bare / ours).collect();
    let share = bare.iter().sum::<f64>() / ours.iter().sum::<f64>();
    Part {
        letter: 'c',
        title: "A thousand datasources pushed",
        how: vec![
            format!(
                "Superset (gunicorn, one worker, 8 threads) with its metadata in PostgreSQL {postgres}; every connection leads there."
            ),
            format!("{all} connections each, in {TURNS} turns of {COUNT}, {CONCURRENCY} calls at a time; the bare loop's are deleted after its turn, the agent's stay."),
            "Bare loop: POSTs by reqwest with the same fields, all made beforehand, from the first until Superset has logged the last.".to_owned(),
            "Agent: from one transaction that creates the znodes until Superset has logged the last POST; reading, secrets, probes included."
                .to_owned(),
            format!(
                "Resync: another agent on the same tree, every {} s, with nothing to do; calls of the database API by Superset's access log.",
                RESYNC.as_secs()
            ),
        ],
        figures: vec![
            rates("bare loop, each turn", bare),
            rates("agent, each turn", ours),
            Figure::of("agent to bare loop, each pair of turns", "%", ratios),
            Figure::one(format!("agent: resident with {all} connections pushed"), "MB", memory),
            Figure::one("list calls in resyncs with nothing to do", "", lists as f64),
            Figure::one("other calls in these resyncs", "", others as f64),
        ],
        targets: vec![
            Target::at_least("rate of the push, to the bare loop's, all turns", 90.0, 100.0 * share),
            Target::new(
                "calls of a resync with nothing to do",
                "one list call",
                format!("{lists} lists and {others} other calls in {lists} resyncs"),
                lists > 0 && others == 0,
            ),
        ],
    }
}

/// The first connections of a Superset create the permissions that all share, which two at once refuse each other.
fn warm_up(runtime: &Runtime, superset: &Superset, postgres: &Postgres) {
    runtime.block_on(async {
        let api = Api::login(&superset.url()).await;
        let names: Vec<_> = (0..WARMING).map(|n| format!("warm-{n}")).collect();
        api.create(names.clone(), &postgres.uri(), 1).await;
        api.delete(&names, 1).await;
    });
}

/// An agent that leads, and has listed what Superset has.
fn start(server: &Server, superset: &Superset, datasources: &Json) -> Process {
    let superset_settings = json!({"url": superset.url(), "username": "admin", "password": "admin"});
    let settings = json!({"superset": superset_settings, "datasources": datasources});
    let from = superset.requests().len();
    let agent = Process::agent_with(&server.connect(), ROOT, &settings);
    superset.answered(from, LISTED, 1, PATIENCE);
    agent
}

/// How many seconds the bare loop takes. Leaves nothing behind.
fn bare_turn(runtime: &Runtime, superset: &Superset, postgres: &Postgres, turn: usize) -> f64 {
    let api = runtime.block_on(Api::login(&superset.url()));
    let names: Vec<_> = (0..COUNT).map(|n| format!("bare-{turn}-{n:04}")).collect();
    let (from, began) = (superset.requests().len(), Instant::now());
    runtime.block_on(api.create(names.clone(), &postgres.uri(), CONCURRENCY));
    let seconds = (superset.answered(from, POSTED, COUNT, TURN) - began).as_secs_f64();
    runtime.block_on(api.delete(&names, CONCURRENCY));
    seconds
}

/// How many seconds the agent takes for as many more datasources.
fn agent_turn(runtime: &Runtime, superset: &Superset, postgres: &Postgres, client: &zk::Client, turn: usize) -> f64 {
    let uri = postgres.uri();
    let node = |n| (format!("{ROOT}/datasources/sales-{turn}-{n:04}"), format!("sqlalchemy_uri: {uri}"));
    let nodes: Vec<_> = (0..COUNT).map(node).collect();
    let (from, began) = (superset.requests().len(), Instant::now());
    runtime.block_on(tree::create(client, &nodes));
    let seconds = (superset.answered(from, POSTED, COUNT, TURN) - began).as_secs_f64();
    in_sync(runtime, client, (turn + 1) * COUNT);
    seconds
}

/// Waits until the agent calls so many datasources in sync.
fn in_sync(runtime: &Runtime, client: &zk::Client, count: usize) {
    let began = Instant::now();
    while runtime.block_on(count_in_sync(client)) < count {
        assert!(began.elapsed() < PATIENCE, "not all datasources are in sync");
        sleep(Duration::from_millis(200));
    }
}

async fn count_in_sync(client: &zk::Client) -> usize {
    let folder = format!("{ROOT}/status/datasources");
    let names = client.list_children(&folder).await.unwrap_or_default();
    let mut statuses = client.new_multi_reader();
    for name in names {
        statuses.add_get_data(&format!("{folder}/{name}")).unwrap();
    }
    let is_in_sync = |status: &zk::MultiReadResult| match status {
        zk::MultiReadResult::Data { data, .. } => String::from_utf8_lossy(data).contains("in_sync"),
        _ => false,
    };
    statuses.commit().await.unwrap().iter().filter(|status| is_in_sync(status)).count()
}

/// The calls of some resyncs with nothing to do, by an agent that resyncs more often than usual.
fn resyncs(server: &Server, superset: &Superset) -> Vec<String> {
    let calls = || superset.requests().into_iter().filter(|request| request.contains(" /api/v1/database/")).collect::<Vec<_>>();
    let agent = start(server, superset, &json!({"resync": format!("{}s", RESYNC.as_secs())}));
    // It is new, so it first looks at every connection once.
    let mut before = 0;
    while std::mem::replace(&mut before, calls().len()) != before {
        sleep(Duration::from_secs(2));
    }
    sleep(RESYNC);
    let from = calls().len();
    sleep(RESYNC * RESYNCS);
    let resyncs = calls().split_off(from);
    agent.stop();
    resyncs
}
