//! A gunicorn that nobody names is found by the config that it loads; a handoff without a supervisor is refused.

use serde_json::json;

use super::{Stand, own_pid_file};
use crate::support::services::Superset;

#[tokio::test]
async fn a_gunicorn_that_loads_our_file_is_found_without_a_pid_file() {
    for strategy in ["auto", "hup"] {
        let mut stand = Stand::new("found", Superset::place("", &[]));
        stand.superset.config = stand.config();
        stand.agent.set("reload", json!({"strategy": strategy}));
        stand.publish("ROW_LIMIT: 1\n");
        stand.agent.launch();
        stand.agent.has_line("ROW_LIMIT = 1").await;
        stand.superset.start().await;
        stand.serves("ROW_LIMIT = 1").await;
        let master = own_pid_file(&stand.superset.pid_file);
        stand.publish("ROW_LIMIT: 2\n");
        stand.serves("ROW_LIMIT = 2").await;
        assert_eq!(own_pid_file(&stand.superset.pid_file), master);
        assert!(stand.superset.log().contains("Handling signal: hup"), "{strategy}\n{}", stand.superset.log());
        stand.agent.stop().await;
    }
}

#[tokio::test]
async fn a_handoff_without_a_supervisor_is_refused_at_the_start() {
    let mut stand = Stand::new("refused", Superset::place("", &[]));
    stand.agent.set("reload", json!({"strategy": "handoff", "pid_file": stand.superset.pid_file}));
    stand.agent.launch();
    assert_eq!(stand.agent.ends().await.code(), Some(1));
    let log = stand.agent.log();
    assert!(log.contains("reload.strategy handoff cannot work here") && log.contains("setkeeper run -- gunicorn"), "{log}");
}
