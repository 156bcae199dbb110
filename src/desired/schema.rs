//! The fields of a datasource: Superset's database schema, and what else a datasource's znode may say.
//!
//! Superset ignores an unknown field in silence and answers a wrong type with a riddle, so both are told here.

/// What a field may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number that fits into 32 bits, or nothing.
    Int,
    /// Text.
    Text,
    /// Text, or nothing.
    TextOrNull,
    /// A mapping, or JSON text of one.
    Json,
    /// The fields of an SSH tunnel.
    Tunnel,
    /// Read by the agent itself to make the URI, the name and the like.
    Own,
    /// Known to Superset and not to be set here, with the reason.
    Refused(&'static str),
    /// Parsed from the first release on, built later.
    Later,
}

const FROM_NAMES: &str = "it is made of the cluster's and the datasource's names, so that all agents agree on it";
const BY_SUPERSET: &str = "Superset gives it";
const AS_PARTS: &str = "write `engine`, `host`, `port`, `user`, `password`, `database` and `query` beside the other fields";

/// Every field, sorted by name.
pub const FIELDS: [(&str, Kind); 42] = [
    ("adopt", Kind::Own),
    ("allow_ctas", Kind::Bool),
    ("allow_cvas", Kind::Bool),
    ("allow_dml", Kind::Bool),
    ("allow_file_upload", Kind::Bool),
    ("allow_run_async", Kind::Bool),
    ("backend", Kind::Refused(BY_SUPERSET)),
    ("cache_timeout", Kind::Int),
    ("changed_on", Kind::Refused(BY_SUPERSET)),
    ("configuration_method", Kind::Refused("it is always the URI")),
    ("created_on", Kind::Refused(BY_SUPERSET)),
    ("database", Kind::Own),
    ("database_name", Kind::Own),
    ("discover", Kind::Later),
    ("driver", Kind::Own),
    ("endpoints", Kind::Later),
    ("engine", Kind::Own),
    ("engine_information", Kind::Refused(BY_SUPERSET)),
    ("expose_in_sqllab", Kind::Bool),
    ("external_url", Kind::TextOrNull),
    ("extra", Kind::Json),
    ("force_ctas_schema", Kind::TextOrNull),
    ("host", Kind::Own),
    ("id", Kind::Refused(BY_SUPERSET)),
    ("impersonate_user", Kind::Bool),
    ("is_managed_externally", Kind::Refused("it is always true")),
    ("masked_encrypted_extra", Kind::Json),
    ("name", Kind::Own),
    ("parameters", Kind::Refused(AS_PARTS)),
    ("parameters_schema", Kind::Refused(BY_SUPERSET)),
    ("password", Kind::Own),
    ("port", Kind::Own),
    ("query", Kind::Own),
    ("server_cert", Kind::TextOrNull),
    ("sqlalchemy_uri", Kind::Own),
    ("ssh_tunnel", Kind::Tunnel),
    ("tables", Kind::Refused(BY_SUPERSET)),
    ("url", Kind::Refused("the field is `sqlalchemy_uri`")),
    ("user", Kind::Own),
    ("username", Kind::Refused("the field is `user`")),
    ("uuid", Kind::Refused(FROM_NAMES)),
    ("version", Kind::Refused("it belongs to Superset's export files")),
];

/// The fields of `ssh_tunnel`.
pub const TUNNEL: [(&str, Kind); 6] = [
    ("password", Kind::TextOrNull),
    ("private_key", Kind::TextOrNull),
    ("private_key_password", Kind::TextOrNull),
    ("server_address", Kind::Text),
    ("server_port", Kind::Int),
    ("username", Kind::Text),
];

/// What people call a field elsewhere, and what it is called here.
pub const ELSEWHERE: [(&str, &str); 9] = [
    ("database_url", "sqlalchemy_uri"),
    ("db", "database"),
    ("dbname", "database"),
    ("dialect", "engine"),
    ("encrypted_extra", "masked_encrypted_extra"),
    ("hostname", "host"),
    ("pass", "password"),
    ("type", "engine"),
    ("uri", "sqlalchemy_uri"),
];

/// Engines that SQLAlchemy or a dialect that Superset documents is known by.
pub const ENGINES: [&str; 62] = [
    "access",
    "arrow",
    "ascend",
    "aurora",
    "awsathena",
    "bigquery",
    "clickhouse",
    "clickhousedb",
    "cockroachdb",
    "couchbase",
    "crate",
    "databend",
    "databricks",
    "datastore",
    "db2",
    "denodo",
    "doris",
    "dremio",
    "drill",
    "druid",
    "duckdb",
    "dynamodb",
    "elasticsearch",
    "exa",
    "firebird",
    "firebolt",
    "gsheets",
    "hana",
    "hive",
    "ibm_db_sa",
    "impala",
    "kusto",
    "kustokql",
    "kustosql",
    "kylin",
    "mariadb",
    "monetdb",
    "mongodb",
    "motherduck",
    "mssql",
    "mysql",
    "netezza",
    "ocient",
    "odelasticsearch",
    "oracle",
    "pinot",
    "postgres",
    "postgresql",
    "presto",
    "redshift",
    "risingwave",
    "rockset",
    "shillelagh",
    "snowflake",
    "solr",
    "sqlite",
    "starrocks",
    "superset",
    "taosws",
    "teradatasql",
    "trino",
    "vertica",
];

/// What a field may hold, where it is one.
#[must_use]
pub fn kind(name: &str) -> Option<Kind> {
    FIELDS.binary_search_by_key(&name, |(known, _)| known).ok().map(|found| FIELDS[found].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted() {
        assert!(FIELDS.is_sorted_by_key(|(name, _)| name));
        assert!(TUNNEL.is_sorted_by_key(|(name, _)| name));
        assert!(ELSEWHERE.is_sorted_by_key(|(name, _)| name));
        assert!(ENGINES.is_sorted());
        assert_eq!(kind("extra"), Some(Kind::Json));
        assert_eq!(kind("extras"), None);
    }
}
