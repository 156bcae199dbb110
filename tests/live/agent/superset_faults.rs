//! A Superset that is down, slow, overloaded, broken, or done with our login, each through a proxy before the real one.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::{Scene, duck};
use crate::support::eventually;
use crate::support::http_proxy::{Fault, Proxy};
use crate::support::program::Agent;
use crate::support::server::Server;
use crate::support::services::{Superset, impatient};
use crate::support::tree::Tree;

const CREATE: &str = "POST /api/v1/database/";
const LIST: &str = "GET /api/v1/database/?";
const LOGIN: &str = "POST /api/v1/security/login";
const EXPIRED: &str =
    "HTTP/1.1 401 Unauthorized\nContent-Type: application/json\nContent-Length: 27\n\n{\"msg\":\"Token has expired\"}";
/// A deadline that no call meets that is only slowed down by a busy machine.
const AMPLE: &str = "50s";
const BUSY: &str = "HTTP/1.1 429 Too Many Requests\nRetry-After: 1\nContent-Type: application/json\nContent-Length: 2\n\n{}";
const BROKEN: &str =
    "HTTP/1.1 500 Internal Server Error\nContent-Type: application/json\nContent-Length: 25\n\n{\"message\":\"Fatal error\"}";

#[tokio::test]
async fn a_superset_that_is_down_holds_up_nothing_else_and_gets_everything_when_it_is_up() {
    let zookeeper = Server::start().await;
    let tree = Tree::at(&zookeeper.connect()).await;
    let mut superset = Superset::place("", &[]);
    let proxy = Proxy::before(&superset.url).await;
    tree.fragment("50-site", "APP_NAME: one\n").await;
    tree.datasource("down-1", &duck()).await;
    let agent = Agent::new("down", "a", &zookeeper.connect(), &proxy.url).started().await;
    agent.has_line("APP_NAME = \"one\"").await;
    let status = agent.in_sync().await;
    assert_eq!((&status["instance"]["role"], &status["instance"]["superset"]["healthy"]), (&json!("follower"), &json!(false)));
    assert!(agent.is_ready().await);

    superset.start().await;
    agent.leads().await;
    agent.datasource("down-1", "in_sync").await;
    superset.stop();
    agent.status_where("superset is down", |status| status["instance"]["superset"]["healthy"] == false).await;
    tree.fragment("50-site", "APP_NAME: two\n").await;
    tree.datasource("down-2", &duck()).await;
    agent.has_line("APP_NAME = \"two\"").await;
    // Somebody whose Superset lives shall lead.
    agent.status_where("it has resigned", |status| status["instance"]["role"] == "follower").await;
    superset.start().await;
    agent.datasources(&["down-1", "down-2"], "in_sync").await;
    let created = proxy.writes().into_iter().filter(|write| write.starts_with("POST")).count();
    assert!((2..=3).contains(&created), "{:?}", proxy.writes());
}

/// A cluster whose agent has pushed one, and what it has been asked so far.
async fn pushed_one(cluster: &str, settings: impl FnOnce(Agent) -> Agent) -> (Scene, Agent) {
    let scene = Scene::of(cluster).await;
    scene.tree.datasource(&format!("{cluster}-0"), &duck()).await;
    let agent = settings(scene.agent("a")).started().await;
    agent.datasource(&format!("{cluster}-0"), "in_sync").await;
    (scene, agent)
}

impl Scene {
    /// Pushes one more against this fault, and says how many calls that took.
    async fn pushes_through(&self, agent: &Agent, name: &str, call: &str, times: usize, fault: Fault) -> usize {
        let before = self.proxy.count(CREATE);
        self.proxy.fault(call, times, fault);
        let name = format!("{}-{name}", self.cluster);
        self.tree.datasource(&name, &duck()).await;
        agent.datasource(&name, "in_sync").await;
        assert_eq!(self.person().await.named(&name).await.len(), 1);
        self.proxy.heal();
        self.proxy.count(CREATE) - before
    }
}

#[tokio::test]
async fn law_7_whatever_answer_a_push_gets_it_is_carried_out_once() {
    let (scene, agent) = pushed_one("answers", |agent| agent.with("superset.timeout", json!(AMPLE))).await;
    let logins = scene.proxy.count(LOGIN);
    assert_eq!(scene.pushes_through(&agent, "401", CREATE, 1, Fault::Answer(EXPIRED)).await, 2);
    assert_eq!(scene.proxy.count(LOGIN), logins + 1);
    assert_eq!(scene.pushes_through(&agent, "429", CREATE, 2, Fault::Answer(BUSY)).await, 3);
    assert_eq!(scene.pushes_through(&agent, "cut-before", CREATE, 1, Fault::CutBefore).await, 2);
    assert_eq!(scene.pushes_through(&agent, "500", CREATE, 1, Fault::Answer(BROKEN)).await, 2);

    // Superset has carried these out, and only looking tells.
    let lists = scene.proxy.count(LIST);
    assert_eq!(scene.pushes_through(&agent, "cut-after", CREATE, 1, Fault::CutAfter).await, 1);
    assert!(scene.proxy.count(LIST) > lists, "it must observe before it may write again");
    // An answer that only takes its time is waited for.
    let slower = Fault::Slow(Duration::from_secs(1));
    assert_eq!(scene.pushes_through(&agent, "slower", CREATE, 1, slower).await, 1);
}

#[tokio::test]
async fn law_7_a_push_that_nobody_answers_in_time_is_carried_out_once() {
    // However long Superset takes to carry it out, each resync looks whether it has.
    let settings = |agent: Agent| agent.with("superset.timeout", json!("8s")).with("datasources.resync", json!("2s"));
    let (scene, agent) = pushed_one("unanswered", settings).await;
    let never = Fault::Slow(Duration::from_secs(600));
    assert_eq!(scene.pushes_through(&agent, "slow", CREATE, 1, never).await, 1);
}

#[tokio::test]
async fn while_superset_cannot_be_observed_nothing_is_pushed_and_status_says_why() {
    let (scene, mut agent) = pushed_one("blind", |agent| agent.with("superset.timeout", json!("4s"))).await;
    agent.stop().await;
    let before = scene.proxy.writes().len();
    scene.proxy.fault(LIST, usize::MAX, Fault::Answer(BROKEN));
    scene.tree.datasource("blind-1", &duck()).await;
    agent.start().await;
    agent.leads().await;
    eventually("it has tried", async || agent.log().contains("failed to list connections").then_some(())).await;
    let says_why = |status: &Json| {
        status["instance"]["error"].as_str().is_some_and(|error| error.contains("failed to list superset's connections"))
    };
    agent.status_where("why", says_why).await;
    assert_eq!(scene.proxy.writes().len(), before);
    scene.proxy.heal();
    scene.proxy.fault(LIST, 2, Fault::Answer(BUSY));
    scene.proxy.fault(LIST, 1, Fault::Answer(EXPIRED));
    agent.datasources(&["blind-0", "blind-1"], "in_sync").await;
    assert_eq!(scene.proxy.writes().len(), before + 1);
}

#[tokio::test]
async fn tokens_that_run_out_are_renewed_without_anybody_noticing() {
    let (zookeeper, superset) = tokio::join!(Server::start(), impatient());
    let (tree, proxy) = (Tree::at(&zookeeper.connect()).await, Proxy::before(&superset.url).await);
    tree.datasource("token-0", &duck()).await;
    let agent = Agent::new("token", "a", &zookeeper.connect(), &proxy.url).with("datasources.resync", json!("2s"));
    let agent = agent.started().await;
    agent.datasource("token-0", "in_sync").await;
    // Tokens live for twenty seconds there.
    let renewed = async || (proxy.count("POST /api/v1/security/refresh") >= 2).then_some(());
    eventually("tokens are renewed", renewed).await;
    tree.datasource("token-1", &duck()).await;
    agent.datasource("token-1", "in_sync").await;
    assert_eq!(proxy.count(LOGIN), 1, "a login for each would need the password each time");
    assert!(!agent.log().contains("failed to push"), "{}", agent.log());
}

#[tokio::test]
async fn a_wrong_password_is_told_and_its_file_may_be_put_right() {
    let scene = Scene::of("login").await;
    scene.tree.datasource("login-0", &duck()).await;
    scene.tree.fragment("50-site", "APP_NAME: x\n").await;
    let agent = scene.agent("a");
    let file = agent.secret("superset", "wrong");
    let agent = agent.with("superset.password", json!({"$file": file})).started().await;
    let told =
        |status: &Json| status["instance"]["error"].as_str().is_some_and(|error| error.contains("refused the login of admin"));
    agent.status_where("the refusal is told", told).await;
    assert_eq!(scene.proxy.writes(), Vec::<String>::new());
    agent.secret("superset", "admin");
    agent.datasource("login-0", "in_sync").await;
    agent.status_where("no error is left", |status| status["instance"]["error"].is_null()).await;
}
