//! Edits in parts, a pause, and the rollout record: what agents make of them.

use std::cell::RefCell;
use std::time::Duration;

use setkeeper::model::digest::{Release, Revision};
use setkeeper::model::instance::InstanceId;
use setkeeper::model::pause::{Pause, Publishing};
use setkeeper::model::rollout::Quarantined;
use setkeeper::zookeeper::cluster::{Cluster, LIMIT};
use setkeeper::zookeeper::edit::{Edit, Expect};
use setkeeper::zookeeper::error::Error;

use crate::support::agent::{Agent, access, settings, text};
use crate::support::proxy::{Fate, Proxy};
use crate::support::server::Server;
use crate::support::wire::Op;

async fn cluster(connect: &str) -> Cluster {
    Cluster::open(&access(&settings(connect)), LIMIT).await.unwrap()
}

fn edit(by: &str) -> Publishing {
    Publishing { by: Some(by.to_owned()), edit: Some(by.to_owned()), ..Publishing::default() }
}

/// A tree of a hundred fragments that say `round`, more than four megabytes in all, and a datasource.
fn large(round: usize) -> Vec<Edit> {
    let filler = format!("\n# {}", "x".repeat(50_000));
    let put = |path: String, text: String| Edit::Put { path, bytes: text.into_bytes(), expect: Expect::Anything };
    let fragments = (0..100).map(|n| put(format!("/superset/config/{n:03}"), format!("A: {round}{filler}")));
    fragments.chain([put("/superset/datasources/a".to_owned(), format!("{{\"round\": {round}}}"))]).collect()
}

fn rounds(tree: &setkeeper::model::snapshot::Snapshot) -> Vec<String> {
    let mut rounds: Vec<_> = tree.config.children.keys().filter_map(|name| text(tree, name)).collect();
    for text in &mut rounds {
        text.truncate(4);
    }
    rounds.dedup();
    rounds
}

#[tokio::test]
async fn law_2_a_tree_published_in_parts_is_seen_before_or_after_and_never_between() {
    let server = Server::start().await;
    let cluster = cluster(&server.connect()).await;
    let mut agent = Agent::start(&server.connect(), "a");
    agent.tree_where("anything", |_| true).await;
    let mut seen = agent.tree.clone();
    let watcher = tokio::spawn(async move {
        let mut states = 0;
        while seen.changed().await.is_ok() {
            let tree = seen.borrow_and_update().clone().unwrap().snapshot;
            let (rounds, count) = (rounds(&tree), tree.config.children.len());
            assert!(rounds.len() <= 1 && [0, 100].contains(&count), "{count} fragments say {rounds:?}");
            assert_eq!(count == 100, !tree.datasources.children.is_empty(), "datasources are held back too");
            states += 1;
        }
        states
    });
    for round in 1..=3 {
        let publisher = cluster.begin_publishing(&edit("ann"), false).await.unwrap();
        let told = RefCell::new(Vec::new());
        publisher.write(&cluster, &large(round), |made| told.borrow_mut().push(made)).await.unwrap();
        assert!(told.borrow().len() > 1 && told.borrow().iter().sum::<usize>() == large(round).len(), "{told:?}");
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = agent.tree.borrow().clone().unwrap();
        assert!(!rounds(&now.snapshot).contains(&format!("A: {round}")), "the last snapshot stays");
        publisher.finish(&cluster).await.unwrap();
        agent.tree_where("the new tree", |tree| rounds(tree) == [format!("A: {round}")]).await;
    }
    agent.stop().await;
    assert!(watcher.await.unwrap() >= 3);
}

#[tokio::test]
async fn an_agent_that_starts_amid_an_edit_waits_for_its_end_and_hears_of_a_pause() {
    let server = Server::start().await;
    let cluster = cluster(&server.connect()).await;
    let publisher = cluster.begin_publishing(&edit("ann"), false).await.unwrap();
    publisher.write(&cluster, &large(1)[..50], |_| ()).await.unwrap();
    let mut new = Agent::start(&server.connect(), "a");
    new.link_where("connected", |link| link.connected).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(new.tree.borrow().is_none(), "half a tree is none");
    publisher.write(&cluster, &large(1)[50..], |_| ()).await.unwrap();
    publisher.finish(&cluster).await.unwrap();
    new.tree_where("all of it", |tree| tree.config.children.len() == 100).await;
    // Amid the next edit, what does not belong to the tree goes on counting.
    cluster.begin_publishing(&edit("bob"), false).await.unwrap();
    let pause = Pause { by: Some("ann".into()), why: Some("upgrade".into()), until: None };
    cluster.set_pause(&pause).await.unwrap();
    let arrived = new.tree.wait_for(|tree| tree.as_ref().is_some_and(|tree| tree.pause.as_ref() == Some(&pause)));
    tokio::time::timeout(crate::support::PATIENCE, arrived).await.unwrap().unwrap();
    assert_eq!(cluster.resume().await.unwrap(), Some(pause));
    assert_eq!(cluster.resume().await.unwrap(), None);
    let arrived = new.tree.wait_for(|tree| tree.as_ref().is_some_and(|tree| tree.pause.is_none()));
    tokio::time::timeout(crate::support::PATIENCE, arrived).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_edit_belongs_to_who_began_it_until_it_is_taken_over() {
    let server = Server::start().await;
    let cluster = cluster(&server.connect()).await;
    let ann = cluster.begin_publishing(&edit("ann"), false).await.unwrap();
    let refused = cluster.begin_publishing(&edit("bob"), false).await.unwrap_err();
    assert!(matches!(&refused, Error::Publishing { edit } if edit.by.as_deref() == Some("ann")) && refused.hint().is_some());
    ann.write(&cluster, &large(1)[..20], |_| ()).await.unwrap();
    let bob = cluster.begin_publishing(&edit("bob"), true).await.unwrap();
    let refused = ann.write(&cluster, &large(2)[..20], |_| ()).await.unwrap_err();
    assert!(matches!(&refused, Error::Publishing { edit } if edit.by.as_deref() == Some("bob")), "{refused}");
    assert!(ann.finish(&cluster).await.is_err(), "only its creator or who took it over removes it");
    assert!(cluster.publishing().await.unwrap().is_some());
    bob.write(&cluster, &large(1)[20..], |_| ()).await.unwrap();
    bob.finish(&cluster).await.unwrap();
    assert!(cluster.publishing().await.unwrap().is_none());
    assert_eq!(cluster.snapshot().await.unwrap().config.children.len(), 100);
}

#[tokio::test]
async fn an_edit_survives_answers_that_are_cut_off() {
    let server = Server::start().await;
    let proxy = Proxy::before(server.port).await;
    let cluster = cluster(&proxy.connect()).await;
    let of_publishing = |request: &crate::support::wire::Request| request.op == Op::Multi && request.path.ends_with("/superset");
    proxy.once(Fate::CutInstead, of_publishing);
    assert!(cluster.begin_publishing(&edit("ann"), false).await.unwrap_err().is_loss());
    let publisher = crate::support::eventually("ours", async || cluster.begin_publishing(&edit("ann"), false).await.ok()).await;
    proxy.once(Fate::CutInstead, |request| request.op == Op::Multi && request.path.ends_with("/publishing"));
    assert!(publisher.finish(&cluster).await.unwrap_err().is_loss());
    crate::support::eventually("finished", async || publisher.finish(&cluster).await.ok()).await;
    assert!(cluster.publishing().await.unwrap().is_none());
}

#[tokio::test]
async fn many_change_the_rollout_record_at_once_and_no_change_is_lost() {
    let server = Server::start().await;
    let first = cluster(&server.connect()).await;
    first.set("/superset/rollout", b"{\"later\": {\"a\": 1}}".to_vec(), Expect::Anything).await.unwrap();
    let writers = (0..6).map(|n| {
        let connect = server.connect();
        tokio::spawn(async move {
            let cluster = cluster(&connect).await;
            let id = InstanceId::parse(&format!("web-{n}")).unwrap();
            let bad = Quarantined::new(Release::new(format!("r{n}")), Revision::new(format!("v{n}")), id, "it raises");
            assert!(cluster.quarantine(&bad).await.unwrap());
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let rollout = first.rollout().await.unwrap();
    assert_eq!(rollout.quarantine.len(), 6);
    assert!(!first.complete(&Release::new("r3")).await.unwrap());
    assert!(first.lift(&Release::new("r3")).await.unwrap() && first.complete(&Release::new("r3")).await.unwrap());
    let text = String::from_utf8(first.read("/superset/rollout").await.unwrap().unwrap().bytes).unwrap();
    assert!(text.contains("\"later\":{\"a\":1}") && text.contains("\"completed\":\"r3\""), "{text}");
}
