//! Creating, updating and comparing: after a push nothing differs, and what is changed by hand is named.

use serde_json::{Value as Json, json};
use setkeeper::plan::drift::differs;
use setkeeper::superset::error::CallError;

use super::support::{CANARY, assert_in_sync, client, create, datasource, listed, request_for, told};
use crate::support::services;

const CERTIFICATE: &str = include_str!("certificate.pem");

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[tokio::test]
async fn a_connection_is_created_with_our_uuid_and_mark_and_a_second_pass_finds_nothing() {
    let client = client(&services::shared().await.url);
    let wanted = datasource("push-plain", "duckdb:///:memory:", &json!({}));
    let id = create(&client, &wanted).await;
    let stored = assert_in_sync(&client, id, &wanted).await;
    assert_eq!(stored.fields["is_managed_externally"], true);
    assert_eq!(stored.fields["uuid"], json!(wanted.uuid));
    client.delete(id, wanted.uuid).await.unwrap();
    assert!(listed(&client, &wanted).await.is_none());
    // SQLite gives the id to the next connection, so that whatever is there now must be left alone.
    assert!(matches!(client.delete(id, wanted.uuid).await.unwrap_err(), CallError::Gone));
    let timeout = request_for(&wanted).only(&["cache_timeout"]);
    assert!(matches!(client.update(id, &timeout).await.unwrap_err(), CallError::Gone));
    assert!(matches!(client.stored(i64::from(i32::MAX)).await.unwrap_err(), CallError::Gone));
}

#[tokio::test]
async fn law_8_a_connection_that_has_our_id_and_not_our_uuid_is_left_alone() {
    let client = client(&services::shared().await.url);
    let foreign = datasource("push-stranger", "duckdb:///:memory:", &json!({"cache_timeout": 5}));
    let id = create(&client, &foreign).await;
    let ours = datasource("push-gone", "duckdb:///:memory:", &json!({"cache_timeout": 6}));
    let request = request_for(&ours);
    for part in [request.only(&["cache_timeout"]), request.clone()] {
        let error = client.update(id, &part).await.unwrap_err();
        assert!(matches!(error, CallError::Gone) && error.must_observe(), "{}", told(&error));
    }
    assert!(matches!(client.delete(id, ours.uuid).await.unwrap_err(), CallError::Gone));
    assert_in_sync(&client, id, &foreign).await;
}

/// Every field that can be set on a database that is there, at a value other than Superset's default.
fn settable() -> Vec<(&'static str, Json)> {
    vec![
        ("allow_ctas", json!(true)),
        ("allow_cvas", json!(true)),
        ("allow_dml", json!(true)),
        ("allow_file_upload", json!(true)),
        ("allow_run_async", json!(true)),
        ("cache_timeout", json!(300)),
        ("expose_in_sqllab", json!(false)),
        (
            "extra",
            json!({"metadata_params": {}, "engine_params": {"pool_pre_ping": true}, "schemas_allowed_for_file_upload": ["a"]}),
        ),
        ("force_ctas_schema", json!("scratch")),
        ("impersonate_user", json!(true)),
        ("masked_encrypted_extra", json!({"connect_args": {"password": CANARY, "keepalives_idle": 30}, "echo": false})),
    ]
}

#[tokio::test]
async fn every_field_is_stored_as_wanted_and_goes_back_to_its_default_when_it_is_taken_back() {
    let (client, postgres) = (client(&services::shared().await.url), services::postgres().await);
    // With impersonate_user, Superset connects as its own user.
    services::create_role(postgres.port, "admin");
    let uri = format!("postgresql://postgres:{}@127.0.0.1:{}/superset", encoded(CANARY), postgres.port);
    let all: serde_json::Map<_, _> = settable().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let bare = datasource("push-fields", &uri, &json!({}));
    let full = datasource("push-fields", &uri, &Json::Object(all));

    let id = create(&client, &full).await;
    let stored = client.stored(id).await.unwrap();
    let mut expected: Vec<_> = settable().into_iter().map(|(name, _)| name).collect();
    expected.sort_unstable();
    assert_eq!(differs(&stored, &request_for(&bare)), expected);

    let request = request_for(&bare);
    client.update(id, &request.only_and_sealed(&expected)).await.unwrap();
    assert_in_sync(&client, id, &bare).await;

    for (name, value) in settable() {
        let one = datasource("push-fields", &uri, &json!({name: value}));
        let request = request_for(&one);
        let differ = differs(&client.stored(id).await.unwrap(), &request);
        assert!(differ.contains(&name.to_owned()), "{name}: {differ:?}");
        let before = listed(&client, &bare).await.unwrap().changed_on;
        client.update(id, &request.only_and_sealed(&differ)).await.unwrap_or_else(|error| panic!("{name}: {}", told(&error)));
        assert_in_sync(&client, id, &one).await;
        assert_ne!(listed(&client, &one).await.unwrap().changed_on, before, "{name}: a change that a list does not show");
    }
}

#[tokio::test]
async fn a_certificate_is_stored_and_taken_back() {
    // PostgreSQL would have to speak TLS with it; MySQL's engine leaves it unused.
    let (client, mariadb) = (client(&services::shared().await.url), services::mariadb().await);
    let uri = format!("mysql+pymysql://root:password@127.0.0.1:{}/sales", mariadb.port);
    let bare = datasource("push-cert", &uri, &json!({}));
    let with = datasource("push-cert", &uri, &json!({"server_cert": CERTIFICATE}));
    let id = create(&client, &with).await;
    let request = request_for(&bare);
    let differ = differs(&client.stored(id).await.unwrap(), &request);
    assert_eq!(differ, ["server_cert"]);
    client.update(id, &request.only_and_sealed(&differ)).await.unwrap();
    assert_in_sync(&client, id, &bare).await;
}

#[tokio::test]
async fn what_somebody_changes_by_hand_is_named_and_put_back() {
    let (client, postgres) = (client(&services::shared().await.url), services::postgres().await);
    let place = format!("127.0.0.1:{}", postgres.port);
    let uri = format!("postgresql://postgres:{}@{place}/superset?application_name=a%20b&options=-c%20x.y%3D1", encoded(CANARY));
    let ours = datasource("push-drift", &uri, &json!({"allow_dml": true}));
    let id = create(&client, &ours).await;
    let request = request_for(&ours);

    services::create_role(postgres.port, "somebody");
    let by_hand = format!("postgresql://somebody:{}@{place}/postgres", encoded(CANARY));
    let mut other = datasource("push-drift", &by_hand, &json!({"cache_timeout": 7, "extra": {"by_hand": true}}));
    other.database_name = "Renamed by hand".into();
    let names = ["allow_dml", "cache_timeout", "database_name", "extra", "sqlalchemy_uri"];
    client.update(id, &request_for(&other).only(&names)).await.unwrap();

    let stored = client.stored(id).await.unwrap();
    assert_eq!(differs(&stored, &request), names);
    assert_ne!(listed(&client, &ours).await.unwrap().mark.unwrap().digest, request.digest);
    client.update(id, &request.only(&names)).await.unwrap();
    assert_in_sync(&client, id, &ours).await;
}

#[tokio::test]
async fn a_changed_password_changes_the_digest_and_reaches_superset() {
    let (client, mariadb) = (client(&services::shared().await.url), services::mariadb().await);
    let with = |password: &str| {
        let uri = format!("mysql+pymysql://root:{password}@127.0.0.1:{}/sales", mariadb.port);
        datasource("push-password", &uri, &json!({}))
    };
    let right = with("password");
    let id = create(&client, &right).await;
    let wrong = request_for(&with("other"));
    let stored = client.stored(id).await.unwrap();
    assert_eq!(differs(&stored, &wrong), Vec::<String>::new());
    assert_ne!(stored.mark().unwrap().digest, wrong.digest);
    // MariaDB is asked with the new password: that it is refused proves that it was sent.
    let error = client.update(id, &wrong.only_and_sealed::<&str>(&[])).await.unwrap_err();
    assert!(matches!(error, CallError::Unreachable(_)), "{}", told(&error));
    assert_in_sync(&client, id, &right).await;
    client.update(id, &request_for(&right).only_and_sealed::<&str>(&[])).await.unwrap();
    assert_in_sync(&client, id, &right).await;
}

#[tokio::test]
async fn uris_as_people_write_them_show_no_drift() {
    let (client, postgres) = (client(&services::shared().await.url), services::postgres().await);
    let (mariadb, port) = (services::mariadb().await, postgres.port);
    for (name, uri) in [
        ("uri-no-database", format!("postgresql://postgres@127.0.0.1:{port}")),
        ("uri-slash", format!("postgresql+psycopg2://postgres@localhost:{port}/")),
        ("uri-query", format!("postgresql://postgres:a%3Ab@127.0.0.1:{port}/superset?sslmode=disable&application_name=x%2By")),
        ("uri-case", format!("postgresql://postgres@LOCALHOST:{port}/superset")),
        ("uri-charset", format!("mysql+pymysql://root:password@127.0.0.1:{}/sales?charset=utf8mb4", mariadb.port)),
        ("uri-memory", "duckdb:///:memory:".to_owned()),
    ] {
        create(&client, &datasource(name, &uri, &json!({}))).await;
    }
}

#[tokio::test]
async fn a_user_of_odd_characters_shows_no_drift() {
    let (client, mariadb) = (client(&services::shared().await.url), services::mariadb().await);
    let by_root = format!("mysql+pymysql://root:password@127.0.0.1:{}/sales", mariadb.port);
    let root = create(&client, &datasource("uri-root", &by_root, &json!({"allow_dml": true}))).await;
    let _ = root;
    let postgres = services::postgres().await;
    for (name, user) in [("uri-at", "post@gres"), ("uri-space", "a b"), ("uri-slash-user", "a/b:c")] {
        services::create_role(postgres.port, user);
        let uri = format!("postgresql://{}:x@127.0.0.1:{}/superset", encoded(user), postgres.port);
        create(&client, &datasource(name, &uri, &json!({}))).await;
    }
}

#[tokio::test]
async fn a_foreign_connection_can_be_adopted() {
    let client = client(&services::shared().await.url);
    let foreign = datasource("push-foreign", "duckdb:///:memory:", &json!({"allow_dml": true}));
    let id = create(&client, &foreign).await;
    let mut ours = datasource("push-ours", "duckdb:///:memory:", &json!({}));
    ours.database_name.clone_from(&foreign.database_name);
    client.update(id, &request_for(&ours)).await.unwrap();
    assert_in_sync(&client, id, &ours).await;
    assert!(listed(&client, &foreign).await.is_none());
}

#[tokio::test]
async fn a_tunnel_is_stored_changed_and_taken_back() {
    let (client, postgres) = (client(&services::shared().await.url), services::postgres().await);
    let server = services::SshServer::start(CANARY);
    let uri = format!("postgresql://postgres@127.0.0.1:{}/superset", postgres.port);
    let tunnel = |password: &str, timeout: u32| {
        let tunnel = json!({
            "server_address": "127.0.0.1", "server_port": server.port, "username": "tunnel", "password": password,
        });
        datasource("push-tunnel", &uri, &json!({"ssh_tunnel": tunnel, "cache_timeout": timeout}))
    };
    let through = tunnel(CANARY, 5);
    let id = create(&client, &through).await;
    assert_eq!(client.stored(id).await.unwrap().fields["ssh_tunnel"]["password"], "XXXXXXXXXX");

    let request = request_for(&tunnel(CANARY, 6));
    let differ = differs(&client.stored(id).await.unwrap(), &request);
    assert_eq!(differ, ["cache_timeout"]);
    client.update(id, &request.only_and_sealed(&differ)).await.unwrap_or_else(|error| panic!("{}", told(&error)));
    assert_in_sync(&client, id, &tunnel(CANARY, 6)).await;

    // "Fatal error" is all that Superset 6 says of a tunnel that does not open, "Connection failed" all that earlier ones say;
    // those have stored it all the same, so only a push of the right one puts it right.
    let error = client.update(id, &request_for(&tunnel("can@ry wrong", 6))).await.unwrap_err();
    assert!(matches!(error, CallError::Server { status: 500, .. } | CallError::Unreachable(_)), "{}", told(&error));
    client.update(id, &request_for(&tunnel(CANARY, 6))).await.unwrap_or_else(|error| panic!("{}", told(&error)));
    assert_in_sync(&client, id, &tunnel(CANARY, 6)).await;

    let direct = datasource("push-tunnel", &uri, &json!({"cache_timeout": 6}));
    let request = request_for(&direct);
    let differ = differs(&client.stored(id).await.unwrap(), &request);
    assert_eq!(differ, ["ssh_tunnel"]);
    client.update(id, &request.only_and_sealed(&differ)).await.unwrap_or_else(|error| panic!("{}", told(&error)));
    assert_in_sync(&client, id, &direct).await;
}

#[tokio::test]
async fn a_tunnel_where_tunnels_are_switched_off_is_refused_and_none_is_not() {
    let (client, postgres) = (client(&services::impatient().await.url), services::postgres().await);
    let uri = format!("postgresql://postgres@127.0.0.1:{}/superset", postgres.port);
    let tunnel = json!({"server_address": "127.0.0.1", "server_port": 22, "username": "tunnel", "password": CANARY});
    let wanted = datasource("push-no-tunnel", &uri, &json!({"ssh_tunnel": tunnel}));
    let error = client.create(&request_for(&wanted)).await.unwrap_err();
    assert!(matches!(error, CallError::Refused(_)) && told(&error).contains("SSH"), "{}", told(&error));

    let direct = datasource("push-no-tunnel", &uri, &json!({}));
    let id = create(&client, &direct).await;
    client.update(id, &request_for(&direct)).await.unwrap();
    assert_in_sync(&client, id, &direct).await;
}
