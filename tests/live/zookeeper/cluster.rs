//! One look, one change: what commands do.

use std::time::{Duration, Instant};

use setkeeper::model::datasource::DatasourceName;
use setkeeper::model::digest::Release;
use setkeeper::model::status::DatasourceState;
use setkeeper::zookeeper::cluster::{Cluster, LIMIT};
use setkeeper::zookeeper::edit::{Edit, Expect};
use setkeeper::zookeeper::error::Error;

use crate::support::agent::{Agent, access, client, open, settings, statuses, text};
use crate::support::server::Server;
use crate::support::{PATIENCE, eventually};

async fn cluster(server: &Server) -> Cluster {
    Cluster::open(&access(&settings(&server.connect())), LIMIT).await.unwrap()
}

fn put(path: &str, bytes: impl Into<Vec<u8>>, expect: Expect) -> Edit {
    Edit::Put { path: path.to_owned(), bytes: bytes.into(), expect }
}

#[tokio::test]
async fn a_fresh_tree_is_empty_and_a_first_write_makes_what_it_needs() {
    let server = Server::start().await;
    let cluster = cluster(&server).await;
    assert!(cluster.snapshot().await.unwrap().config.root.is_none());
    assert!(cluster.key().await.unwrap().is_none());
    assert!(cluster.leader().await.unwrap().is_none());
    assert!(cluster.instances().await.unwrap().records.is_empty());
    cluster.set("/superset/config/10-a", b"A: 1".to_vec(), Expect::Absent).await.unwrap();
    let stored = cluster.read("/superset/config/10-a").await.unwrap().unwrap();
    assert_eq!((&*stored.bytes, stored.version), (&b"A: 1"[..], 0));
    assert_eq!(text(&cluster.snapshot().await.unwrap(), "10-a").as_deref(), Some("A: 1"));
    cluster.close().await;
}

#[tokio::test]
async fn a_change_that_expects_something_else_changes_nothing() {
    let server = Server::start().await;
    let cluster = cluster(&server).await;
    cluster.set("/superset/config/a", b"1".to_vec(), Expect::Absent).await.unwrap();
    let again = cluster.set("/superset/config/a", b"2".to_vec(), Expect::Absent).await.unwrap_err();
    assert!(again.is_conflict(), "{again}");
    cluster.set("/superset/config/a", b"2".to_vec(), Expect::Version(0)).await.unwrap();
    let stale = cluster.set("/superset/config/a", b"3".to_vec(), Expect::Version(0)).await.unwrap_err();
    assert!(stale.is_conflict() && stale.hint().is_some(), "{stale}");
    // One bad change among good ones: none is made, and the bad one is named.
    let edits = [put("/superset/config/b", "1", Expect::Absent), put("/superset/config/a", "3", Expect::Version(7))];
    let refused = cluster.apply(&edits).await.unwrap_err();
    assert_eq!(refused.to_string(), "failed to write /superset/config/a");
    assert!(cluster.read("/superset/config/b").await.unwrap().is_none());
    assert!(cluster.delete("/superset/config/a", Some(0)).await.unwrap_err().is_conflict());
    cluster.delete("/superset/config/a", Some(1)).await.unwrap();
    assert!(cluster.read("/superset/config/a").await.unwrap().is_none());
}

#[tokio::test]
async fn what_a_server_would_not_take_is_refused_with_its_size() {
    let server = Server::start().await;
    let cluster = cluster(&server).await;
    // The largest request that is allowed does arrive: the limit is not guessed too high.
    let most = 1_048_400 - (8 + 9 + 9) - (4 + "/superset/config/a".len()) - 4 - 4;
    cluster.set("/superset/config/a", b"".to_vec(), Expect::Anything).await.unwrap();
    cluster.set("/superset/config/a", vec![b'#'; most], Expect::Anything).await.unwrap();
    let refused = cluster.set("/superset/config/a", vec![b'#'; most + 1], Expect::Anything).await.unwrap_err();
    assert!(matches!(refused, Error::TooLarge { size: 1_048_401, .. }), "{refused}");
    let half = vec![b'#'; 600_000];
    let edits = [put("/superset/config/b", half.clone(), Expect::Anything), put("/superset/config/c", half, Expect::Anything)];
    let refused = cluster.apply(&edits).await.unwrap_err();
    assert!(refused.to_string().starts_with("failed to write 2 changes as one: 1200"), "{refused}");
    assert!(cluster.read("/superset/config/b").await.unwrap().is_none());
}

#[tokio::test]
async fn confirming_keeps_the_rest_of_the_record() {
    let server = Server::start().await;
    let cluster = cluster(&server).await;
    cluster.confirm("d1").await.unwrap();
    assert_eq!(cluster.rollout().await.unwrap().confirmed.as_deref(), Some("d1"));
    let text = br#"{"completed": "r0", "confirmed": "d1", "quarantine": [{"release": "r1"}], "later": 1}"#;
    cluster.set("/superset/rollout", text.to_vec(), Expect::Anything).await.unwrap();
    cluster.confirm("d2").await.unwrap();
    let rollout = cluster.rollout().await.unwrap();
    assert_eq!((rollout.confirmed.as_deref(), rollout.completed.as_ref().map(Release::as_str)), (Some("d2"), Some("r0")));
    assert_eq!(rollout.quarantine.len(), 1);
    let stored = cluster.read("/superset/rollout").await.unwrap().unwrap();
    assert!(String::from_utf8(stored.bytes).unwrap().contains("\"later\":1"));
    cluster.set("/superset/rollout", b"rubbish".to_vec(), Expect::Anything).await.unwrap();
    assert!(matches!(cluster.confirm("d3").await, Err(Error::NotAnObject { .. })));
}

#[tokio::test]
async fn the_cluster_is_seen_and_rubbish_in_it_is_a_problem_beside_the_rest() {
    let server = Server::start().await;
    let mut agent = Agent::start(&server.connect(), "web-1");
    agent.statuses.send_replace(Some(statuses(&["sales"], DatasourceState::InSync)));
    agent.leads().await;
    let client = client(&server.connect()).await;
    client.create("/superset/instances/rubbish", b"not json", &open()).await.unwrap();
    client.create("/superset/status/datasources/zzz", b"[]", &open()).await.unwrap();
    let cluster = cluster(&server).await;
    let instances = cluster.instances().await.unwrap();
    assert_eq!(instances.records.iter().map(|instance| instance.id.as_str()).collect::<Vec<_>>(), ["web-1"]);
    assert_eq!(instances.problems[0].znode, "/superset/instances/rubbish");
    assert_eq!(cluster.leader().await.unwrap().unwrap().as_str(), "web-1");
    assert!(cluster.key().await.unwrap().is_some());
    let statuses = eventually("a status", async || {
        let statuses = cluster.datasource_statuses().await.unwrap();
        (!statuses.records.is_empty()).then_some(statuses)
    })
    .await;
    assert_eq!(statuses.records[0].name, DatasourceName::new("sales"));
    // The agent's own session shows the same.
    let own = agent.cluster.borrow().clone().unwrap();
    assert_eq!(own.leader().await.unwrap().unwrap().as_str(), "web-1");
}

#[tokio::test]
async fn where_nobody_listens_the_hosts_are_named_in_time() {
    let began = Instant::now();
    let error = Cluster::open(&access(&settings("127.0.0.1:1")), LIMIT).await.unwrap_err();
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    assert!(error.hint().is_some());
    assert!(began.elapsed() < LIMIT + Duration::from_secs(1));
}

#[tokio::test]
async fn a_server_that_accepts_and_never_answers_is_given_up_in_time() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connect = silent.local_addr().unwrap().to_string();
    let began = Instant::now();
    let limit = Duration::from_secs(1);
    let error = Cluster::open(&access(&settings(&connect)), limit).await.unwrap_err();
    assert!(matches!(error, Error::ConnectTimeout { .. } | Error::Connect { .. }), "{error}");
    assert!(began.elapsed() < PATIENCE / 10);
}

#[tokio::test]
async fn a_chroot_that_does_not_exist_is_named_as_such() {
    let server = Server::start().await;
    let connect = format!("{}/nowhere", server.connect());
    let error = Cluster::open(&access(&settings(&connect)), LIMIT).await.unwrap_err();
    assert!(matches!(error, Error::NoChroot { .. }), "{error}");
    let mut agent = Agent::start(&connect, "a");
    agent.link_where("in error", |link| link.errors.values().any(|error| error.contains("not exists"))).await;
    let client = client(&server.connect()).await;
    client.create("/nowhere", b"", &open()).await.unwrap();
    agent.tree_where("anything", |_| true).await;
    assert!(client.check_stat("/nowhere/superset/config").await.unwrap().is_some());
}
