//! Takes secrets out of what Superset says before anybody sees it (law 9).
//!
//! In: the secrets that a request held, and a message. Out: the message with each of them, in every spelling in which a
//! driver echoes it, as `***`; likewise what stands where a URI or a connection string has its password, whosesoever it is.
//! Where a secret is so short that taking it out would garble the text, the whole message is withheld.

use std::collections::BTreeSet;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::model::secret::{REDACTED, SecretText};

/// A secret shorter than this is part of ordinary words.
const SHORT: usize = 4;

/// How much of a message is kept, in characters.
const KEPT: usize = 500;

/// What to look for.
#[derive(Clone, Debug, Default)]
pub struct Scrub {
    /// Every spelling of every secret, the longest first, so that none is left half.
    spellings: Vec<SecretText>,
}

impl Scrub {
    /// Looks for these, and for whatever stands in a password's place.
    #[must_use]
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a SecretText>) -> Self {
        let mut spellings: Vec<_> = secrets.into_iter().flat_map(|secret| spellings(secret.expose())).collect();
        spellings.sort_by_key(|text| std::cmp::Reverse(text.len()));
        spellings.dedup();
        Self { spellings: spellings.into_iter().map(SecretText::new).collect() }
    }

    /// Looks only for what stands in a password's place.
    #[must_use]
    pub fn patterns() -> &'static Self {
        static PATTERNS: Scrub = Scrub { spellings: Vec::new() };
        &PATTERNS
    }

    /// The message without secrets, in one line; of a long one, the beginning.
    #[must_use]
    pub fn clean(&self, message: &str) -> String {
        let mut text = self.whole(message);
        if let Some((cut, _)) = text.char_indices().nth(KEPT) {
            text.truncate(cut);
            text.push('…');
        }
        text
    }

    fn whole(&self, message: &str) -> String {
        let mut text = message.to_owned();
        for secret in self.spellings.iter().map(SecretText::expose) {
            let Some(clean) = without(&text, secret) else { continue };
            if secret.len() < SHORT {
                return "a message that was withheld, because it may contain a secret".to_owned();
            }
            text = clean;
        }
        let text = without_assignments(&without_userinfo(&text));
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// The text without `secret`, or `None` where it does not have it. Whatever the case: DuckDB repeats what it was given in capitals.
fn without(text: &str, secret: &str) -> Option<String> {
    let (lower, secret) = (text.to_ascii_lowercase(), secret.to_ascii_lowercase());
    let mut rest = 0;
    let mut clean = String::new();
    for (at, _) in lower.match_indices(&secret) {
        clean.push_str(&text[rest..at]);
        clean.push_str(REDACTED);
        rest = at + secret.len();
    }
    (rest > 0).then(|| clean + &text[rest..])
}

fn spellings(secret: &str) -> BTreeSet<String> {
    let json = serde_json::Value::from(secret).to_string();
    let mut all = BTreeSet::from([
        secret.to_owned(),
        secret.trim().to_owned(),
        utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
        url::form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
        percent_decode_str(secret).decode_utf8_lossy().into_owned(),
        json.trim_matches('"').to_owned(),
        // Python's repr, and what SQLAlchemy spells in a URI.
        secret.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n"),
        secret.replace(':', "%3A").replace('@', "%40").replace('/', "%2F"),
    ]);
    // A key of several lines is echoed line by line.
    all.extend(secret.lines().map(str::trim).filter(|line| line.len() >= 16).map(ToOwned::to_owned));
    all.remove("");
    all
}

/// `scheme://user:password@host` with the password redacted; up to the last `@` of the word, since an unescaped password
/// may contain one.
fn without_userinfo(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://").map(|at| at + 3) {
        let (before, after) = rest.split_at(start);
        clean.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | '`')).unwrap_or(after.len());
        let (word, following) = after.split_at(end);
        match word.rsplit_once('@') {
            Some((credentials, place)) => {
                let user = credentials.split_once(':').map_or(credentials, |(user, _)| user);
                clean.push_str(user);
                if user.len() < credentials.len() {
                    clean.push(':');
                    clean.push_str(REDACTED);
                }
                clean.push('@');
                clean.push_str(place);
            }
            None => clean.push_str(word),
        }
        rest = following;
    }
    clean + rest
}

/// `password=…`, `PWD=…;`, `'token': '…'` with the value redacted.
fn without_assignments(text: &str) -> String {
    const NAMES: [&str; 6] = ["password", "passwd", "pwd", "secret", "token", "api_key"];
    let lower = text.to_ascii_lowercase();
    let mut clean = String::with_capacity(text.len());
    let mut at = 0;
    while let Some((start, name)) = NAMES.iter().filter_map(|name| lower[at..].find(name).map(|found| (at + found, name))).min() {
        let after = start + name.len();
        let (sign, value) = assignment(&text[after..]);
        clean.push_str(&text[at..after + sign]);
        if value > 0 {
            clean.push_str(REDACTED);
        }
        at = after + sign + value;
    }
    clean + &text[at..]
}

/// The lengths of the sign of an assignment at the start of `text` and of the value after it; both 0 where there is none.
fn assignment(text: &str) -> (usize, usize) {
    let unquoted = text.trim_start_matches(['"', '\'']);
    let spaced = unquoted.trim_start();
    let quoted_name = unquoted.len() < text.len();
    let Some(after) = spaced.strip_prefix('=').or_else(|| if quoted_name { spaced.strip_prefix(':') } else { None }) else {
        return (0, 0);
    };
    let value = after.trim_start_matches(' ');
    let sign = text.len() - value.len();
    let length = match value.chars().next() {
        Some(quote @ ('"' | '\'' | '{')) => {
            let close = if quote == '{' { '}' } else { quote };
            value[1..].find(close).map_or(value.len(), |end| end + 2)
        }
        _ => value
            .find(|c: char| c.is_whitespace() || matches!(c, '&' | ';' | ',' | '"' | '\'' | ')' | '}'))
            .unwrap_or(value.len()),
    };
    (sign, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(secrets: &[&str], message: &str) -> String {
        let secrets: Vec<_> = secrets.iter().map(|secret| SecretText::new(*secret)).collect();
        Scrub::new(&secrets).clean(message)
    }

    #[test]
    fn law_9_a_secret_is_taken_out_in_every_spelling() {
        let secret = "ca/na@ry:'x\\y";
        for echo in [
            "ca/na@ry:'x\\y",
            "ca%2Fna%40ry%3A%27x%5Cy",
            "ca%2Fna%40ry%3A'x\\y",
            "ca/na@ry:\\'x\\\\y",
            "ca/na@ry:'x\\\\y",
            "CA/NA@RY:'X\\Y",
            "ca%2Fna%40ry%3A%27x%5Cy",
        ] {
            assert_eq!(clean(&[secret], &format!("no login with {echo} here")), "no login with *** here", "{echo}");
        }
    }

    #[test]
    fn law_9_the_password_of_a_uri_is_taken_out_even_if_nobody_knows_it() {
        assert_eq!(
            clean(&[], "cannot parse \"postgresql://bob:un@known/x@db:5432/d?a=b\" (postgresql://db/x)"),
            "cannot parse \"postgresql://bob:***@db:5432/d?a=b\" (postgresql://db/x)"
        );
        assert_eq!(clean(&[], "databricks://token@host"), "databricks://token@host");
    }

    #[test]
    fn law_9_what_is_assigned_to_a_password_is_taken_out() {
        for (message, expected) in [
            ("bad DSN: Server=x;PWD=canary;Port=1", "bad DSN: Server=x;PWD=***;Port=1"),
            ("{'password': 'canary x', 'a': 1}", "{'password': ***, 'a': 1}"),
            ("?motherduck_token=canary&x=y", "?motherduck_token=***&x=y"),
            ("PWD={can;ary};x", "PWD=***;x"),
            ("password authentication failed for user \"bob\"", "password authentication failed for user \"bob\""),
            ("fe_sendauth: no password supplied", "fe_sendauth: no password supplied"),
        ] {
            assert_eq!(clean(&[], message), expected);
        }
    }

    #[test]
    fn law_9_a_key_is_taken_out_line_by_line_and_a_short_secret_with_the_whole_message() {
        let key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0\nabcdefghijklmnopqrst\n-----END KEY-----";
        assert_eq!(clean(&[key], "bad line: abcdefghijklmnopqrst."), "bad line: ***.");
        assert!(!clean(&["a1"], "failed for user a1").contains("a1"));
        assert_eq!(clean(&["zz"], "failed"), "failed");
    }

    #[test]
    fn a_message_is_one_line_and_not_endless() {
        assert_eq!(clean(&[], "one\n  two\t\tthree\n"), "one two three");
        let long = clean(&[], &"ä".repeat(2_000));
        assert_eq!(long.chars().count(), 501);
    }
}
