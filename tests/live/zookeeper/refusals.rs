//! Writes that a server refuses, for rights or for a quota: what is refused is said and goes on once it may, all else goes on.

use setkeeper::model::status::DatasourceState;
use setkeeper::zookeeper::link::Concern;
use zookeeper_client as zk;

use crate::support::agent::{Agent, client, open, statuses};
use crate::support::eventually;
use crate::support::server::Server;

const RECORD: &str = "/superset/instances/a";
const STATUS: &str = "/superset/status/datasources/sales";

/// Lets everybody read it, and nobody create below it, until they are given the rest.
async fn close(client: &zk::Client, path: &str) {
    let acl = [zk::Acl::new(zk::Permission::READ | zk::Permission::ADMIN, zk::AuthId::anyone())];
    client.mkdir(path, &open()).await.unwrap();
    client.set_acl(path, &acl, None).await.unwrap();
}

async fn give(client: &zk::Client, path: &str) {
    client.set_acl(path, &[zk::Acl::new(zk::Permission::ALL, zk::AuthId::anyone())], None).await.unwrap();
}

/// Waits until this is told of what it keeps from working, and then sees that the tree is followed all the same.
async fn is_told(agent: &mut Agent, client: &zk::Client, concern: Concern, why: &str) {
    let link = agent.link_where(why, |link| link.errors.contains_key(&concern)).await;
    assert!(link.errors[&concern].contains(why), "{:?}", link.errors);
    client.set_data("/superset/config", why.as_bytes(), None).await.unwrap();
    let wanted = why.as_bytes().to_vec();
    let arrived = |tree: &setkeeper::model::snapshot::Snapshot| {
        let content = tree.config.root.as_ref().map(|root| root.content.clone());
        content == Some(setkeeper::model::snapshot::Content::Bytes(wanted.clone().into()))
    };
    agent.tree_where(why, arrived).await;
}

async fn is_healed(agent: &mut Agent, client: &zk::Client, path: &str) {
    eventually(path, async || client.check_stat(path).await.unwrap()).await;
    agent.leads().await;
    agent.link_where("without an error", |link| link.errors.is_empty()).await;
}

#[tokio::test]
async fn a_record_that_may_not_be_written_is_said_and_written_once_it_may_be() {
    let server = Server::start().await;
    let client = client(&server.connect()).await;
    close(&client, "/superset/instances").await;
    let mut agent = Agent::start(&server.connect(), "a");
    is_told(&mut agent, &client, Concern::Record, "failed to create /superset/instances/a: not authorized").await;
    assert!(!agent.leads_now(), "who has no record does not lead");
    give(&client, "/superset/instances").await;
    is_healed(&mut agent, &client, RECORD).await;
}

#[tokio::test]
async fn statuses_that_may_not_be_written_are_said_and_written_once_they_may_be() {
    let server = Server::start().await;
    let client = client(&server.connect()).await;
    close(&client, "/superset/status/datasources").await;
    let mut agent = Agent::start(&server.connect(), "a");
    agent.statuses.send_replace(Some(statuses(&["sales"], DatasourceState::InSync)));
    is_told(&mut agent, &client, Concern::Statuses, "failed to write /superset/status/datasources: not authorized").await;
    assert!(agent.leads_now(), "it is no reason to give up the role");
    give(&client, "/superset/status/datasources").await;
    is_healed(&mut agent, &client, STATUS).await;
}

#[tokio::test]
async fn a_quota_that_is_exhausted_is_said_and_what_it_kept_away_is_written_once_it_is_raised() {
    let server = Server::configured("enforceQuota=true\n").await;
    let client = client(&server.connect()).await;
    let limits = "/zookeeper/quota/superset/status/zookeeper_limits";
    client.mkdir("/superset/status/datasources", &open()).await.unwrap();
    client.mkdir("/zookeeper/quota/superset/status", &open()).await.unwrap();
    client.create(limits, b"count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=2", &open()).await.unwrap();
    client.create("/zookeeper/quota/superset/status/zookeeper_stats", b"count=2,bytes=0", &open()).await.unwrap();
    let mut agent = Agent::start(&server.connect(), "a");
    agent.statuses.send_replace(Some(statuses(&["sales"], DatasourceState::InSync)));
    is_told(&mut agent, &client, Concern::Statuses, "failed to write /superset/status/datasources: exceed path quota").await;
    client.set_data(limits, b"count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=9", None).await.unwrap();
    is_healed(&mut agent, &client, STATUS).await;
}
