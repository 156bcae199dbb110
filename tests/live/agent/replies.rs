//! The connection to ZooKeeper, cut at each kind of reply that the agent's start waits for: it converges all the same.
//!
//! Which replies there are is learnt from a start that nothing disturbs, so that a request which is added later is cut too.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::task::{JoinSet, LocalSet};

use super::{Scene, duck};
use crate::support::eventually;
use crate::support::program::Agent;
use crate::support::proxy::{Fate, Proxy};
use crate::support::wire::Request;

/// How many agents start at once.
const AT_ONCE: usize = 6;

/// A request's kind and path, whatever the root and the session; by these one is recognized at another start.
fn kind(request: &Request, root: &str) -> (String, String) {
    let path = request.path.strip_prefix(root).unwrap_or(&request.path);
    let path = path.split("/c-").next().unwrap_or_default();
    // A digest of sixteen digits differs from cluster to cluster.
    let is_digest = |part: &&str| part.len() == 16 && part.chars().all(|letter| letter.is_ascii_hexdigit());
    let parts = path.split('/').map(|part| if is_digest(&part) { "digest" } else { part });
    let path = parts.collect::<Vec<_>>().join("/");
    (format!("{:?}", request.op), path.chars().filter(|letter| !letter.is_ascii_digit()).collect())
}

/// An agent with a tree and a way to ZooKeeper of its own.
async fn agent(scene: &Scene, number: usize, network: &Proxy) -> (Agent, String) {
    let root = format!("/cut{number}");
    scene.tree.put(&format!("{root}/config/50-site"), "APP_NAME: x\n").await;
    let name = format!("cut-duck-{number}");
    scene.tree.put(&format!("{root}/datasources/{name}"), duck().to_string()).await;
    let agent = Agent::new(&format!("cut{number}"), "a", &network.connect(), &scene.proxy.url);
    (agent.with("source.zookeeper.root", json!(root)), name)
}

async fn learnt(scene: &Scene) -> BTreeSet<(String, String)> {
    let network = Proxy::before(scene.zookeeper.port).await;
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let noted = Arc::clone(&seen);
    network.rule(move |request| {
        noted.lock().unwrap().insert(kind(request, "/cut0"));
        Fate::Pass
    });
    let (agent, name) = agent(scene, 0, &network).await;
    let agent = agent.started().await;
    converges(scene, &agent, 0, &name).await;
    seen.lock().unwrap().clone()
}

async fn converges(scene: &Scene, agent: &Agent, number: usize, name: &str) {
    agent.has_line("APP_NAME = \"x\"").await;
    agent.in_sync().await;
    agent.datasource(name, "in_sync").await;
    scene.tree.put(&format!("/cut{number}/config/50-site"), "APP_NAME: y\n").await;
    agent.has_line("APP_NAME = \"y\"").await;
    agent.status_where("no error is left", |status| status["instance"]["error"].is_null()).await;
    let names = scene.tree.names(&format!("/cut{number}/leader")).await;
    assert_eq!(names.len(), 1, "{names:?}");
}

#[tokio::test]
async fn a_cut_at_any_reply_of_the_start_delays_it_and_nothing_else() {
    let scene = Rc::new(Scene::of("cut").await);
    let kinds = learnt(&scene).await;
    assert!(kinds.len() >= 8, "{kinds:?}");
    let fates = kinds.iter().flat_map(|kind| [(kind.clone(), Fate::CutInstead), (kind.clone(), Fate::CutAfter)]);
    let mut number = 0;
    let all = async {
        let mut running = JoinSet::new();
        for (chosen, fate) in fates {
            if running.len() >= AT_ONCE {
                running.join_next().await.unwrap().unwrap();
            }
            number += 1;
            running.spawn_local(cut(Rc::clone(&scene), number, chosen, fate));
        }
        while let Some(ended) = running.join_next().await {
            ended.unwrap();
        }
    };
    LocalSet::new().run_until(all).await;
    let created = scene.person().await.connections().await;
    let created = created.iter().filter(|one| one["database_name"].as_str().unwrap().starts_with("cut-duck-")).count();
    // A push whose role was cut off may have to be tried again; it is there once all the same.
    assert_eq!(created, number + 1);
}

async fn cut(scene: Rc<Scene>, number: usize, chosen: (String, String), fate: Fate) {
    let network = Proxy::before(scene.zookeeper.port).await;
    let root = format!("/cut{number}");
    let wanted = chosen.clone();
    let mut happened = network.once(fate, move |request| kind(request, &root) == wanted);
    let (agent, name) = agent(&scene, number, &network).await;
    let agent = agent.started().await;
    converges(&scene, &agent, number, &name).await;
    // What it writes once it has arrived comes some seconds later.
    eventually(&format!("a reply to {chosen:?} is cut"), async || happened.borrow_and_update().then_some(())).await;
    agent.status_where("no error is left", |status| status["instance"]["error"].is_null()).await;
}
