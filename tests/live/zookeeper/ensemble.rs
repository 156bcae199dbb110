//! Three servers, one of which dies.

use std::time::Instant;

use crate::support::agent::{Agent, client, open};
use crate::support::eventually;
use crate::support::server::Ensemble;

#[tokio::test]
async fn when_the_ensembles_leader_is_killed_changes_still_arrive_and_one_agent_leads() {
    let mut ensemble = Ensemble::start().await;
    let mut agents: Vec<_> = ["a", "b", "c"].map(|id| Agent::start(&ensemble.connect(), id)).into();
    for agent in &mut agents {
        agent.tree_where("anything", |_| true).await;
    }
    eventually("a leader", async || agents.iter().position(Agent::leads_now)).await;
    for agent in &mut agents {
        agent.tree.mark_unchanged();
    }
    ensemble.leader().await.kill();
    let killed = Instant::now();
    let client = client(&ensemble.connect()).await;
    eventually("a write", async || client.create("/superset/config/after", b"1", &open()).await.ok()).await;
    let writable = killed.elapsed();
    for agent in &mut agents {
        agent.has("after", "1").await;
    }
    let seen = killed.elapsed();
    let leader = eventually("one leader", async || {
        let leaders: Vec<_> = agents.iter().filter(|agent| agent.leads_now()).collect();
        (leaders.len() == 1).then(|| leaders[0].id.clone())
    })
    .await;
    eprintln!(
        "ensemble without its leader: writable after {writable:?}, seen after {seen:?}, {leader} leads after {:?}",
        killed.elapsed()
    );
    eventually("three records", async || (client.list_children("/superset/instances").await.ok()?.len() == 3).then_some(()))
        .await;
}
