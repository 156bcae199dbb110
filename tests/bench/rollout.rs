//! (h) A change on its way through three instances, each with a Superset of its own, one after the other.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Instant;

use serde_json::json;
use tokio::runtime::Runtime;

use super::checks::shared_folder;
use super::figures::{Figure, ms};
use super::reload::{Bare, check, supervised};
use super::report::{Part, Target, progress};
use super::support::program::Agent;
use super::support::server::Server;
use super::support::services::{Superset, python};

/// How many instances there are.
const INSTANCES: usize = 3;
/// How many changes go through them.
const ROLLOUTS: usize = 2;

pub fn measure(runtime: &Runtime) -> Part {
    runtime.block_on(measured())
}

async fn measured() -> Part {
    progress("a check and a bare HUP, alone");
    // Makes the database that checks use, where there is none yet.
    check(0).await;
    let checked = ms(check(1).await);
    let bare = Bare::started().await;
    let hup = bare.hup(1).await;
    drop(bare);
    progress("three instances start");
    let server = Server::start().await;
    let mut instances = Vec::new();
    for number in 1..=INSTANCES {
        instances.push(instance(&server.connect(), number).await);
    }
    let mut took = Vec::new();
    for limit in 1..=ROLLOUTS {
        progress(format_args!("rollout {limit} of {ROLLOUTS}"));
        took.push(ms(roll(&instances, limit).await));
    }
    for (agent, _) in &mut instances {
        agent.stop().await;
    }
    // All three instances check on this one machine; in earnest each has a host of its own.
    let floor = (checked + hup) * INSTANCES as f64;
    let whole = Figure::of("published → completed on three instances", "ms", took);
    Part {
        letter: 'h',
        title: "A rollout to three instances",
        how: vec![
            "Each instance checks the candidate (all three at once), then takes the one slot, hands over to a new gunicorn, verifies, and frees the slot."
                .to_owned(),
            format!("settle and soak are 100 ms, so that what is measured is work; {ROLLOUTS} rollouts, each counted from the end of `config set`."),
            format!("The floor is {INSTANCES} checks, which share this machine, and {INSTANCES} bare HUPs, one after the other, each measured alone."),
        ],
        targets: vec![Target::at_most("a rollout, at most twice three checks and three bare HUPs", "ms", 2.0 * floor, whole.p50)],
        figures: vec![Figure::one("a check, alone", "ms", checked), Figure::one("a bare HUP, alone", "ms", hup), whole],
    }
}

/// Started, and in line with nothing published yet or with the last completed release.
async fn instance(connect: &str, number: usize) -> (Agent, Superset) {
    let superset = Superset::place("", &[]);
    let id = format!("web-{number}");
    let mut agent = supervised(Agent::new("bench", &id, connect, &superset.url), &superset)
        .with("datasources", json!({"push": false}))
        .with("check", json!({"require": "app", "python": python(), "timeout": "120s"}));
    copy_templates(&agent.path("state/check/templates"));
    if number == 1 {
        let set = agent.run(&["config", "set", "ROW_LIMIT", "1000"]).await;
        assert!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
    }
    agent.start().await;
    agent.in_sync().await;
    (agent, superset)
}

fn copy_templates(to: &Path) {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(to).unwrap();
    for entry in fs::read_dir(shared_folder().join("check/templates")).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// How long a change takes from its publication until everybody has it and the cluster knows.
async fn roll(instances: &[(Agent, Superset)], limit: usize) -> std::time::Duration {
    let set = instances[0].0.run(&["config", "set", "ROW_LIMIT", &limit.to_string()]).await;
    assert!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
    let began = Instant::now();
    for (agent, _) in instances {
        agent.has_line(&format!("ROW_LIMIT = {limit}")).await;
        agent.in_sync().await;
    }
    let (last, _) = &instances[0];
    last.status_where("completed", |status| status["rollout"]["completed"] == status["instance"]["applied"]["release"]).await;
    began.elapsed()
}
