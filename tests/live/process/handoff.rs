//! A new config under load: by handoff and by HUP no request fails; a config that does not load leaves the old gunicorn serving.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Stand, gunicorns, own_pid_file};
use crate::support::load::{Load, assert_unharmed};
use crate::support::services::Superset;
use crate::support::{PATIENCE, eventually};

#[tokio::test]
async fn a_handoff_fails_no_request_and_the_pid_file_follows() {
    let stand = Stand::new("handoff", Superset::place("", &[])).supervising().started().await;
    let load = Load::on(&stand.superset.url);
    for limit in [2, 3] {
        let (old, began) = (stand.master(), Instant::now());
        stand.publish(&format!("ROW_LIMIT: {limit}\n"));
        stand.serves(&format!("ROW_LIMIT = {limit}")).await;
        println!("handed over after {:?}", began.elapsed());
        let new = stand.master();
        assert!(new.pid != old.pid && !old.is_alive());
        assert_eq!(own_pid_file(&stand.superset.pid_file), new.pid);
    }
    assert_unharmed("two handoffs", &load.figures().await);
}

#[tokio::test]
async fn a_hup_fails_no_request() {
    let stand = Stand::new("hup", Superset::place("", &[]));
    let mut stand = stand.supervising();
    stand.agent.set("reload", json!({"strategy": "hup"}));
    let stand = stand.started().await;
    let (load, old, began) = (Load::on(&stand.superset.url), stand.master(), Instant::now());
    stand.publish("ROW_LIMIT: 2\n");
    stand.serves("ROW_LIMIT = 2").await;
    println!("reloaded after {:?}", began.elapsed());
    assert_eq!(stand.master().pid, old.pid);
    assert_unharmed("a hup", &load.figures().await);
}

#[tokio::test]
async fn a_config_that_does_not_load_leaves_the_old_gunicorn_serving() {
    let mut stand = Stand::new("broken", Superset::place("", &[])).supervising().started().await;
    let (old, before) = (stand.master(), stand.superset.revision().await);
    let load = Load::on(&stand.superset.url);
    // Of the right type, and only Superset knows that there is no such cache.
    stand.publish("CACHE_CONFIG: {CACHE_TYPE: nowhere}\n");
    let status = stand.agent.status_where("held", |status| status["instance"]["state"] == "held").await;
    let error = status["instance"]["error"].as_str().unwrap();
    assert!(error.contains("the old one serves on") && error.contains("gunicorn's log"), "{error}");
    assert_eq!((stand.master().pid, stand.superset.revision().await), (old.pid, before));
    assert_unharmed("a broken config", &load.figures().await);

    stand.publish("ROW_LIMIT: 2\n");
    stand.serves("ROW_LIMIT = 2").await;
    assert_ne!(stand.master().pid, old.pid);
    stand.agent.stop().await;
}

/// Waits until a handoff to this config is under way, publishes another, and kills the agent.
async fn interrupt(stand: &Stand, config: &str, next: &str) {
    stand.publish(config);
    let began = Instant::now();
    while !stand.agent.log().contains("a new gunicorn starts") {
        assert!(began.elapsed() < PATIENCE, "{}", stand.agent.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stand.publish(next);
    let agent = super::agent_of(stand.agent.pid());
    rustix::process::kill_process(rustix::process::Pid::from_raw(agent.pid).unwrap(), rustix::process::Signal::KILL).unwrap();
    super::gone(&agent).await;
}

#[tokio::test]
async fn an_interrupted_handoff_is_finished_by_the_next_agent() {
    let stand = Stand::new("interrupted", Superset::place("", &[])).supervising().started().await;
    let (load, old) = (Load::on(&stand.superset.url), stand.master());
    interrupt(&stand, "ROW_LIMIT: 2\n", "ROW_LIMIT: 2\n").await;
    stand.serves("ROW_LIMIT = 2").await;
    super::gone(&old).await;
    assert_eq!(gunicorns(stand.agent.pid().cast_signed()).len(), 1);
    assert!(stand.agent.log().contains("found a handoff that was interrupted"));
    assert_unharmed("an interrupted handoff", &load.figures().await);
}

#[tokio::test]
async fn an_interrupted_handoff_to_what_is_no_longer_wanted_is_undone() {
    let stand = Stand::new("undone", Superset::place("", &[])).supervising().started().await;
    let (load, good) = (Load::on(&stand.superset.url), stand.superset.revision().await);
    interrupt(&stand, "ROW_LIMIT: 2\n", "ROW_LIMIT: 1\n").await;
    for said in ["it has loaded other files than those that are wanted", "the new gunicorn has taken over"] {
        eventually(said, async || stand.agent.log().contains(said).then_some(())).await;
    }
    stand.serves("ROW_LIMIT = 1").await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        assert_eq!(stand.superset.revision().await, good);
    }
    assert_unharmed("a handoff that was undone", &load.figures().await);
}

#[tokio::test]
async fn a_gunicorn_that_cannot_hand_over_is_reloaded_by_hup_or_refused_with_a_hint() {
    let superset = Superset::place("", &[]);
    let stand = Stand::new("reuse", superset).supervising();
    let mut stand = Stand { agent: stand.agent.with_variable("GUNICORN_CMD_ARGS", "--reuse-port"), ..stand }.started().await;
    let old = stand.master();
    stand.publish("ROW_LIMIT: 2\n");
    stand.serves("ROW_LIMIT = 2").await;
    assert_eq!(stand.master().pid, old.pid);
    assert!(stand.agent.log().contains("no handoff is possible"));
    stand.agent.stop().await;

    stand.agent.set("reload", json!({"strategy": "handoff"}));
    stand.agent.start().await;
    stand.serves("ROW_LIMIT = 2").await;
    stand.publish("ROW_LIMIT: 3\n");
    let status = stand.agent.status_where("failed", |status| status["instance"]["state"] == "failed").await;
    let error = status["instance"]["error"].as_str().unwrap();
    assert!(error.contains("reuses its port") && error.contains("--reuse-port"), "{error}");
}
