//! Servers that die or freeze, and networks that cut, swallow and delay.

use std::time::{Duration, Instant};

use setkeeper::settings::Zookeeper;
use setkeeper::zookeeper::link::Link;
use zookeeper_client as zk;

use crate::support::agent::{Agent, TIMEOUT, access, client, open, settings};
use crate::support::eventually;
use crate::support::proxy::{Fate, Network, Proxy};
use crate::support::server::Server;
use crate::support::wire::{Op, Request};

/// Everything about an agent that works is as it should be: one record, one contender, the tree followed, nothing twice.
async fn is_whole(agent: &mut Agent, client: &zk::Client, change: &str) {
    eventually("a write", async || match client.create("/superset/config/probe", b"", &open()).await {
        Ok(_) | Err(zk::Error::NodeExists) => Some(()),
        Err(_) => None,
    })
    .await;
    eventually("a change", async || client.set_data("/superset/config/probe", change.as_bytes(), None).await.ok()).await;
    agent.has("probe", change).await;
    agent.leads().await;
    let owner = eventually("a record", async || client.check_stat("/superset/instances/a").await.ok()?).await.ephemeral_owner;
    let contenders = client.list_children("/superset/leader").await.unwrap();
    assert_eq!(contenders.len(), 1, "{contenders:?}");
    assert!(contenders[0].contains(&format!("{owner:016x}")), "record and contender are of one session");
    agent.link_where("whole", |link| link.connected && link.errors.is_empty()).await;
}

#[tokio::test]
async fn after_kill_9_of_the_server_a_change_still_arrives_every_time() {
    let mut server = Server::start().await;
    let client = client(&server.connect()).await;
    let mut agent = Agent::start(&server.connect(), "a");
    is_whole(&mut agent, &client, "before").await;
    for round in 1..=3 {
        server.kill();
        agent.follows().await;
        agent.link_where("disconnected", |link| !link.connected).await;
        server.launch();
        server.serves().await;
        is_whole(&mut agent, &client, &format!("round {round}")).await;
        agent.link_where("armed again", |link| link.rearms >= round).await;
    }
}

#[tokio::test]
async fn a_cut_connection_keeps_the_session_and_its_watches_are_armed_again() {
    let server = Server::start().await;
    let proxy = Proxy::before(server.port).await;
    let client = client(&server.connect()).await;
    let mut agent = Agent::start(&proxy.connect(), "a");
    is_whole(&mut agent, &client, "before").await;
    let session = agent.link.borrow().session.clone();
    let record = client.check_stat("/superset/instances/a").await.unwrap();
    for round in 1..=5 {
        proxy.cut();
        agent.link_where("armed again", |link| link.connected && link.rearms >= round).await;
        is_whole(&mut agent, &client, &format!("round {round}")).await;
    }
    assert_eq!(agent.link.borrow().session, session, "a blip must not cost the session");
    assert_eq!(client.check_stat("/superset/instances/a").await.unwrap(), record, "law 10: what is there is not written again");
}

#[tokio::test]
async fn law_10_reconnecting_publishes_nothing_that_was_published_before() {
    let server = Server::start().await;
    let proxy = Proxy::before(server.port).await;
    let client = client(&server.connect()).await;
    let mut agent = Agent::start(&proxy.connect(), "a");
    is_whole(&mut agent, &client, "before").await;
    agent.tree.mark_unchanged();
    proxy.cut();
    agent.link_where("armed again", |link| link.connected && link.rearms == 1).await;
    agent.leads().await;
    // Also over a session that ended.
    proxy.set(Network::Refusing);
    proxy.cut();
    tokio::time::sleep(TIMEOUT * 2).await;
    proxy.set(Network::Good);
    agent.link_where("in a new session", |link| link.connected && link.sessions == 2).await;
    agent.leads().await;
    assert!(!agent.tree.has_changed().unwrap());
    // What happened while nobody looked is published once.
    proxy.set(Network::Refusing);
    proxy.cut();
    client.set_data("/superset/config/probe", b"meanwhile", None).await.unwrap();
    proxy.set(Network::Good);
    agent.has("probe", "meanwhile").await;
}

#[tokio::test]
async fn law_1_a_frozen_server_ends_the_role_in_time_and_starts_nothing() {
    let server = Server::start().await;
    let client = client(&server.connect()).await;
    let mut agent = Agent::start(&server.connect(), "a");
    is_whole(&mut agent, &client, "before").await;
    agent.tree.mark_unchanged();
    server.freeze();
    let frozen = Instant::now();
    let stepped_down = eventually("the role to end", async || (!agent.leads_now()).then(|| frozen.elapsed())).await;
    assert!(stepped_down < TIMEOUT, "{stepped_down:?}");
    tokio::time::sleep((TIMEOUT * 2).saturating_sub(frozen.elapsed())).await;
    assert!(!agent.tree.has_changed().unwrap() && !agent.link.borrow().connected);
    assert!(agent.tree.borrow().is_some(), "what was known stays known");
    server.thaw();
    is_whole(&mut agent, &client, "after").await;
    eprintln!("frozen server: stepped down after {stepped_down:?} (session timeout {TIMEOUT:?})");
}

/// Cuts the connection at the reply to the first request that `chosen` picks, and expects everything to come right.
async fn survives(name: &str, fate: Fate, chosen: fn(&Request) -> bool) {
    let server = Server::start().await;
    let proxy = Proxy::before(server.port).await;
    let client = client(&server.connect()).await;
    let mut happened = proxy.once(fate, chosen);
    let mut agent = Agent::start(&proxy.connect(), "a");
    tokio::time::timeout(Duration::from_secs(20), happened.wait_for(|happened| *happened))
        .await
        .unwrap_or_else(|_| panic!("{name}: no such reply"))
        .unwrap();
    is_whole(&mut agent, &client, name).await;
    let key = client.get_data("/superset/key").await.unwrap().1;
    assert_eq!((key.version, key.data_length), (0, 32), "{name}: the key is made once");
}

#[tokio::test]
async fn a_connection_cut_instead_of_any_reply_leaves_nothing_twice_and_nothing_undone() {
    survives("sync", Fate::CutInstead, |request| request.op == Op::Sync).await;
    survives("watch", Fate::CutInstead, |request| request.op == Op::AddWatch && request.path.ends_with("datasources")).await;
    survives("root", Fate::CutInstead, |request| request.op == Op::Create && request.path == "/superset").await;
    survives("key", Fate::CutInstead, |request| request.op == Op::Create && request.path.ends_with("/key")).await;
    survives("record", Fate::CutInstead, |request| request.op == Op::Create && request.path.contains("/instances/")).await;
    survives("contender", Fate::CutInstead, |request| request.op == Op::Create && request.path.contains("/leader/")).await;
    survives("confirmation", Fate::CutInstead, |request| request.op == Op::Multi && request.path.contains("/leader/")).await;
    survives("read", Fate::CutInstead, |request| request.op == Op::MultiRead).await;
}

#[tokio::test]
async fn a_connection_cut_right_after_a_reply_leaves_nothing_twice_and_nothing_undone() {
    survives("watch", Fate::CutAfter, |request| request.op == Op::AddWatch).await;
    survives("record", Fate::CutAfter, |request| request.op == Op::Create && request.path.contains("/instances/")).await;
    survives("contender", Fate::CutAfter, |request| request.op == Op::Create && request.path.contains("/leader/")).await;
    survives("listing", Fate::CutAfter, |request| request.op == Op::Children && request.path.ends_with("config")).await;
}

#[tokio::test]
async fn a_slow_network_is_only_slow() {
    let server = Server::start().await;
    let proxy = Proxy::before(server.port).await;
    let client = client(&server.connect()).await;
    proxy.set(Network::Slow(Duration::from_millis(100)));
    let mut agent = Agent::start(&proxy.connect(), "a");
    is_whole(&mut agent, &client, "slow").await;
    assert_eq!(agent.link.borrow().sessions, 1);
}

#[tokio::test]
async fn a_server_older_than_3_6_is_named_as_such() {
    const UNIMPLEMENTED: i32 = -6;
    let server = Server::start().await;
    let proxy = Proxy::before(server.port).await;
    proxy.rule(|request| if request.op == Op::AddWatch { Fate::Error(UNIMPLEMENTED) } else { Fate::Pass });
    let mut agent = Agent::start(&proxy.connect(), "a");
    let refused = |link: &Link| link.errors.values().any(|error| error.contains("older than ZooKeeper 3.6"));
    agent.link_where("refused", refused).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(agent.tree.borrow().is_none() && !agent.leads_now());
    // Once it is upgraded, all is well.
    proxy.rule(|_| Fate::Pass);
    agent.leads().await;
    agent.tree_where("anything", |_| true).await;
}

/// How long after ZooKeeper's return a change made right then is known, with an outage longer than any pause of the client.
#[tokio::test]
async fn after_a_long_outage_a_change_made_at_once_is_known_within_a_second() {
    const OUTAGES: usize = 3;
    let server = Server::start().await;
    let proxy = Proxy::before(server.port).await;
    let client = client(&server.connect()).await;
    // A session that outlives the outage, so that the client's own pauses would count.
    let patient = Zookeeper { session_timeout: Duration::from_secs(40), ..settings(&proxy.connect()) };
    let mut agent = Agent::with(access(&patient), "a");
    is_whole(&mut agent, &client, "before").await;
    let mut times = Vec::new();
    for outage in 0..OUTAGES {
        proxy.set(Network::Refusing);
        proxy.cut();
        tokio::time::sleep(Duration::from_secs(8)).await;
        proxy.set(Network::Good);
        let change = format!("outage {outage}");
        client.set_data("/superset/config/probe", change.as_bytes(), None).await.unwrap();
        times.push(agent.has("probe", &change).await);
        // What the old session left there is ours to clear away; it need not end first.
        tokio::time::timeout(Duration::from_secs(3), agent.leads()).await.expect("it waits for its own ghost");
        is_whole(&mut agent, &client, &format!("whole {outage}")).await;
    }
    times.sort_unstable();
    eprintln!("after 8 s without ZooKeeper, a change made at its return is known after {times:?}");
    assert!(times[OUTAGES / 2] < Duration::from_secs(1), "{times:?}");
}
