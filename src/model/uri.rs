//! A SQLAlchemy URI (`engine[+driver]://user@host:port/database?query`) without a password in it.
//!
//! Read exactly as SQLAlchemy's `make_url` reads it, which no URL library does: schemes may hold `_` (`oracle+cx_oracle`),
//! a password may hold `#`, `/` and `?`, and nothing is normalized. A stranger's reading could take half a password for a
//! port and show it. The password is handed out apart and goes back in only through [`SqlalchemyUri::with_password`].

use std::borrow::Cow;
use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use thiserror::Error;

use super::secret::{REDACTED, SecretText, is_secret_name};

/// All but the unreserved characters of RFC 3986, so that no reader can take a character of a name for a separator.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A SQLAlchemy URI without its password. The user, the database and the query are kept as they were written.
#[derive(Clone, PartialEq, Eq)]
pub struct SqlalchemyUri {
    scheme: Box<str>,
    user: Option<Box<str>>,
    host: Option<Box<str>>,
    port: Option<u16>,
    database: Option<Box<str>>,
    query: Option<Box<str>>,
}

/// The parts from which a URI is put together; all in the clear, nothing encoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts<'a> {
    /// `engine` or `engine+driver`.
    pub scheme: &'a str,
    /// The user's name.
    pub user: Option<&'a str>,
    /// The server's name or address.
    pub host: Option<&'a str>,
    /// The server's port.
    pub port: Option<u16>,
    /// The database, or a file's path.
    pub database: Option<&'a str>,
    /// The query's names and values.
    pub query: Vec<(String, String)>,
}

/// Why a text is no SQLAlchemy URI. Says nothing of the text itself, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UriError {
    /// No `engine://` at its beginning.
    #[error("expected a URI that begins with an engine, like postgresql://")]
    Scheme,
    /// Something else than a number between 0 and 65535 after the host.
    #[error("expected a port number after the host; special characters in a password are to be percent-encoded")]
    Port,
    /// A second `@` after the password's: whatever stands between the two is most likely the rest of the password.
    #[error("expected a server after the first `@` that follows a password; an `@` in a password is written %40")]
    At,
    /// The address in brackets does not end.
    #[error("expected `]` at the end of the IPv6 address")]
    Address,
    /// A percent-encoded password that is not UTF-8.
    #[error("expected a password in UTF-8")]
    Password,
    /// A character that no URI has.
    #[error("control characters cannot stand in a URI")]
    Control,
}

impl SqlalchemyUri {
    /// Reads a URI; the password in it, if any, is taken out and handed back in the clear.
    pub fn parse(text: &str) -> Result<(Self, Option<SecretText>), UriError> {
        if text.contains(char::is_control) {
            return Err(UriError::Control);
        }
        let (scheme, rest) = text.split_once("://").filter(|(scheme, _)| is_scheme(scheme)).ok_or(UriError::Scheme)?;
        let (user, password, rest) = split_userinfo(rest);
        let (host, rest) = split_host(rest)?;
        let (rest, query) = split_at_char(rest, '?');
        let (port, database) = split_at_char(rest, '/');
        // SQLAlchemy would take it for a part of the host or database, and everybody would show it (law 9).
        if host.is_some_and(|host| host.contains('@')) || (password.is_some() && rest.contains('@')) {
            return Err(UriError::At);
        }
        let port = port.strip_prefix(':').unwrap_or_default();
        let port = if port.is_empty() { None } else { Some(port.parse().map_err(|_| UriError::Port)?) };
        let password = password.map(|encoded| percent_decode_str(encoded).decode_utf8()).transpose();
        let password = password.map_err(|_| UriError::Password)?.map(Cow::into_owned);
        let own = |text: &str| Box::from(text);
        let uri = Self {
            scheme: own(scheme),
            user: user.map(own),
            host: host.map(own),
            port,
            database: database.map(own),
            query: query.map(own),
        };
        Ok((uri, password.map(SecretText::new)))
    }

    /// Puts a URI together.
    pub fn from_parts(parts: &Parts<'_>) -> Result<Self, UriError> {
        if !is_scheme(parts.scheme) {
            return Err(UriError::Scheme);
        }
        let texts = [parts.user, parts.host, parts.database];
        if texts.into_iter().flatten().any(|text| text.contains(char::is_control)) {
            return Err(UriError::Control);
        }
        let own = |text: &str| Box::from(text);
        let pairs: Vec<_> = parts.query.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        Ok(Self {
            scheme: own(parts.scheme),
            user: parts.user.map(|user| encode(user).into()),
            host: parts.host.map(own),
            port: parts.port,
            database: Some(parts.database.map(own).unwrap_or_default()),
            query: (!pairs.is_empty()).then(|| pairs.join("&").into()),
        })
    }

    /// The URI without its password. What is in the query stays, so this is for sending, not for showing.
    #[must_use]
    pub fn text(&self) -> String {
        self.write(None, self.query.as_deref())
    }

    /// The URI with this password in it.
    #[must_use]
    pub fn with_password(&self, password: &SecretText) -> SecretText {
        SecretText::new(self.write(Some(&encode(password.expose())), self.query.as_deref()))
    }

    /// The engine alone: `postgresql` of `postgresql+psycopg2`.
    #[must_use]
    pub fn engine(&self) -> &str {
        self.scheme.split_once('+').map_or(&self.scheme, |(engine, _)| engine)
    }

    /// The driver, where one is named: `psycopg2` of `postgresql+psycopg2`.
    #[must_use]
    pub fn driver(&self) -> Option<&str> {
        self.scheme.split_once('+').map(|(_, driver)| driver)
    }

    /// The user's name in the clear.
    #[must_use]
    pub fn user(&self) -> Option<Cow<'_, str>> {
        self.user.as_deref().map(|user| percent_decode_str(user).decode_utf8_lossy())
    }

    /// The server's name or address, an IPv6 address without its brackets; `None` for an engine without a server.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The server's port, where the URI names one.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The database, or a file's path.
    #[must_use]
    pub fn database(&self) -> Option<&str> {
        self.database.as_deref().filter(|name| !name.is_empty())
    }

    /// The query as it was written.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// The query's names and values, decoded.
    pub fn query_pairs(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        url::form_urlencoded::parse(self.query.as_deref().unwrap_or_default().as_bytes())
    }

    /// The same URI with another engine or driver.
    #[must_use]
    pub fn with_scheme(mut self, scheme: &str) -> Self {
        self.scheme = scheme.into();
        self
    }

    fn write(&self, password: Option<&str>, query: Option<&str>) -> String {
        let mut text = format!("{}://", self.scheme);
        if self.user.is_some() || password.is_some() {
            text.push_str(self.user.as_deref().unwrap_or_default());
            if let Some(password) = password {
                text.push(':');
                text.push_str(password);
            }
            text.push('@');
        }
        if let Some(host) = &self.host {
            let brackets = if host.contains(':') { ["[", "]"] } else { ["", ""] };
            text.extend([brackets[0], host, brackets[1]]);
        }
        if let Some(port) = self.port {
            text.extend([":", &port.to_string()]);
        }
        if let Some(database) = &self.database {
            text.push('/');
            text.push_str(database);
        }
        if let Some(query) = query {
            text.push('?');
            text.push_str(query);
        }
        text
    }
}

/// As it may be shown: values in the query whose names are those of secrets are left out.
impl fmt::Display for SqlalchemyUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let query = self.query.as_deref().map(shown_query);
        f.write_str(&self.write(None, query.as_deref()))
    }
}

impl fmt::Debug for SqlalchemyUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqlalchemyUri({self})")
    }
}

/// A query without the values of those names that name a secret.
#[must_use]
pub fn shown_query(query: &str) -> String {
    let shown = query.split('&').map(|pair| match pair.split_once('=') {
        // pyodbc's whole connection string, password included, can stand in one value.
        Some((name, _)) if is_secret_name(name) || name == "odbc_connect" => Cow::Owned(format!("{name}={REDACTED}")),
        _ => Cow::Borrowed(pair),
    });
    shown.collect::<Vec<_>>().join("&")
}

fn is_scheme(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '+')
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// `(user, password, rest)`: the user ends at the first `:` or `/`, the password at the first `@` after it.
fn split_userinfo(text: &str) -> (Option<&str>, Option<&str>, &str) {
    let end = text.find([':', '/']).unwrap_or(text.len());
    let (name, after) = text.split_at(end);
    if let Some((password, rest)) = after.strip_prefix(':').and_then(|after| after.split_once('@')) {
        return (Some(name), Some(password), rest);
    }
    match name.rfind('@') {
        Some(at) => (Some(&text[..at]), None, &text[at + 1..]),
        None => (None, None, text),
    }
}

fn split_host(text: &str) -> Result<(Option<&str>, &str), UriError> {
    if let Some(inner) = text.strip_prefix('[') {
        let (address, rest) = inner.split_once(']').ok_or(UriError::Address)?;
        return if rest.is_empty() || rest.starts_with([':', '/', '?']) {
            Ok((Some(address), rest))
        } else {
            Err(UriError::Address)
        };
    }
    let (host, rest) = text.split_at(text.find([':', '/', '?']).unwrap_or(text.len()));
    Ok(((!host.is_empty()).then_some(host), rest))
}

fn split_at_char(text: &str, separator: char) -> (&str, Option<&str>) {
    text.split_once(separator).map_or((text, None), |(before, after)| (before, Some(after)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (SqlalchemyUri, Option<String>) {
        let (uri, password) = SqlalchemyUri::parse(text).unwrap();
        (uri, password.map(|secret| secret.expose().to_owned()))
    }

    #[test]
    fn law_9_a_password_never_stays_in_the_uri() {
        for (text, shown, password) in [
            ("postgresql+psycopg2://bob:s%40crt@db:5432/sales", "postgresql+psycopg2://bob@db:5432/sales", Some("s@crt")),
            ("postgresql://u:12#34/5?6@db/sales", "postgresql://u@db/sales", Some("12#34/5?6")),
            ("redis://:pw@cache:6379/0", "redis://@cache:6379/0", Some("pw")),
            ("oracle+cx_oracle://scott:tiger@[::1]:1521/x", "oracle+cx_oracle://scott@[::1]:1521/x", Some("tiger")),
            ("snowflake://me@corp.com@acc/db", "snowflake://me@corp.com@acc/db", None),
            ("duckdb:////var/lib/a.duckdb", "duckdb:////var/lib/a.duckdb", None),
            ("sqlite://", "sqlite://", None),
            ("bigquery://project", "bigquery://project", None),
            ("mssql+pyodbc:///?odbc_connect=x&password=p", "mssql+pyodbc:///?odbc_connect=***&password=***", None),
            ("trino://u@h:8080/hive/default?a=b@c", "trino://u@h@c", Some("8080/hive/default?a=b")),
        ] {
            // The last one is how SQLAlchemy reads it too.
            let (uri, found) = parse(text);
            assert_eq!((uri.to_string().as_str(), found.as_deref()), (shown, password), "{text}");
            assert!(!format!("{uri:?}").contains("password=p"), "{text}");
        }
    }

    #[test]
    fn its_parts_are_as_they_were_written() {
        let (uri, _) = parse("mysql+pymysql://ro%40ot:x@127.0.0.1:3306/shop?charset=utf8mb4");
        assert_eq!((uri.engine(), uri.driver(), uri.port()), ("mysql", Some("pymysql"), Some(3306)));
        assert_eq!((uri.host(), uri.database(), uri.query()), (Some("127.0.0.1"), Some("shop"), Some("charset=utf8mb4")));
        assert_eq!(uri.user().as_deref(), Some("ro@ot"));
        let sent = uri.with_password(&SecretText::new("p@ß/"));
        assert_eq!(sent.expose(), "mysql+pymysql://ro%40ot:p%40%C3%9F%2F@127.0.0.1:3306/shop?charset=utf8mb4");
        assert_eq!(parse(sent.expose()), (uri, Some("p@ß/".to_owned())));
    }

    #[test]
    fn parts_make_a_uri() {
        let parts =
            Parts { scheme: "mysql+pymysql", user: Some("root"), host: Some("127.0.0.1"), port: Some(3306), ..Parts::default() };
        assert_eq!(SqlalchemyUri::from_parts(&parts).unwrap().text(), "mysql+pymysql://root@127.0.0.1:3306/");
        let file = Parts { scheme: "duckdb", database: Some("/tmp/a.db"), ..Parts::default() };
        assert_eq!(SqlalchemyUri::from_parts(&file).unwrap().text(), "duckdb:////tmp/a.db");
    }

    #[test]
    fn what_is_no_uri_is_refused_without_a_word_of_it() {
        for (text, error) in [
            ("hunter2", UriError::Scheme),
            ("://x", UriError::Scheme),
            ("postgresql://h:hunter2/db", UriError::Port),
            ("postgresql://h:99999/db", UriError::Port),
            ("postgresql://u:p@hunter2@h/db", UriError::At),
            ("postgresql://u:p@ss/hunter2@h:5432/db", UriError::At),
            ("postgresql://u:p@ss:hunter2@h:5432/db", UriError::At),
            ("postgresql://[::1/db", UriError::Address),
            ("postgresql://u:%ff@h/db", UriError::Password),
            ("postgresql://u\n@h", UriError::Control),
        ] {
            let found = SqlalchemyUri::parse(text).unwrap_err();
            assert_eq!(found, error, "{text}");
            assert!(!found.to_string().contains("hunter2"));
        }
    }
}
