//! (b) Memory at rest, and (d) from the start to the first file.

use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use super::figures::{Figure, ms};
use super::process::{Memory, PATIENCE, Process};
use super::report::{Part, Target, progress};
use super::support::agent::client;
use super::support::server::Server;
use super::tree::{self, Shape};
use super::waiter::Waiter;

/// How long a process is left alone before its memory is read.
const SETTLING: Duration = Duration::from_secs(6);

/// How many processes are looked at.
const PROCESSES: usize = 3;

/// How often it is started.
const STARTS: usize = 15;

/// How many changes come before the memory is read again.
const CHANGES: u64 = 300;

const SHAPES: [(&str, &str, Shape); 3] = [
    ("one znode", "/one", Shape::One),
    ("10,000 znodes, 100 of them fragments", "/many", Shape::Datasources),
    ("10,000 znodes, all fragments", "/fragments", Shape::Fragments),
];

pub fn memory(runtime: &Runtime) -> Part {
    let server = runtime.block_on(Server::start());
    let client = runtime.block_on(client(&server.connect()));
    let mut figures = vec![{
        tree::plant(runtime, &client, "/floor", Shape::One, 0);
        let floor = Process::floor(&server.connect(), "/floor");
        std::thread::sleep(SETTLING);
        Figure::one("floor, one znode: resident", "MB", floor.memory().resident)
    }];
    let mut targets = Vec::new();
    for (what, root, shape) in SHAPES {
        tree::plant(runtime, &client, root, shape, 0);
        let agents: Vec<_> = (0..PROCESSES)
            .map(|_| {
                let mut agent = Process::agent(&server.connect(), root);
                agent.shows(&tree::rendered(0));
                std::thread::sleep(SETTLING);
                let memory = agent.memory();
                agent.stop();
                memory
            })
            .collect();
        let of = |name: &str, of: fn(&Memory) -> f64| {
            Figure::of(format!("agent, {what}: {name}"), "MB", agents.iter().map(of).collect())
        };
        let resident = of("resident", |memory| memory.resident);
        progress(format!("{what}: {:.1} MB", resident.p50));
        let most = if shape == Shape::One { 15.0 } else { 30.0 };
        targets.push(Target::at_most(format!("resident at rest, {what}"), "MB", most, resident.p50));
        figures.extend([resident, of("of that its own, not the program's file", |memory| memory.own)]);
    }
    for (what, root, _) in SHAPES {
        let mut agent = Process::agent(&server.connect(), root);
        agent.shows(&tree::rendered(0));
        for value in 1..=CHANGES {
            runtime.block_on(client.set_data(&format!("{root}/{}", tree::KEY), tree::setting(value).as_bytes(), None)).unwrap();
            agent.shows(&tree::rendered(value));
        }
        std::thread::sleep(SETTLING);
        let resident = agent.memory().resident;
        progress(format!("{what}, after {CHANGES} changes: {resident:.1} MB"));
        figures.push(Figure::one(format!("agent, {what}: resident after {CHANGES} changes"), "MB", resident));
    }
    Part {
        letter: 'b',
        title: "Memory at rest",
        how: vec![
            format!("VmRSS and RssAnon of the agent {} s after its first file; a fresh process each time.", SETTLING.as_secs()),
            "It is connected to ZooKeeper, keeps its record, and serves HTTP; its Superset does not answer.".to_owned(),
        ],
        figures,
        targets,
    }
}

pub fn start(runtime: &Runtime) -> Part {
    let server = runtime.block_on(Server::start());
    let client = runtime.block_on(client(&server.connect()));
    let (mut figures, mut targets) = (Vec::new(), Vec::new());
    for (what, root, shape) in SHAPES {
        tree::plant(runtime, &client, root, shape, 0);
        let starts = (0..STARTS).map(|_| {
            let began = Instant::now();
            let agent = Process::agent(&server.connect(), root);
            let arrived = Waiter::new(&agent.file()).until(&tree::rendered(0), PATIENCE).unwrap();
            agent.stop();
            ms(arrived - began)
        });
        let figure = Figure::of(what, "ms", starts.collect());
        progress(format!("{what}: {:.0} ms", figure.p50));
        if shape != Shape::One {
            targets.push(Target::at_most(format!("start → first file, {what}, p50"), "ms", 1_000.0, figure.p50));
        }
        figures.push(figure);
    }
    Part {
        letter: 'd',
        title: "From the start to the first file",
        how: vec![
            "From before the process is created until its file is there, which was not there before; the state folder is empty."
                .to_owned(),
            "Release build, default settings; the program's file is in the page cache.".to_owned(),
        ],
        figures,
        targets,
    }
}
