//! What is rendered means in Python what it meant in YAML: asked of a real `python3`, one process for a whole batch.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value as Json, json};
use setkeeper::desired::config::Config;
use setkeeper::desired::lens::Lens;
use setkeeper::desired::resolver::Resolver;
use setkeeper::desired::written;
use setkeeper::model::digest::DigestKey;
use setkeeper::model::instance::Labels;
use setkeeper::model::secret::SecretText;
use setkeeper::model::snapshot::{Branch, Node, Origin, Snapshot};
use setkeeper::model::value::{Directive, Key, Mapping, Value, is_attribute};
use setkeeper::render::python;
use setkeeper::render::renderer::{Renderer, Source, Sources, Target};

/// Tells a value's type and content so that no two different values read alike (`1`, `1.0` and `True` least of all).
const TYPED: &str = r#"
import datetime, json, struct, sys

def typed(v):
    if v is None: return ["none"]
    if v is True or v is False: return ["bool", v]
    if type(v) is int: return ["int", str(v)]
    if type(v) is float: return ["float", "nan" if v != v else struct.pack(">d", v).hex()]
    if type(v) is str: return ["str", [ord(c) for c in v]]
    if type(v) is tuple: return ["tuple", [typed(x) for x in v]]
    if type(v) is list: return ["list", [typed(x) for x in v]]
    if type(v) is set: return ["set", [typed(x) for x in v]]
    if type(v) is dict: return ["dict", [[typed(k), typed(x)] for k, x in v.items()]]
    if type(v) is datetime.timedelta: return ["timedelta", str(v // datetime.timedelta(microseconds=1))]
    if type(v) is type: return ["class", [[k, typed(x)] for k, x in vars(v).items() if not k.startswith("__")]]
    raise TypeError(type(v))
"#;

/// The same, of the value that is meant.
fn typed(value: &Value) -> Json {
    let all = |items: &[Value]| Json::from(items.iter().map(typed).collect::<Vec<_>>());
    match value {
        Value::Null => json!(["none"]),
        Value::Bool(truth) => json!(["bool", truth]),
        Value::Int(number) => json!(["int", number.to_string()]),
        Value::Float(number) if number.is_nan() => json!(["float", "nan"]),
        Value::Float(number) => json!(["float", format!("{:016x}", number.to_bits())]),
        Value::Str(text) => json!(["str", text.chars().map(u32::from).collect::<Vec<_>>()]),
        Value::List(items) => json!(["list", all(items)]),
        Value::Map(mapping) => {
            let pairs = mapping.iter().map(|(key, value)| json!([typed(&key_value(key)), typed(value)]));
            json!(["dict", pairs.collect::<Vec<_>>()])
        }
        Value::Directive(Directive::Tuple(items)) => json!(["tuple", all(items)]),
        Value::Directive(Directive::Set(items)) => json!(["set", all(items)]),
        Value::Directive(Directive::Timedelta(microseconds)) => json!(["timedelta", microseconds.to_string()]),
        Value::Directive(Directive::Secret(secret)) => typed(&Value::Str(secret.expose().to_owned())),
        Value::Directive(Directive::Class(attributes)) => {
            json!(["class", attributes.iter().map(|(name, value)| json!([name, typed(value)])).collect::<Vec<_>>()])
        }
        Value::Directive(other) => panic!("not generated here: {other:?}"),
    }
}

fn key_value(key: &Key) -> Value {
    match key {
        Key::Null => Value::Null,
        Key::Bool(truth) => Value::Bool(*truth),
        Key::Int(number) => Value::Int(*number),
        Key::Str(text) => Value::Str(text.clone()),
    }
}

/// The same, whatever the order in which a set or a mapping was walked.
fn sorted(typed: Json) -> Json {
    match typed {
        Json::Array(items) => {
            let unordered = matches!(items.first().and_then(Json::as_str), Some("set" | "dict" | "class"));
            let mut items: Vec<_> = items.into_iter().map(sorted).collect();
            if let (true, Some(Json::Array(members))) = (unordered, items.get_mut(1)) {
                members.sort_by_key(Json::to_string);
            }
            Json::Array(items)
        }
        other => other,
    }
}

fn python(script: &str, input: &Json) -> Json {
    let mut command = Command::new("python3");
    command.args(["-I", "-c", &format!("{TYPED}\n{script}")]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("these tests need python3");
    let input = serde_json::to_vec(input).unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "python3 failed: {:?}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

fn keys() -> impl Strategy<Value = Key> {
    prop_oneof![
        8 => text().prop_map(Key::Str),
        2 => any::<i64>().prop_map(|number| Key::Int(number.into())),
        1 => prop_oneof![Just(Key::Null), any::<bool>().prop_map(Key::Bool), Just(Key::Int(0)), Just(Key::Int(1))],
    ]
    .prop_filter("begins a directive", |key| !matches!(key, Key::Str(text) if text.starts_with('$')))
}

/// Text of every kind: words that look like something else, quotes and escapes, any Unicode.
fn text() -> impl Strategy<Value = String> {
    let tricky = [
        "",
        " ",
        "~",
        "null",
        "yes",
        "No",
        "on",
        "true",
        "012",
        "1_000",
        "0x1F",
        "1e3",
        ".inf",
        "nan",
        "-",
        "---",
        "...",
        "- a",
        "a: b",
        "a # b",
        "# a",
        "*a",
        "&a",
        "!a",
        "%a",
        "@a",
        "`a",
        "|",
        ">",
        "'",
        "\"",
        "\"\"\"",
        "'''",
        "\\",
        "\\n",
        "\\\"",
        "{",
        "}",
        "[",
        "]",
        "?",
        ":",
        "::",
        "=",
        "<<",
        "\0",
        "\n",
        "\r",
        "\r\n",
        "\t",
        "\u{85}",
        "\u{a0}",
        "\u{2028}",
        "\u{2029}",
        "\u{202e}",
        "\u{feff}",
        "\u{ffff}",
        "\u{10ffff}",
        "é",
        "日本",
        "😀",
        "${HOME}",
        "{{ x }}",
        "%s",
        "{0}",
        "f\"{1}\"",
        "\");import os;(\"",
        "a\n b\n\n",
        " a ",
        "2001-01-01",
        "12:30",
        "1.2.3",
        "=",
        "0o17",
        "+1",
        "1.",
        "y",
        "n",
    ];
    prop_oneof![2 => proptest::sample::select(tricky.to_vec()).prop_map(str::to_owned), 2 => any::<String>(), 1 => "[ -~]{0,120}"]
}

fn scalars() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i128>().prop_map(Value::Int),
        any::<i16>().prop_map(|number| Value::Int(number.into())),
        any::<f64>().prop_map(Value::Float),
        proptest::num::f64::ANY.prop_map(Value::Float),
        proptest::sample::select(vec![
            0.0,
            -0.0,
            1.0,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::MIN_POSITIVE,
            5e-324,
            f64::MAX
        ])
        .prop_map(Value::Float),
        text().prop_map(Value::Str),
        text().prop_map(Value::Str),
        text().prop_map(|text| Value::Directive(Directive::Secret(SecretText::new(text)))),
        // Ten thousand years either way: the text of a duration reaches hardly further.
        (-315_000_000_000_000_000..315_000_000_000_000_000_i64).prop_map(|number| Value::Directive(Directive::Timedelta(number))),
    ]
}

fn values() -> impl Strategy<Value = Value> {
    scalars().prop_recursive(4, 40, 8, |inner| {
        let mappings = btree_map(keys(), inner.clone(), 0..8).prop_map(without_twins);
        let names = "[a-z_][a-zA-Z0-9_]{0,6}".prop_filter("is no attribute", |name| is_attribute(name));
        prop_oneof![
            3 => mappings.prop_map(Value::Map),
            3 => vec(inner.clone(), 0..8).prop_map(Value::List),
            1 => vec(inner.clone(), 0..4).prop_map(|items| Value::Directive(Directive::Tuple(items))),
            1 => btree_map(text(), Just(()), 0..5)
                .prop_map(|texts| Value::Directive(Directive::Set(texts.into_keys().map(Value::Str).collect()))),
            1 => btree_map(names, inner, 0..4).prop_map(|attributes| Value::Directive(Directive::Class(attributes))),
        ]
    })
}

/// Keys that cannot stand in one mapping: Python holds `1` and `True` for one, and the YAML library `true` and `"true"`.
fn without_twins(mapping: Mapping) -> Mapping {
    let words: Vec<_> = mapping.keys().filter(|key| matches!(key, Key::Null | Key::Bool(_))).cloned().collect();
    let clashes = |key: &Key| {
        words.iter().any(|word| word != key && (word.twin().as_ref() == Some(key) || word.to_string() == key.to_string()))
    };
    mapping.into_iter().filter(|(key, _)| !clashes(key)).collect()
}

fn samples(count: usize) -> Vec<Value> {
    let mut runner = TestRunner::default();
    let strategy = values();
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

fn resolve(fragments: &[String]) -> Arc<Config> {
    let node = |(number, text): (usize, &String)| {
        let name = format!("{number:05}");
        (Arc::from(name.as_str()), Node::new(Origin::new(format!("/config/{name}")), text, 1))
    };
    let config = Branch { root: None, children: fragments.iter().enumerate().map(node).collect() };
    let snapshot = Snapshot { config, ..Snapshot::default() };
    let resolution = Resolver::new(Lens::default()).resolve(&key(), &snapshot);
    let problems: Vec<_> = resolution.problems.iter().map(ToString::to_string).collect();
    resolution.config.unwrap_or_else(|held| panic!("{held}\n{problems:#?}"))
}

fn key() -> DigestKey {
    DigestKey::from_bytes(&[7; 32]).unwrap()
}

/// One fragment for each value, as YAML, under the names `V00000`, `V00001`…
fn fragments(values: &[Value]) -> Vec<String> {
    // `$replace`, because a mapping alone would merge: its keys would do as well, but null would be no mapping's.
    let wrapped = |value: &Value| match value {
        Value::Map(mapping) if !mapping.is_empty() => written::yaml(&Value::Map([(Key::from("$replace"), value.clone())].into())),
        other => written::yaml(other),
    };
    let indented = |text: &str| text.lines().flat_map(|line| ["  ", line, "\n"]).collect::<String>();
    values.iter().enumerate().map(|(number, value)| format!("V{number:05}:\n{}", indented(&wrapped(value)))).collect()
}

#[test]
fn any_value_means_in_python_what_it_means_in_yaml() {
    let values = samples(3000);
    let config = resolve(&fragments(&values));
    let literals: Vec<_> =
        (0..values.len()).map(|number| python::expression(config.get(&format!("V{number:05}")).unwrap()).0).collect();
    let script = "names = {'_setkeeper_datetime': datetime}\n\
                  print(json.dumps([typed(eval(text, dict(names))) for text in json.load(sys.stdin)]))";
    let Json::Array(found) = python(script, &json!(literals)) else { panic!("no list") };
    assert_eq!(found.len(), values.len());
    for ((value, literal), found) in values.iter().zip(&literals).zip(found) {
        assert_eq!(sorted(found), sorted(typed(value)), "{literal}");
    }
}

#[test]
fn json_reads_as_the_same_value_as_yaml() {
    let values: Vec<_> = samples(2000).into_iter().filter(is_json).collect();
    let fragments: Vec<_> = values
        .iter()
        .enumerate()
        .map(|(number, value)| json!({format!("V{number:05}"): {"$tuple": [written::json(value)]}}).to_string())
        .collect();
    let config = resolve(&fragments);
    for (number, value) in values.iter().enumerate() {
        let expected = Value::Directive(Directive::Tuple(vec![value.clone()]));
        assert_eq!(typed(config.get(&format!("V{number:05}")).unwrap()), typed(&expected), "{}", fragments[number]);
    }
}

/// Whether JSON has words for a value.
fn is_json(value: &Value) -> bool {
    match value {
        Value::Float(number) => number.is_finite(),
        // YAML wants noncharacters escaped, JSON does not.
        Value::Str(text) => !text.contains(['\u{fffe}', '\u{ffff}']),
        Value::Directive(Directive::Secret(secret)) => !secret.expose().contains(['\u{fffe}', '\u{ffff}']),
        Value::Int(number) => i64::try_from(*number).is_ok(),
        Value::List(items) | Value::Directive(Directive::Tuple(items) | Directive::Set(items)) => items.iter().all(is_json),
        Value::Map(mapping) => {
            mapping.iter().all(|(key, value)| matches!(key, Key::Str(_)) && is_json(&key_value(key)) && is_json(value))
        }
        Value::Directive(Directive::Class(attributes)) => attributes.values().all(is_json),
        _ => true,
    }
}

#[test]
fn a_rendered_file_of_any_config_loads_and_means_the_config() {
    let values = samples(500);
    let config = resolve(&fragments(&values));
    let base = "from __future__ import annotations\nBASE = [1]\nV00000 = 'replaced'";
    let sources = Sources { base: Some(Source { origin: Origin::new("/base.py"), text: base.into() }), templates: Vec::new() };
    let target = Target { path: "/x/superset_config.py".into(), mode: 0o640 };
    let rendered = Renderer::new(target, Labels::new()).render(&key(), &config, &sources).unwrap();
    let script = "names = {'__name__': 'superset_config'}\n\
                  exec(compile(json.load(sys.stdin), 'superset_config.py', 'exec', dont_inherit=True), names)\n\
                  print(json.dumps({name: typed(value) for name, value in names.items() if name.isupper()}))";
    let Json::Object(mut found) = python(script, &json!(&*rendered.files[0].text)) else { panic!("no mapping") };
    let header = json!(["dict", [[typed(&"X-Setkeeper-Revision".into()), typed(&rendered.revision.as_str().into())]]]);
    assert_eq!(found.remove("OVERRIDE_HTTP_HEADERS"), Some(header));
    assert_eq!(found.remove("BASE"), Some(typed(&Value::List(vec![Value::Int(1)]))));
    assert_eq!(found.len(), values.len());
    for (number, value) in values.iter().enumerate() {
        let name = format!("V{number:05}");
        assert_eq!(found.remove(&name).map(sorted), Some(sorted(typed(value))), "{name}");
    }
}
