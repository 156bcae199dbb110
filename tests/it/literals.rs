//! What is rendered means in Python what it meant in YAML: asked of a real `python3`, one process for a whole batch.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config as RunnerConfig, TestRunner};
use serde_json::{Value as Json, json};
use setkeeper::desired::config::Config;
use setkeeper::desired::lens::Lens;
use setkeeper::desired::resolver::Resolver;
use setkeeper::desired::written;
use setkeeper::model::digest::DigestKey;
use setkeeper::model::snapshot::{Branch, Node, Origin, Snapshot};
use setkeeper::model::value::{Directive, Key, Mapping, Value};
use setkeeper::render::python;
use setkeeper::render::renderer::{Renderer, Source, Sources, Target};

/// Writes a value's type and content so that no two different Python values read alike (`1`, `1.0` and `True` least of all).
const TYPED: &str = r#"
import json, sys, datetime

def typed(v):
    if v is None: return ["none"]
    if v is True or v is False: return ["bool", v]
    if type(v) is int: return ["int", str(v)]
    if type(v) is float: return ["float", "nan" if v != v else v.hex()]
    if type(v) is str: return ["str", [ord(c) for c in v]]
    if type(v) is tuple: return ["tuple", [typed(x) for x in v]]
    if type(v) is list: return ["list", [typed(x) for x in v]]
    if type(v) in (set, frozenset): return ["set", sorted(json.dumps(typed(x)) for x in v)]
    if type(v) is dict: return ["dict", sorted((json.dumps(typed(k)), typed(x)) for k, x in v.items())]
    if type(v) is datetime.timedelta: return ["timedelta", str(v // datetime.timedelta(microseconds=1))]
    if type(v) is type: return ["class", sorted((k, typed(x)) for k, x in vars(v).items() if not k.startswith("__"))]
    raise TypeError(type(v))
"#;

fn typed(value: &Value) -> Json {
    let all = |items: &[Value]| Json::from(items.iter().map(typed).collect::<Vec<_>>());
    match value {
        Value::Null => json!(["none"]),
        Value::Bool(truth) => json!(["bool", truth]),
        Value::Int(number) => json!(["int", number.to_string()]),
        Value::Float(number) => json!(["float", number.to_bits().to_string()]),
        Value::Str(text) => json!(["str", text.chars().map(u32::from).collect::<Vec<_>>()]),
        Value::List(items) => json!(["list", all(items)]),
        Value::Map(mapping) => {
            let pairs = mapping.iter().map(|(key, value)| (typed(&key_value(key)), typed(value)));
            json!(["dict", pairs.map(|(key, value)| json!([key, value])).collect::<Vec<_>>()])
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
