//! Agents that are frozen or killed.

use std::time::Instant;

use rustix::process::Signal;

use crate::support::agent::{Agent, TIMEOUT, client};
use crate::support::eventually;
use crate::support::process::{Process, be_an_agent_if_asked};
use crate::support::server::Server;

#[tokio::test]
async fn law_7_an_agent_that_was_frozen_wakes_up_as_a_follower() {
    be_an_agent_if_asked().await;
    let server = Server::start().await;
    let test = "zookeeper::process::law_7_an_agent_that_was_frozen_wakes_up_as_a_follower";
    let mut frozen = Process::start(test, &server.connect());
    assert_eq!(frozen.says().await, "follows");
    assert_eq!(frozen.says().await, "leads");
    let mut other = Agent::start(&server.connect(), "other");
    other.tree_where("anything", |_| true).await;
    frozen.signal(Signal::STOP);
    other.leads().await;
    frozen.signal(Signal::CONT);
    assert_eq!(frozen.says().await, "follows", "it must not believe what it believed");
    // It is back with a session of its own, and stands behind the other.
    let client = client(&server.connect()).await;
    eventually("two contenders", async || {
        let contenders = client.list_children("/superset/leader").await.unwrap();
        let instances = client.list_children("/superset/instances").await.unwrap();
        (contenders.len() == 2 && instances.len() == 2).then_some(())
    })
    .await;
    assert!(other.leads_now());
    other.stop().await;
    assert_eq!(frozen.says().await, "leads");
}

#[tokio::test]
async fn after_kill_9_of_the_leader_another_leads_once_its_session_is_over() {
    be_an_agent_if_asked().await;
    let server = Server::start().await;
    let test = "zookeeper::process::after_kill_9_of_the_leader_another_leads_once_its_session_is_over";
    let mut killed = Process::start(test, &server.connect());
    assert_eq!(killed.says().await, "follows");
    assert_eq!(killed.says().await, "leads");
    let mut other = Agent::start(&server.connect(), "other");
    other.tree_where("anything", |_| true).await;
    killed.signal(Signal::KILL);
    let began = Instant::now();
    // The one that is started again meets its own ghost.
    let mut ghost = Agent::start(&server.connect(), "process");
    ghost.link_where("taken", |link| link.taken.is_some()).await;
    other.leads().await;
    let took = began.elapsed();
    eprintln!("kill -9 of the leader: another leads after {took:?} (session timeout {TIMEOUT:?})");
    assert!(took < TIMEOUT * 3, "{took:?}");
    ghost.link_where("free", |link| link.taken.is_none()).await;
    let client = client(&server.connect()).await;
    eventually("two records", async || (client.list_children("/superset/instances").await.unwrap().len() == 2).then_some(()))
        .await;
}
