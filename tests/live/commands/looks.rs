//! `status`, `check`, `rollout confirm`, and how long a command waits.

use std::time::{Duration, Instant};

use setkeeper::model::instance::State;

use zookeeper_client as zk;

use super::Shell;
use crate::support::agent::{Agent, client, open};
use crate::support::eventually;
use crate::support::server::Server;

#[tokio::test]
async fn the_cluster_is_shown_with_everything_wrong_in_it() {
    let server = Server::start().await;
    let shell = Shell::new(&server);
    let empty = shell.json(&["status"]);
    assert_eq!((&empty["instances"], &empty["leader"]), (&serde_json::json!([]), &serde_json::Value::Null));
    let mut agent = Agent::start(&server.connect(), "web-1");
    agent.leads().await;
    let client = client(&server.connect()).await;
    client.create("/superset/config/10-a", b"lower: 1", &open()).await.unwrap();
    client.create("/superset/rollout", b"rubbish", &open()).await.unwrap();
    let status = eventually("the instance", async || {
        let status = shell.json(&["status"]);
        (status["instances"][0]["id"] == "web-1").then_some(status)
    })
    .await;
    assert_eq!(status["leader"], "web-1");
    let znodes: Vec<_> = status["problems"].as_array().unwrap().iter().map(|problem| problem["znode"].clone()).collect();
    assert_eq!(znodes, ["/superset/config/10-a", "/superset/rollout"]);
    assert_eq!(status["rollout"], serde_json::json!({"completed": null, "confirmed": null, "quarantine": []}));
    let table = shell.ok(&["status"]);
    for part in ["INSTANCE  ROLE", "web-1", "Leader: web-1", "No datasource.", "error: /superset/config/10-a:1: lower: "] {
        assert!(table.contains(part), "{part} in {table}");
    }
    let checked = shell.run(&["check"]);
    assert_eq!((checked.code, checked.err.as_str()), (1, "error: 2 problems found\n"));
}

#[tokio::test]
async fn a_server_that_holds_the_connection_is_given_up_after_five_seconds() {
    let server = Server::start().await;
    let shell = Shell::new(&server);
    server.freeze();
    let began = Instant::now();
    let said = shell.fails(&["status"]);
    let took = began.elapsed();
    server.thaw();
    assert!(said.contains("failed to connect to ZooKeeper at 127.0.0.1:") && said.contains("\nhint: "), "{said}");
    assert!(took < Duration::from_secs(12), "{took:?}");
}

#[tokio::test]
async fn a_status_takes_no_time() {
    let server = Server::start().await;
    let shell = Shell::new(&server);
    let mut times: Vec<_> = (0..5).map(|_| time(|| drop(shell.ok(&["status"])))).collect();
    times.sort_unstable();
    // A debug build on a busy machine; a release on an idle one takes a fraction of it.
    assert!(times[0] < Duration::from_millis(1500), "{times:?}");
}

fn time(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

#[tokio::test]
async fn who_may_read_the_tree_needs_no_key_to_look_at_it() {
    let server = Server::start().await;
    let shell = Shell::new(&server);
    shell.ok(&["config", "set", "A", "1"]);
    let acl = [zk::Acl::new(zk::Permission::ALL, zk::AuthId::new("digest", "x:y"))];
    let closed = zk::CreateMode::Persistent.with_acls(zk::Acls::new(&acl));
    client(&server.connect()).await.create("/superset/key", &[1; 32], &closed).await.unwrap();
    assert_eq!(shell.ok(&["config", "get", "A"]), "1\n");
    for arguments in [&["status"][..], &["check"], &["render"], &["config", "set", "A", "2"], &["export", "out"]] {
        shell.ok(arguments);
    }
    for arguments in [&["plan"][..], &["rollout", "confirm", "--force"]] {
        let said = shell.fails(arguments);
        assert!(said.contains("failed to read the cluster's key") && said.contains("the znode's ACL does not let us"), "{said}");
    }
}

#[tokio::test]
async fn only_a_tree_that_is_held_is_confirmed() {
    let server = Server::start().await;
    let shell = Shell::new(&server);
    let agent = Agent::start(&server.connect(), "web-1");
    let mut tree = agent.tree.clone();
    tree.wait_for(Option::is_some).await.unwrap();
    assert!(shell.fails(&["rollout", "confirm"]).contains("there is nothing to confirm"));
    agent.record.send_modify(|record| {
        let record = record.as_mut().unwrap();
        record.state = State::Held;
        record.error = Some("the config tree is suddenly empty; until `setkeeper rollout confirm` confirms it".to_owned());
    });
    eventually("the record", async || (shell.json(&["status"])["instances"][0]["state"] == "held").then_some(())).await;
    let said = shell.run(&["rollout", "confirm"]);
    assert!(said.code == 0 && said.err.contains("web-1 held it: the config tree is suddenly empty"), "{}", said.err);
    let confirmed = shell.json(&["status"])["rollout"]["confirmed"].clone();
    assert!(said.err.contains(confirmed.as_str().unwrap()), "{}", said.err);
    assert!(shell.run(&["rollout", "confirm"]).err.contains("is confirmed already"));
    // Another tree is another digest.
    shell.ok(&["config", "set", "A", "1"]);
    shell.ok(&["rollout", "confirm", "--force"]);
    assert_ne!(shell.json(&["status"])["rollout"]["confirmed"], confirmed);
}
