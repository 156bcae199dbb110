//! What an image that holds the program alone needs of it: a copy of itself, an answer for probes, an agent that is started again.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::cli::Run;
use crate::cli_agent::Agent;

/// The first child of a process, as the kernel tells it.
fn child_of(pid: u32) -> Option<i32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let children = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok());
    children.flat_map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).find_map(|pid| pid.parse().ok())
}

fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn health(agent: &Agent, arguments: &[&str]) -> Option<i32> {
    agent.run.output(&[&["health"], arguments].concat()).status.code()
}

#[test]
fn health_says_whether_the_agent_lives_and_whether_a_revision_is_applied() {
    let run = Run::new().file("a.yaml", "http: {listen: \"127.0.0.1:1\"}\n").env("SETKEEPER_CONFIG", "a.yaml");
    insta::assert_snapshot!("health-absent", run.shown(&["health"]));

    let place = Agent::place().file("tree/config.yaml", "lower: 1\n");
    let agent = Agent::start_in(place);
    agent.status_where("held", |status| status["instances"][0]["state"] == "held");
    assert_eq!(health(&agent, &[]), Some(0));
    insta::assert_snapshot!("health-unready", agent.run.shown(&["health", "--ready"]));
    std::fs::write(agent.run.dir.path().join("tree/config.yaml"), "ROW_LIMIT: 1\n").unwrap();
    eventually("ready", || (health(&agent, &["--ready"]) == Some(0)).then_some(()));
}

#[test]
fn the_program_installs_itself_in_one_step_and_needs_no_settings() {
    let run = Run::new().file("bin/setkeeper", "what was there").env("SETKEEPER_CONFIG", "no-such-file");
    for path in ["bin/setkeeper", "made/on/the/way"] {
        let output = run.output(&["install", path]);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let copy = run.dir.path().join(path);
        assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o755);
        let says = Command::new(copy).arg("--version").output().unwrap();
        assert_eq!(String::from_utf8_lossy(&says.stdout).trim(), concat!("setkeeper ", env!("CARGO_PKG_VERSION")));
    }
    assert_eq!(std::fs::read_dir(run.dir.path().join("bin")).unwrap().count(), 1, "no draft stays");
    let refused = run.shown(&["install", "bin/setkeeper/below-a-file"]);
    assert!(refused.contains("exit code: 1") && refused.contains("error: failed to install setkeeper at"), "{refused}");
}

#[test]
fn an_agent_that_dies_is_started_again_without_the_end_of_its_container() {
    let mut agent = Agent::start_with(Agent::place(), &["run", "--restart"]);
    let own = agent.child.id();
    eventually("ready", || (health(&agent, &["--ready"]) == Some(0)).then_some(()));
    let first = child_of(own).unwrap();
    kill_process(Pid::from_raw(first).unwrap(), Signal::KILL).unwrap();
    let second = eventually("another agent", || child_of(own).filter(|pid| *pid != first));
    eventually("ready again", || (health(&agent, &["--ready"]) == Some(0)).then_some(()));
    assert_eq!(agent.child.try_wait().unwrap(), None);

    kill_process(Pid::from_child(&agent.child), Signal::TERM).unwrap();
    assert_eq!(agent.child.wait().unwrap().code(), Some(0));
    assert!(!std::path::Path::new(&format!("/proc/{second}")).exists(), "the agent ends first");
}

#[test]
fn an_agent_ends_with_what_would_start_it_again() {
    let mut agent = Agent::start_with(Agent::place(), &["run", "--restart"]);
    eventually("ready", || (health(&agent, &["--ready"]) == Some(0)).then_some(()));
    agent.child.kill().unwrap();
    agent.child.wait().unwrap();
    eventually("the agent's end", || (health(&agent, &[]) == Some(1)).then_some(()));
}

#[test]
fn settings_that_are_wrong_end_it_at_once() {
    let run = Run::new().file("a.yaml", "nonsense: 1\n").env("SETKEEPER_CONFIG", "a.yaml");
    let shown = run.shown(&["run", "--restart"]);
    assert!(shown.contains("exit code: 1") && shown.contains("nonsense"), "{shown}");
}
