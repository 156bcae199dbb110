//! YAML text into raw settings.
//!
//! Strict where YAML is lax: `yes` and `on` are text, a second key of the same name is an error, tags are refused. Every key
//! and value keeps its line and column. Errors never quote the text around them: it may be a secret.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::{Location, MessageFormatter, NonFiniteFloatPolicy, Spanned, UserMessageFormatter};

use super::tree::{Entry, Layer, Node, Place, Value};
use crate::model::problem::Problem;

/// Reads the file at `path`, whose text is `text`.
pub(super) fn file(path: &str, text: &str) -> Result<Node, Problem> {
    parse(text, &Layer::File(Arc::from(path)), true)
}

/// Reads the text of the defaults.
pub(super) fn defaults(text: &str) -> Result<Node, Problem> {
    parse(text, &Layer::Defaults, true)
}

/// Reads one value of a variable or a flag: quoted text, a flow list or a flow mapping are YAML, all else is bare text.
pub(super) fn value(text: &str, layer: &Layer) -> Result<Node, Problem> {
    let text = text.trim();
    if text.starts_with(['"', '\'', '[', '{']) {
        return parse(text, layer, false);
    }
    Ok(Node { value: Value::Bare(text.to_owned()), place: Place::within(layer.clone()) })
}

fn parse(text: &str, layer: &Layer, has_lines: bool) -> Result<Node, Problem> {
    let options = serde_yaml::options! {
        strict_booleans: true,
        with_snippet: false,
        reject_unsupported_tags: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
    };
    let place = |location: Option<Location>| match location {
        Some(at) if has_lines && at.line() > 0 => {
            Place { layer: layer.clone(), line: Some(at.line()), column: Some(at.column()) }
        }
        _ => Place::within(layer.clone()),
    };
    match serde_yaml::from_str_with_options::<Parsed>(text, options) {
        Ok(parsed) => Ok(parsed.place(&|at| place(Some(at)))),
        Err(error) => {
            let message = UserMessageFormatter.format_message(error.without_snippet());
            let message = format!("not valid YAML: {}", message.trim_end_matches('.'));
            Err(place(error.location()).problem("", message))
        }
    }
}

/// A node as the parser hands it over.
struct Parsed(Spanned<ParsedValue>);

enum ParsedValue {
    Scalar(Value),
    List(Vec<Parsed>),
    Map(Vec<(Spanned<String>, Parsed)>),
}

impl Parsed {
    fn place(self, place: &impl Fn(Location) -> Place) -> Node {
        let value = match self.0.value {
            ParsedValue::Scalar(value) => value,
            ParsedValue::List(items) => Value::List(items.into_iter().map(|item| item.place(place)).collect()),
            ParsedValue::Map(entries) => Value::Map(
                entries
                    .into_iter()
                    .map(|(name, node)| Entry { place: place(name.referenced), name: name.value, node: node.place(place) })
                    .collect(),
            ),
        };
        Node { value, place: place(self.0.referenced) }
    }
}

impl<'de> Deserialize<'de> for Parsed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for ParsedValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = ParsedValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<ParsedValue, E> {
        Ok(ParsedValue::Scalar(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<ParsedValue, E> {
        Ok(ParsedValue::Scalar(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<ParsedValue, E> {
        Ok(ParsedValue::Scalar(Value::Int(value.into())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<ParsedValue, E> {
        Ok(ParsedValue::Scalar(Value::Int(value.into())))
    }

    fn visit_f64<E>(self, value: f64) -> Result<ParsedValue, E> {
        Ok(ParsedValue::Scalar(Value::Float(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<ParsedValue, E> {
        Ok(ParsedValue::Scalar(Value::Text(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<ParsedValue, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(ParsedValue::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<ParsedValue, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(ParsedValue::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_know_where_they_stand() {
        let tree = file("a.yaml", "source:\n  zookeeper: {connect: x}\n").unwrap();
        let zookeeper = tree.get("source").unwrap().get("zookeeper").unwrap();
        let place = &zookeeper.entries()[0].place;
        assert_eq!((place.line, place.column), (Some(2), Some(15)));
    }

    #[test]
    fn what_is_lax_in_yaml_is_refused_or_text() {
        assert_eq!(file("a", "a: yes").unwrap().get("a").unwrap().value, Value::Text("yes".into()));
        for (text, message) in [
            ("a: 1\na: 2\n", "a:2:1: not valid YAML: duplicate mapping key: a not allowed here"),
            ("a: !secret canary", "a:1:12: not valid YAML: unsupported tag `!secret`"),
            ("a: [1\nb: canary", "a:2:2: not valid YAML: illegal placement of ':' indicator"),
        ] {
            assert_eq!(file("a", text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn a_variable_is_bare_text_unless_it_is_quoted_or_flow() {
        let read = |text| value(text, &Layer::Flags).unwrap().value;
        for bare in ["15s", "@x", "a: b # c", "- a", "%"] {
            assert_eq!(read(bare), Value::Bare(bare.into()));
        }
        assert_eq!(read("'12'"), Value::Text("12".into()));
        assert!(matches!(read("[a, b]"), Value::List(items) if items.len() == 2));
        assert_eq!(value("[a", &Layer::Flags).unwrap_err().to_string(), "command line: not valid YAML: unclosed bracket '['");
    }
}
