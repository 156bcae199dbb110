//! A TCP probe of a database's host and port, before Superset is asked to connect to it.
//!
//! Superset connects on every write, within a worker: one database that is down would cost it a worker for as long as the
//! driver is patient (law 11). The probe is made only where it can be trusted: for engines that speak a protocol of their
//! own straight to a host that the URI names. Behind an SSH tunnel, an HTTP proxy, a name service of the driver's own or
//! no host at all, Superset may well reach what we cannot, so nothing is probed. Whether a probe is wanted is for the caller.

use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::model::datasource::Datasource;
use crate::model::uri::SqlalchemyUri;
use crate::model::value::Value;

/// How long a probe may take, the name's resolution included.
const PATIENCE: Duration = Duration::from_secs(3);

/// Of a name with more addresses than this, the rest is not tried.
const ADDRESSES: usize = 8;

/// Engines that speak their own protocol over TCP, and the port that each takes where the URI names none. Those that speak
/// HTTP are missing on purpose: their clients go through a proxy where the environment names one.
const ENGINES: [(&str, u16); 19] = [
    ("cockroachdb", 26257),
    ("db2", 50000),
    ("doris", 9030),
    ("firebird", 3050),
    ("greenplum", 5432),
    ("hana", 30015),
    ("hive", 10000),
    ("impala", 21050),
    ("mariadb", 3306),
    ("monetdb", 50000),
    ("mssql", 1433),
    ("mysql", 3306),
    ("oracle", 1521),
    ("postgres", 5432),
    ("postgresql", 5432),
    ("redshift", 5439),
    ("risingwave", 4566),
    ("starrocks", 9030),
    ("vertica", 5433),
];

/// Where a database listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// Why a database is not worth asking Superset for.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// Nobody answered in time.
    #[error("{host}:{port} did not answer within {PATIENCE:?}")]
    Silent {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// The name has no address.
    #[error("failed to resolve {host}")]
    NoAddress {
        /// The host.
        host: String,
        /// What the resolver says.
        source: Option<std::io::Error>,
    },
    /// No address takes a connection.
    #[error("failed to connect to {host}:{port}")]
    Refused {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// What the last address said.
        source: std::io::Error,
    },
}

impl Target {
    /// Where to probe for this datasource; `None` where a probe would prove nothing.
    #[must_use]
    pub fn of(datasource: &Datasource) -> Option<Self> {
        let has_tunnel = datasource.fields.get("ssh_tunnel").is_some_and(|tunnel| *tunnel != Value::Null);
        if has_tunnel { None } else { Self::in_uri(&datasource.uri) }
    }

    fn in_uri(uri: &SqlalchemyUri) -> Option<Self> {
        let (engine, default_port) = *ENGINES.iter().find(|(engine, _)| *engine == uri.engine())?;
        // Several hosts, a socket's path, a pyodbc string: whatever the driver finds there comes before the URI's own host.
        if uri.query_pairs().any(|(name, _)| ["host", "hostaddr", "service", "unix_socket", "odbc_connect"].contains(&&*name)) {
            return None;
        }
        let host = uri.host().filter(|host| !host.is_empty() && !host.contains(['%', ',', '\\']))?;
        let has_database = uri.database().is_some();
        // Without port and database, the host is a name that pyodbc or Oracle look up in files of their own.
        if uri.port().is_none() && !has_database && matches!(engine, "mssql" | "oracle") {
            return None;
        }
        // hive+http and the like speak HTTP after all.
        if uri.driver().is_some_and(|driver| driver.starts_with("http")) {
            return None;
        }
        Some(Self { host: host.to_owned(), port: uri.port().unwrap_or(default_port) })
    }

    /// Whether one of the host's addresses takes a connection, within [`PATIENCE`].
    pub async fn probe(&self) -> Result<(), ProbeError> {
        let silent = |_| ProbeError::Silent { host: self.host.clone(), port: self.port };
        timeout(PATIENCE, self.connect()).await.map_err(silent)?
    }

    async fn connect(&self) -> Result<(), ProbeError> {
        let no_address = |source| ProbeError::NoAddress { host: self.host.clone(), source };
        let found = lookup_host((self.host.as_str(), self.port)).await.map_err(|error| no_address(Some(error)))?;
        let addresses: Vec<SocketAddr> = found.take(ADDRESSES).collect();
        // All at once: the first that answers decides, and a dead one delays nobody.
        let mut attempts: JoinSet<_> = addresses.into_iter().map(TcpStream::connect).collect();
        let mut last = None;
        while let Some(attempt) = attempts.join_next().await {
            match attempt {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => last = Some(error),
                Err(error) => last = Some(error.into()),
            }
        }
        let refused = |source| ProbeError::Refused { host: self.host.clone(), port: self.port, source };
        Err(last.map_or_else(|| no_address(None), refused))
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn target(uri: &str) -> Option<(String, u16)> {
        let uri = SqlalchemyUri::parse(uri).unwrap().0;
        Target::in_uri(&uri).map(|target| (target.host, target.port))
    }

    #[test]
    fn the_port_is_the_uris_or_the_engines() {
        assert_eq!(target("postgresql://u@db:6543/d"), Some(("db".to_owned(), 6543)));
        assert_eq!(target("mysql+pymysql://u@db/d"), Some(("db".to_owned(), 3306)));
        assert_eq!(target("postgresql://u@[::1]/d"), Some(("::1".to_owned(), 5432)));
        assert_eq!(target("mssql+pymssql://u@db/d"), Some(("db".to_owned(), 1433)));
    }

    #[test]
    fn what_a_probe_cannot_judge_is_not_probed() {
        for uri in [
            "duckdb:///tmp/x.db",
            "sqlite://",
            "bigquery://project",
            "snowflake://u@account/d",
            "trino://h:8080/c",
            "postgresql:///d?host=h1:5432&host=h2:5432",
            "postgresql://u@h/d?host=/var/run/postgresql",
            "postgresql://%2Fvar%2Frun/d",
            "mysql://u@localhost/d?unix_socket=/run/mysqld.sock",
            "mssql+pyodbc://u@mydsn",
            "mssql+pyodbc://?odbc_connect=x",
            "oracle://u@tnsname",
        ] {
            assert_eq!(target(uri), None, "{uri}");
        }
    }

    #[tokio::test]
    async fn a_listener_is_found_and_a_closed_port_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = Target { host: "localhost".to_owned(), port };
        target.probe().await.unwrap();
        drop(listener);
        assert_eq!(target.probe().await.unwrap_err().to_string(), format!("failed to connect to localhost:{port}"));
    }

    #[tokio::test]
    async fn a_name_that_nobody_knows_is_said_to_be_one() {
        let target = Target { host: "nobody.invalid".to_owned(), port: 1 };
        let error = target.probe().await.unwrap_err();
        assert!(matches!(error, ProbeError::NoAddress { .. } | ProbeError::Silent { .. }), "{error}");
    }
}
