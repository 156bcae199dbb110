//! The tree as the agent sees it: what is made, what arrives, what is folded, what is refused.

use std::time::{Duration, Instant};

use setkeeper::model::snapshot::{Content, Tree};
use setkeeper::settings::Layout;
use setkeeper::zookeeper::cluster::{Cluster, LIMIT};
use setkeeper::zookeeper::link::Link;
use tokio::sync::watch;
use zookeeper_client as zk;

use crate::support::agent::{Agent, access, access_with, client, content, layout, open, settings, statuses, text};
use crate::support::server::Server;
use crate::support::{PATIENCE, eventually};

#[tokio::test]
async fn agents_that_start_at_once_make_the_tree_and_one_key() {
    let server = Server::start().await;
    let mut agents: Vec<_> = (0..5).map(|i| Agent::start(&server.connect(), &format!("agent-{i}"))).collect();
    let mut keys = Vec::new();
    for agent in &mut agents {
        let tree = agent.tree_where("anything", |_| true).await;
        keys.push(tree.key.digest("same?").short());
    }
    keys.dedup();
    assert_eq!(keys.len(), 1, "every agent must use the same key");
    let client = client(&server.connect()).await;
    for path in ["config", "datasources", "instances", "leader", "status/datasources"] {
        assert!(client.check_stat(&format!("/superset/{path}")).await.unwrap().is_some(), "{path}");
    }
    assert_eq!(client.get_data("/superset/key").await.unwrap().0.len(), 32);
    eventually("the layout has its number", async || {
        client.get_data("/superset/format").await.ok().filter(|(text, _)| text == b"1")
    })
    .await;
}

#[tokio::test]
async fn law_2_a_tree_of_a_later_layout_is_neither_read_nor_written_until_it_is_ours() {
    let server = Server::start().await;
    let client = client(&server.connect()).await;
    client.create("/superset", b"", &open()).await.unwrap();
    client.create("/superset/format", b"2", &open()).await.unwrap();
    let mut agent = Agent::start(&server.connect(), "a");
    let refused = |link: &Link| link.errors.values().any(|error| error.contains("/superset/format: it says \"2\""));
    agent.link_where("refused", refused).await;
    let error = Cluster::open(&access(&settings(&server.connect())), LIMIT).await.unwrap_err();
    assert!(error.hint().unwrap().contains("upgrade"), "{error}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(agent.tree.borrow().is_none() && !agent.leads_now());
    assert_eq!(client.list_children("/superset").await.unwrap(), ["format"]);
    client.set_data("/superset/format", b"1", None).await.unwrap();
    agent.leads().await;
    agent.tree_where("anything", |_| true).await;
}

#[tokio::test]
async fn a_change_arrives_and_only_a_change() {
    let server = Server::start().await;
    let mut agent = Agent::start(&server.connect(), "a");
    agent.tree_where("nothing", |tree| tree.config.is_empty()).await;
    let client = client(&server.connect()).await;
    client.create("/superset/config/10-a", b"A: 1", &open()).await.unwrap();
    agent.has("10-a", "A: 1").await;
    client.set_data("/superset/config/10-a", b"A: 2", None).await.unwrap();
    agent.has("10-a", "A: 2").await;
    client.set_data("/superset/config", b"B: 1", None).await.unwrap();
    agent.tree_where("a base", |tree| content(&tree.config.root.as_ref().unwrap().content).as_deref() == Some("B: 1")).await;
    client.create("/superset/datasources/sales", b"engine: duckdb", &open()).await.unwrap();
    agent.tree_where("sales", |tree| tree.datasources.children.contains_key("sales")).await;
    let rubbish = [0, 159, 146, 150, 255];
    client.create("/superset/config/ä 売上", &rubbish, &open()).await.unwrap();
    agent
        .tree_where("rubbish", |tree| {
            let node = tree.config.children.get("ä 売上");
            node.is_some_and(|node| matches!(&node.content, Content::Bytes(bytes) if **bytes == rubbish))
        })
        .await;
    client.delete("/superset/config/ä 売上", None).await.unwrap();
    client.create("/superset/rollout", b"{}", &open()).await.unwrap();
    agent.tree_where("a rollout", |tree| tree.rollout.is_some()).await;
    client.delete("/superset/rollout", None).await.unwrap();
    agent.tree_where("no rollout", |tree| tree.rollout.is_none()).await;
    client.create("/superset/config/10-a/deep", b"D: 1", &open()).await.unwrap();
    let tree = agent.tree_where("a grandchild", |tree| tree.config.children.contains_key("10-a/deep")).await;
    assert_eq!(tree.snapshot.config.children["10-a/deep"].origin.as_str(), "/superset/config/10-a/deep");
    client.delete("/superset/config/10-a/deep", None).await.unwrap();
    client.delete("/superset/config/10-a", None).await.unwrap();
    agent.tree_where("no fragment", |tree| tree.config.children.is_empty()).await;
}

#[tokio::test]
async fn a_tree_that_was_there_before_is_read_whole() {
    let server = Server::start().await;
    let client = client(&server.connect()).await;
    for (path, text) in
        [("", ""), ("/config", "A: 1"), ("/config/10", "B: 1"), ("/config/10/x", "C: 1"), ("/config/10/x/y", "D: 1")]
    {
        client.create(&format!("/superset{path}"), text.as_bytes(), &open()).await.unwrap();
    }
    let mut agent = Agent::start(&server.connect(), "a");
    let tree = agent.tree_where("anything", |_| true).await.snapshot;
    let names: Vec<_> = tree.config.children.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["10", "10/x", "10/x/y"]);
    assert_eq!(content(&tree.config.root.unwrap().content).as_deref(), Some("A: 1"));
}

#[tokio::test]
async fn law_12_what_agents_write_about_themselves_wakes_no_other() {
    let server = Server::start().await;
    let mut watcher = Agent::start(&server.connect(), "watcher");
    watcher.tree_where("anything", |_| true).await;
    watcher.tree.mark_unchanged();
    let mut other = Agent::start(&server.connect(), "other");
    other.tree_where("anything", |_| true).await;
    other.statuses.send_replace(Some(statuses(&["sales"], setkeeper::model::status::DatasourceState::InSync)));
    watcher.entitled.send_replace(false);
    other.leads().await;
    let client = client(&server.connect()).await;
    crate::support::eventually("a status", async || {
        client.check_stat("/superset/status/datasources/sales").await.unwrap().map(|_| ())
    })
    .await;
    assert!(!watcher.tree.has_changed().unwrap());
}

#[tokio::test]
async fn a_transaction_is_seen_whole_and_a_burst_folds() {
    let server = Server::start().await;
    let client = client(&server.connect()).await;
    let mut agent = Agent::start(&server.connect(), "a");
    agent.tree_where("anything", |_| true).await;
    for name in ["a", "b"] {
        client.create(&format!("/superset/config/{name}"), b"0", &open()).await.unwrap();
    }
    agent.has("b", "0").await;
    // A reader that never sleeps sees every tree that is published.
    let mut tree = agent.tree.clone();
    let reader = tokio::spawn(async move {
        let (mut seen, mut torn) = (0, 0);
        loop {
            let (a, b) = {
                let tree = tree.borrow_and_update();
                let snapshot = &tree.as_ref().unwrap().snapshot;
                (text(snapshot, "a"), text(snapshot, "b"))
            };
            seen += 1;
            torn += usize::from(a != b);
            if b.as_deref() == Some("500") {
                return (seen, torn);
            }
            tree.changed().await.unwrap();
        }
    });
    let mut answers = Vec::new();
    for i in 1..=500 {
        let mut multi = client.new_multi_writer();
        for name in ["a", "b"] {
            multi.add_set_data(&format!("/superset/config/{name}"), i.to_string().as_bytes(), None).unwrap();
        }
        answers.push(multi.commit());
    }
    for answer in answers {
        answer.await.unwrap();
    }
    let (seen, torn) = tokio::time::timeout(Duration::from_secs(30), reader).await.unwrap().unwrap();
    assert_eq!(torn, 0, "half a transaction was published");
    assert!(seen < 400, "500 changes at once were published {seen} times");
}

#[tokio::test]
async fn a_foreign_datasource_node_is_waited_for_and_not_made() {
    let server = Server::start().await;
    let layout = Layout { datasources: Some("/data_source".to_owned()), ..layout() };
    let mut agent = Agent::with(access_with(&settings(&server.connect()), &layout, watch::channel(None).1), "a");
    let tree = agent.tree_where("anything", |_| true).await;
    assert!(tree.snapshot.datasources.root.is_none());
    let client = client(&server.connect()).await;
    assert!(client.check_stat("/data_source").await.unwrap().is_none());
    let text = br#"{"name":"mysql","host":"127.0.0.1","port":"3306","user":"root","password":"password"}"#;
    client.create("/data_source", text, &open()).await.unwrap();
    agent.tree_where("the datasource", |tree| tree.datasources.root.is_some()).await;
    client.delete("/data_source", None).await.unwrap();
    agent.tree_where("no datasource", |tree| tree.datasources.root.is_none()).await;
}

#[tokio::test]
async fn law_2_a_fragment_without_read_permission_is_unreadable_and_not_absent() {
    let server = Server::start().await;
    let client = client(&server.connect()).await;
    let mut agent = Agent::start(&server.connect(), "a");
    agent.tree_where("anything", |_| true).await;
    let secret = [zk::Acl::new(zk::Permission::ALL, zk::AuthId::new("digest", "somebody:else"))];
    for name in ["10-a", "20-b"] {
        client.create(&format!("/superset/config/{name}"), b"A: 1", &open()).await.unwrap();
    }
    agent.has("20-b", "A: 1").await;
    client.set_acl("/superset/config/10-a", &secret, None).await.unwrap();
    // A fresh agent reads it all; the running one is not told about an ACL.
    let mut fresh = Agent::start(&server.connect(), "b");
    let tree = fresh.tree_where("both", |tree| tree.config.children.len() == 2).await.snapshot;
    assert!(matches!(tree.config.children["10-a"].content, Content::Unreadable(_)), "{tree:?}");
    assert_eq!(text(&tree, "20-b").as_deref(), Some("A: 1"));
    assert_ne!(tree.config.children["10-a"].version, 0);
    // The rest of the tree still moves.
    client.set_data("/superset/config/20-b", b"A: 2", None).await.unwrap();
    fresh.has("20-b", "A: 2").await;
}

#[tokio::test]
async fn what_nothing_announced_is_found_at_the_next_resync() {
    let server = Server::start().await;
    let client = zk::Client::connector().connect(&server.connect()).await.unwrap();
    client.auth("digest", b"somebody:else").await.unwrap();
    let mut agent = Agent::start(&server.connect(), "a");
    agent.tree_where("anything", |_| true).await;
    client.create("/superset/config/10-a", b"A: 1", &open()).await.unwrap();
    agent.has("10-a", "A: 1").await;
    // Of a node that a session may not read, it is told nothing; nor that it may again.
    let theirs = [zk::Acl::new(zk::Permission::ALL, zk::AuthId::new("auth", ""))];
    client.set_acl("/superset/config/10-a", &theirs, None).await.unwrap();
    client.set_data("/superset/config/10-a", b"A: 2", None).await.unwrap();
    let everybodys = [zk::Acl::new(zk::Permission::ALL, zk::AuthId::new("world", "anyone"))];
    client.set_acl("/superset/config/10-a", &everybodys, None).await.unwrap();
    agent.has("10-a", "A: 2").await;
    // A deleted key would be another one to whoever comes next.
    let key = agent.tree.borrow().as_ref().unwrap().key.digest("x").short();
    client.delete("/superset/key", None).await.unwrap();
    let other = |tree: &Option<Tree>| tree.as_ref().is_some_and(|tree| tree.key.digest("x").short() != key);
    tokio::time::timeout(PATIENCE, agent.tree.wait_for(other)).await.expect("the key stayed").unwrap();
    assert!(client.check_stat("/superset/key").await.unwrap().is_some());
}

#[tokio::test]
async fn ten_thousand_znodes_are_read_in_well_under_a_second() {
    const NODES: usize = 10_000;
    let server = Server::start().await;
    let client = client(&server.connect()).await;
    for path in ["/superset", "/superset/datasources"] {
        client.create(path, b"", &open()).await.unwrap();
    }
    let body = "sqlalchemy_uri: postgresql://superset@db:5432/sales\n".repeat(4);
    for chunk in (0..NODES).collect::<Vec<_>>().chunks(500) {
        let mut multi = client.new_multi_writer();
        for i in chunk {
            multi.add_create(&format!("/superset/datasources/ds-{i:05}"), body.as_bytes(), &open()).unwrap();
        }
        multi.commit().await.unwrap();
    }
    let began = Instant::now();
    let mut agent = Agent::start(&server.connect(), "a");
    agent.tree_where("all of them", |tree| tree.datasources.children.len() == NODES).await;
    let start = began.elapsed();
    let began = Instant::now();
    client.set_data("/superset/datasources/ds-05000", b"changed", None).await.unwrap();
    agent
        .tree_where("the change", |tree| content(&tree.datasources.children["ds-05000"].content).as_deref() == Some("changed"))
        .await;
    let change = began.elapsed();
    eprintln!("10,000 znodes: start to tree {start:?}, one change {change:?} (debug build)");
    // Speed is the bench's matter. Here: not in proportion to the tree, and not at the next resync.
    assert!(start < Duration::from_secs(8), "{start:?}");
    assert!(change < Duration::from_secs(3), "{change:?}");
}

#[tokio::test]
async fn a_znode_at_the_size_limit_arrives() {
    let server = Server::start().await;
    let client = client(&server.connect()).await;
    let mut agent = Agent::start(&server.connect(), "a");
    agent.tree_where("anything", |_| true).await;
    let large = vec![b'#'; 1_048_400];
    client.create("/superset/config/large", b"", &open()).await.unwrap();
    client.set_data("/superset/config/large", &large, None).await.unwrap();
    agent
        .tree_where(
            "the large one",
            |tree| matches!(&tree.config.children["large"].content, Content::Bytes(bytes) if bytes.len() == large.len()),
        )
        .await;
    // And all over again from the beginning, beside others.
    let mut fresh = Agent::start(&server.connect(), "b");
    fresh.tree_where("the large one", |tree| tree.config.children.len() == 1).await;
}
