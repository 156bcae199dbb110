//! Celery's worker by HUP and its beat by a restart, each supervised, and the proofs of each role.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use setkeeper::model::digest::Revision;
use setkeeper::processes::celery::{Kind, mains};
use setkeeper::processes::{Process, Table};
use setkeeper::settings::release::Verify;
use setkeeper::superset::gunicorn::Target;
use setkeeper::superset::verify::{Verifier, VerifyError};
use url::Url;

use super::{Stand, only};
use crate::superset::support::client_as;
use crate::support::eventually;
use crate::support::services::{Superset, redis};

fn verifier(url: &str, successes: u32, timeout: Duration) -> Verifier {
    Verifier::new(&Verify { url: None, successes, timeout }, &Url::parse(url).unwrap()).unwrap()
}

/// A stand whose supervised command is one of Celery's.
async fn stand(role: &str, arguments: &[&str]) -> Stand {
    patient(role, arguments, Duration::from_secs(90)).await
}

/// The same, whose proofs may take so long.
async fn patient(role: &str, arguments: &[&str], limit: Duration) -> Stand {
    let broker = format!("redis://127.0.0.1:{}/0", redis().await.port);
    let stand = Stand::new(role, Superset::place("", &[]));
    let words = stand.superset.celery_words(&stand.config(), arguments);
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let mut stand = Stand { agent: stand.agent.supervising(&words), ..stand };
    stand.agent.set("instance", json!({"id": role, "labels": {"role": role}}));
    stand.agent.set("verify", json!({"timeout": format!("{}s", limit.as_secs())}));
    let celery = json!({"broker_url": broker, "result_backend": broker, "imports": ["superset.sql_lab"]});
    stand.publish(&json!({"ROW_LIMIT": 1, "CELERY_CONFIG": {"$class": celery}}).to_string());
    stand.agent.start().await;
    stand.agent.has_line("ROW_LIMIT = 1").await;
    stand
}

fn change(stand: &Stand) {
    let text = std::fs::read_to_string(stand.tree.path().join("config.yaml")).unwrap();
    stand.publish(&text.replace("\"ROW_LIMIT\":1", "\"ROW_LIMIT\":2"));
}

fn main_of(stand: &Stand, kind: Kind) -> Process {
    let (table, below) = (Table::read().unwrap(), stand.agent.pid().cast_signed());
    only(mains(&table, kind).filter(|process| table.descends(process.pid, below)).cloned().collect())
}

#[tokio::test]
async fn a_worker_is_told_by_hup_keeps_its_pid_and_answers_its_ping() {
    let node = format!("celery-{}@localhost", std::process::id());
    let mut stand = stand("worker", &["worker", "--pool=solo", "--loglevel=INFO", "-n", &node]).await;
    let verifier = verifier(&stand.superset.url, 1, Duration::from_secs(60));
    let below = Target::Below(stand.agent.pid().cast_signed());
    eventually("the worker is there", async || stand.agent.log().contains(&format!("{node} ready")).then_some(())).await;
    verifier.worker(&below).await.unwrap();
    let worker = main_of(&stand, Kind::Worker);
    change(&stand);
    stand.agent.has_line("ROW_LIMIT = 2").await;
    stand.agent.in_sync().await;
    eventually("the worker is there again", async || {
        (stand.agent.log().matches(&format!("{node} ready")).count() == 2).then_some(())
    })
    .await;
    verifier.worker(&below).await.unwrap();
    assert_eq!(main_of(&stand, Kind::Worker).pid, worker.pid);
    stand.agent.stop().await;
}

#[tokio::test]
async fn a_worker_that_does_not_answer_with_a_new_config_gets_the_old_one_back() {
    let node = format!("celery-back-{}@localhost", std::process::id());
    let mut stand = patient("worker", &["worker", "--pool=solo", "--loglevel=INFO", "-n", &node], Duration::from_secs(45)).await;
    let ready = |times: usize| {
        let (agent, line) = (&stand.agent, format!("{node} ready"));
        eventually("the worker is there", async move || (agent.log().matches(&line).count() >= times).then_some(()))
    };
    ready(1).await;
    let good = stand.agent.rendered().unwrap();
    let text = std::fs::read_to_string(stand.tree.path().join("config.yaml")).unwrap();
    // Superset loads it, and no worker meets anybody there.
    stand.publish(&text.replace(&format!(":{}/0", redis().await.port), ":9/0"));
    let status = stand.agent.status_where("held", |status| status["instance"]["state"] == "held").await;
    let error = status["instance"]["error"].as_str().unwrap();
    assert!(error.contains("worker does not answer"), "{error}");
    assert_eq!(stand.agent.rendered().unwrap(), good);
    ready(2).await;
    let below = Target::Below(stand.agent.pid().cast_signed());
    verifier(&stand.superset.url, 1, Duration::from_secs(60)).worker(&below).await.unwrap();
    stand.agent.stop().await;
}

#[tokio::test]
async fn a_beat_is_restarted_by_the_supervisor() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| PathBuf::from(folder.path()).join(name).display().to_string();
    let (pid_file, schedule) = (format!("--pidfile={}", file("beat.pid")), format!("--schedule={}", file("schedule")));
    let mut stand = stand("beat", &["beat", "--loglevel=INFO", &pid_file, &schedule]).await;
    let verifier = verifier(&stand.superset.url, 1, Duration::from_secs(30));
    eventually("beat is there", async || stand.agent.log().contains("beat: Starting").then_some(())).await;
    let (beat, below) = (main_of(&stand, Kind::Beat), Some(stand.agent.pid().cast_signed()));
    verifier.beat(below, None).await.unwrap();
    change(&stand);
    stand.agent.has_line("ROW_LIMIT = 2").await;
    stand.agent.in_sync().await;
    verifier.beat(below, Some(beat.pid)).await.unwrap();
    assert!(!beat.is_alive());
    assert_ne!(main_of(&stand, Kind::Beat).pid, beat.pid);
    stand.agent.in_sync().await;
    stand.agent.stop().await;
}

#[tokio::test]
async fn a_web_server_is_proved_by_its_revision_and_by_its_connections() {
    let stand = Stand::new("verify", Superset::place("", &[])).supervising().started().await;
    let revision = Revision::new(stand.superset.revision().await.unwrap());
    let client = client_as(&stand.superset.url, "admin", "admin", Duration::from_secs(30));
    verifier(&stand.superset.url, 5, Duration::from_secs(30)).web(&revision, Some(&client)).await.unwrap();
    let impatient = verifier(&stand.superset.url, 5, Duration::from_secs(2));
    let error = impatient.web(&Revision::new("another"), None).await.unwrap_err();
    assert!(error.to_string().contains(&format!("came from revision {revision}")), "{error}");
    let wrong = client_as(&stand.superset.url, "admin", "wrong", Duration::from_secs(5));
    // Our own login tells nothing of the config.
    verifier(&stand.superset.url, 5, Duration::from_secs(30)).web(&revision, Some(&wrong)).await.unwrap();
    let nobody = client_as("http://127.0.0.1:9", "admin", "admin", Duration::from_secs(1));
    let error = impatient.web(&revision, Some(&nobody)).await.unwrap_err();
    assert!(matches!(error, VerifyError::Databases(_)), "{error}");
}
