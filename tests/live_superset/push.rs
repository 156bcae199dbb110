//! Creating, updating and comparing: after a push nothing differs, and what is changed by hand is named.

use serde_json::{Value as Json, json};
use setkeeper::plan::drift::differs;
use setkeeper::superset::error::CallError;

use crate::support::{CANARY, assert_in_sync, client, create, datasource, listed, request_for, services, told};

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
    client.delete(id).await.unwrap();
    assert!(listed(&client, &wanted).await.is_none());
    assert!(matches!(client.stored(id).await.unwrap_err(), CallError::Gone));
    assert!(matches!(client.delete(id).await.unwrap_err(), CallError::Gone));
    assert!(matches!(client.update(id, &request_for(&wanted)).await.unwrap_err(), CallError::Gone));
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
        ("masked_encrypted_extra", json!({"credentials": {"key": CANARY, "scope": "a b"}, "n": 1.5})),
        ("server_cert", json!(CERTIFICATE)),
    ]
}

#[tokio::test]
async fn every_field_is_stored_as_wanted_and_goes_back_to_its_default_when_it_is_taken_back() {
    let (client, postgres) = (client(&services::shared().await.url), services::postgres().await);
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
        client.update(id, &request.only_and_sealed(&differ)).await.unwrap_or_else(|error| panic!("{name}: {}", told(&error)));
        assert_in_sync(&client, id, &one).await;
    }
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
    other.database_name = "Renamed by hand".to_owned();
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
    told(&error);
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
