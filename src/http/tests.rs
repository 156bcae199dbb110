//! The server on a real socket, asked by a real client.

use std::collections::BTreeMap;

use reqwest::Client;
use serde_json::Value as Json;
use uuid::Uuid;

use super::*;
use crate::model::datasource::DatasourceName;
use crate::model::digest::{Release, Revision};
use crate::model::instance::{InstanceId, Role, State as Doing, SupersetSeen, Version};
use crate::model::problem::Problem;
use crate::model::rollout::Rollout;
use crate::model::snapshot::Origin;
use crate::model::status::{DatasourceState, DatasourceStatus};

struct Server {
    base: String,
    report: Arc<watch::Sender<Arc<Report>>>,
    asked: watch::Receiver<u64>,
    heartbeat: watch::Sender<Instant>,
    cancel: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// A server beside somebody who makes a new report of the last one whenever one is asked for.
    async fn start(report: Report) -> Self {
        let server = Self::start_alone(report).await;
        let (report, mut asked) = (Arc::clone(&server.report), server.asked.clone());
        tokio::spawn(server.cancel.clone().run_until_cancelled_owned(async move {
            while asked.changed().await.is_ok() {
                report.send_modify(|report| Arc::make_mut(report).answers = *asked.borrow_and_update());
            }
        }));
        server
    }

    async fn start_alone(report: Report) -> Self {
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let report = Arc::new(watch::Sender::new(Arc::new(report)));
        let asked = watch::Sender::new(0);
        let questions = asked.subscribe();
        let heartbeat = watch::Sender::new(Instant::now());
        let inputs = Inputs {
            report: report.subscribe(),
            asked,
            heartbeat: heartbeat.subscribe(),
            heartbeat_limit: Duration::from_secs(60),
            metrics: metrics::recorder().unwrap().handle(),
        };
        let cancel = CancellationToken::new();
        let task = tokio::spawn(serve(listener, inputs, cancel.clone()));
        Self { base, report, asked: questions, heartbeat, cancel, task }
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        Client::new().get(format!("{}{path}", self.base)).send().await.unwrap()
    }

    async fn answer(&self, path: &str) -> (u16, String) {
        let response = self.get(path).await;
        (response.status().as_u16(), response.text().await.unwrap())
    }
}

fn instance() -> Instance {
    Instance {
        id: InstanceId::parse("web-1").unwrap(),
        host: "host-1".to_owned(),
        pid: 7,
        version: "0.1.0".to_owned(),
        labels: BTreeMap::from([("role".to_owned(), "web".to_owned())]),
        started_at: "2026-01-01T00:00:00Z".to_owned(),
        role: Role::Leader,
        state: Doing::InSync,
        since: "2026-01-01T00:00:05Z".to_owned(),
        desired: Version::default(),
        applied: Version { release: Some(Release::new("0123456789abcdef")), revision: Some(Revision::new("fedcba9876543210")) },
        superset: SupersetSeen { url: "http://127.0.0.1:8088".to_owned(), healthy: true, version: None },
        error: None,
    }
}

fn report() -> Report {
    let datasource = DatasourceStatus {
        name: DatasourceName::new("sales"),
        state: DatasourceState::Unreachable,
        uuid: Uuid::nil(),
        database_id: Some(0),
        error: Some("<script>alert('x')</script>".to_owned()),
        at: None,
        by: None,
    };
    let cluster = ClusterStatus {
        instances: vec![instance()],
        leader: InstanceId::parse("web-1"),
        datasources: vec![datasource],
        problems: vec![Problem::error(&Origin::new("/superset/config/10-a"), "expected a number").line(3).field("ROW_LIMIT")],
        rollout: Rollout::default(),
    };
    Report { cluster, instance: instance(), applied: true, answers: 0 }
}

#[tokio::test]
async fn livez_follows_the_heartbeat() {
    let server = Server::start(report()).await;
    assert_eq!(server.answer("/livez").await, (200, "ok\n".to_owned()));
    server.heartbeat.send_replace(Instant::now().checked_sub(Duration::from_secs(90)).unwrap());
    let (status, text) = server.answer("/livez").await;
    assert_eq!((status, text.starts_with("the reconcile loop has stood still for 9")), (503, true), "{text}");
    server.heartbeat.send_replace(Instant::now());
    assert_eq!(server.answer("/livez").await.0, 200);
}

#[tokio::test]
async fn readyz_waits_for_an_applied_revision_and_for_nothing_else() {
    let server = Server::start(Report { applied: false, ..report() }).await;
    assert_eq!(server.answer("/readyz").await, (503, "no revision is applied yet\n".to_owned()));
    let mut later = report();
    later.instance.error = Some("failed to reach ZooKeeper".to_owned());
    server.report.send_replace(Arc::new(later));
    assert_eq!(server.answer("/readyz").await, (200, "ok\n".to_owned()));
}

#[tokio::test]
async fn status_is_the_cluster_and_this_instance() {
    let server = Server::start(report()).await;
    let response = server.get("/status").await;
    assert_eq!(response.headers()["content-type"], "application/json");
    let json: Json = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    let keys: Vec<_> = json.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["instances", "leader", "datasources", "problems", "rollout", "instance"]);
    assert_eq!(json["instance"]["id"], "web-1");
    assert_eq!(json["datasources"][0]["state"], "unreachable");
    let cluster: ClusterStatus = serde_json::from_value(json).unwrap();
    assert_eq!(cluster, report().cluster);
}

#[tokio::test]
async fn status_is_asked_for_and_the_last_one_shown_where_none_comes() {
    let server = Server::start_alone(report()).await;
    let (sender, mut questions) = (Arc::clone(&server.report), server.asked.clone());
    let asked = tokio::spawn(async move {
        questions.changed().await.unwrap();
        // What comes meanwhile is no answer.
        sender.send_modify(|report| Arc::make_mut(report).instance.error = Some("stale".to_owned()));
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut fresh = report();
        fresh.instance.error = Some("fresh".to_owned());
        fresh.answers = *questions.borrow_and_update();
        sender.send_replace(Arc::new(fresh));
    });
    assert!(server.answer("/status").await.1.contains("\"fresh\""));
    asked.await.unwrap();
    let begun = Instant::now();
    assert!(server.answer("/status").await.1.contains("\"fresh\""), "the last one");
    assert!(begun.elapsed() >= ASK_LIMIT && begun.elapsed() < 2 * ASK_LIMIT);
    let begun = Instant::now();
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(server.answer(path).await.0, 200);
    }
    assert!(begun.elapsed() < ASK_LIMIT, "probes wait for nobody");
}

#[tokio::test]
async fn metrics_are_what_prometheus_expects() {
    let server = Server::start(report()).await;
    let response = server.get("/metrics").await;
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = response.text().await.unwrap();
    let line = "setkeeper_revision_info{release=\"0123456789abcdef\",revision=\"fedcba9876543210\"} 1";
    assert!(text.lines().any(|one| one == line), "{text}");
}

#[tokio::test]
async fn the_page_shows_everything_and_runs_nothing_from_the_tree() {
    let server = Server::start(report()).await;
    let response = server.get("/").await;
    assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
    let text = response.text().await.unwrap();
    for part in ["web-1", "fedcba9876543210", "sales", "unreachable", "/superset/config/10-a:3", "ROW_LIMIT", "expected a number"]
    {
        assert!(text.replace("&#x2f;", "/").contains(part), "{part}");
    }
    assert!(text.contains("&lt;script&gt;") && !text.contains("<script"), "{text}");
    assert!(!text.contains("://cdn") && !text.contains("src="), "no foreign part");
}

#[tokio::test]
async fn an_empty_cluster_has_a_page_too() {
    let empty =
        ClusterStatus { instances: vec![], leader: None, datasources: vec![], problems: vec![], rollout: Rollout::default() };
    let mut starting = Report { cluster: empty, instance: instance(), applied: false, answers: 0 };
    starting.instance.applied = Version::default();
    let server = Server::start(starting).await;
    let (status, text) = server.answer("/").await;
    assert_eq!((status, text.matches(">none<").count()), (200, 4), "{text}");
}

#[tokio::test]
async fn every_answer_forbids_caching_and_guessing_and_only_get_is_understood() {
    let server = Server::start(report()).await;
    let post = Client::new().post(format!("{}/status", server.base)).send().await.unwrap();
    assert_eq!(post.status().as_u16(), 405);
    let absent = server.get("/no/such/page").await;
    assert_eq!(absent.status().as_u16(), 404);
    for response in [post, absent, server.get("/livez").await, server.get("/").await] {
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_named_with_a_way_out() {
    let server = Server::start(report()).await;
    let address: SocketAddr = server.base.trim_start_matches("http://").parse().unwrap();
    let error = bind(address).await.unwrap_err();
    assert_eq!(error.to_string(), format!("failed to listen on {address}"));
    assert!(error.hint().unwrap().contains("http.listen"));
}

#[tokio::test]
async fn stopping_waits_for_no_idle_connection_and_lets_go_of_the_address() {
    let server = Server::start(report()).await;
    let client = Client::new();
    client.get(format!("{}/livez", server.base)).send().await.unwrap().text().await.unwrap();
    let begun = Instant::now();
    server.cancel.cancel();
    tokio::time::timeout(Duration::from_secs(5), server.task).await.unwrap().unwrap();
    assert!(begun.elapsed() < DRAIN, "an idle connection kept it");
    assert!(client.get(format!("{}/livez", server.base)).send().await.is_err());
}

#[tokio::test]
async fn stopping_does_not_wait_for_ever_for_half_a_request() {
    use tokio::io::AsyncWriteExt;
    let server = Server::start(report()).await;
    let mut stream = tokio::net::TcpStream::connect(server.base.trim_start_matches("http://")).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    assert_eq!(server.answer("/livez").await.0, 200, "the other is served");
    server.cancel.cancel();
    tokio::time::timeout(DRAIN + Duration::from_secs(3), server.task).await.expect("it did not stop").unwrap();
}
