//! The time that a driver may take to connect, written into `extra` where the driver knows such an argument.
//!
//! Superset connects to the target on every write and its own timeout does not fire in a worker's thread: a target that
//! accepts and never answers held a worker for 260 s (law 11). So the driver must give up by itself. Only arguments that
//! bound connecting alone are used: one that bounds every later read too would end long queries. Pure.

use serde_json::{Map, Value as Json, json};

use crate::model::uri::SqlalchemyUri;

/// Long enough for a server across an ocean or one that has to wake up, and well below the deadline of a call.
const SECONDS: u64 = 10;

/// How the drivers call it, by dialect and driver; `None` is the dialect's default driver. A driver that refuses unknown
/// arguments would never connect again, so one that is not known for certain is not here. Nor are those whose argument
/// ends long queries as well (pg8000, `redshift_connector`, `vertica_python`), does not bound the wait for a silent server
/// (oracledb, clickhouse-driver), or is 10 s by itself (mysqlconnector).
const ARGUMENTS: [(&str, &[Option<&str>], &str); 8] = [
    ("postgresql", &[None, Some("psycopg2"), Some("psycopg")], "connect_timeout"),
    ("cockroachdb", &[None, Some("psycopg2"), Some("psycopg")], "connect_timeout"),
    ("redshift", &[None, Some("psycopg2")], "connect_timeout"),
    ("mysql", &[None, Some("mysqldb"), Some("pymysql")], "connect_timeout"),
    ("mariadb", &[None, Some("mysqldb"), Some("pymysql"), Some("mariadbconnector")], "connect_timeout"),
    ("starrocks", &[None, Some("mysqldb"), Some("pymysql")], "connect_timeout"),
    ("mssql", &[Some("pymssql")], "login_timeout"),
    ("mssql", &[None, Some("pyodbc")], "timeout"),
];

/// Adds the argument to `engine_params.connect_args` of `extra`, and to `connect_args` of `encrypted` where there are any,
/// since those replace the former as a whole. Not where the driver has no such argument, where the author set it there or
/// in the URI, or where a mapping has another shape.
pub fn add(uri: &SqlalchemyUri, extra: &mut Map<String, Json>, encrypted: &mut Map<String, Json>) {
    let Some(argument) = argument(uri) else { return };
    if uri.query_pairs().any(|(name, _)| name == argument) {
        return;
    }
    if let Some(args) = encrypted.get_mut("connect_args").and_then(Json::as_object_mut) {
        args.entry(argument).or_insert_with(|| json!(SECONDS));
        return;
    }
    let Some(params) = extra.entry("engine_params").or_insert_with(|| json!({})).as_object_mut() else { return };
    let Some(args) = params.entry("connect_args").or_insert_with(|| json!({})).as_object_mut() else { return };
    args.entry(argument).or_insert_with(|| json!(SECONDS));
}

fn argument(uri: &SqlalchemyUri) -> Option<&'static str> {
    let of_engine = ARGUMENTS.iter().filter(|(engine, ..)| *engine == uri.engine());
    of_engine.filter(|(_, drivers, _)| drivers.contains(&uri.driver())).map(|(.., argument)| *argument).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(uri: &str, extra: &Json) -> Json {
        let uri = SqlalchemyUri::parse(uri).unwrap().0;
        let mut extra = extra.as_object().unwrap().clone();
        add(&uri, &mut extra, &mut Map::new());
        Json::Object(extra)
    }

    #[test]
    fn each_driver_is_told_in_its_own_words() {
        for (uri, argument) in [
            ("postgresql://h/d", "connect_timeout"),
            ("mysql+pymysql://h/d", "connect_timeout"),
            ("mssql+pymssql://h/d", "login_timeout"),
        ] {
            assert_eq!(added(uri, &json!({})), json!({"engine_params": {"connect_args": {argument: 10}}}), "{uri}");
        }
    }

    #[test]
    fn what_the_author_set_stays() {
        let extra = json!({"engine_params": {"pool_pre_ping": true, "connect_args": {"connect_timeout": 3}}});
        assert_eq!(added("postgresql://h/d", &extra), extra);
        assert_eq!(added("postgresql://h/d?connect_timeout=3", &json!({})), json!({}));
        let odd = json!({"engine_params": "x"});
        assert_eq!(added("postgresql://h/d", &odd), odd);
    }

    #[test]
    fn connect_args_that_are_encrypted_win_and_so_they_get_it() {
        let uri = SqlalchemyUri::parse("postgresql://h/d").unwrap().0;
        let mut extra = Map::new();
        let mut encrypted = json!({"connect_args": {"sslpassword": "x"}}).as_object().unwrap().clone();
        add(&uri, &mut extra, &mut encrypted);
        assert_eq!(Json::Object(encrypted), json!({"connect_args": {"sslpassword": "x", "connect_timeout": 10}}));
        assert!(extra.is_empty());
    }

    #[test]
    fn a_driver_that_has_no_such_argument_gets_none() {
        for uri in ["postgresql+pg8000://h/d", "mysql+mysqlconnector://h/d", "trino://h/d", "bigquery://project", "duckdb:///x"] {
            assert_eq!(added(uri, &json!({})), json!({}), "{uri}");
        }
    }
}
