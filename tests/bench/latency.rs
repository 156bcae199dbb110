//! (a) From the write of one key to the new file, beside the floor; and no change unseen.

use std::time::Instant;

use tokio::runtime::Runtime;
use zookeeper_client as zk;

use super::figures::{Figure, ms};
use super::process::{PATIENCE, Process, kilobytes};
use super::report::{Part, Target, progress};
use super::support::agent::client;
use super::support::server::Server;
use super::tree::{self, Shape};
use super::waiter::Waiter;

/// How many writes follow each other before the next process has its turn.
const BLOCK: u64 = 50;

/// How many turns each process has.
const TURNS: u64 = 60;

/// How many writes of a turn do not count: caches are cold after the others' turns.
const WARMING: u64 = 5;

/// How many writes are sent at once in the burst.
const BURST: u64 = 1_000;

/// One process, the znode that it follows, and how long it took.
struct Lane {
    what: &'static str,
    process: Process,
    znode: String,
    waiter: Waiter,
    /// How its file says that the setting has this value.
    marker: fn(u64) -> String,
    next: u64,
    times: Vec<f64>,
    unseen: u64,
}

impl Lane {
    fn new(what: &'static str, root: &str, process: Process, marker: fn(u64) -> String) -> Self {
        let waiter = Waiter::new(&process.file());
        // All values have as many digits, so that none is the beginning of another.
        Self {
            what,
            process,
            znode: format!("{root}/{}", tree::KEY),
            waiter,
            marker,
            next: 1_000_000,
            times: Vec::new(),
            unseen: 0,
        }
    }

    fn agent(what: &'static str, runtime: &Runtime, client: &zk::Client, server: &Server, root: &str, shape: Shape) -> Self {
        tree::plant(runtime, client, root, shape, 0);
        let mut process = Process::agent(&server.connect(), root);
        process.shows(&tree::rendered(0));
        Self::new(what, root, process, tree::rendered)
    }

    /// Writes, and waits until the file says so; then the next.
    fn turn(&mut self, runtime: &Runtime, client: &zk::Client) {
        for n in 0..WARMING + BLOCK {
            self.next += 1;
            let text = tree::setting(self.next);
            let began = Instant::now();
            // The request is on its way once this is called; its answer is awaited after the file's.
            let write = client.set_data(&self.znode, text.as_bytes(), None);
            match self.waiter.until(&(self.marker)(self.next), PATIENCE / 6) {
                Some(_) if n < WARMING => {}
                Some(arrived) => self.times.push(ms(arrived - began)),
                None => self.unseen += 1,
            }
            runtime.block_on(write).unwrap();
        }
    }

    /// Sends many writes at once, and says how long after the last answer the last value lay on disk.
    fn burst(&mut self, runtime: &Runtime, client: &zk::Client) -> Option<f64> {
        let texts: Vec<_> = (1..=BURST).map(|n| tree::setting(self.next + n)).collect();
        self.next += BURST;
        let writes: Vec<_> = texts.iter().map(|text| client.set_data(&self.znode, text.as_bytes(), None)).collect();
        runtime.block_on(async {
            for write in writes {
                write.await.unwrap();
            }
        });
        let answered = Instant::now();
        let arrived = self.waiter.until(&(self.marker)(self.next), PATIENCE)?;
        Some(ms(arrived - answered))
    }

    fn figure(&self) -> Figure {
        Figure::of(self.what, "ms", self.times.clone())
    }
}

pub fn measure(runtime: &Runtime) -> Part {
    let server = runtime.block_on(Server::start());
    let client = runtime.block_on(client(&server.connect()));
    tree::plant(runtime, &client, "/floor", Shape::One, 0);
    let floor = Lane::new("floor, one znode", "/floor", Process::floor(&server.connect(), "/floor"), tree::setting);
    let agent = |what, root, shape| Lane::agent(what, runtime, &client, &server, root, shape);
    let one = agent("agent, one znode", "/one", Shape::One);
    let many = agent("agent, 10,000 znodes, 100 of them fragments", "/many", Shape::Datasources);
    let fragments = agent("agent, 10,000 znodes, all fragments", "/fragments", Shape::Fragments);
    let mut lanes = [floor, one, many, fragments];
    for turn in 0..TURNS {
        // Every other time backwards, so that nobody always follows the same neighbour.
        let order: &mut dyn Iterator<Item = usize> =
            if turn % 2 == 0 { &mut (0..lanes.len()) } else { &mut (0..lanes.len()).rev() };
        order.for_each(|lane| lanes[lane].turn(runtime, &client));
        if (turn + 1) % (TURNS / 4) == 0 {
            progress(format!("turn {} of {TURNS}", turn + 1));
        }
    }
    let bursts: Vec<_> = lanes[1..].iter_mut().map(|lane| lane.burst(runtime, &client)).collect();
    let size = kilobytes(&lanes[3].process.file());
    part(&lanes, &bursts, size)
}

fn part(lanes: &[Lane; 4], bursts: &[Option<f64>], size: f64) -> Part {
    let mut figures: Vec<_> = lanes.iter().map(Lane::figure).collect();
    let [floor, one, many, fragments] = &*figures else { unreachable!() };
    let ratio = |what: &str, most: f64, got: f64| Target::at_most(what, "×", most, got);
    let mut targets = vec![
        ratio("write → file, one znode, p50, to the floor", 1.5, one.p50 / floor.p50),
        ratio("write → file, one znode, p99, to the floor", 2.0, one.p99 / floor.p99),
        ratio("write → file, 10,000 znodes, p50, to one znode", 3.0, many.p50 / one.p50),
        ratio("the same, all 10,000 of them fragments", 3.0, fragments.p50 / one.p50),
    ];
    for lane in &lanes[1..] {
        let unseen = format!("{} of {} unseen", lane.unseen, TURNS * (BLOCK + WARMING));
        targets.push(Target::new(format!("no change unseen: {}", lane.what), "0", unseen, lane.unseen == 0));
    }
    for (lane, burst) in lanes[1..].iter().zip(bursts) {
        let got = if burst.is_some() { "it is on disk" } else { "it never came" };
        targets.push(Target::new(format!("last of {BURST} unpaced writes: {}", lane.what), "on disk", got, burst.is_some()));
        let what = format!("{}: from the last answer of {BURST} unpaced writes to its value on disk", lane.what);
        figures.extend(burst.map(|burst| Figure::one(what, "ms", burst)));
    }
    Part {
        letter: 'a',
        title: "From a write to the new file",
        how: vec![
            "One closed loop: send the write of one key, wait (inotify) until the file that is renamed into place holds the value, next."
                .to_owned(),
            "Floor: recursive watch, read, durable install (write, fsync, rename, fsync of the folder) by the same client crate in a \
             process of its own with one thread. The agent is its release build with default settings. Same server, same disk."
                .to_owned(),
            format!(
                "All processes run all the time and have turns of {BLOCK} writes ({WARMING} before them do not count), forwards and backwards, {TURNS} each."
            ),
            format!("With 10,000 fragments the file has {size:.0} KB."),
        ],
        figures,
        targets,
    }
}
