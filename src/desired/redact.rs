//! Redaction: values as they may be shown, with every secret replaced by `***` (law 9).
//!
//! A secret is what `$secret` holds, whatever stands under a key that is named like one, and the password in a URI anywhere in
//! a text. `$env` and `$file` name where a secret is and stay as they are.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::config::Config;
use crate::model::secret::{REDACTED, SecretText, is_secret_name};
use crate::model::uri::shown_query;
use crate::model::value::{Directive, Key, Mapping, Object, Value};

/// A config as it may be shown.
#[must_use]
pub fn config(config: &Config) -> Config {
    config.settings.iter().map(|(name, setting)| (name.clone(), value(name, setting.value()))).collect()
}

/// A value as it may be shown; `name` is the key under which it stands.
#[must_use]
pub fn value(name: &str, value: &Value) -> Value {
    if is_secret_name(name) { hidden(value) } else { shown(value) }
}

/// The value at a path as it may be shown: a secret name anywhere on the way hides it.
#[must_use]
pub fn at<'p>(mut path: impl Iterator<Item = &'p Key>, value: &Value) -> Value {
    let is_secret = path.any(|key| matches!(key, Key::Str(name) if is_secret_name(name)));
    if is_secret { hidden(value) } else { shown(value) }
}

/// What stands under a secret's name: nothing of it but where it comes from.
#[must_use]
pub fn hidden(value: &Value) -> Value {
    match value {
        Value::Null | Value::Bool(_) | Value::Directive(Directive::Env(_) | Directive::File(_)) => value.clone(),
        Value::Directive(Directive::Secret(_)) => secret(),
        // The mapping's own keys stay, as `JWT_SECRETS: {a: ..., b: ...}` is looked at for its keys.
        Value::Map(mapping) => Value::Map(mapping.iter().map(|(key, value)| (key.clone(), hidden(value))).collect()),
        _ => Value::Str(REDACTED.to_owned()),
    }
}

fn shown(plain: &Value) -> Value {
    match plain {
        Value::Str(plain) => Value::Str(text(plain).into_owned()),
        Value::List(items) => Value::List(list(items)),
        Value::Map(inner) => Value::Map(mapping(inner)),
        Value::Directive(directive) => Value::Directive(match directive {
            Directive::Secret(_) => return secret(),
            Directive::Tuple(items) => Directive::Tuple(list(items)),
            Directive::Set(items) => Directive::Set(list(items)),
            Directive::Class(attributes) => Directive::Class(named(attributes)),
            Directive::Object(object) => {
                let Object { class, args, kwargs } = &**object;
                Directive::Object(Box::new(Object { class: class.clone(), args: list(args), kwargs: named(kwargs) }))
            }
            Directive::Merge(inner) => Directive::Merge(mapping(inner)),
            Directive::Python(plain) => Directive::Python(text(plain).into_owned()),
            other => other.clone(),
        }),
        other => other.clone(),
    }
}

fn secret() -> Value {
    Value::Directive(Directive::Secret(SecretText::new(REDACTED)))
}

fn list(items: &[Value]) -> Vec<Value> {
    items.iter().map(shown).collect()
}

fn mapping(mapping: &Mapping) -> Mapping {
    let entries = mapping.iter().map(|(key, inner)| match key {
        Key::Str(name) => (key.clone(), value(name, inner)),
        _ => (key.clone(), shown(inner)),
    });
    entries.collect()
}

fn named(values: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    values.iter().map(|(name, inner)| (name.clone(), value(name, inner))).collect()
}

/// A text without the passwords of the URIs in it.
#[must_use]
pub fn text(text: &str) -> Cow<'_, str> {
    if !text.contains("://") {
        return Cow::Borrowed(text);
    }
    let is_uri = scheme_start(text, text.find("://").unwrap_or_default()) == 0;
    if is_uri {
        // The whole text is one URI, in whose password a blank is as good as any.
        return Cow::Owned(uri(text));
    }
    let mut out = String::with_capacity(text.len());
    for word in text.split_inclusive(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>')) {
        match word.find("://") {
            Some(at) => {
                let start = scheme_start(word, at);
                out.push_str(&word[..start]);
                out.push_str(&uri(&word[start..]));
            }
            None => out.push_str(word),
        }
    }
    Cow::Owned(out)
}

/// Every secret of a config, so that what others say can be searched for it.
#[must_use]
pub fn secrets(config: &Config) -> Vec<SecretText> {
    let mut found = Vec::new();
    for (name, setting) in &config.settings {
        gather(is_secret_name(name), setting.value(), &mut found);
    }
    found
}

fn gather(is_secret: bool, value: &Value, found: &mut Vec<SecretText>) {
    let named = |values: &BTreeMap<String, Value>, found: &mut Vec<SecretText>| {
        for (name, inner) in values {
            gather(is_secret || is_secret_name(name), inner, found);
        }
    };
    match value {
        Value::Str(text) if is_secret => found.push(SecretText::new(text.as_str())),
        Value::Str(text) => found.extend(password(text).map(SecretText::new)),
        Value::List(items) | Value::Directive(Directive::Tuple(items) | Directive::Set(items)) => {
            for inner in items {
                gather(is_secret, inner, found);
            }
        }
        Value::Map(mapping) | Value::Directive(Directive::Merge(mapping)) => {
            for (key, inner) in mapping {
                let is_named = matches!(key, Key::Str(name) if is_secret_name(name));
                gather(is_secret || is_named, inner, found);
            }
        }
        Value::Directive(Directive::Secret(secret)) => found.push(secret.clone()),
        Value::Directive(Directive::Class(attributes)) => named(attributes, found),
        Value::Directive(Directive::Object(object)) => {
            for inner in &object.args {
                gather(is_secret, inner, found);
            }
            named(&object.kwargs, found);
        }
        _ => {}
    }
}

/// The password of a text that is a URI.
#[must_use]
pub fn password(text: &str) -> Option<&str> {
    let (credentials, _) = text.split_once("://")?.1.rsplit_once('@')?;
    credentials.split_once(':').map(|(_, password)| password)
}

/// Where the scheme begins that ends at `end`.
fn scheme_start(text: &str, end: usize) -> usize {
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_');
    text[..end].rfind(|c| !is_scheme(c)).map_or(0, |at| at + text[at..].chars().next().map_or(1, char::len_utf8))
}

/// A URI without its password. It errs on the side of hiding: a password may hold any character that a URI gives a meaning.
fn uri(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let rest = match rest.rfind('@') {
        Some(at) => match rest[..at].find(':') {
            Some(colon) => format!("{}:{REDACTED}{}", &rest[..colon], &rest[at..]),
            // A key without a name before it, as in a Sentry DSN.
            None if scheme.starts_with("http") => format!("{REDACTED}{}", &rest[at..]),
            None => rest.to_owned(),
        },
        None => rest.to_owned(),
    };
    match rest.split_once('?') {
        Some((before, query)) => format!("{scheme}://{before}?{}", shown_query(query)),
        None => format!("{scheme}://{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::written;
    use crate::model::value::DottedName;

    #[test]
    fn law_9_no_password_of_a_uri_is_left_in_a_text() {
        for (plain, shown) in [
            ("postgresql://bob:canary@db/sales", "postgresql://bob:***@db/sales"),
            ("postgresql://bob:can/ar?y#@db/sales", "postgresql://bob:***@db/sales"),
            ("postgresql://bob:can ary@db/sales", "postgresql://bob:***@db/sales"),
            ("redis://:canary@cache:6379/0", "redis://:***@cache:6379/0"),
            ("https://canary@sentry.io/1", "https://***@sentry.io/1"),
            ("trino://bob@h/hive", "trino://bob@h/hive"),
            ("http://h/x?a=1&access_token=canary&b=2", "http://h/x?a=1&access_token=***&b=2"),
            ("see amqp://u:canary@h/ or 'http://u:canary@h'", "see amqp://u:***@h/ or 'http://u:***@h'"),
            ("(ü=mysql+pymysql://u:canary@h)", "(ü=mysql+pymysql://u:***@h)"),
            ("://u:canary@h", "://u:***@h"),
            ("no uri: a@b", "no uri: a@b"),
            ("http://host:80/path", "http://host:80/path"),
        ] {
            assert_eq!(text(plain), shown, "{plain}");
        }
    }

    #[test]
    fn law_9_a_secret_is_hidden_wherever_it_stands() {
        let canary = || Value::from("canary");
        let secret = || Value::Directive(Directive::Secret(SecretText::new("canary")));
        let uri = || Value::from("redis://:canary@h");
        let name = || DottedName::parse("a.B").unwrap();
        let keyed = |key: &str, value: Value| Mapping::from([(Key::from(key), value)]);
        let named = |key: &str, value: Value| BTreeMap::from([(key.to_owned(), value)]);
        for (key, plain) in [
            ("SECRET_KEY", canary()),
            ("SECRET_KEY", Value::List(vec![canary()])),
            ("SECRET_KEY", Value::Map(keyed("a", canary()))),
            ("SECRET_KEY", Value::Directive(Directive::Python("'canary'".into()))),
            ("SECRET_KEY", Value::Directive(Directive::Tuple(vec![canary()]))),
            ("A", secret()),
            ("A", Value::List(vec![secret(), uri()])),
            ("A", Value::Map(keyed("smtp_password", canary()))),
            ("A", Value::Map(Mapping::from([(Key::Int(1), uri())]))),
            ("A", Value::Directive(Directive::Tuple(vec![uri()]))),
            ("A", Value::Directive(Directive::Set(vec![secret()]))),
            ("A", Value::Directive(Directive::Class(named("broker_password", canary())))),
            ("A", Value::Directive(Directive::Class(named("broker_url", uri())))),
            (
                "A",
                Value::Directive(Directive::Object(Box::new(Object {
                    class: name(),
                    args: vec![uri()],
                    kwargs: named("password", canary()),
                }))),
            ),
            ("A", Value::Directive(Directive::Merge(keyed("a", Value::List(vec![Value::Map(keyed("api_token", canary()))]))))),
            ("A", Value::Directive(Directive::Python("x('http://u:canary@h')".into()))),
        ] {
            let shown = value(key, &plain);
            assert!(!written::json(&shown).to_string().contains("canary"), "{key} {plain:?}: {shown:?}");
            assert!(!written::yaml(&shown).contains("canary"), "{key} {plain:?}");
        }
    }

    #[test]
    fn law_9_every_secret_of_a_config_is_known() {
        let text = |text: &str| Value::Str(text.to_owned());
        let entry = |name: &str, value| (Key::Str(name.to_owned()), value);
        let config: Config = [
            ("A", Value::Directive(Directive::Secret(SecretText::new("one")))),
            ("SECRET_KEY", text("two")),
            ("URI", text("redis://:three@cache")),
            (
                "B",
                Value::List(vec![Value::Map(
                    [entry("password", text("four")), entry("host", text("five"))].into_iter().collect(),
                )]),
            ),
        ]
        .into_iter()
        .collect();
        let mut found: Vec<_> = secrets(&config).iter().map(|secret| secret.expose().to_owned()).collect();
        found.sort();
        assert_eq!(found, ["four", "one", "three", "two"]);
    }

    #[test]
    fn where_a_secret_comes_from_is_no_secret() {
        let env = Value::Directive(Directive::Env("SUPERSET_KEY".into()));
        let file = Value::Directive(Directive::File("/run/secrets/key".into()));
        assert_eq!((value("SECRET_KEY", &env), value("SECRET_KEY", &file)), (env, file));
        assert_eq!(value("ROW_LIMIT", &Value::Int(5)), Value::Int(5));
        let path = [Key::from("A"), Key::from("password"), Key::from("x")];
        assert_eq!(at(path.iter(), &"canary".into()), Value::Str("***".into()));
    }
}
