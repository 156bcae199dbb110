//! (g) What a check takes, and what a reload costs those who use Superset meanwhile, for each way to reload it.
//!
//! The floors know nothing of an agent: Superset's app, built and asked once by a few lines of Python, and a gunicorn whose config
//! was replaced by hand and that got HUP.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::checks::{PATIENT, candidate, checker, key};
use super::figures::{Figure, ms};
use super::report::{Part, Target, progress};
use super::support::eventually;
use super::support::load::{Figures, Load};
use super::support::program::Agent;
use super::support::services::{Superset, layered, python};

/// How often Superset is reloaded in each way.
const RELOADS: usize = 2;
/// How many checks and boots there are.
const CHECKS: usize = 3;
/// How many answers in a row say that a config is live, as many as the agent wants.
const SUCCESSES: usize = 5;
const BOOT: &str = "from superset.app import create_app\nassert create_app().test_client().get('/health').status_code == 200";

pub fn measure(runtime: &Runtime) -> Part {
    runtime.block_on(measured())
}

async fn measured() -> Part {
    progress("checks, and bare boots of the app");
    let (mut boots, mut checks) = (Vec::new(), Vec::new());
    let place = Superset::place("", &[]);
    check(0).await;
    for number in 1..=CHECKS {
        boots.push(ms(boot(&place)));
        checks.push(ms(check(number).await));
    }
    progress("a bare gunicorn and HUP");
    let (bare, bare_load) = bare().await;
    let mut figures = vec![
        Figure::of("a bare boot of Superset's app", "ms", boots),
        Figure::of("a check", "ms", checks),
        Figure::of("bare `kill -HUP` → live", "ms", bare),
    ];
    figures.extend(of_load("bare HUP", &bare_load));
    let mut loads = Vec::new();
    for strategy in ["handoff", "hup", "restart"] {
        progress(format_args!("reload by {strategy}"));
        let (reloads, load) = reloaded(strategy).await;
        figures.push(Figure::of(format!("{strategy}: file → live"), "ms", reloads));
        figures.extend(of_load(strategy, &load));
        loads.push(load);
    }
    let p50 = |what: &str| figures.iter().find(|figure| figure.what == what).unwrap().p50;
    let none_failed = |what: &str, load: &Figures| {
        let (failed, total) = (load.failed.len(), load.total);
        Target::new(format!("failed requests, {what}"), "0", format!("{failed} of {total}"), failed == 0)
    };
    let targets = vec![
        Target::at_most(
            "a check, at most twice a bare boot of the app",
            "ms",
            2.0 * p50("a bare boot of Superset's app"),
            p50("a check"),
        ),
        Target::at_most(
            "hup: file → live, at most 1.5 × bare HUP",
            "ms",
            1.5 * p50("bare `kill -HUP` → live"),
            p50("hup: file → live"),
        ),
        none_failed("handoff", &loads[0]),
        none_failed("hup", &loads[1]),
        Target::at_most(
            "handoff: longest answer, at most half of that at a bare HUP",
            "ms",
            0.5 * ms(bare_load.longest),
            ms(loads[0].longest),
        ),
    ];
    Part {
        letter: 'g',
        title: "A check, and a reload under load",
        how: vec![
            "A check and a bare boot, which asks for /health once, take turns; both at the lowest priority, and nothing else runs.".to_owned(),
            format!("{RELOADS} reloads in each way, under 30 requests a second on connections of their own: every fourth asks for /login/, the others for /health."),
            format!("Live: {SUCCESSES} answers in a row bear the new revision; counted from the time of the file, for the bare HUP from the signal."),
            "One gunicorn with one worker of 8 threads, and SQLite. A restart cannot but fail requests: it is here to be compared.".to_owned(),
        ],
        figures,
        targets,
    }
}

/// What one check takes.
pub async fn check(number: usize) -> Duration {
    let (checker, began) = (checker(PATIENT), Instant::now());
    let report = checker.check(&key(), &candidate(&format!("ROW_LIMIT = {number}"))).await;
    assert_eq!(report.why, "passed", "{report:#?}");
    began.elapsed()
}

/// What the app takes alone.
fn boot(place: &Superset) -> Duration {
    let began = Instant::now();
    let booted = Command::new("nice")
        .args(["-n", "19"])
        .arg(python())
        .args(["-c", BOOT])
        .envs([("SUPERSET_CONFIG_PATH", &place.config), ("SUPERSET_HOME", &place.home)])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(booted.status.success(), "{}", String::from_utf8_lossy(&booted.stderr));
    began.elapsed()
}

fn of_load(what: &str, load: &Figures) -> [Figure; 2] {
    let failed = Figure::one(format!("{what}: failed of {} requests", load.total), "", load.failed.len() as f64);
    [failed, Figure::one(format!("{what}: the longest answer"), "ms", ms(load.longest))]
}

/// Waits until a revision is live.
async fn live(superset: &Superset, revision: &str) {
    let mut row = 0;
    eventually("the new config is live", async || {
        row = if superset.revision().await.as_deref() == Some(revision) { row + 1 } else { 0 };
        (row == SUCCESSES).then_some(())
    })
    .await;
}

/// A gunicorn of its own, for floors.
pub struct Bare(Superset);

impl Bare {
    pub async fn started() -> Self {
        let mut superset = Superset::place(&header(0), &[]);
        superset.start().await;
        Self(superset)
    }

    /// From HUP until the new config is live, in milliseconds.
    pub async fn hup(&self, number: usize) -> f64 {
        fs::write(&self.0.config, layered(&self.0.home, &header(number))).unwrap();
        let pid = fs::read_to_string(&self.0.pid_file).unwrap().trim().parse().unwrap();
        let began = Instant::now();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::HUP).unwrap();
        live(&self.0, &number.to_string()).await;
        ms(began.elapsed())
    }
}

fn header(number: usize) -> String {
    format!("OVERRIDE_HTTP_HEADERS = {{'X-Setkeeper-Revision': '{number}'}}")
}

async fn bare() -> (Vec<f64>, Figures) {
    let bare = Bare::started().await;
    let load = Load::on(&bare.0.url);
    let mut took = Vec::new();
    for number in 1..=RELOADS {
        took.push(bare.hup(number).await);
    }
    (took, load.figures().await)
}

/// From the file to live, in milliseconds, and what came of the load meanwhile.
async fn reloaded(strategy: &str) -> (Vec<f64>, Figures) {
    let (tree, superset) = (TempDir::new().unwrap(), Superset::place("", &[]));
    let publish = |limit: usize| {
        let draft = superset.home.join("draft");
        fs::write(&draft, format!("ROW_LIMIT: {limit}\n")).unwrap();
        fs::rename(draft, tree.path().join("config.yaml")).unwrap();
    };
    publish(0);
    let mut agent = supervised(Agent::of_directory("bench", strategy, tree.path(), &superset.url), &superset)
        .with("datasources", json!({"push": false}))
        .with("reload", json!({"strategy": strategy}));
    agent.start().await;
    agent.in_sync().await;
    let (load, mut took) = (Load::on(&superset.url), Vec::new());
    for limit in 1..=RELOADS {
        publish(limit);
        let text = agent.has_line(&format!("ROW_LIMIT = {limit}")).await;
        let written = fs::metadata(agent.path("superset_config.py")).unwrap().modified().unwrap();
        let revision = text.lines().find_map(|line| line.strip_prefix("# Revision: ")).unwrap();
        live(&superset, revision).await;
        took.push(ms(SystemTime::now().duration_since(written).unwrap()));
        agent.status_where("it is applied", |status| status["instance"]["applied"]["revision"] == revision).await;
    }
    let figures = load.figures().await;
    agent.stop().await;
    (took, figures)
}

/// An agent that starts this Superset.
pub fn supervised(agent: Agent, superset: &Superset) -> Agent {
    let config = agent.path("superset_config.py");
    let words = superset.words(&config);
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    agent.with("render.superset_config", json!({"path": config, "base": superset.base()})).supervising(&words)
}
