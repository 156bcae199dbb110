//! Logging in: once for many, again where it has run out, refreshed before it does.

use std::time::{Duration, Instant};

use setkeeper::superset::error::{CallError, Retry};

use super::support::{client, client_with, create, datasource, listed, told};
use crate::support::http_proxy::{Fault, Proxy};
use crate::support::services;

const LOGIN: &str = "POST /api/v1/security/login";
const REFRESH: &str = "POST /api/v1/security/refresh";
const LIST: &str = "GET /api/v1/database/?";
const EXPIRED: &str =
    "HTTP/1.1 401 Unauthorized\nContent-Type: application/json\nContent-Length: 27\n\n{\"msg\":\"Token has expired\"}";

#[tokio::test]
async fn many_calls_at_once_log_in_once() {
    let proxy = Proxy::before(&services::shared().await.url).await;
    let client = client(&proxy.url);
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.list().await })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!((proxy.count(LOGIN), proxy.count(LIST)), (1, 8));
}

#[tokio::test]
async fn law_7_who_waits_for_another_call_s_login_keeps_to_its_own_deadline() {
    let proxy = Proxy::before(&services::shared().await.url).await;
    let client = client_with(&proxy.url, "admin", Duration::from_secs(3));
    proxy.fault(LOGIN, 2, Fault::Slow(Duration::from_secs(60)));
    let first = tokio::spawn({
        let client = client.clone();
        async move { client.list().await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let began = Instant::now();
    let error = client.list().await.unwrap_err();
    assert!(matches!(error, CallError::TimedOut(_)), "{}", told(&error));
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert!(matches!(first.await.unwrap().unwrap_err(), CallError::TimedOut(_)));
    client.list().await.unwrap();
}

#[tokio::test]
async fn a_token_refused_midway_is_replaced_and_the_call_repeated() {
    let proxy = Proxy::before(&services::shared().await.url).await;
    let client = client(&proxy.url);
    client.list().await.unwrap();
    proxy.fault(LIST, 1, Fault::Answer(EXPIRED));
    client.list().await.unwrap();
    assert_eq!((proxy.count(LOGIN), proxy.count(LIST)), (2, 3));

    let wanted = datasource("login-midway", "duckdb:///:memory:", &serde_json::json!({}));
    proxy.fault("POST /api/v1/database/", 1, Fault::Answer(EXPIRED));
    create(&client, &wanted).await;
    assert_eq!((proxy.count(LOGIN), proxy.count("POST /api/v1/database/")), (3, 2));
}

#[tokio::test]
async fn a_token_that_stays_refused_is_an_error_and_no_endless_loop() {
    let proxy = Proxy::before(&services::shared().await.url).await;
    proxy.fault(LIST, 1000, Fault::Answer(EXPIRED));
    let error = client(&proxy.url).list().await.unwrap_err();
    assert!(matches!(error, CallError::LoginRefused { .. }), "{}", told(&error));
    assert_eq!((proxy.count(LOGIN), proxy.count(LIST)), (2, 2));
}

#[tokio::test]
async fn csrf_that_is_refused_is_fetched_anew() {
    let proxy = Proxy::before(&services::shared().await.url).await;
    let client = client(&proxy.url);
    // A CSRF token of one session with the cookie of another is what Superset truly refuses.
    let stale = "HTTP/1.1 200 OK\nContent-Type: application/json\nContent-Length: 16\n\n{\"result\":\"old\"}";
    proxy.fault("GET /api/v1/security/csrf_token/", 1, Fault::Answer(stale));
    let wanted = datasource("login-csrf", "duckdb:///:memory:", &serde_json::json!({}));
    create(&client, &wanted).await;
    assert_eq!(proxy.count("GET /api/v1/security/csrf_token/"), 2);
    assert!(listed(&client, &wanted).await.is_some());
}

#[tokio::test]
async fn law_9_a_wrong_password_is_said_and_not_shown() {
    let superset = services::shared().await;
    let error = client_with(&superset.url, super::support::CANARY, Duration::from_secs(30)).list().await.unwrap_err();
    assert!(matches!(&error, CallError::LoginRefused { username, .. } if username == "admin"), "{}", told(&error));
    assert_eq!(error.retry(), Retry::Soon);
}

#[tokio::test]
async fn a_token_is_refreshed_before_it_expires_and_never_by_a_new_login() {
    let superset = services::impatient().await;
    let proxy = Proxy::before(&superset.url).await;
    let client = client(&proxy.url);
    client.list().await.unwrap();
    // Past three quarters of its life the token is replaced, although Superset would still take it.
    tokio::time::sleep(Duration::from_secs(16)).await;
    client.list().await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    client.list().await.unwrap();
    assert_eq!((proxy.count(LOGIN), proxy.count(REFRESH), proxy.count(LIST)), (1, 1, 3));
    // Past its end Superset refuses it; a refresh comes first all the same.
    tokio::time::sleep(Duration::from_secs(22)).await;
    let wanted = datasource("login-expired", "duckdb:///:memory:", &serde_json::json!({}));
    create(&client, &wanted).await;
    assert_eq!((proxy.count(LOGIN), proxy.count(REFRESH)), (1, 2));
}
