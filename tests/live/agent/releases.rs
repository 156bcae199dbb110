//! What the running agent makes of releases and of a pause.

use serde_json::json;

use super::{Scene, duck};
use crate::support::eventually;

#[tokio::test]
async fn a_pause_stops_pushes_and_resuming_lets_them_go() {
    let scene = Scene::of("pause").await;
    scene.tree.datasource("pause-first", &duck()).await;
    let agent = scene.agent("a").with("datasources.resync", json!("1s")).started().await;
    agent.datasource("pause-first", "in_sync").await;
    let paused = agent.run(&["pause", "--reason", "upgrade"]).await;
    assert!(paused.status.success());
    eventually("the agent knows", async || agent.log().contains("a person paused the cluster").then_some(())).await;
    scene.tree.datasource("pause-second", &duck()).await;
    scene.tree.fragment("10-a", "ROW_LIMIT: 7").await;
    agent.has_line("ROW_LIMIT = 7").await;
    let person = scene.person().await;
    let lists = scene.proxy.count("GET /api/v1/database/?");
    eventually("some resyncs", async || (scene.proxy.count("GET /api/v1/database/?") > lists + 3).then_some(())).await;
    assert!(person.named("pause-second").await.is_empty(), "it was pushed during the pause");
    agent.run(&["resume"]).await;
    agent.datasource("pause-second", "in_sync").await;

    // One that ends by itself needs nobody to lift it.
    agent.run(&["pause", "--for", "4s"]).await;
    eventually("the agent knows", async || (agent.log().matches("a person paused the cluster").count() > 1).then_some(())).await;
    scene.tree.datasource("pause-third", &duck()).await;
    agent.datasource("pause-third", "in_sync").await;
    assert!(scene.tree.read("pause").await.is_some(), "it ended, nobody lifted it");
}

#[tokio::test]
async fn the_leader_keeps_each_distinct_tree_and_what_came_of_it_within_bounds() {
    let scene = Scene::of("releases").await;
    scene.tree.fragment("10-a", "ROW_LIMIT: 1").await;
    // Two writes of a busy machine must not lie further apart than a tree has to stand still.
    let agent = scene.agent("a").with("releases.count", json!(3)).with("rollout.settle", json!("2s")).started().await;
    let history = async || {
        let said = agent.run(&["config", "history", "-o", "json"]).await;
        serde_json::from_slice::<serde_json::Value>(&said.stdout).unwrap().as_array().unwrap().clone()
    };
    let newest = async |seq: u64| {
        eventually(&format!("release {seq} and what came of it"), async || {
            let history = history().await;
            let last = history.last()?.clone();
            (last["seq"] == seq && last["fates"][0][1]["state"] == "in_sync").then_some(history)
        })
        .await
    };
    // The completed release stays whatever the bounds say, so the next one comes once this is it.
    let completed = async |seq: u64| {
        let digest = newest(seq).await.last().unwrap()["digest"].clone();
        eventually(&format!("release {seq} is completed"), async || {
            (scene.tree.json("rollout").await?["completed"] == digest).then_some(())
        })
        .await;
    };
    completed(1).await;
    for seq in 2..=5 {
        // A burst is one release: only what stands still is kept.
        scene.tree.fragment("10-a", format!("ROW_LIMIT: {}", seq * 100)).await;
        scene.tree.fragment("10-a", format!("ROW_LIMIT: {seq}")).await;
        completed(seq).await;
    }
    let history = newest(5).await;
    let kept: Vec<_> = history.iter().map(|one| one["seq"].as_u64().unwrap()).collect();
    assert_eq!(kept, [3, 4, 5]);
    assert_eq!(history[2]["changed"], json!(["ROW_LIMIT"]));
    // What is in error is nothing to go back to.
    scene.tree.fragment("20-b", "lower: 1").await;
    eventually("it is held", async || {
        let status = agent.status().await?;
        (status["instance"]["state"] == "held").then_some(())
    })
    .await;
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    assert_eq!(scene.tree.names("releases").await.len(), 3);
    // What ran before and is meant again has its own line, and what came of it stands there too.
    assert!(agent.run(&["config", "rollback", "4"]).await.status.success());
    let history = newest(6).await;
    assert_eq!(history.last().unwrap()["digest"], history.iter().find(|one| one["seq"] == 4).unwrap()["digest"]);
}

#[tokio::test]
async fn where_nobody_leads_releases_are_kept_before_they_are_completed_and_within_bounds_too() {
    let scene = Scene::of("leaderless").await;
    scene.tree.fragment("10-a", "ROW_LIMIT: 1").await;
    let agent = scene.agent("a").with("datasources.push", json!(false)).with("releases.count", json!(2)).started().await;
    for limit in 1..=4 {
        scene.tree.fragment("10-a", format!("ROW_LIMIT: {limit}")).await;
        agent.has_line(&format!("ROW_LIMIT = {limit}")).await;
        let release = agent.in_sync().await["instance"]["desired"]["release"].clone();
        eventually("it is completed", async || (scene.tree.json("rollout").await?["completed"] == release).then_some(())).await;
        let kept = scene.tree.names("trees").await;
        assert!(kept.iter().any(|tree| *tree == release) && kept.len() <= 2, "{kept:?}");
    }
    assert!(scene.tree.names("leader").await.is_empty());
}
