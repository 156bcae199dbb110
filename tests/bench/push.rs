//! (c) A thousand datasources pushed to Superset, beside a bare loop of POSTs; and a resync with nothing to do.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::runtime::Runtime;
use zookeeper_client as zk;

use super::api::Api;
use super::figures::Figure;
use super::process::{PATIENCE, Process};
use super::report::{Part, Target};
use super::services::{Postgres, Superset};
use super::support::agent::client;
use super::support::server::Server;
use super::tree::{self, Shape};

/// How many connections each run creates.
const COUNT: usize = 1_000;

/// How many calls run at once: the agent's default.
const CONCURRENCY: usize = 4;

/// How often the agent compares Superset with the tree here.
const RESYNC: Duration = Duration::from_secs(10);

/// How many resyncs are looked at.
const RESYNCS: u32 = 3;

const ROOT: &str = "/superset";

/// How long a run may take.
const RUN: Duration = Duration::from_secs(300);

/// What the agent's run came to.
struct Pushed {
    rate: f64,
    memory: f64,
    /// The requests of the resyncs with nothing to do.
    resyncs: Vec<String>,
}

pub fn measure(runtime: &Runtime) -> Part {
    let postgres = Postgres::start();
    let superset = Superset::start(runtime, &postgres);
    let before = bare(runtime, &superset, &postgres, "before");
    let pushed = agent(runtime, &superset, &postgres);
    let after = bare(runtime, &superset, &postgres, "after");
    let bare = f64::midpoint(before, after);
    let lists = pushed.resyncs.iter().filter(|request| *request == "GET /api/v1/database/ 200").count();
    let others: Vec<_> = pushed.resyncs.iter().filter(|request| *request != "GET /api/v1/database/ 200").collect();
    let rate = |what: &str, rate: f64| Figure::one(what, "/s", rate);
    Part {
        letter: 'c',
        title: "A thousand datasources pushed",
        how: vec![
            "Superset 6.1.0 (gunicorn, one worker, 8 threads), its metadata in PostgreSQL; every connection leads to that server.".to_owned(),
            format!("{COUNT} connections a run, {CONCURRENCY} calls at a time, all deleted before the next: bare loop, agent, bare loop."),
            "Bare loop: POSTs by reqwest with the same fields, all made beforehand, from the first until Superset has logged the last.".to_owned(),
            "Agent: from one transaction that creates all znodes until Superset has logged the last POST; reading, secrets, probes included."
                .to_owned(),
            format!("Resync: with nothing to do, every {} s here; requests as Superset's access log has them, without /health and /version.", RESYNC.as_secs()),
        ],
        figures: vec![
            rate("bare loop, before", before),
            rate("bare loop, after", after),
            rate("agent", pushed.rate),
            Figure::one("agent: resident after the push", "MB", pushed.memory),
            Figure::one("list calls in resyncs with nothing to do", "", lists as f64),
            Figure::one("other calls in these resyncs", "", others.len() as f64),
        ],
        targets: vec![
            Target::new(
                "rate of the push, to the bare loop's",
                "≥ 90 %",
                format!("{:.0} %", 100.0 * pushed.rate / bare),
                pushed.rate >= 0.9 * bare,
            ),
            Target::new(
                "calls of a resync with nothing to do",
                "one list call",
                format!("{lists} lists and {} other calls in {lists} resyncs", others.len()),
                lists > 0 && others.is_empty(),
            ),
        ],
    }
}

/// The bare loop's rate. Leaves nothing behind.
fn bare(runtime: &Runtime, superset: &Superset, postgres: &Postgres, run: &str) -> f64 {
    let api = runtime.block_on(Api::login(&superset.url()));
    let names = (0..COUNT).map(|n| format!("bare-{run}-{n:04}")).collect();
    let (from, began) = (superset.requests().len(), Instant::now());
    runtime.block_on(api.create(names, &postgres.uri(), CONCURRENCY));
    let rate = rate(superset, from, began);
    runtime.block_on(api.delete_all(CONCURRENCY));
    rate
}

fn rate(superset: &Superset, from: usize, began: Instant) -> f64 {
    let ended = superset.answered(from, "POST /api/v1/database/ 201", COUNT, RUN);
    COUNT as f64 / (ended - began).as_secs_f64()
}

/// The agent's run. Leaves nothing behind.
fn agent(runtime: &Runtime, superset: &Superset, postgres: &Postgres) -> Pushed {
    let server = runtime.block_on(Server::start());
    let client = runtime.block_on(client(&server.connect()));
    tree::plant(runtime, &client, ROOT, Shape::One, 0);
    let settings = json!({
        "superset": {"url": superset.url(), "username": "admin", "password": "admin"},
        "datasources": {"resync": format!("{}s", RESYNC.as_secs()), "concurrency": CONCURRENCY},
    });
    let from = superset.requests().len();
    let agent = Process::agent_with(&server.connect(), ROOT, &settings);
    // It leads, and knows that Superset has nothing yet.
    superset.answered(from, "GET /api/v1/database/ 200", 1, PATIENCE);
    sleep(Duration::from_secs(2));

    let uri = postgres.uri();
    let node = |n| (format!("{ROOT}/datasources/sales-{n:04}"), format!("sqlalchemy_uri: {uri}"));
    let nodes: Vec<_> = (0..COUNT).map(node).collect();
    let (from, began) = (superset.requests().len(), Instant::now());
    runtime.block_on(tree::create(&client, &nodes));
    let rate = rate(superset, from, began);
    in_sync(runtime, &client);
    let resyncs = resyncs(superset);
    let memory = agent.memory().resident;
    agent.stop();
    runtime.block_on(async { Api::login(&superset.url()).await.delete_all(CONCURRENCY).await });
    Pushed { rate, memory, resyncs }
}

/// Waits until the agent calls every datasource in sync.
fn in_sync(runtime: &Runtime, client: &zk::Client) {
    let began = Instant::now();
    while runtime.block_on(count_in_sync(client)) < COUNT {
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

/// The requests of some resyncs, from the end of one to the end of a later one.
fn resyncs(superset: &Superset) -> Vec<String> {
    // The list that follows a batch of pushes, and the first resync after it, are not yet ones with nothing to do.
    let quiet = |requests: Vec<String>| {
        let ours = requests.into_iter().filter(|request| request.starts_with("GET /api/") || !request.starts_with("GET "));
        ours.collect::<Vec<_>>()
    };
    sleep(RESYNC);
    let from = superset.requests().len();
    sleep(RESYNC * RESYNCS);
    quiet(superset.requests().split_off(from))
}
