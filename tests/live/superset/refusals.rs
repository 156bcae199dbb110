//! What Superset refuses, and that each reason is told apart, without a secret.

use std::time::{Duration, Instant};

use serde_json::json;
use setkeeper::superset::error::{CallError, Retry};
use setkeeper::superset::preflight::{ProbeError, probe, server};

use super::support::{CANARY, client, client_as, create, datasource, listed, request_for, told};
use crate::support::http_proxy::silent;
use crate::support::{free_port, services};

fn encoded() -> String {
    percent_encoding::utf8_percent_encode(CANARY, percent_encoding::NON_ALPHANUMERIC).to_string()
}

async fn refused(name: &str, uri: &str) -> CallError {
    let client = client(&services::shared().await.url);
    let wanted = datasource(name, uri, &json!({}));
    let error = client.create(&request_for(&wanted)).await.unwrap_err();
    told(&error);
    assert!(listed(&client, &wanted).await.is_none(), "{name} was created all the same");
    error
}

#[tokio::test]
async fn a_server_that_is_down() {
    let port = free_port();
    for (name, engine) in [("down-pg", "postgresql"), ("down-my", "mysql+pymysql")] {
        let error = refused(name, &format!("{engine}://u:{}@127.0.0.1:{port}/d", encoded())).await;
        assert!(matches!(error, CallError::Unreachable(_)), "{name}: {}", told(&error));
        assert_eq!(error.retry(), Retry::Soon);
    }
}

#[tokio::test]
async fn a_host_that_nobody_knows() {
    let error = refused("unknown-host", &format!("postgresql://u:{}@nobody.invalid/d", encoded())).await;
    assert!(matches!(error, CallError::Unreachable(_)), "{}", told(&error));
}

#[tokio::test]
async fn a_wrong_password() {
    let port = services::mariadb().await.port;
    let error = refused("wrong-password", &format!("mysql+pymysql://root:{}@127.0.0.1:{port}/sales", encoded())).await;
    assert!(matches!(error, CallError::WrongCredentials(_)), "{}", told(&error));
    assert_eq!(error.retry(), Retry::AfterChange);
}

#[tokio::test]
async fn a_driver_that_is_not_installed() {
    let error = refused("no-driver", &format!("oracle://u:{}@127.0.0.1:1521/d", encoded())).await;
    assert!(matches!(&error, CallError::NoDriver(engine) if engine == "oracle"), "{}", told(&error));
    assert_eq!(error.retry(), Retry::AfterChange);

    let client = client(&services::shared().await.url);
    let id = create(&client, &datasource("no-driver-later", "duckdb:///:memory:", &json!({}))).await;
    let changed = request_for(&datasource("no-driver-later", &format!("nonsense://u:{}@127.0.0.1/d", encoded()), &json!({})));
    let error = client.update(id, &changed).await.unwrap_err();
    assert!(matches!(&error, CallError::NoDriver(engine) if engine == "nonsense"), "{}", told(&error));
}

#[tokio::test]
async fn a_test_of_a_connection_tells_the_same_and_creates_nothing() {
    let client = client(&services::shared().await.url);
    let (mariadb, port) = (services::mariadb().await, free_port());
    let test = async |uri: &str| client.test(&request_for(&datasource("tested", uri, &json!({})))).await;
    let mysql = |password: &str| format!("mysql+pymysql://root:{password}@127.0.0.1:{}/sales", mariadb.port);
    test(&mysql("password")).await.unwrap();
    let wrong = test(&mysql(&encoded())).await.unwrap_err();
    assert!(matches!(wrong, CallError::WrongCredentials(_)), "{}", told(&wrong));
    let down = test(&format!("postgresql://u:{}@127.0.0.1:{port}/d", encoded())).await.unwrap_err();
    assert!(matches!(down, CallError::Unreachable(_)), "{}", told(&down));
    let unknown = test(&format!("oracle://u:{}@127.0.0.1/d", encoded())).await.unwrap_err();
    assert!(matches!(unknown, CallError::NoDriver(_)), "{}", told(&unknown));
    assert!(listed(&client, &datasource("tested", "duckdb://", &json!({}))).await.is_none());
}

#[tokio::test]
async fn a_superset_that_speaks_another_language() {
    let client = client(&services::impatient().await.url);
    let id = create(&client, &datasource("german", "duckdb:///:memory:", &json!({}))).await;
    let port = free_port();
    let down = datasource("german", &format!("postgresql://u:{}@127.0.0.1:{port}/d", encoded()), &json!({}));
    let error = client.update(id, &request_for(&down)).await.unwrap_err();
    assert!(matches!(error, CallError::Unreachable(_)), "{}", told(&error));
}

#[tokio::test]
async fn a_user_who_may_not() {
    let superset = services::shared().await;
    services::create_user(superset, "gamma", "Gamma");
    let client = client_as(&superset.url, "gamma", "gamma", Duration::from_secs(30));
    let error = client.create(&request_for(&datasource("forbidden", "duckdb:///:memory:", &json!({})))).await.unwrap_err();
    assert!(matches!(&error, CallError::Forbidden { username, .. } if username == "gamma"), "{}", told(&error));
    assert!(error.is_about_superset() && !error.must_observe());
}

#[tokio::test]
async fn an_engine_that_superset_does_not_allow() {
    let error = refused("sqlite", "sqlite:////tmp/x.db").await;
    assert!(matches!(error, CallError::Refused(_)), "{}", told(&error));
    assert_eq!(error.retry(), Retry::AfterChange);
}

#[tokio::test]
async fn a_name_and_a_uuid_that_are_taken() {
    let client = client(&services::shared().await.url);
    let first = datasource("taken-first", "duckdb:///:memory:", &json!({}));
    let id = create(&client, &first).await;
    let mut second = datasource("taken-second", "duckdb:///:memory:", &json!({}));
    second.database_name.clone_from(&first.database_name);
    let error = client.create(&request_for(&second)).await.unwrap_err();
    assert!(matches!(error, CallError::NameTaken { id: other } if other == id), "{}", told(&error));

    let mut twin = first.clone();
    twin.database_name = "Another 'name'!".into();
    let error = client.create(&request_for(&twin)).await.unwrap_err();
    assert!(matches!(error, CallError::UuidTaken { id: other } if other == id), "{}", told(&error));

    second.database_name = "Name of taken-second".into();
    let other = create(&client, &second).await;
    second.database_name.clone_from(&first.database_name);
    let error = client.update(other, &request_for(&second)).await.unwrap_err();
    assert!(matches!(error, CallError::NameTaken { id: there } if there == id), "{}", told(&error));
}

#[tokio::test]
async fn a_field_that_superset_finds_invalid() {
    let client = client(&services::shared().await.url);
    let wanted = datasource("invalid-field", "duckdb:///:memory:", &json!({"cache_timeout": "soon"}));
    let error = client.create(&request_for(&wanted)).await.unwrap_err();
    assert!(told(&error).contains("cache_timeout"), "{}", told(&error));
    assert!(matches!(error, CallError::Refused(_)));
}

#[tokio::test]
async fn a_connection_with_datasets_is_not_deleted_and_they_are_named() {
    let superset = services::shared().await;
    let client = client(&superset.url);
    let postgres = services::postgres().await;
    let uri = format!("postgresql://postgres@127.0.0.1:{}/superset", postgres.port);
    let wanted = datasource("in-use", &uri, &json!({}));
    let id = create(&client, &wanted).await;
    services::create_dataset(superset, id, "pg_catalog", "pg_class").await;
    let error = client.delete(id, wanted.uuid).await.unwrap_err();
    assert!(matches!(error, CallError::Dependents(_)), "{}", told(&error));
    assert_eq!(error.to_string(), "the connection is in use by dataset \"pg_class\"");
    assert_eq!(error.retry(), Retry::AfterChange);
    assert!(listed(&client, &wanted).await.is_some());
}

#[tokio::test]
async fn law_11_what_is_silent_is_found_so_before_superset_is_asked_and_real_servers_are_not() {
    let (silent, postgres, mariadb) = (silent().await, services::postgres().await, services::mariadb().await);
    for engine in ["postgresql", "mysql+pymysql"] {
        let server = server(&datasource("probe", &format!("{engine}://u@{silent}/d"), &json!({}))).unwrap();
        let began = Instant::now();
        let error = probe(&server).await.unwrap_err();
        assert!(matches!(error, ProbeError::Silent { .. }), "{error}");
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    }
    for (engine, port) in [("postgresql", postgres.port), ("mysql+pymysql", mariadb.port)] {
        let server = server(&datasource("probe", &format!("{engine}://u@127.0.0.1:{port}/d"), &json!({}))).unwrap();
        let began = Instant::now();
        probe(&server).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn law_11_a_server_that_accepts_and_never_answers_costs_no_more_than_its_connect_timeout() {
    let silent = silent().await;
    let began = Instant::now();
    let error = refused("silent", &format!("postgresql://u:{}@{silent}/d", encoded())).await;
    let took = began.elapsed();
    assert!(matches!(error, CallError::Unreachable(_)), "{}", told(&error));
    assert!(took > Duration::from_secs(9) && took < Duration::from_secs(25), "{took:?}");
}
