//! Values and directives as Python expressions, and how they lie on their lines.

use super::*;
use crate::model::secret::SecretText;
use crate::model::value::{DottedName, Object};

fn text(value: &Value) -> String {
    expression(value).0
}

#[test]
fn scalars_are_python_literals() {
    for (value, expected) in [
        (Value::Null, "None"),
        (Value::Bool(true), "True"),
        (Value::Int(i128::MIN), "-170141183460469231731687303715884105728"),
        (Value::Float(1.0), "1.0"),
        (Value::Float(-0.0), "-0.0"),
        (Value::Float(1e300), "1e300"),
        (Value::Float(f64::NEG_INFINITY), "float(\"-inf\")"),
        (Value::Float(f64::NAN), "float(\"nan\")"),
    ] {
        assert_eq!(text(&value), expected);
    }
}

#[test]
fn directives_become_expressions_that_name_what_they_need() {
    let name = DottedName::parse("cachelib.redis.RedisCache").unwrap();
    let one = || vec![Value::Int(1)];
    for (directive, expected, needs) in [
        (Directive::Env("A".into()), "_setkeeper_os.environ[\"A\"]", Needs::OS),
        (Directive::File("/a\"b".into()), "_setkeeper_read(\"/a\\\"b\")", Needs::READ),
        (Directive::Timedelta(-1), "_setkeeper_datetime.timedelta(days=-1, seconds=86399, microseconds=999999)", Needs::DATETIME),
        (Directive::Timedelta(0), "_setkeeper_datetime.timedelta()", Needs::DATETIME),
        (Directive::Tuple(one()), "(1,)", Needs::default()),
        (Directive::Tuple(vec![]), "()", Needs::default()),
        (Directive::Tuple(vec![Value::Int(1), Value::Null]), "(1, None)", Needs::default()),
        (Directive::Set(one()), "{1}", Needs::default()),
        (Directive::Set(vec![]), "set()", Needs::default()),
        (Directive::Class([("a".to_owned(), Value::Int(1))].into()), "type(\"Config\", (), {\"a\": 1})", Needs::default()),
        (Directive::Ref(name.clone()), "_setkeeper_import(\"cachelib.redis\", \"RedisCache\")", Needs::IMPORT),
        (
            Directive::Object(Box::new(Object { class: name, args: one(), kwargs: [("host".to_owned(), Value::Null)].into() })),
            "_setkeeper_import(\"cachelib.redis\", \"RedisCache\")(1, host=None)",
            Needs::IMPORT,
        ),
        (Directive::Secret(SecretText::new("s")), "\"s\"", Needs::default()),
        (Directive::Python(" 1 + 1 ".into()), "(1 + 1)", Needs::default()),
        (Directive::Python("1 # one".into()), "(\n1 # one\n)", Needs::default()),
    ] {
        assert_eq!(expression(&Value::Directive(directive)), (expected.to_owned(), needs));
    }
    let crontab = Directive::Crontab(Box::new(["0", "3", "*", "*", "mon"].map(str::to_owned)));
    let expected = "_setkeeper_crontab(minute=\"0\", hour=\"3\", day_of_week=\"mon\")";
    assert_eq!(expression(&Value::Directive(crontab)), (expected.to_owned(), Needs::CRONTAB));
}

#[test]
fn what_is_long_goes_over_several_lines() {
    let words = |count| Value::List((0..count).map(|number| Value::Str(format!("word-{number}"))).collect());
    let mapping: Mapping = [("long".into(), words(12)), ("short".into(), words(2))].into();
    let (text, _) = assignment("NAMES", &Value::Map(mapping));
    let expected = "NAMES = {\n    \"long\": [\n        \"word-0\",\n";
    assert!(text.starts_with(expected), "{text}");
    assert!(text.ends_with("        \"word-11\",\n    ],\n    \"short\": [\"word-0\", \"word-1\"],\n}\n"), "{text}");
    assert!(text.lines().all(|line| line.len() <= WIDTH));
    let over_base = Value::Directive(Directive::Merge([("A".into(), Value::Bool(true))].into()));
    assert_eq!(assignment("FEATURE_FLAGS", &over_base).0, "FEATURE_FLAGS = _setkeeper_merge(\"FEATURE_FLAGS\", {\"A\": True})\n");
}

#[test]
fn depth_costs_no_more_than_size() {
    let words = Value::List((0..200).map(|number| Value::Str(format!("word-{number}"))).collect());
    let deep = (0..200).fold(words, |value, _| Value::List(vec![value]));
    assert!(text(&deep).len() > 200);
}
