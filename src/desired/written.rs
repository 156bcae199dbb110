//! Values as people write them: the JSON and YAML of a value, its directives as one-key mappings again.
//!
//! Read back as a fragment, the YAML is the same value. Nothing is redacted here: see [`super::redact`] for that.

use std::fmt::Write;

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::{Map, Value as Json, json};

use super::redact;
use crate::model::value::{Directive, Key, Object, Value};

/// A value as JSON. What JSON has no words for (numbers beyond 64 bits, infinities, keys that are no text) becomes text.
#[must_use]
pub fn json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(truth) => Json::Bool(*truth),
        Value::Int(number) => match (i64::try_from(*number), u64::try_from(*number)) {
            (Ok(number), _) => number.into(),
            (_, Ok(number)) => number.into(),
            _ => number.to_string().into(),
        },
        Value::Float(number) => serde_json::Number::from_f64(*number).map_or_else(|| non_finite(*number).into(), Json::Number),
        Value::Str(text) => text.as_str().into(),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(mapping) => Json::Object(mapping.iter().map(|(key, value)| (key.to_string(), json(value))).collect()),
        Value::Directive(directive) => {
            let (name, argument) = written(directive);
            Json::Object(Map::from_iter([(name.to_owned(), json(&argument))]))
        }
    }
}

/// A value as YAML, with a line end.
#[must_use]
pub fn yaml(value: &Value) -> String {
    let options = serde_yaml::ser_options! { yaml_12: false, prefer_block_scalars: false };
    serde_yaml::to_string_with_options(&Plain(value), options).unwrap_or_else(|_| format!("{}\n", json(value)))
}

fn non_finite(number: f64) -> &'static str {
    if number.is_nan() {
        ".nan"
    } else if number > 0.0 {
        ".inf"
    } else {
        "-.inf"
    }
}

/// A directive's name, and what it is given.
fn written(directive: &Directive) -> (&'static str, Value) {
    let text = |text: &str| Value::Str(text.to_owned());
    let named = |values: &std::collections::BTreeMap<String, Value>| {
        Value::Map(values.iter().map(|(name, value)| (Key::from(name.as_str()), value.clone())).collect())
    };
    match directive {
        Directive::Env(name) => ("$env", text(name)),
        Directive::File(path) => ("$file", text(path)),
        Directive::Timedelta(microseconds) => ("$timedelta", Value::Str(duration(*microseconds))),
        Directive::Tuple(items) => ("$tuple", Value::List(items.clone())),
        Directive::Set(items) => ("$set", Value::List(items.clone())),
        Directive::Crontab(fields) => ("$crontab", Value::Str(fields.join(" "))),
        Directive::Class(attributes) => ("$class", named(attributes)),
        Directive::Ref(name) => ("$ref", text(name.as_str())),
        Directive::Merge(mapping) => ("$merge", Value::Map(mapping.clone())),
        Directive::Secret(secret) => ("$secret", text(secret.expose())),
        Directive::Python(code) => ("$python", text(code)),
        Directive::Object(object) => {
            let Object { class, args, kwargs } = &**object;
            let mut parts = vec![(Key::from("class"), text(class.as_str()))];
            if !args.is_empty() {
                parts.push((Key::from("args"), Value::List(args.clone())));
            }
            if !kwargs.is_empty() {
                parts.push((Key::from("kwargs"), named(kwargs)));
            }
            ("$object", Value::Map(parts.into_iter().collect()))
        }
    }
}

/// A duration as `$timedelta` reads it.
fn duration(microseconds: i64) -> String {
    const UNITS: [(&str, u64); 6] =
        [("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000), ("us", 1)];
    if microseconds == 0 {
        return "0s".to_owned();
    }
    let mut out = if microseconds < 0 { "-".to_owned() } else { String::new() };
    let mut rest = microseconds.unsigned_abs();
    for (unit, size) in UNITS {
        if rest >= size {
            // Writing to a String cannot fail.
            let _ = write!(out, "{}{unit}", rest / size);
            rest %= size;
        }
    }
    out
}

struct Plain<'v>(&'v Value);
struct PlainKey<'k>(&'k Key);

impl Serialize for Plain<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(truth) => serializer.serialize_bool(*truth),
            Value::Int(number) => serializer.serialize_i128(*number),
            Value::Float(number) => serializer.serialize_f64(*number),
            Value::Str(text) => serializer.serialize_str(text),
            Value::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| list.serialize_element(&Plain(item)))?;
                list.end()
            }
            Value::Map(mapping) => {
                let mut map = serializer.serialize_map(Some(mapping.len()))?;
                mapping.iter().try_for_each(|(key, value)| map.serialize_entry(&PlainKey(key), &Plain(value)))?;
                map.end()
            }
            Value::Directive(directive) => {
                let (name, argument) = written(directive);
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry(name, &Plain(&argument))?;
                map.end()
            }
        }
    }
}

impl Serialize for PlainKey<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Key::Null => serializer.serialize_unit(),
            Key::Bool(truth) => serializer.serialize_bool(*truth),
            Key::Int(number) => serializer.serialize_i128(*number),
            Key::Str(text) => serializer.serialize_str(text),
        }
    }
}

/// A datasource as it may be shown: no password, no secret, the URI without what is secret in it.
#[must_use]
pub fn datasource(datasource: &crate::model::datasource::Datasource) -> Json {
    let shown = |name: &str, value: &Value| match name {
        // It is there for credentials, under whatever names an engine gives them.
        "masked_encrypted_extra" => json(&redact::hidden(value)),
        _ => json(&redact::value(name, value)),
    };
    let mut fields = Map::new();
    fields.insert("name".to_owned(), datasource.name.as_str().into());
    fields.insert("database_name".to_owned(), (*datasource.database_name).into());
    fields.insert("uuid".to_owned(), json!(datasource.uuid));
    fields.insert("sqlalchemy_uri".to_owned(), datasource.uri.to_string().into());
    if let Some(password) = &datasource.password {
        fields.insert("password".to_owned(), shown("password", password));
    }
    fields.extend(datasource.fields.iter().map(|(name, value)| (name.clone(), shown(name, value))));
    fields.insert("adopt".to_owned(), datasource.adopt.into());
    fields.insert("origin".to_owned(), datasource.origin.as_str().into());
    Json::Object(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::secret::SecretText;
    use crate::model::value::{DottedName, Mapping};

    #[test]
    fn directives_are_written_as_they_are_read() {
        let name = DottedName::parse("a.b.C").unwrap();
        for (directive, expected) in [
            (Directive::Env("A".into()), json!({"$env": "A"})),
            (Directive::Timedelta(5_400_000_000), json!({"$timedelta": "1h30m"})),
            (Directive::Timedelta(-90_061_001_001), json!({"$timedelta": "-1d1h1m1s1ms1us"})),
            (Directive::Timedelta(0), json!({"$timedelta": "0s"})),
            (Directive::Crontab(Box::new(["0", "3", "*", "*", "*"].map(str::to_owned))), json!({"$crontab": "0 3 * * *"})),
            (Directive::Secret(SecretText::new("x")), json!({"$secret": "x"})),
            (Directive::Ref(name.clone()), json!({"$ref": "a.b.C"})),
            (
                Directive::Object(Box::new(Object { class: name, args: vec![], kwargs: [("k".to_owned(), Value::Null)].into() })),
                json!({"$object": {"class": "a.b.C", "kwargs": {"k": null}}}),
            ),
        ] {
            assert_eq!(json(&Value::Directive(directive)), expected);
        }
    }

    #[test]
    fn json_has_words_for_what_it_has_none_for() {
        let mapping = Mapping::from([
            (Key::Null, Value::Float(f64::NAN)),
            (Key::Int(1), Value::Float(f64::NEG_INFINITY)),
            (Key::Bool(true), Value::Int(i128::MAX)),
        ]);
        assert_eq!(json(&Value::Map(mapping)), json!({"null": ".nan", "true": i128::MAX.to_string(), "1": "-.inf"}));
        assert_eq!(json(&Value::Int(u64::MAX.into())), json!(u64::MAX));
    }

    #[test]
    fn yaml_quotes_what_would_read_as_something_else() {
        let words = ["yes", "012", "1_000", "null", "a: b", ""].map(Value::from);
        assert_eq!(yaml(&Value::List(words.to_vec())), "- \"yes\"\n- \"012\"\n- \"1_000\"\n- \"null\"\n- \"a: b\"\n- \"\"\n");
    }

    #[test]
    fn law_9_a_datasource_is_shown_without_its_secrets() {
        let text = "sqlalchemy_uri: 'postgresql://u:canary@h/d?sslpassword=canary'\nextra: {a: {api_token: canary, b: {$secret: canary}}}\n\
            ssh_tunnel: {server_address: b, username: u, private_key: canary, password: canary}\nserver_cert: 'https://u:canary@h'\n";
        let origin = crate::model::snapshot::Origin::new("/d/sales");
        let node = crate::model::snapshot::Node::new(origin, text, 1);
        let read = crate::desired::datasource::read(&Some("sales".into()), &node, &crate::desired::lens::Lens::default());
        let datasource = read.datasource.unwrap();
        let shown = super::datasource(&datasource).to_string();
        assert!(!shown.contains("canary") && shown.contains("postgresql://u@h/d?sslpassword=***"), "{shown}");
        assert!(!format!("{datasource:?}").contains("sslpassword=canary"));
    }
}
