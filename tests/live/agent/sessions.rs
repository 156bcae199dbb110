//! Sessions that end, and the role that goes with them: frozen, killed, woken again.

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::{Scene, duck};
use crate::support::eventually;
use crate::support::http_proxy::{Fault, Proxy};
use crate::support::program::{Agent, SESSION};

const CREATE: &str = "POST /api/v1/database/";

impl Scene {
    /// Waits until ZooKeeper has given up this agent's session.
    async fn has_expired(&self, id: &str) {
        let gone = async || self.tree.owner(&format!("instances/{id}")).await.is_none().then_some(());
        eventually(&format!("the session of {id} ends"), gone).await;
    }
}

fn leader(status: &Json) -> &str {
    status["leader"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn an_agent_frozen_beyond_its_session_comes_back_with_a_new_one_and_misses_nothing() {
    let scene = Scene::of("frozen").await;
    scene.tree.fragment("50-site", "APP_NAME: before\n").await;
    scene.tree.datasource("frozen-1", &duck()).await;
    let agent = scene.agent("a").started().await;
    agent.datasource("frozen-1", "in_sync").await;
    let session = scene.tree.owner("instances/a").await;

    agent.freeze();
    scene.has_expired("a").await;
    scene.tree.fragment("50-site", "APP_NAME: meanwhile\n").await;
    scene.tree.datasource("frozen-2", &duck()).await;
    agent.thaw();
    agent.has_line("APP_NAME = \"meanwhile\"").await;
    agent.datasources(&["frozen-1", "frozen-2"], "in_sync").await;
    agent.leads().await;
    let anew = eventually("the record is back", async || scene.tree.owner("instances/a").await).await;
    assert_ne!(Some(anew), session);
    assert_eq!(scene.proxy.writes().len(), 2, "{:?}", scene.proxy.writes());
}

#[tokio::test]
async fn of_two_agents_one_leads_and_kill_9_moves_role_and_pushes_and_pushes_nothing_twice() {
    let scene = Scene::of("killed").await;
    scene.tree.fragment("50-site", "APP_NAME: x\n").await;
    scene.tree.datasource("killed-1", &duck()).await;
    let mut first = scene.agent("a").started().await;
    first.leads().await;
    let second = scene.agent("b").started().await;
    let status = second.status_where("both are seen", |status| status["instances"].as_array().unwrap().len() == 2).await;
    assert_eq!(leader(&status), "a");
    first.datasource("killed-1", "in_sync").await;
    second.datasource("killed-1", "in_sync").await;

    first.kill();
    scene.tree.datasource("killed-2", &duck()).await;
    scene.has_expired("a").await;
    let ended = Instant::now();
    let status = second.datasource("killed-2", "in_sync").await;
    assert_eq!(status["by"], "b");
    assert!(ended.elapsed() < Duration::from_secs(20), "pushed {:?} after the session's end", ended.elapsed());
    second.leads().await;
    assert_eq!(scene.proxy.writes().len(), 2, "{:?}", scene.proxy.writes());

    // The killed one meets nobody's ghost by now, follows, and pushes nothing.
    first.start().await;
    first.in_sync().await;
    let status = first.status_where("both are seen", |status| status["instances"].as_array().unwrap().len() == 2).await;
    assert_eq!((leader(&status), &status["instance"]["role"]), ("b", &json!("follower")));
    assert_eq!(scene.proxy.writes().len(), 2, "{:?}", scene.proxy.writes());
}

#[tokio::test]
async fn law_7_a_leader_frozen_amid_its_pushes_writes_nothing_when_it_wakes() {
    const ALL: usize = 12;
    let scene = Scene::of("woken").await;
    let own = Proxy::before(&scene.superset.url).await;
    own.fault(CREATE, usize::MAX, Fault::Slow(Duration::from_millis(400)));
    scene.tree.fragment("50-site", "APP_NAME: x\n").await;
    let names: Vec<_> = (0..ALL).map(|number| format!("woken-{number:02}")).collect();
    let mut frozen = scene.agent("a").with("superset.url", json!(own.url)).with("datasources.concurrency", json!(1));
    frozen.start().await;
    frozen.leads().await;
    let other = scene.agent("b").started().await;
    scene.tree.put("datasources", "").await;
    scene.tree.put_many("datasources", names.iter().map(|name| (name.clone(), duck().to_string()))).await;

    eventually("some pushes", async || (own.count(CREATE) >= 3).then_some(())).await;
    frozen.freeze();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let seen = wait_all(&other, &names).await;
    assert_eq!(leader(&seen), "b");
    let (begun, finished) = (own.writes().len(), scene.proxy.writes().len());
    assert!(begun < ALL, "it was frozen too late to prove anything");
    assert_eq!(begun + finished, ALL, "each was pushed once");

    frozen.thaw();
    let status = frozen
        .status_where("a follower again", |status| leader(status) == "b" && status["instances"].as_array().unwrap().len() == 2);
    assert_eq!(status.await["instance"]["role"], "follower");
    scene.tree.fragment("50-site", "APP_NAME: y\n").await;
    frozen.has_line("APP_NAME = \"y\"").await;
    tokio::time::sleep(SESSION).await;
    assert_eq!((own.writes().len(), scene.proxy.writes().len()), (begun, finished));
    let found = scene.person().await.connections().await;
    let found = found.iter().filter(|one| one["database_name"].as_str().unwrap().starts_with("woken-")).count();
    assert_eq!(found, ALL);
}

async fn wait_all(agent: &Agent, names: &[&str]) -> Json {
    agent.datasources(names, "in_sync").await;
    agent.status().await.unwrap()
}
