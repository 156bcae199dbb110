//! Faults between us and Superset: what is repeated, what never is, and what is known afterwards.

use std::time::{Duration, Instant};

use serde_json::json;
use setkeeper::superset::error::{CallError, Retry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::{client, client_with, create, datasource, listed, request_for, told};
use crate::support::eventually;
use crate::support::http_proxy::{Fault, Proxy};
use crate::support::{free_port, services};

const LIST: &str = "GET /api/v1/database/?";
const CREATE: &str = "POST /api/v1/database/";
const BUSY: &str = "HTTP/1.1 429 Too Many Requests\nRetry-After: 1\nContent-Type: application/json\nContent-Length: 2\n\n{}";
const VERY_BUSY: &str =
    "HTTP/1.1 429 Too Many Requests\nRetry-After: 3600\nContent-Type: application/json\nContent-Length: 2\n\n{}";
const BROKEN: &str =
    "HTTP/1.1 500 Internal Server Error\nContent-Type: application/json\nContent-Length: 25\n\n{\"message\":\"Fatal error\"}";
const GATEWAY: &str = "HTTP/1.1 502 Bad Gateway\nContent-Type: text/html\nContent-Length: 6\n\n<html>";
const REDIRECT: &str = "HTTP/1.1 302 Found\nLocation: /login/\nContent-Length: 0\n\n";

async fn proxy() -> Proxy {
    Proxy::before(&services::shared().await.url).await
}

#[tokio::test]
async fn a_superset_that_is_down_is_said_to_be_so_at_once() {
    let began = Instant::now();
    let url = format!("http://127.0.0.1:{}", free_port());
    let wanted = datasource("fault-down", "duckdb:///:memory:", &json!({}));
    for error in [client(&url).list().await.unwrap_err(), client(&url).create(&request_for(&wanted)).await.unwrap_err()] {
        assert!(matches!(error, CallError::Down(_)), "{}", told(&error));
        assert!(error.is_about_superset() && !error.must_observe());
    }
    assert!(matches!(client(&url).health().await.unwrap_err(), CallError::Down(_)));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_read_outlives_errors_that_pass() {
    let proxy = proxy().await;
    proxy.fault(LIST, 1, Fault::Answer(BROKEN));
    proxy.fault(LIST, 1, Fault::CutBefore);
    proxy.fault(LIST, 1, Fault::Answer(GATEWAY));
    client(&proxy.url).list().await.unwrap();
    assert_eq!(proxy.count(LIST), 4);
}

#[tokio::test]
async fn a_read_gives_up_on_errors_that_stay() {
    let proxy = proxy().await;
    proxy.fault(LIST, 1000, Fault::Answer(BROKEN));
    let error = client(&proxy.url).list().await.unwrap_err();
    assert_eq!(error.to_string(), "superset failed with status 500: Fatal error");
    assert_eq!(proxy.count(LIST), 5);
}

#[tokio::test]
async fn a_rate_limit_is_waited_for_by_reads_and_writes() {
    let proxy = proxy().await;
    let client = client(&proxy.url);
    client.list().await.unwrap();
    proxy.fault(LIST, 1, Fault::Answer(BUSY));
    let began = Instant::now();
    client.list().await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    proxy.fault(CREATE, 2, Fault::Answer(BUSY));
    create(&client, &datasource("fault-busy", "duckdb:///:memory:", &json!({}))).await;
    assert_eq!(proxy.count(CREATE), 3);
}

#[tokio::test]
async fn a_rate_limit_beyond_the_deadline_is_not_waited_for() {
    let proxy = proxy().await;
    proxy.fault(LIST, 1, Fault::Answer(VERY_BUSY));
    let began = Instant::now();
    let error = client(&proxy.url).list().await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(10));
    assert!(matches!(error, CallError::RateLimited { after: Some(after) } if after == Duration::from_secs(3600)));
}

#[tokio::test]
async fn law_7_a_write_that_superset_failed_is_not_repeated() {
    let proxy = proxy().await;
    for (fault, times) in [(BROKEN, 1), (GATEWAY, 2)] {
        proxy.fault(CREATE, 1, Fault::Answer(fault));
        let wanted = datasource("fault-write", "duckdb:///:memory:", &json!({}));
        let error = client(&proxy.url).create(&request_for(&wanted)).await.unwrap_err();
        assert!(error.must_observe(), "{}", told(&error));
        assert_eq!((error.retry(), proxy.count(CREATE)), (Retry::Soon, times));
    }
}

#[tokio::test]
async fn law_7_a_write_whose_answer_is_cut_off_is_observed_and_not_repeated() {
    let proxy = proxy().await;
    let client = client(&proxy.url);
    let wanted = datasource("fault-cut", "duckdb:///:memory:", &json!({}));
    proxy.fault(CREATE, 1, Fault::CutAfter);
    let error = client.create(&request_for(&wanted)).await.unwrap_err();
    assert!(matches!(error, CallError::Unanswered { .. }) && error.must_observe(), "{}", told(&error));
    assert_eq!(proxy.count(CREATE), 1);
    let there = listed(&client, &wanted).await.expect("Superset carried it out");

    // Whoever writes again all the same is told, and nothing is doubled.
    let again = client.create(&request_for(&wanted)).await.unwrap_err();
    assert!(matches!(again, CallError::NameTaken { id } | CallError::UuidTaken { id } if id == there.id), "{}", told(&again));
}

#[tokio::test]
async fn law_7_two_that_create_the_same_at_once_make_one_and_the_other_is_told() {
    let client = client(&services::shared().await.url);
    let wanted = datasource("fault-twice", "duckdb:///:memory:", &json!({}));
    let request = request_for(&wanted);
    let (one, other) = tokio::join!(client.create(&request), client.create(&request));
    let (made, told_off) = match (one, other) {
        (Ok(id), Err(error)) | (Err(error), Ok(id)) => (id, error),
        both => panic!("{both:?}"),
    };
    assert!(matches!(told_off, CallError::NameTaken { id } | CallError::UuidTaken { id } if id == made), "{}", told(&told_off));
    assert_eq!(listed(&client, &wanted).await.unwrap().id, made);
}

#[tokio::test]
async fn law_7_no_call_outlasts_its_deadline() {
    let proxy = proxy().await;
    let client = client_with(&proxy.url, "admin", Duration::from_secs(4));
    client.list().await.unwrap();
    let slow = Fault::Slow(Duration::from_secs(60));
    proxy.fault(LIST, 1, slow.clone());
    proxy.fault(CREATE, 1, slow);
    let began = Instant::now();
    let error = client.list().await.unwrap_err();
    assert!(matches!(error, CallError::TimedOut(_)) && !error.must_observe(), "{}", told(&error));
    let wanted = datasource("fault-slow", "duckdb:///:memory:", &json!({}));
    let error = client.create(&request_for(&wanted)).await.unwrap_err();
    assert!(matches!(error, CallError::Unanswered { .. }), "{}", told(&error));
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    // Nobody waited for the answer; Superset carries it out all the same, in its own time.
    eventually("superset has made it", async || listed(&client, &wanted).await).await;
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let proxy = proxy().await;
    proxy.fault(LIST, 1, Fault::Answer(REDIRECT));
    let error = client(&proxy.url).list().await.unwrap_err();
    assert_eq!(error.to_string(), "superset answered what was not expected: status 302, a redirect, to GET /api/v1/database/");
    assert_eq!(proxy.count("GET /login"), 0);
}

#[tokio::test]
async fn a_list_that_is_not_whole_is_no_list() {
    let proxy = proxy().await;
    let part = "HTTP/1.1 200 OK\nContent-Type: application/json\nContent-Length: 23\n\n{\"count\":3,\"result\":[]}";
    proxy.fault(LIST, 2, Fault::Answer(part));
    client(&proxy.url).list().await.unwrap();
    proxy.fault(LIST, 3, Fault::Answer(part));
    let error = client(&proxy.url).list().await.unwrap_err();
    assert_eq!(error.to_string(), "superset answered what was not expected: 0 of 3 connections");
}

#[tokio::test]
async fn a_list_of_another_shape_is_no_list_and_no_panic() {
    let proxy = proxy().await;
    for answer in [
        "HTTP/1.1 200 OK\nContent-Type: application/json\nContent-Length: 3\n\n\"x\"",
        "HTTP/1.1 200 OK\nContent-Type: application/json\nContent-Length: 2\n\n[]",
        "HTTP/1.1 200 OK\nContent-Type: application/json\nContent-Length: 4\n\nnull",
    ] {
        proxy.fault(LIST, 1, Fault::Answer(answer));
        let error = client(&proxy.url).list().await.unwrap_err();
        assert_eq!(error.to_string(), "superset answered what was not expected: a list of connections of another shape");
    }
}

#[tokio::test]
async fn an_answer_without_an_end_is_cut_before_it_fills_the_memory() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let endless = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        assert!(connection.read(&mut [0; 4096]).await.unwrap() > 0);
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n";
        let mut sent = connection.write(head).await.unwrap();
        let spaces = vec![b' '; 65_536];
        while let Ok(more) = connection.write(&spaces).await {
            sent += more;
        }
        sent
    });
    let error = client(&url).list().await.unwrap_err();
    let expected = "superset answered what was not expected: more than 33554432 bytes to POST /api/v1/security/login";
    assert_eq!(error.to_string(), expected);
    let sent = endless.await.unwrap();
    assert!(sent < 64 * 1024 * 1024, "{sent}");
}

#[tokio::test]
async fn health_and_version_are_told() {
    let client = client(&services::shared().await.url);
    client.health().await.unwrap();
    assert_eq!(client.version().await.unwrap(), Some(services::version()));
}
