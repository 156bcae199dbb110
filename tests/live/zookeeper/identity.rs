//! The instance's record, and what happens when somebody else has it.

use std::time::{Duration, Instant};

use setkeeper::model::instance::State;
use setkeeper::model::status::DatasourceState;
use zookeeper_client as zk;

use crate::support::agent::{Agent, TIMEOUT, client, record, statuses};
use crate::support::eventually;
use crate::support::server::Server;

const RECORD: &str = "/superset/instances/a";

/// Puts a record of the id `a` there, from a session of `timeout`, as an agent on another host would.
async fn holder(server: &Server, timeout: Duration) -> zk::Client {
    let client = zk::Client::connector().with_session_timeout(timeout).with_detached().connect(&server.connect()).await.unwrap();
    let ephemeral = zk::CreateMode::Ephemeral.with_acls(zk::Acls::anyone_all());
    let persistent = zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all());
    client.mkdir("/superset/instances", &persistent).await.unwrap();
    client.create(RECORD, br#"{"host": "elsewhere", "pid": 4711}"#, &ephemeral).await.unwrap();
    client
}

#[tokio::test]
async fn the_record_follows_its_content_and_nothing_else() {
    let server = Server::start().await;
    let client = client(&server.connect()).await;
    let agent = Agent::start(&server.connect(), "a");
    let version = async || client.check_stat(RECORD).await.unwrap().map(|stat| stat.version);
    eventually("a record", version).await;
    agent.record.send_replace(Some(record(&agent.id)));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(version().await, Some(0), "the same content is not written again");
    // A thousand changes within a second are a handful of writes, and the last one wins.
    let began = Instant::now();
    for i in 0..100 {
        agent.record.send_modify(|record| record.as_mut().unwrap().error = Some(format!("try {i}")));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let most = 2 + began.elapsed().as_millis() / 200;
    eventually("the last content", async || {
        let (text, _) = client.get_data(RECORD).await.unwrap();
        String::from_utf8(text).unwrap().contains("try 99").then_some(())
    })
    .await;
    let writes = version().await.unwrap();
    assert!(u128::from(writes.unsigned_abs()) <= most, "{writes} writes, at most {most} expected");
    agent.record.send_replace(None);
    eventually("no record", async || version().await.is_none().then_some(())).await;
}

#[tokio::test]
async fn a_record_that_somebody_deletes_comes_back() {
    let server = Server::start().await;
    let client = client(&server.connect()).await;
    let agent = Agent::start(&server.connect(), "a");
    eventually("a record", async || client.check_stat(RECORD).await.unwrap()).await;
    client.delete(RECORD, None).await.unwrap();
    eventually("the record again", async || client.check_stat(RECORD).await.unwrap()).await;
    client.delete(RECORD, None).await.unwrap();
    agent.record.send_modify(|record| record.as_mut().unwrap().state = State::InSync);
    eventually("the changed record", async || {
        let (text, _) = client.get_data(RECORD).await.ok()?;
        String::from_utf8(text).unwrap().contains("in_sync").then_some(())
    })
    .await;
}

#[tokio::test]
async fn parents_that_somebody_deletes_come_back() {
    let server = Server::start().await;
    let client = client(&server.connect()).await;
    let mut agent = Agent::start(&server.connect(), "a");
    agent.statuses.send_replace(Some(statuses(&["sales"], DatasourceState::InSync)));
    agent.leads().await;
    eventually("a status", async || client.check_stat("/superset/status/datasources/sales").await.unwrap()).await;
    let gone = [RECORD, "/superset/instances", "/superset/status/datasources/sales", "/superset/status/datasources"];
    for path in gone {
        client.delete(path, None).await.unwrap();
    }
    agent.record.send_modify(|record| record.as_mut().unwrap().state = State::InSync);
    agent.statuses.send_replace(Some(statuses(&["sales"], DatasourceState::Failed)));
    for path in gone {
        eventually(path, async || client.check_stat(path).await.unwrap()).await;
    }
    agent.leads().await;
}

#[tokio::test]
async fn a_ghost_is_waited_for_and_neither_overwritten_nor_called_an_error() {
    let server = Server::start().await;
    // A session that nobody keeps alive: after kill -9 it would look like this.
    let ghost = holder(&server, Duration::from_secs(4)).await;
    let owner = ghost.session_id();
    drop(ghost);
    let mut agent = Agent::start(&server.connect(), "a");
    agent.tree_where("anything", |_| true).await;
    let taken = agent.link_where("taken", |link| link.taken.is_some()).await.taken.unwrap();
    assert_eq!((taken.owner, taken.host.as_deref(), taken.pid), (owner.to_string(), Some("elsewhere"), Some(4711)));
    assert!(!taken.overdue && !agent.leads_now(), "whose id is taken does not lead");
    agent.leads().await;
    agent.link_where("ours", |link| link.taken.is_none()).await;
    let client = client(&server.connect()).await;
    let (text, stat) = client.get_data(RECORD).await.unwrap();
    assert_ne!(stat.ephemeral_owner, owner.0);
    assert!(String::from_utf8(text).unwrap().contains("testhost"));
}

#[tokio::test]
async fn an_id_that_stays_taken_becomes_an_error_that_names_its_owner() {
    let server = Server::start().await;
    let other = holder(&server, Duration::from_secs(20)).await;
    let mut agent = Agent::start(&server.connect(), "a");
    agent.link_where("taken", |link| link.taken.is_some()).await;
    let began = Instant::now();
    let taken = agent.link_where("overdue", |link| link.taken.as_ref().is_some_and(|taken| taken.overdue)).await.taken.unwrap();
    let elapsed = began.elapsed();
    assert!(elapsed > TIMEOUT * 3 / 2 && elapsed < TIMEOUT * 3, "{elapsed:?}");
    assert_eq!(taken.to_string(), format!("the id is held by session {}, host elsewhere, pid 4711", other.session_id()));
    let (text, stat) = other.get_data(RECORD).await.unwrap();
    assert_eq!((stat.version, stat.ephemeral_owner), (0, other.session_id().0), "{text:?}");
    assert!(other.list_children("/superset/leader").await.unwrap().is_empty(), "whose id is taken does not stand");
    // The tree is followed all the same.
    other.create("/superset/config/x", b"1", &crate::support::agent::open()).await.unwrap();
    agent.has("x", "1").await;
    other.delete(RECORD, None).await.unwrap();
    agent.leads().await;
}
