//! What a datasource becomes, what of it is sealed, and what its digest depends on.

use std::convert::Infallible;

use super::*;
use crate::model::datasource::DatasourceName;
use crate::model::snapshot::Origin;
use crate::model::uri::SqlalchemyUri;
use crate::model::value::{Key, Value};

#[derive(Debug, ThisError)]
#[error("no such secret")]
struct Missing;

fn key() -> DigestKey {
    DigestKey::from_bytes(&[7; 32]).unwrap()
}

fn datasource(uri: &str, password: Option<Value>, fields: &[(&str, Value)]) -> Datasource {
    let name = DatasourceName::new("sales");
    Datasource {
        uuid: name.uuid("superset"),
        name,
        origin: Origin::new("/superset/datasources/sales"),
        database_name: "Sales".into(),
        uri: SqlalchemyUri::parse(uri).unwrap().0,
        password,
        fields: fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        adopt: false,
    }
}

fn map(entries: &[(&str, Value)]) -> Value {
    Value::Map(entries.iter().map(|(name, value)| (Key::from(*name), value.clone())).collect())
}

fn build(datasource: &Datasource) -> Request {
    request::<Infallible>(datasource, &key(), &|_| Ok(SecretText::new("from-file"))).unwrap()
}

fn body(request: &Request) -> Json {
    serde_json::from_str(request.body().expose()).unwrap()
}

fn extra(request: &Request) -> Json {
    serde_json::from_str(body(request)["extra"].as_str().unwrap()).unwrap()
}

#[test]
fn a_bare_uri_becomes_a_request_with_every_field() {
    let request = build(&datasource("druid://broker:8082/druid/v2/sql", None, &[]));
    let mut body = body(&request);
    body["extra"] = extra(&request);
    assert_eq!(
        body,
        json!({
            "allow_ctas": false, "allow_cvas": false, "allow_dml": false, "allow_file_upload": false,
            "allow_run_async": false, "cache_timeout": null, "configuration_method": "sqlalchemy_form",
            "database_name": "Sales", "expose_in_sqllab": true, "external_url": null,
            "extra": {"setkeeper": {"name": "sales", "digest": request.digest}}, "force_ctas_schema": null, "impersonate_user": false,
            "is_managed_externally": true, "masked_encrypted_extra": null, "server_cert": null,
            "sqlalchemy_uri": "druid://broker:8082/druid/v2/sql", "ssh_tunnel": null,
            "uuid": "d0cc5724-5f90-5a9b-b48a-3142f9d3e3f6",
        })
    );
    assert!(request.sealed.is_empty());
}

#[test]
fn a_password_is_encoded_so_that_no_character_of_it_can_move_the_host() {
    let password = Value::from("p@ss/w:rd %+#?\u{e4}'\"");
    let request = build(&datasource("postgresql://bob@db:5432/sales", Some(password), &[]));
    assert_eq!(body(&request)["sqlalchemy_uri"], "postgresql://bob:p%40ss%2Fw%3Ard%20%25%2B%23%3F%C3%A4%27%22@db:5432/sales");
    assert!(request.sealed.contains_key("sqlalchemy_uri"));
}

#[test]
fn law_9_whatever_holds_a_secret_is_sealed_and_known() {
    let fields = [
        ("extra", map(&[("engine_params", map(&[("connect_args", map(&[("password", Value::from("canary-1"))]))]))])),
        ("masked_encrypted_extra", map(&[("credentials_info", map(&[("client", Value::from("canary-2"))]))])),
        ("ssh_tunnel", map(&[("private_key", Value::Directive(Directive::Secret(SecretText::new("canary-3"))))])),
    ];
    let request = build(&datasource("mssql+pyodbc://db:1433/x?odbc_connect=PWD%3Dcanary-4", None, &fields));
    let sealed: Vec<_> = request.sealed.keys().map(String::as_str).collect();
    assert_eq!(sealed, ["extra", "masked_encrypted_extra", "sqlalchemy_uri", "ssh_tunnel"]);
    assert!(!format!("{request:?}").contains("canary"), "{request:?}");
    let mut known: Vec<_> = request.secrets.iter().map(SecretText::expose).collect();
    known.sort_unstable();
    assert_eq!(known, ["PWD=canary-4", "canary-1", "canary-2", "canary-3"]);
}

#[test]
fn the_digest_changes_with_a_secret_and_with_nothing_that_we_add() {
    let by_file = Some(Value::Directive(Directive::File("/run/secrets/sales".to_owned())));
    let datasource = datasource("postgresql://bob@db/sales", by_file, &[]);
    let with =
        |secret: &'static str| request::<Infallible>(&datasource, &key(), &|_| Ok(SecretText::new(secret))).unwrap().digest;
    assert_eq!(with("one"), with("one"));
    assert_ne!(with("one"), with("two"));
    // A changed value here would push every connection in the field again when the agent is upgraded.
    assert_eq!(with("one"), "f1c810301ddd28d8");
}

#[test]
fn a_secret_that_cannot_be_had_names_its_field_and_not_itself() {
    let fields = [("extra", map(&[("x", Value::Directive(Directive::Env("NAME".to_owned())))]))];
    let error = request(&datasource("druid://h", None, &fields), &key(), &|_| Err(Missing)).unwrap_err();
    assert_eq!(error.to_string(), "failed to resolve the secret of extra.x");
}

#[test]
fn what_has_no_place_is_refused() {
    let refused = |datasource: &Datasource| {
        request::<Infallible>(datasource, &key(), &|_| Ok(SecretText::new("x"))).unwrap_err().to_string()
    };
    let duckdb = datasource("duckdb:///tmp/x.db", Some(Value::from("secret")), &[]);
    assert_eq!(refused(&duckdb), "the URI of duckdb has no host, so it cannot carry a password");
    let text = datasource("druid://h", None, &[("extra", Value::from("{}"))]);
    assert_eq!(refused(&text), "extra must be a mapping");
    let nan = datasource("druid://h", None, &[("cache_timeout", Value::Float(f64::NAN))]);
    assert_eq!(refused(&nan), "cache_timeout cannot be a number that is infinite or none");
}
