//! What a datasource may say, and how everything else is told.

use super::*;
use crate::desired::lens::Allowed;
use crate::model::value::Directive;

fn lens() -> Lens {
    let secrets = Allowed { env: vec!["SETKEEPER_SECRET_*".into()], files: vec!["/run/secrets".into()], ..Allowed::default() };
    Lens { cluster: "superset".to_owned(), secrets, ..Lens::default() }
}

fn read_as(child: Option<&str>, text: &str) -> Read {
    let path = child.map_or("/data_source".to_owned(), |name| format!("/superset/datasources/{name}"));
    read(&child.map(Into::into), &Node::new(Origin::new(path), text, 1), &lens())
}

fn valid(child: Option<&str>, text: &str) -> Datasource {
    let read = read_as(child, text);
    let problems: Vec<_> = read.problems.iter().map(ToString::to_string).collect();
    read.datasource.unwrap_or_else(|| panic!("{text}: {problems:?}"))
}

fn problems(text: &str) -> Vec<String> {
    let read = read_as(Some("sales"), text);
    assert!(read.datasource.is_none() || !read.problems.iter().any(Problem::is_error));
    assert!(read.datasource.is_some() || read.problems.iter().any(Problem::is_error), "{text}");
    let shown = |problem: &Problem| {
        format!("{problem} ({})", problem.hint.as_deref().unwrap_or("")).replace("/superset/datasources/sales", "")
    };
    read.problems.iter().map(shown).collect()
}

fn secret(datasource: &Datasource) -> Option<String> {
    match datasource.password.as_ref()? {
        Value::Directive(Directive::Secret(secret)) => Some(secret.expose().to_owned()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_form_that_people_already_have_works() {
    let text = r#"{"name":"mysql","host":"127.0.0.1","port":"3306","user":"root","password":"password"}"#;
    for child in [None, Some("mysql"), Some("000001")] {
        let datasource = valid(child, text);
        let name = child.unwrap_or("mysql");
        assert_eq!((datasource.name.as_str(), &*datasource.database_name), (name, name));
        assert_eq!(datasource.uri.text(), "mysql+pymysql://root@127.0.0.1:3306/");
        assert_eq!(secret(&datasource).as_deref(), Some("password"));
        assert_eq!(datasource.uuid, DatasourceName::new(name).uuid("superset"));
    }
}

#[test]
fn a_root_is_named_by_its_field_or_else_by_its_path() {
    let named = |text: &str| read_as(None, text).name.as_str().to_owned();
    assert_eq!(named("{name: sales, engine: mysql}"), "sales");
    assert_eq!(named("{engine: mysql}"), "data_source");
    assert_eq!(named("["), "data_source");
    let bad = read_as(None, "{name: a/b, engine: mysql}");
    assert_eq!((bad.name.as_str(), bad.problems.len()), ("data_source", 1));
    assert!(bad.problems[0].message.starts_with("expected a name that a znode can have"));
}

#[test]
fn law_9_a_datasource_prints_no_secret() {
    let datasource = valid(
        Some("sales"),
        "{engine: mysql, password: canary, extra: {a: canary}, server_cert: canary, query: {token: canary}}",
    );
    assert!(!format!("{datasource:?} {datasource:#?}").contains("canary"));
}

#[test]
fn a_uri_or_parts_make_the_same_target() {
    for (text, uri, password) in [
        ("sqlalchemy_uri: postgresql://bob:s%40crt@db:5432/sales", "postgresql://bob@db:5432/sales", Some("s@crt")),
        ("sqlalchemy_uri: postgres://db/sales\npassword: x", "postgresql://db/sales", Some("x")),
        ("sqlalchemy_uri: mysql://u@db/s", "mysql+pymysql://u@db/s", None),
        ("sqlalchemy_uri: {$secret: \"trino://u:p@h/hive\"}", "trino://u@h/hive", Some("p")),
        (
            "engine: postgresql\nhost: db\nport: 5432\nuser: b@b\ndatabase: sales\npassword: x",
            "postgresql://b%40b@db:5432/sales",
            Some("x"),
        ),
        (
            "engine: postgres\ndriver: psycopg2\nhost: db\nquery: {sslmode: require, a: [1, 2]}",
            "postgresql+psycopg2://db/?sslmode=require&a=1&a=2",
            None,
        ),
        ("engine: duckdb\ndatabase: /data/a.db\nhost: ''\nuser:\nport: ''", "duckdb:////data/a.db", None),
        ("engine: mysql\nhost: '::1'\nport: 1", "mysql+pymysql://[::1]:1/", None),
        ("name: mariadb\nhost: h", "mariadb://h/", None),
        ("sqlalchemy_uri: oracle+cx_oracle://s:t@h/x\npassword: null", "", None),
    ] {
        if uri.is_empty() {
            assert!(problems(text)[0].contains("holds a password, and so does `password`"), "{text}");
            continue;
        }
        let datasource = valid(Some("sales"), text);
        assert_eq!((datasource.uri.text().as_str(), secret(&datasource).as_deref()), (uri, password), "{text}");
    }
}

#[test]
fn every_field_of_the_schema_is_taken_and_secrets_stay_references() {
    let text = "database_name: Sales warehouse\nsqlalchemy_uri: postgresql://superset@db1:5432/sales\npassword: {$file: /run/secrets/sales}\n\
        expose_in_sqllab: true\nallow_run_async: false\nallow_file_upload: false\nallow_ctas: true\nallow_cvas: true\nallow_dml: true\n\
        cache_timeout: 300\nforce_ctas_schema: tmp\nimpersonate_user: false\nserver_cert: {$file: /run/secrets/ca}\nexternal_url: null\nadopt: true\n\
        extra: {engine_params: {pool_pre_ping: true, connect_args: {sslkey: {$env: SETKEEPER_SECRET_K}}}}\n\
        masked_encrypted_extra: '{\"credentials\": {\"a\": 1}}'\n\
        ssh_tunnel: {server_address: b, server_port: 22, username: u, private_key: {$file: /run/secrets/k}}\n";
    let datasource = valid(Some("sales"), text);
    assert_eq!((&*datasource.database_name, datasource.adopt), ("Sales warehouse", true));
    assert_eq!(datasource.password, Some(Value::Directive(Directive::File("/run/secrets/sales".into()))));
    assert_eq!(datasource.fields.len(), 14);
    let Value::Map(encrypted) = &datasource.fields["masked_encrypted_extra"] else { panic!("no mapping") };
    assert!(matches!(encrypted[&Key::from("credentials")], Value::Map(_)));
    assert_eq!(datasource.fields["external_url"], Value::Null);
}

#[test]
fn every_wrong_field_is_told_and_no_value_repeated() {
    for (text, expected) in [
        ("", ":1: expected a mapping that describes a database connection, found nothing (for example"),
        ("postgresql://u:hunter2@h/d", ":1: expected a mapping that describes a database connection, found text"),
        ("{}", ": expected `sqlalchemy_uri`, or `engine` and where its server is"),
        ("sqlalchemy_url: x", ":1: sqlalchemy_url: a datasource has no such field (did you mean `sqlalchemy_uri`?)"),
        ("url: postgresql://u:hunter2@h/d", ":1: url: this field is not to be set here (the field is `sqlalchemy_uri`)"),
        ("dbname: x", ":1: dbname: a datasource has no such field (did you mean `database`?)"),
        ("username: x", ":1: username: this field is not to be set here (the field is `user`)"),
        ("1: x", ":1: 1: expected the name of a field"),
        ("uuid: x", ":1: uuid: this field is not to be set here (it is made of the cluster's"),
        ("is_managed_externally: false", ":1: is_managed_externally: this field is not to be set here (it is always true)"),
        ("parameters: {}", ":1: parameters: this field is not to be set here (write `engine`"),
        ("endpoints: [a:1]", ":1: endpoints: is not built yet in this version"),
        ("discover: {druid: {root: /druid}}", ":1: discover: is not built yet in this version"),
        ("allow_dml: 'true'", ":1: allow_dml: expected true or false, found text"),
        ("cache_timeout: 1m", ":1: cache_timeout: expected a whole number, found text"),
        ("cache_timeout: 99999999999", ":1: cache_timeout: expected a whole number that fits into 32 bits"),
        ("server_cert: 5", ":1: server_cert: expected text, found a whole number"),
        ("extra: [1]", ":1: extra: expected a mapping, or the JSON text of one, found a list"),
        ("extra: 'hunter2'", ":1: extra: expected a mapping, or the JSON text of one, found text"),
        ("extra: '{hunter2'", ":1: extra: expected a mapping, or the JSON text of one: expected YAML or JSON"),
        ("extra: {a: .inf}", ":1: extra.a: expected a finite number: JSON has no other"),
        ("extra: {a: [{1: 2}]}", ":1: extra.a[0].1: expected text as a key: JSON has no other"),
        ("extra: {setkeeper: {}}", ":1: extra: the key `setkeeper` is where the agent leaves its own mark"),
        ("extra: {a: {$timedelta: 1h}}", ":1: extra.a: `$timedelta` has no meaning in a datasource"),
        ("extra: {a: {$env: HOME}}", ":1: extra.a: this variable may not be named here (`secrets.env` in"),
        ("password: {$file: /etc/shadow}", ":1: password: this file may not be named here (`secrets.files` in"),
        ("password: {$python: '1'}", ":1: password: `$python` has no meaning in a datasource"),
        ("password: 123", ":1: password: expected text (in quotes"),
        ("password: XXXXXXXXXX", ":1: password: is the mask that Superset shows instead of a password"),
        ("sqlalchemy_uri: postgresql://u:XXXXXXXXXX@h/d", ":1: sqlalchemy_uri: holds the mask"),
        ("sqlalchemy_uri: hunter2", ":1: sqlalchemy_uri: expected a URI that begins with an engine"),
        ("sqlalchemy_uri: postgresql://h:hunter2", ":1: sqlalchemy_uri: expected a port number"),
        ("sqlalchemy_uri: 5", ":1: sqlalchemy_uri: expected a URI, found a whole number"),
        ("sqlalchemy_uri: {$file: /run/secrets/u}", ":1: sqlalchemy_uri: a URI cannot be resolved later"),
        ("sqlalchemy_uri: a://h\nhost: x", ":2: host: stands beside `sqlalchemy_uri`"),
        ("engine: mysql\nport: 0", ":2: port: expected a port between 1 and 65535"),
        ("engine: mysql\nport: hunter2", ":2: port: expected a port between 1 and 65535"),
        ("engine: mysql\nhost: {$env: SETKEEPER_SECRET_H}", ":2: host: expected text, found a mapping"),
        ("engine: mysql\nhost: h:3306", ": host: expected the name or address of a server alone (the port goes into `port`)"),
        ("engine: mysql\nhost: mysql://h", ": host: expected the name or address of a server alone (a URI goes into"),
        ("engine: mysql\nquery: {a: {b: c}}", ":2: query.a: expected text, or a list of texts"),
        ("engine: my sql", ": engine: expected a URI that begins with an engine"),
        ("engine: mysql\nadopt: 'yes'", ":2: adopt: expected true or false, found text"),
        ("engine: mysql\ndatabase_name: ''", ":2: database_name: expected text, found empty text"),
        ("engine: mysql\nname: Sales", ":2: name: expected an engine, or no `name` at all"),
        ("engine: mysql\nssh_tunnel: {server_port: 22}", ":2: ssh_tunnel: expected `server_address` too"),
        (
            "engine: mysql\nssh_tunnel: {server: h}",
            ":2: ssh_tunnel.server: an SSH tunnel has no such field (did you mean `server_port`?)",
        ),
        (
            "engine: postgresq",
            ": Superset documents no engine of this name, but one of nearly that name (did you mean `postgresql`?)",
        ),
        ("a: 1\na: hunter2", ":2: the key `a` is there twice"),
        ("{engine: mysql, password hunter2}", ":1: ***: a datasource has no such field (did you mean `password`?)"),
    ] {
        let found = problems(text);
        assert!(found.iter().any(|problem| problem.starts_with(expected)), "{text}: {expected} not in {found:#?}");
        assert!(!found.iter().any(|problem| problem.contains("hunter2")), "{found:?}");
    }
}

#[test]
fn all_problems_of_a_datasource_come_at_once() {
    let found = problems("allow_dml: 1\nextras: {}\npassword: 5\nport: x\nadopt: 2\nssh_tunnel: []\n");
    assert_eq!(found.len(), 7, "{found:#?}");
}

#[test]
fn law_9_nothing_of_the_credentials_of_an_engine_is_shown() {
    let datasource = valid(
        Some("sales"),
        "sqlalchemy_uri: bigquery://project\nmasked_encrypted_extra: {credentials_info: {client: canary}, list: [canary]}\n\
         extra: {engine_params: {connect_args: {passwd: canary, http_headers: {Authorization: Bearer canary}}}}",
    );
    let shown = crate::desired::written::datasource(&datasource).to_string();
    assert!(shown.contains("credentials_info") && !shown.contains("canary"), "{shown}");
}
