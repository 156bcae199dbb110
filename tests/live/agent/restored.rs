//! A ZooKeeper that came back with nothing: everything stays as it is, and what was exported brings it back.

use serde_json::Value as Json;

use super::{Scene, duck};
use crate::support::eventually;
use crate::support::program::Agent;

#[tokio::test]
async fn law_2_a_zookeeper_that_lost_everything_changes_nothing_and_an_export_restores_it() {
    let mut scene = Scene::of("restored").await;
    scene.tree.fragment("50-site", "APP_NAME: before\n").await;
    let names = ["restored-a", "restored-b", "restored-c"];
    for name in names {
        scene.tree.datasource(name, &duck()).await;
    }
    let mut agents = [scene.agent("a").started().await, scene.agent("b").started().await];
    for agent in &agents {
        agent.has_line("APP_NAME = \"before\"").await;
        agent.in_sync().await;
    }
    let person = scene.person().await;
    let rows = async || {
        let all = person.connections().await.into_iter();
        let ours = all.filter(|row| row["database_name"].as_str().is_some_and(|name| name.starts_with("restored-")));
        let mut ids: Vec<_> = ours.map(|row| row["id"].as_i64().unwrap()).collect();
        ids.sort_unstable();
        ids
    };
    // Whoever leads says so; the other shows the same a moment later.
    eventually("the connections", async || (rows().await.len() == names.len()).then_some(())).await;
    let (before, exported) = (rows().await, agents[0].path("exported").display().to_string());
    succeeds(&agents[0], &["export", &exported]).await;
    let files: Vec<_> = agents.iter().map(|agent| agent.rendered().unwrap()).collect();

    let changes = || scene.proxy.writes().len();
    let written = changes();
    scene.zookeeper.lose_everything().await;
    let says = |status: &Json| status["instance"]["error"].as_str().is_some_and(|error| error.contains("suddenly empty"));
    for (agent, file) in agents.iter().zip(&files) {
        agent.status_where("it is empty", says).await;
        assert_eq!(agent.rendered().as_ref(), Some(file));
        assert!(agent.is_ready().await);
    }
    // One that is started now has what it had, too.
    agents[1].stop().await;
    agents[1].start().await;
    agents[1].status_where("it is empty", says).await;
    assert_eq!((agents[1].rendered().as_ref(), rows().await), (Some(&files[1]), before.clone()));
    assert_eq!(changes(), written, "nothing is written to Superset");

    succeeds(&agents[0], &["pause", "--reason", "restore"]).await;
    assert!(succeeds(&agents[0], &["apply", "--dry-run", &exported]).await.contains("restored-c"));
    succeeds(&agents[0], &["apply", "-m", "restored", &exported]).await;
    succeeds(&agents[0], &["resume"]).await;
    for agent in &agents {
        agent.in_sync().await;
        agent
            .status_where("it runs what is published", |status| {
                let own = &status["instance"];
                own["error"].is_null() && own["applied"]["release"] == own["desired"]["release"]
            })
            .await;
        assert!(agent.rendered().unwrap().contains("APP_NAME = \"before\"\n"));
    }
    eventually("every connection is looked at", async || {
        let status = succeeds(&agents[0], &["status", "-o", "json"]).await;
        let status: Json = serde_json::from_str(&status).unwrap();
        let all = status["datasources"].as_array()?;
        (all.len() == names.len() && all.iter().all(|one| one["state"] == "in_sync")).then_some(())
    })
    .await;
    assert_eq!(rows().await, before, "the same connections, none twice");
    assert!(succeeds(&agents[0], &["config", "history"]).await.contains("restored"));
}

/// What a command says that succeeds.
async fn succeeds(agent: &Agent, arguments: &[&str]) -> String {
    let ended = agent.run(arguments).await;
    assert!(ended.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8_lossy(&ended.stdout).into_owned()
}
