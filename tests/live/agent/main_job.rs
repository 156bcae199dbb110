//! The main job: znodes in, a Superset in line; and what is in line is left alone.

use serde_json::json;
use setkeeper::model::datasource::DatasourceName;

use crate::support::eventually;
use crate::support::http_proxy::Proxy;
use crate::support::person::Person;
use crate::support::program::Agent;
use crate::support::server::Server;
use crate::support::services::{Superset, superset};
use crate::support::tree::Tree;

/// An agent whose file is the one that this Superset loads.
fn beside(superset: &Superset, proxy: &Proxy, zookeeper: &str, cluster: &str) -> Agent {
    Agent::new(cluster, "a", zookeeper, &proxy.url)
        .with("render.superset_config", json!({"path": superset.config, "base": superset.base()}))
        .with("reload.pid_file", json!(superset.pid_file))
}

async fn runs(superset: &Superset, revision: &str) {
    let is_so = async || (superset.revision().await.as_deref() == Some(revision)).then_some(());
    eventually("superset runs the revision", is_so).await;
}

fn reloads(superset: &Superset) -> usize {
    superset.log().matches("Handling signal: hup").count()
}

#[tokio::test]
async fn law_10_znodes_become_a_file_that_superset_runs_and_a_connection_and_a_restart_changes_nothing() {
    let (zookeeper, superset) = tokio::join!(Server::start(), superset("", &[]));
    let (tree, proxy) = (Tree::at(&zookeeper.connect()).await, Proxy::before(&superset.url).await);
    tree.fragment("50-site", "APP_NAME: Sales\nFEATURE_FLAGS: {ALERT_REPORTS: true}\n").await;
    tree.datasource("ducks", &json!({"database_name": "Ducks", "sqlalchemy_uri": "duckdb:///:memory:"})).await;
    let mut agent = beside(&superset, &proxy, &zookeeper.connect(), "main").started().await;

    agent.has_line("APP_NAME = \"Sales\"").await;
    let status = agent.in_sync().await;
    let revision = status["instance"]["applied"]["revision"].as_str().unwrap().to_owned();
    runs(&superset, &revision).await;
    agent.datasource("ducks", "in_sync").await;
    let person = Person::admin(&superset.url).await;
    let found = person.named("Ducks").await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["uuid"], DatasourceName::new("ducks").uuid("main").to_string());
    let rows = person.query(found[0]["id"].as_i64().unwrap(), None, "SELECT 6 * 7 AS answer").await.unwrap();
    assert_eq!(rows, [json!({"answer": 42})]);

    // What the agent says over HTTP the cluster sees a moment later.
    let record = eventually("the record", async || {
        let record = tree.json("instances/a").await?;
        (record["state"] == "in_sync" && record["role"] == "leader").then_some(record)
    });
    assert_eq!(record.await["applied"]["revision"], json!(revision));
    let status = async || tree.json("status/datasources/ducks").await.filter(|status| status["state"] == "in_sync");
    eventually("the status", status).await;

    let before = (agent.rest().await, std::fs::metadata(&superset.config).unwrap().modified().unwrap(), reloads(&superset));
    let pushed = proxy.writes().len();
    agent.stop().await;
    assert_eq!(tree.names("instances").await, Vec::<String>::new(), "the record goes with the agent");
    agent.start().await;
    agent.in_sync().await;
    agent.datasource("ducks", "in_sync").await;
    assert_eq!(agent.traces(), before.0);
    // What comes next proves that everything before it is over and done with.
    tree.datasource("geese", &json!({"sqlalchemy_uri": "duckdb:///:memory:"})).await;
    agent.datasource("geese", "in_sync").await;
    let new = proxy.writes().split_off(pushed);
    assert!(new.len() == 1 && new[0].starts_with("POST"), "{new:?}");
    assert_eq!((std::fs::metadata(&superset.config).unwrap().modified().unwrap(), reloads(&superset)), (before.1, before.2));
}
