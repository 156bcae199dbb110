//! Who leads, who writes, and who no longer may.

use std::time::{Duration, Instant};

use setkeeper::model::instance::Standing;
use setkeeper::model::status::DatasourceState;
use zookeeper_client as zk;

use crate::support::agent::{Agent, TIMEOUT, client, open, statuses};
use crate::support::eventually;
use crate::support::proxy::{Network, Proxy};
use crate::support::server::Server;

async fn contenders(client: &zk::Client) -> Vec<String> {
    client.list_children("/superset/leader").await.unwrap_or_default()
}

async fn status(client: &zk::Client, name: &str) -> Option<String> {
    let (text, _) = client.get_data(&format!("/superset/status/datasources/{name}")).await.ok()?;
    Some(String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn one_of_three_leads_and_another_takes_over_when_it_stops() {
    let server = Server::start().await;
    let mut agents = vec![Agent::start(&server.connect(), "a")];
    let first = agents[0].leads().await;
    agents.push(Agent::start(&server.connect(), "b"));
    agents.push(Agent::start(&server.connect(), "c"));
    let client = client(&server.connect()).await;
    eventually("three contenders", async || (contenders(&client).await.len() == 3).then_some(())).await;
    assert_eq!(agents.iter().filter(|agent| agent.leads_now()).count(), 1);
    let stopped = Instant::now();
    agents.remove(0).stop().await;
    assert!(client.check_stat("/superset/instances/a").await.unwrap().is_none(), "the record must be gone at once");
    assert_eq!(contenders(&client).await.len(), 2);
    let second = eventually("another leader", async || agents.iter().position(Agent::leads_now)).await;
    assert!(stopped.elapsed() < TIMEOUT, "a clean stop must not wait for any timeout: {:?}", stopped.elapsed());
    assert!(agents[second].leads().await > first, "a later election has a greater term");
    assert_eq!(agents.iter().filter(|agent| agent.leads_now()).count(), 1);
}

#[tokio::test]
async fn each_contender_watches_only_the_one_before_it() {
    let server = Server::start().await;
    let agents: Vec<_> = (0..6).map(|i| Agent::start(&server.connect(), &format!("agent-{i}"))).collect();
    let client = client(&server.connect()).await;
    eventually("six contenders", async || (contenders(&client).await.len() == 6).then_some(())).await;
    // Two recursive and three other persistent watches each; five contenders have someone before them. A herd would have more.
    let watches = eventually("all watches", async || {
        let text = server.four_letters("wchs").await?;
        let total = text.lines().find_map(|line| line.strip_prefix("Total watches:"))?.trim().parse::<usize>().unwrap();
        (total >= 6 * 5 + 5).then_some(total)
    })
    .await;
    assert_eq!(watches, 6 * 5 + 5);
    drop(agents);
}

#[tokio::test]
async fn who_is_not_entitled_does_not_stand_and_leaves_at_once() {
    let server = Server::start().await;
    let mut agent = Agent::start(&server.connect(), "a");
    agent.leads().await;
    let client = client(&server.connect()).await;
    agent.entitled.send_replace(false);
    agent.follows().await;
    eventually("no contender", async || contenders(&client).await.is_empty().then_some(())).await;
    let mut other = Agent::start(&server.connect(), "b");
    other.leads().await;
    agent.entitled.send_replace(true);
    eventually("two contenders", async || (contenders(&client).await.len() == 2).then_some(())).await;
    assert!(!agent.leads_now());
}

#[tokio::test]
async fn a_leader_whose_node_somebody_deletes_steps_down_and_stands_again() {
    let server = Server::start().await;
    let mut agent = Agent::start(&server.connect(), "a");
    let first = agent.leads().await;
    let client = client(&server.connect()).await;
    let node = contenders(&client).await.pop().unwrap();
    client.delete(&format!("/superset/leader/{node}"), None).await.unwrap();
    agent.follows().await;
    assert!(agent.leads().await > first);
}

#[tokio::test]
async fn statuses_are_written_where_they_differ_and_only_by_who_knows_them() {
    let server = Server::start().await;
    let client = client(&server.connect()).await;
    let mut first = Agent::start(&server.connect(), "a");
    first.statuses.send_replace(Some(statuses(&["hr", "sales", "a/b"], DatasourceState::InSync)));
    first.leads().await;
    let written = eventually("statuses", async || status(&client, "sales").await).await;
    assert!(written.contains("\"in_sync\""), "{written}");
    eventually("an escaped name", async || status(&client, "a%2Fb").await).await;
    let before = client.check_stat("/superset/status/datasources/hr").await.unwrap().unwrap();
    first.stop().await;
    // The next leader knows nothing yet: what is there stays.
    let mut second = Agent::start(&server.connect(), "b");
    second.leads().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(status(&client, "sales").await.is_some());
    second.statuses.send_replace(Some(statuses(&["hr"], DatasourceState::InSync)));
    eventually("what is gone to be deleted", async || status(&client, "sales").await.is_none().then_some(())).await;
    let after = client.check_stat("/superset/status/datasources/hr").await.unwrap().unwrap();
    assert_eq!(before.mzxid, after.mzxid, "what is the same is not written again");
    second.statuses.send_replace(Some(statuses(&["hr"], DatasourceState::Failed)));
    eventually("the new state", async || status(&client, "hr").await.filter(|text| text.contains("failed"))).await;
    // What somebody else spoilt is written again with the next change.
    client.delete("/superset/status/datasources/hr", None).await.unwrap();
    second.statuses.send_replace(Some(statuses(&["hr"], DatasourceState::Conflict)));
    eventually("the state again", async || status(&client, "hr").await.filter(|text| text.contains("conflict"))).await;
}

#[tokio::test]
async fn many_statuses_are_written_in_parts() {
    let server = Server::start().await;
    let client = client(&server.connect()).await;
    let names: Vec<_> = (0..3_000).map(|i| format!("datasource-{i:05}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut agent = Agent::start(&server.connect(), "a");
    agent.statuses.send_replace(Some(statuses(&names, DatasourceState::Pending)));
    agent.leads().await;
    eventually("all statuses", async || {
        let stat = client.check_stat("/superset/status/datasources").await.unwrap().unwrap();
        (stat.num_children == 3_000).then_some(())
    })
    .await;
}

/// What a leader writes while nothing that the server says reaches it: it cannot know what happened meanwhile.
async fn written_by_a_mute_leader(deposed: bool) -> String {
    let server = Server::start().await;
    let proxy = Proxy::before(server.port).await;
    let client = client(&server.connect()).await;
    let mut agent = Agent::start(&proxy.connect(), "a");
    agent.statuses.send_replace(Some(statuses(&["sales"], DatasourceState::InSync)));
    agent.leads().await;
    eventually("a status", async || status(&client, "sales").await).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    proxy.set(Network::Mute);
    if deposed {
        let node = contenders(&client).await.pop().unwrap();
        client.delete(&format!("/superset/leader/{node}"), None).await.unwrap();
    }
    agent.statuses.send_replace(Some(statuses(&["sales"], DatasourceState::Failed)));
    if deposed {
        tokio::time::sleep(Duration::from_millis(700)).await;
    } else {
        eventually("the write of one who leads", async || status(&client, "sales").await.filter(|text| text.contains("failed")))
            .await;
    }
    status(&client, "sales").await.unwrap()
}

#[tokio::test]
async fn law_7_a_deposed_leaders_status_write_is_refused_by_the_server() {
    assert!(written_by_a_mute_leader(false).await.contains("failed"), "the write must arrive while the leader leads");
    assert!(written_by_a_mute_leader(true).await.contains("in_sync"), "a deposed leader wrote");
}

#[tokio::test]
async fn law_7_a_leader_that_hears_nothing_steps_down_before_its_session_ends() {
    let server = Server::start().await;
    let proxy = Proxy::before(server.port).await;
    let mut first = Agent::start(&proxy.connect(), "a");
    first.leads().await;
    let mut second = Agent::start(&server.connect(), "b");
    let client = client(&server.connect()).await;
    eventually("two contenders", async || (contenders(&client).await.len() == 2).then_some(())).await;
    proxy.set(Network::Dead);
    let dead = Instant::now();
    let mut overlap = false;
    let gone = eventually("the first to step down", async || {
        overlap |= first.leads_now() && second.leads_now();
        (!first.leads_now()).then(|| dead.elapsed())
    })
    .await;
    assert!(gone < TIMEOUT, "{gone:?}");
    second.leads().await;
    let taken_over = dead.elapsed();
    assert!(!overlap && !first.leads_now(), "two led at once");
    eprintln!("half-open: stepped down after {gone:?}, taken over after {taken_over:?} (session timeout {TIMEOUT:?})");
    assert!(taken_over < TIMEOUT * 3, "{taken_over:?}");
    // The network heals: the first is back, as a follower.
    proxy.set(Network::Good);
    eventually("two contenders again", async || (contenders(&client).await.len() == 2).then_some(())).await;
    assert!(second.leads_now() && !first.leads_now());
    client.create("/superset/config/a", b"1", &open()).await.unwrap();
    first.has("a", "1").await;
}

#[tokio::test]
async fn leading_goes_on_without_waking_anybody() {
    let server = Server::start().await;
    let mut agent = Agent::start(&server.connect(), "a");
    agent.leads().await;
    agent.standing.mark_unchanged();
    tokio::time::sleep(TIMEOUT * 3 / 2).await;
    assert!(agent.leads_now(), "the deadline must be moved on");
    assert!(!agent.standing.has_changed().unwrap());
}

#[tokio::test]
async fn law_7_the_deadline_counts_from_when_the_last_answered_request_was_sent() {
    const DELAY: Duration = Duration::from_millis(300);
    let server = Server::start().await;
    let proxy = Proxy::before(server.port).await;
    proxy.set(Network::Slow(DELAY));
    let mut agent = Agent::start(&proxy.connect(), "a");
    agent.leads().await;
    let watched = Instant::now();
    let mut longest = Duration::ZERO;
    while watched.elapsed() < TIMEOUT {
        if let Standing::Leader { until, .. } = *agent.standing.borrow() {
            longest = longest.max(until.from_now());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(longest + DELAY <= TIMEOUT * 2 / 3, "certain for another {longest:?}");
    assert!(longest > TIMEOUT / 3, "{longest:?}");
}
