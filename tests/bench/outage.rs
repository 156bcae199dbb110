//! (f) A change made right after half a minute without ZooKeeper.

use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, Runtime};

use super::figures::{Figure, ms};
use super::process::{PATIENCE, Process};
use super::report::{Part, Target, progress};
use super::support::agent::client;
use super::support::server::Server;
use super::tree::{self, Shape};
use super::waiter::Waiter;

/// How long ZooKeeper is away.
const AWAY: Duration = Duration::from_secs(30);

/// How many pairs of server and agent there are; each has its outages while the others are quiet.
const PAIRS: usize = 4;

/// How many outages each pair has.
const ROUNDS: u64 = 3;

/// What one outage came to, in milliseconds since the server answered again.
struct Outage {
    /// When the change was acknowledged.
    written: f64,
    /// When it lay on disk.
    on_disk: f64,
}

pub fn measure(runtime: &Runtime) -> Part {
    let outages: Vec<_> = scope(|scope| {
        let pairs: Vec<_> = (0..PAIRS).map(|pair| scope.spawn(move || outages(runtime, pair))).collect();
        pairs.into_iter().flat_map(|pair| pair.join().unwrap()).collect()
    });
    let of = |what, of: fn(&Outage) -> f64| Figure::of(what, "ms", outages.iter().map(of).collect());
    let figures = vec![
        of("from the server's answer to the change on disk", |outage| outage.on_disk),
        of("of that until the change was acknowledged", |outage| outage.written),
        of("from the acknowledgement to the change on disk", |outage| outage.on_disk - outage.written),
    ];
    Part {
        letter: 'f',
        title: "A change right after an outage",
        how: vec![
            format!("The single server is killed with SIGKILL, left away for {} s, and started again.", AWAY.as_secs()),
            "Its return is its first answer to `srvr` that names a mode, asked for every 5 ms. A client that connects then changes the key at once."
                .to_owned(),
            format!("{PAIRS} pairs of server and agent, {ROUNDS} outages each, so that no two servers start at once."),
        ],
        targets: vec![Target::at_most("return → change on disk, p50", "ms", 1_000.0, figures[0].p50)],
        figures,
    }
}

fn outages(runtime: &Runtime, pair: usize) -> Vec<Outage> {
    let mut server = runtime.block_on(Server::start());
    let root = "/superset";
    let client = runtime.block_on(client(&server.connect()));
    tree::plant(runtime, &client, root, Shape::One, 0);
    drop(client);
    let mut agent = Process::agent(&server.connect(), root);
    agent.shows(&tree::rendered(0));
    let waiter = Waiter::new(&agent.file());
    sleep(AWAY / PAIRS as u32 * pair as u32);
    (1..=ROUNDS).map(|value| outage(runtime.handle(), &mut server, &waiter, &format!("{root}/{}", tree::KEY), value)).collect()
}

fn outage(runtime: &Handle, server: &mut Server, waiter: &Waiter, znode: &str, value: u64) -> Outage {
    server.kill();
    sleep(AWAY);
    server.launch();
    while runtime.block_on(server.mode()).is_none() {
        sleep(Duration::from_millis(5));
    }
    let back = Instant::now();
    runtime.block_on(async {
        let client = client(&server.connect()).await;
        client.set_data(znode, tree::setting(value).as_bytes(), None).await.unwrap();
    });
    let written = ms(back.elapsed());
    let arrived = waiter.until(&tree::rendered(value), PATIENCE).unwrap();
    let on_disk = ms(arrived - back);
    progress(format!("an outage: {on_disk:.0} ms"));
    Outage { written, on_disk }
}
