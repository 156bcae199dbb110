//! A probe of a database's server, before Superset is asked to connect to it.
//!
//! Superset connects on every write, within a worker: one database that is down, or that accepts and never answers, would cost
//! it a worker for as long as the driver is patient, and PyMySQL is patient for ever (law 11). So where the protocol is known
//! the server must also say its first byte. The probe is made only where it can be trusted: for engines that speak a
//! protocol of their own straight to a host that the URI names. Behind an SSH tunnel, an HTTP proxy, a name service of the driver's
//! own or no host at all, Superset may well reach what we cannot, so nothing is probed. Whether a probe is wanted is for the caller.

use std::net::SocketAddr;

use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, timeout_at};

use crate::model::datasource::Datasource;
use crate::model::uri::SqlalchemyUri;
use crate::model::value::Value;
use crate::plan::connections::{Greeting, Server};

/// How long a probe may take, the name's resolution included.
const PATIENCE: Duration = Duration::from_secs(3);

/// Of a name with more addresses than this, the rest is not tried.
const ADDRESSES: usize = 8;

/// Engines that speak their own protocol over TCP, the port that each takes where the URI names none, and how it greets.
/// Those that speak HTTP are missing on purpose: their clients go through a proxy where the environment names one.
const ENGINES: [(&str, u16, Greeting); 19] = [
    ("cockroachdb", 26257, Greeting::Postgres),
    ("db2", 50000, Greeting::Unknown),
    ("doris", 9030, Greeting::First),
    ("firebird", 3050, Greeting::Unknown),
    ("greenplum", 5432, Greeting::Postgres),
    ("hana", 30015, Greeting::Unknown),
    ("hive", 10000, Greeting::Unknown),
    ("impala", 21050, Greeting::Unknown),
    ("mariadb", 3306, Greeting::First),
    ("monetdb", 50000, Greeting::First),
    ("mssql", 1433, Greeting::Unknown),
    ("mysql", 3306, Greeting::First),
    ("oracle", 1521, Greeting::Unknown),
    ("postgres", 5432, Greeting::Postgres),
    ("postgresql", 5432, Greeting::Postgres),
    ("redshift", 5439, Greeting::Postgres),
    ("risingwave", 4566, Greeting::Postgres),
    ("starrocks", 9030, Greeting::First),
    ("vertica", 5433, Greeting::Unknown),
];

/// PostgreSQL's `SSLRequest`: a client may open with it, and the server answers `S` or `N` before anything else. It logs nothing.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Why a database is not worth asking Superset for.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// Nobody took the connection in time.
    #[error("{host}:{port} did not answer within {PATIENCE:?}")]
    NoAnswer {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// The connection was taken, and then nothing came.
    #[error("{host}:{port} accepts connections and said nothing within {PATIENCE:?}")]
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

/// The server to probe for this datasource; `None` where a probe would prove nothing.
#[must_use]
pub fn server(datasource: &Datasource) -> Option<Server> {
    let has_tunnel = datasource.fields.get("ssh_tunnel").is_some_and(|tunnel| *tunnel != Value::Null);
    if has_tunnel { None } else { in_uri(&datasource.uri) }
}

fn in_uri(uri: &SqlalchemyUri) -> Option<Server> {
    let (engine, default_port, greeting) = *ENGINES.iter().find(|(engine, ..)| *engine == uri.engine())?;
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
    Some(Server { host: host.to_owned(), port: uri.port().unwrap_or(default_port), greeting })
}

/// Whether one of the server's addresses takes a connection and greets, within a few seconds.
pub async fn probe(server: &Server) -> Result<(), ProbeError> {
    let until = Instant::now() + PATIENCE;
    let (host, port) = (server.host.clone(), server.port);
    match timeout_at(until, connect(server)).await {
        Err(_) => Err(ProbeError::NoAnswer { host, port }),
        Ok(Err(error)) => Err(error),
        // That it hangs up is an answer too: then Superset will be told at once.
        Ok(Ok(stream)) => {
            timeout_at(until, greeted(stream, server.greeting)).await.map_err(|_| ProbeError::Silent { host, port })
        }
    }
}

async fn connect(server: &Server) -> Result<TcpStream, ProbeError> {
    let no_address = |source| ProbeError::NoAddress { host: server.host.clone(), source };
    let found = lookup_host((server.host.as_str(), server.port)).await.map_err(|error| no_address(Some(error)))?;
    let addresses: Vec<SocketAddr> = found.take(ADDRESSES).collect();
    // All at once: the first that answers decides, and a dead one delays nobody.
    let mut attempts: JoinSet<_> = addresses.into_iter().map(TcpStream::connect).collect();
    let mut last = None;
    while let Some(attempt) = attempts.join_next().await {
        match attempt {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = Some(error),
            Err(error) => last = Some(error.into()),
        }
    }
    let refused = |source| ProbeError::Refused { host: server.host.clone(), port: server.port, source };
    Err(last.map_or_else(|| no_address(None), refused))
}

/// Ends with the server's first byte, or the connection's end.
async fn greeted(mut stream: TcpStream, greeting: Greeting) {
    if greeting == Greeting::Postgres && stream.write_all(&SSL_REQUEST).await.is_err() {
        return;
    }
    if greeting != Greeting::Unknown {
        // Whatever comes of it, it came.
        let _ = stream.read_u8().await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn target(uri: &str) -> Option<(String, u16)> {
        let uri = SqlalchemyUri::parse(uri).unwrap().0;
        in_uri(&uri).map(|server| (server.host, server.port))
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

    async fn listener(greeting: Greeting) -> (TcpListener, Server) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, Server { host: "localhost".to_owned(), port, greeting })
    }

    #[tokio::test]
    async fn a_listener_is_found_and_a_closed_port_is_named() {
        let (listener, server) = listener(Greeting::Unknown).await;
        probe(&server).await.unwrap();
        drop(listener);
        assert_eq!(probe(&server).await.unwrap_err().to_string(), format!("failed to connect to localhost:{}", server.port));
    }

    #[tokio::test]
    async fn law_11_a_server_that_accepts_and_says_nothing_is_not_one_that_serves() {
        for greeting in [Greeting::First, Greeting::Postgres] {
            let (_held, server) = listener(greeting).await;
            let began = Instant::now();
            let error = probe(&server).await.unwrap_err();
            assert!(matches!(error, ProbeError::Silent { .. }), "{error}");
            assert!(began.elapsed() < PATIENCE + Duration::from_secs(1));
        }
    }

    #[tokio::test]
    async fn a_server_that_greets_or_hangs_up_serves() {
        let (listener, server) = listener(Greeting::Postgres).await;
        let peer = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 8];
            stream.read_exact(&mut request).await.unwrap();
            stream.write_all(b"N").await.unwrap();
            listener.accept().await.unwrap();
            request
        });
        probe(&server).await.unwrap();
        probe(&server).await.unwrap();
        assert_eq!(peer.await.unwrap(), SSL_REQUEST);
    }

    #[tokio::test]
    async fn a_name_that_nobody_knows_is_said_to_be_one() {
        let server = Server { host: "nobody.invalid".to_owned(), port: 1, greeting: Greeting::Unknown };
        let error = probe(&server).await.unwrap_err();
        assert!(matches!(error, ProbeError::NoAddress { .. } | ProbeError::NoAnswer { .. }), "{error}");
    }
}
