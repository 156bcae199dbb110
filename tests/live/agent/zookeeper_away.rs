//! ZooKeeper away: nothing new begins, what was good stays, and what changed meanwhile or afterwards arrives.

use std::fs;

use serde_json::json;

use super::{Scene, count, counted_reloads, duck, reloaded};
use crate::support::program::SESSION;
use crate::support::proxy::Proxy;

#[tokio::test]
async fn law_1_while_zookeeper_is_away_nothing_happens_and_a_change_afterwards_arrives() {
    let mut scene = Scene::of("away").await;
    scene.tree.fragment("50-site", "APP_NAME: before\n").await;
    scene.tree.datasource("away-duck", &duck()).await;
    let (agent, told) = counted_reloads(scene.agent("a").with("datasources.resync", json!("1s")));
    let mut agent = agent.started().await;
    let id = agent.datasource("away-duck", "in_sync").await["database_id"].as_i64().unwrap();
    agent.in_sync().await;

    scene.zookeeper.kill();
    let status = agent.status_where("cut off", |status| status["instance"]["error"].is_string()).await;
    assert_eq!(status["instance"]["role"], "follower");
    reloaded(&told, 1).await;
    let before = (agent.rest().await, scene.proxy.writes(), 1);
    // A resync would repair this at once, if anybody led.
    scene.person().await.change(id, &json!({"expose_in_sqllab": false})).await;
    tokio::time::sleep(SESSION * 2).await;
    assert!(agent.is_ready().await, "losing zookeeper does not make an instance unready");
    assert_eq!((agent.traces(), scene.proxy.writes(), count(&told)), before);

    scene.zookeeper.launch();
    scene.zookeeper.serves().await;
    scene.tree.fragment("50-site", "APP_NAME: after\n").await;
    agent.has_line("APP_NAME = \"after\"").await;
    agent.in_sync().await;
    reloaded(&told, 2).await;
    let status = agent.status_where("no error is left", |status| status["instance"]["error"].is_null()).await;
    assert_eq!(status["problems"], json!([]));
    agent.leads().await;
    let writes = async || scene.proxy.writes().split_off(before.1.len());
    let repaired =
        crate::support::eventually("the drift is repaired", async || Some(writes().await).filter(|new| !new.is_empty()));
    assert!(repaired.await[0].starts_with(&format!("PUT /api/v1/database/{id}")));
    agent.stop().await;
}

#[tokio::test]
async fn law_1_a_restart_without_zookeeper_brings_back_the_last_good_file_and_is_ready() {
    let mut scene = Scene::of("restored").await;
    scene.tree.fragment("50-site", "APP_NAME: good\n").await;
    let (agent, told) = counted_reloads(scene.agent("a"));
    let mut agent = agent.started().await;
    let status = agent.in_sync().await;
    let good = agent.rendered().unwrap();
    agent.stop().await;

    scene.zookeeper.kill();
    fs::remove_file(agent.path("superset_config.py")).unwrap();
    agent.start().await;
    assert_eq!(agent.rendered().unwrap(), good, "it answers, so it has begun, and the file must be back by then");
    assert!(agent.is_ready().await);
    let own = agent.status().await.unwrap()["instance"].clone();
    assert_eq!(own["applied"], status["instance"]["applied"]);

    let (traces, reloads) = (agent.rest().await, count(&told));
    scene.zookeeper.launch();
    scene.zookeeper.serves().await;
    agent.in_sync().await;
    assert_eq!((agent.traces(), count(&told)), (traces, reloads), "the tree says what is there already");
    scene.tree.fragment("50-site", "APP_NAME: better\n").await;
    agent.has_line("APP_NAME = \"better\"").await;
}

#[tokio::test]
async fn law_10_reconnecting_replays_nothing() {
    let scene = Scene::of("replay").await;
    let network = Proxy::before(scene.zookeeper.port).await;
    scene.tree.fragment("50-site", "APP_NAME: one\n").await;
    scene.tree.datasource("replay-duck", &duck()).await;
    let (agent, told) = counted_reloads(scene.agent("a").with("source.zookeeper.connect", json!(network.connect())));
    let agent = agent.started().await;
    agent.datasource("replay-duck", "in_sync").await;
    agent.in_sync().await;
    reloaded(&told, 1).await;
    let before = (agent.rest().await, scene.proxy.writes(), 1);
    for round in 1..=3 {
        network.cut();
        let rearmed = format!("setkeeper_watch_rearms_total {round}");
        let metrics = async || agent.get("/metrics").await.filter(|(_, text)| text.lines().any(|line| line == rearmed));
        crate::support::eventually(&rearmed, metrics).await;
    }
    agent.datasource("replay-duck", "in_sync").await;
    agent.in_sync().await;
    assert_eq!((agent.traces(), scene.proxy.writes(), count(&told)), before);
    scene.tree.fragment("50-site", "APP_NAME: two\n").await;
    agent.has_line("APP_NAME = \"two\"").await;
}
