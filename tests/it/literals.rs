//! Any value → Python literal → evaluated by a real Python: the same value and the same type.

use std::io::Write;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value as Json, json};
use setkeeper::model::value::{Directive, Key, Value};
use setkeeper::render::python::expression;

const VALUES: usize = 2_000;

/// Evaluates one expression a line and describes each value with its types, so that 1, 1.0, True and "1" differ.
const EVALUATE: &str = r#"
import sys, json, datetime as _setkeeper_datetime
def tell(v):
    name = type(v).__name__
    if name in ("list", "tuple"): return [name, [tell(i) for i in v]]
    if name == "set": return [name, sorted((tell(i) for i in v), key=json.dumps)]
    if name == "dict": return [name, sorted(([tell(k), tell(i)] for k, i in v.items()), key=json.dumps)]
    if name == "timedelta": return [name, (v.days * 86400 + v.seconds) * 10**6 + v.microseconds]
    if name == "float": return [name, v.hex()]
    if name == "int": return [name, str(v)]
    if name == "str": return [name, [ord(c) for c in v]]
    return [name, v]
for line in sys.stdin:
    source = json.loads(line)
    names = {"_setkeeper_datetime": _setkeeper_datetime}
    print(json.dumps(tell(eval(compile(source, "literal", "eval"), names))))
"#;

#[test]
fn every_value_evaluates_to_itself() {
    let mut runner = TestRunner::new(ProptestConfig { rng_seed: proptest::test_runner::RngSeed::Fixed(42), ..ProptestConfig::default() });
    let values: Vec<_> = (0..VALUES).map(|_| value().new_tree(&mut runner).unwrap().current()).collect();
    let told = evaluate(&values.iter().map(|value| expression(value).text).collect::<Vec<_>>());
    assert_eq!(told.len(), values.len());
    for (value, told) in values.iter().zip(&told) {
        assert_eq!(*told, tell(value), "{value:?}\n{}", expression(value).text);
    }
}

fn evaluate(expressions: &[String]) -> Vec<Json> {
    let mut python = Command::new("python3")
        .args(["-I", "-c", EVALUATE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test needs python3 on the PATH");
    let mut stdin = python.stdin.take().unwrap();
    let lines: String = expressions.iter().map(|text| json!(text).to_string() + "\n").collect();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()).unwrap());
    let output = python.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[\"'\\\\\n\r\t{}#$%]{0,12}", "(\"\"\"|'''|\\\\|\u{2028}|\u{0}|é|😀){0,6}"]
}

fn key() -> impl Strategy<Value = Key> {
    prop_oneof![
        4 => text().prop_map(Key::Str),
        // 0 and 1 equal False and True in Python: a mapping cannot hold both.
        1 => (2..i128::from(u64::MAX)).prop_map(Key::Int),
        1 => any::<bool>().prop_map(Key::Bool),
        1 => Just(Key::Null),
    ]
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i128>().prop_map(Value::Int),
        any::<f64>().prop_filter("nan has no one bit pattern", |number| !number.is_nan()).prop_map(Value::Float),
        text().prop_map(Value::Str),
        any::<i32>().prop_map(|micros| Value::Directive(Directive::Timedelta(i64::from(micros) * 1_001))),
        prop::collection::btree_set(text(), 0..4)
            .prop_map(|texts| Value::Directive(Directive::Set(texts.into_iter().map(Value::Str).collect()))),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(4, 40, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::List),
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| Value::Directive(Directive::Tuple(items))),
            prop::collection::btree_map(key(), inner, 0..8).prop_map(Value::Map),
        ]
    })
}

fn tell(value: &Value) -> Json {
    let sorted = |mut items: Vec<Json>| {
        items.sort_by_key(ToString::to_string);
        items
    };
    let all = |items: &[Value]| items.iter().map(tell).collect::<Vec<_>>();
    match value {
        Value::Null => json!(["NoneType", null]),
        Value::Bool(truth) => json!(["bool", truth]),
        Value::Int(number) => json!(["int", number.to_string()]),
        Value::Float(number) => json!(["float", hex(*number)]),
        Value::Str(text) => tell_text(text),
        Value::List(items) => json!(["list", all(items)]),
        Value::Map(map) => {
            let pairs = map.iter().map(|(key, value)| json!([tell_key(key), tell(value)])).collect();
            json!(["dict", by_python(pairs)])
        }
        Value::Directive(Directive::Tuple(items)) => json!(["tuple", all(items)]),
        Value::Directive(Directive::Set(items)) => json!(["set", by_python(sorted(all(items)))]),
        Value::Directive(Directive::Timedelta(micros)) => json!(["timedelta", micros]),
        Value::Directive(other) => panic!("not generated: {other:?}"),
    }
}

/// Sorts as the Python side does: by its JSON text, which has a space after each comma.
fn by_python(mut items: Vec<Json>) -> Vec<Json> {
    items.sort_by_key(|item| item.to_string().replace(',', ", "));
    items
}

fn tell_key(key: &Key) -> Json {
    match key {
        Key::Null => json!(["NoneType", null]),
        Key::Bool(truth) => json!(["bool", truth]),
        Key::Int(number) => json!(["int", number.to_string()]),
        Key::Str(text) => tell_text(text),
    }
}

fn tell_text(text: &str) -> Json {
    json!(["str", text.chars().map(u32::from).collect::<Vec<_>>()])
}

/// `float.hex` of Python.
fn hex(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let bits = number.to_bits();
    let (sign, exponent, fraction) = (if bits >> 63 == 1 { "-" } else { "" }, (bits >> 52) & 0x7ff, bits & ((1 << 52) - 1));
    match (exponent, fraction) {
        (0, 0) => format!("{sign}0x0.0p+0"),
        (0, _) => format!("{sign}0x0.{fraction:013x}p-1022"),
        _ => format!("{sign}0x1.{fraction:013x}p{:+}", i64::try_from(exponent).unwrap() - 1023),
    }
}
