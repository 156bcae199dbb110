//! Whether two SQLAlchemy URIs mean the same, apart from the password.
//!
//! Superset hands a URI back as SQLAlchemy spells it: the password masked, the user's name with only `:`, `@` and `/` escaped,
//! the query sorted and encoded as a form. So the parts are compared, each decoded. Pure.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Whether both say the same but for the password; that both have one or neither has still counts.
#[must_use]
pub fn same_uri(wanted: &str, stored: &str) -> bool {
    wanted == stored || matches!((Parts::of(wanted), Parts::of(stored)), (Some(wanted), Some(stored)) if wanted.same(&stored))
}

/// A URI taken apart as SQLAlchemy does it.
struct Parts<'a> {
    scheme: &'a str,
    user: Option<&'a str>,
    has_password: bool,
    /// Host and port, or several of both.
    place: &'a str,
    database: &'a str,
    query: Vec<(String, String)>,
}

impl<'a> Parts<'a> {
    fn of(uri: &'a str) -> Option<Self> {
        let (scheme, rest) = uri.trim().split_once("://")?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (credentials, place) = authority.rsplit_once('@').map_or((None, authority), |(left, right)| (Some(left), right));
        let (user, password) = match credentials {
            Some(text) => text.split_once(':').map_or((Some(text), None), |(user, password)| (Some(user), Some(password))),
            None => (None, None),
        };
        let mut query: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        query.sort_unstable();
        Some(Self {
            scheme,
            user: user.filter(|user| !user.is_empty()),
            has_password: password.is_some_and(|password| !password.is_empty()),
            place,
            database,
            query,
        })
    }

    fn same(&self, stored: &Self) -> bool {
        self.scheme == stored.scheme
            && same_text(self.user.unwrap_or(""), stored.user.unwrap_or(""))
            && self.has_password == stored.has_password
            && self.place.trim_end_matches(':').eq_ignore_ascii_case(stored.place.trim_end_matches(':'))
            && same_text(self.database, stored.database)
            && self.query == stored.query
    }
}

/// Equal once decoded; or as it stands, where the stored one is text that was decoded already and has a `%` of its own.
fn same_text(wanted: &str, stored: &str) -> bool {
    wanted == stored || decoded(wanted) == stored || decoded(wanted) == decoded(stored)
}

fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_is_the_same_as_sqlalchemy_spells_it() {
        for (wanted, stored) in [
            ("postgresql://u:p%40w@h:5432/d", "postgresql://u:XXXXXXXXXX@h:5432/d"),
            ("postgresql://a%20b:p@h/d", "postgresql://a b:XXXXXXXXXX@h/d"),
            ("postgresql://a%40b:p@h/d", "postgresql://a%40b:XXXXXXXXXX@h/d"),
            ("postgresql://50%25:p@h/d", "postgresql://50%:XXXXXXXXXX@h/d"),
            ("mysql://u@[::1]:3306/d", "mysql://u@[::1]:3306/d"),
            ("trino://u@h:8080/c/s?b=%2Fx&a=1", "trino://u@h:8080/c/s?a=1&b=/x"),
            ("duckdb:////tmp/x.db", "duckdb:////tmp/x.db"),
            ("bigquery://project", "bigquery://project"),
            ("sqlite://", "sqlite://"),
        ] {
            assert!(same_uri(wanted, stored), "{wanted} {stored}");
        }
    }

    #[test]
    fn a_uri_is_another_if_any_part_is() {
        let uri = "postgresql://u:p@h:5432/d?a=1";
        for other in [
            "mysql://u:XXXXXXXXXX@h:5432/d?a=1",
            "postgresql://v:XXXXXXXXXX@h:5432/d?a=1",
            "postgresql://u@h:5432/d?a=1",
            "postgresql://u:XXXXXXXXXX@i:5432/d?a=1",
            "postgresql://u:XXXXXXXXXX@h:5433/d?a=1",
            "postgresql://u:XXXXXXXXXX@h:5432/D?a=1",
            "postgresql://u:XXXXXXXXXX@h:5432/d?a=2",
            "postgresql://u:XXXXXXXXXX@h:5432/d",
            "no uri",
        ] {
            assert!(!same_uri(uri, other), "{other}");
        }
    }
}
