//! TLS with a client's certificate, digest credentials and nodes that are their creator's alone, through the whole agent.

use serde_json::{Value as Json, json};
use tempfile::TempDir;
use zookeeper_client as zk;

use super::duck;
use crate::support::agent::client;
use crate::support::eventually;
use crate::support::http_proxy::Proxy;
use crate::support::program::Agent;
use crate::support::server::{Server, certificates};
use crate::support::services::shared;
use crate::support::tree::Tree;

#[tokio::test]
async fn over_tls_with_credentials_everything_works_and_nobody_else_can_read_what_the_agent_makes() {
    let folder = TempDir::new().unwrap();
    certificates(folder.path());
    let pem = |name: &str| folder.path().join(name).display().to_string();
    let (zookeeper, superset) = tokio::join!(Server::secure(folder.path()), shared());
    let proxy = Proxy::before(&superset.url).await;
    let connect = format!("127.0.0.1:{}", zookeeper.tls_port.unwrap());
    let agent = Agent::new("secure", "a", &connect, &proxy.url);
    let password = agent.secret("zookeeper", "first");
    let tls = |own: &str| {
        let (cert, key) = (pem(&format!("{own}.cert.pem")), pem(&format!("{own}.key.pem")));
        json!({"ca": pem("ca.pem"), "cert": cert, "key": key, "verify_hostname": true})
    };
    let mut agent = agent
        .with("source.zookeeper.tls", tls("client"))
        .with("source.zookeeper.auth", json!({"username": "keeper", "password": {"$file": password}}))
        .with("source.zookeeper.acl", json!("creator"))
        .started()
        .await;
    agent.leads().await;

    let stranger = client(&zookeeper.connect()).await;
    for path in ["/superset", "/superset/config", "/superset/instances/a", "/superset/leader", "/superset/key"] {
        assert_eq!(stranger.get_data(path).await.unwrap_err(), zk::Error::NoAuth, "{path}");
    }
    let author = client(&zookeeper.connect()).await;
    author.auth("digest", b"keeper:first").await.unwrap();
    let tree = Tree::of(author);
    tree.fragment("50-site", "APP_NAME: secure\n").await;
    tree.datasource("secure-duck", &duck()).await;
    agent.has_line("APP_NAME = \"secure\"").await;
    agent.datasource("secure-duck", "in_sync").await;
    assert_eq!(stranger.get_data("/superset/status/datasources/secure-duck").await.unwrap_err(), zk::Error::NoAuth);
    let status = agent.run(&["status", "-o", "json"]).await;
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["leader"], "a");

    // A certificate that the server does not trust.
    agent.stop().await;
    agent.set("source.zookeeper.tls", tls("stranger"));
    agent.start().await;
    agent.status_where("no connection", |status| status["instance"]["error"].is_string()).await;
    assert!(agent.is_ready().await, "the last good revision is applied");
}

#[tokio::test]
async fn a_password_for_zookeeper_that_was_changed_is_taken_up_without_a_restart() {
    let zookeeper = Server::start().await;
    let agent = Agent::new("rekeyed", "a", &zookeeper.connect(), "http://127.0.0.1:9");
    let password = agent.secret("zookeeper", "first");
    let auth = json!({"username": "keeper", "password": {"$file": password}});
    let agent = agent.with("source.zookeeper.auth", auth).with("source.zookeeper.acl", json!("creator"));
    let mut agent = agent.started().await;
    let says =
        |text: &'static str| move |status: &Json| status["instance"]["error"].as_str().is_some_and(|error| error.contains(text));
    agent.status_where("it may", says("nothing is published yet")).await;
    agent.stop().await;

    agent.secret("zookeeper", "second");
    agent.start().await;
    agent.status_where("it may not", says("not authorized")).await;
    let author = client(&zookeeper.connect()).await;
    author.auth("digest", b"keeper:first").await.unwrap();
    Tree::of(author).fragment("50-site", "APP_NAME: again\n").await;
    agent.secret("zookeeper", "first");
    agent.has_line("APP_NAME = \"again\"").await;
    agent.status_where("no error is left", |status| status["instance"]["error"].is_null()).await;
}

#[tokio::test]
async fn the_password_for_zookeeper_is_rotated_while_agents_run_and_the_old_one_opens_nothing_then() {
    let zookeeper = Server::start().await;
    let agent = |id: &str| {
        let agent = Agent::new("rotated", id, &zookeeper.connect(), "http://127.0.0.1:9");
        let auth = json!({"username": "keeper", "password": {"$file": agent.secret("zookeeper", "first")}});
        agent.with("source.zookeeper.auth", auth).with("source.zookeeper.acl", json!("creator"))
    };
    let (one, other) = (agent("a").started().await, agent("b").started().await);
    let author = async |password: &str| {
        let author = client(&zookeeper.connect()).await;
        author.auth("digest", format!("keeper:{password}").as_bytes()).await.unwrap();
        author
    };
    let publish = async |password: &str, line: &str| {
        Tree::of(author(password).await).fragment("50-site", format!("{}\n", line.replace(" =", ":"))).await;
        for agent in [&one, &other] {
            agent.has_line(line).await;
            agent.in_sync().await;
        }
    };
    eventually("the tree is made", async || author("first").await.check_stat("/superset/config").await.unwrap()).await;
    publish("first", "ROW_LIMIT = 1").await;

    let both = ["addauth digest keeper:first", "addauth digest keeper:second", "setAcl -R /superset auth::cdrwa"];
    zookeeper.cli(&both).await;
    publish("first", "ROW_LIMIT = 2").await;
    one.secret("zookeeper", "second");
    other.secret("zookeeper", "second");
    for id in ["a", "b"] {
        let path = format!("/superset/instances/{id}");
        eventually("the record is under the new one", async || author("second").await.get_data(&path).await.ok()).await;
    }
    publish("second", "ROW_LIMIT = 3").await;
    zookeeper.cli(&both).await;
    zookeeper.cli(&["addauth digest keeper:second", "setAcl -R /superset auth::cdrwa"]).await;
    publish("second", "ROW_LIMIT = 4").await;

    let old = author("first").await;
    let mut left = vec!["/superset".to_owned()];
    while let Some(path) = left.pop() {
        assert_eq!(old.get_data(&path).await.unwrap_err(), zk::Error::NoAuth, "{path}");
        let names = author("second").await.list_children(&path).await.unwrap();
        left.extend(names.into_iter().map(|name| format!("{path}/{name}")));
    }
    for agent in [&one, &other] {
        agent.status_where("no error is left", |status| status["instance"]["error"].is_null()).await;
        for password in ["keeper:first", "keeper:second"] {
            assert!(!agent.log().contains(password));
        }
    }
}
