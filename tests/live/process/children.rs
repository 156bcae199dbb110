//! The supervisor with small commands in Superset's place: exit codes, signals, orphans.

use std::fs;
use std::os::unix::process::ExitStatusExt;

use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

use super::{agent_of, gone, zombies};
use crate::support::eventually;
use crate::support::program::Agent;

/// An agent with a tree, supervising a shell that runs this script; `$OUT` is a file to write to.
fn shell(id: &str, script: &str) -> (Agent, TempDir) {
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("config.yaml"), "ROW_LIMIT: 1\n").unwrap();
    let agent = Agent::of_directory("children", id, tree.path(), "http://127.0.0.1:9");
    // What is started answers nobody.
    let agent = agent.with("datasources.push", json!(false)).with("verify.successes", json!(0));
    let out = agent.path("out").display().to_string();
    (agent.with_variable("OUT", &out).supervising(&["sh", "-c", script]), tree)
}

async fn wrote(agent: &Agent, text: &str) {
    eventually(text, async || fs::read_to_string(agent.path("out")).ok().filter(|out| out.contains(text))).await;
}

#[tokio::test]
async fn the_commands_exit_code_is_ours() {
    for (script, expected) in [("exit 7", 7), ("exit 0", 0), ("kill -KILL $$", 137), ("kill -TERM $$", 143)] {
        let (mut agent, _tree) = shell("code", script);
        agent.launch();
        let status = agent.ends().await;
        assert_eq!((status.code(), status.signal()), (Some(expected), None), "{script}\n{}", agent.log());
    }
    let (agent, _tree) = shell("nowhere", "");
    let mut agent = agent.supervising(&["/nowhere/gunicorn"]);
    agent.launch();
    assert_eq!(agent.ends().await.code(), Some(127));
    assert!(agent.log().contains("error: failed to run /nowhere/gunicorn"), "{}", agent.log());
}

#[tokio::test]
async fn a_signal_goes_to_the_command_and_term_waits_for_it() {
    let traps = "for s in HUP USR1 USR2 WINCH; do trap \"echo $s >>\\$OUT\" $s; done; trap 'sleep 1; echo TERM >>$OUT; exit 3' TERM\n\
        echo ready >>$OUT; while :; do sleep 0.1; done";
    let (mut agent, _tree) = shell("signals", traps);
    agent.start().await;
    wrote(&agent, "ready").await;
    for (signal, name) in [(Signal::HUP, "HUP"), (Signal::USR1, "USR1"), (Signal::USR2, "USR2"), (Signal::WINCH, "WINCH")] {
        agent.signal(signal);
        wrote(&agent, name).await;
    }
    let inner = agent_of(agent.pid());
    agent.signal(Signal::TERM);
    assert_eq!(agent.ends().await.code(), Some(3));
    wrote(&agent, "TERM").await;
    assert!(!inner.is_alive());
}

#[tokio::test]
async fn orphans_are_reaped_and_nothing_is_left_behind() {
    let script = "for i in 1 2 3; do (sleep 0.$i &); done; (sleep 600 & echo $! >$OUT); echo ready >>$OUT; sleep 600";
    let (mut agent, _tree) = shell("orphans", script);
    agent.start().await;
    wrote(&agent, "ready").await;
    let orphan: i32 = fs::read_to_string(agent.path("out")).unwrap().lines().next().unwrap().parse().unwrap();
    let orphan = setkeeper::processes::Process::read(orphan).unwrap();
    assert_eq!(orphan.parent, agent.pid().cast_signed(), "the orphan is the supervisor's");
    tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    eventually("all that ended is reaped", async || zombies(agent.pid()).is_empty().then_some(())).await;
    agent.signal(Signal::TERM);
    assert_eq!(agent.ends().await.code(), Some(143));
    gone(&orphan).await;
}

#[tokio::test]
async fn the_agents_own_variables_are_not_the_commands() {
    let (agent, _tree) = shell("environment", "env >$OUT; echo ready >>$OUT; sleep 600");
    let mut agent = agent
        .with("render.allow_env", json!(["SETKEEPER_SECRET_SHARED"]))
        .with_variable("SETKEEPER_SECRET_OWN", "canary")
        .with_variable("SETKEEPER_SECRET_SHARED", "shared");
    agent.start().await;
    wrote(&agent, "ready").await;
    let environment = fs::read_to_string(agent.path("out")).unwrap();
    let config = agent.path("superset_config.py");
    assert!(environment.contains(&format!("SUPERSET_CONFIG_PATH={}\n", config.display())), "{environment}");
    assert!(environment.contains("SETKEEPER_SECRET_SHARED=shared") && !environment.contains("canary"));
    agent.signal(Signal::TERM);
    assert_eq!(agent.ends().await.code(), Some(143));
}

#[tokio::test]
async fn the_last_good_revision_is_started_from_when_nothing_can_be_rendered_in_time() {
    let (mut agent, tree) = shell("boot", "echo ready >>$OUT; sleep 600");
    agent.start().await;
    agent.in_sync().await;
    wrote(&agent, "ready").await;
    agent.rest().await;
    agent.signal(Signal::TERM);
    agent.ends().await;
    fs::remove_file(agent.path("out")).unwrap();
    fs::write(tree.path().join("config.yaml"), "[no mapping").unwrap();
    agent.set("boot", json!({"wait": "2s"}));
    agent.start().await;
    agent.status_where("held", |status| status["instance"]["state"] == "held").await;
    wrote(&agent, "ready").await;
    // The command has begun before the agent is told so.
    let told = async || agent.log().contains("started superset from the last good revision").then_some(());
    eventually("the agent says what was started", told).await;
}
