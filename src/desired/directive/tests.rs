//! Every directive in a fragment: what it becomes, and how a wrong one is told.

use super::super::yaml;
use super::*;
use crate::model::problem::Problem;
use crate::model::snapshot::Origin;

fn allowed() -> Allowed {
    Allowed {
        env: vec!["SUPERSET_*".into()],
        files: vec!["/run/secrets".into()],
        objects: vec!["cachelib.*".into()],
        python: false,
    }
}

/// What a fragment says of the setting `X`, and what is wrong with it.
fn read(text: &str, allowed: &Allowed) -> (Option<Edit>, Vec<String>) {
    let origin = Origin::new("/c");
    let mut notes = Notes::new(&origin);
    let item = yaml::parse(text, &mut notes).unwrap();
    let field = Field::Name(&Field::Root, "X");
    let edit = Reader { place: Place::Setting, allowed, notes: &mut notes }.patch(item, &field, true);
    let problems = notes.into_problems();
    assert!(problems.iter().all(Problem::is_error), "{problems:?}");
    let shown = problems.into_iter().map(|problem| match &problem.hint {
        Some(hint) => format!("{problem} ({hint})"),
        None => problem.to_string(),
    });
    (edit, shown.collect())
}

fn edit(text: &str) -> Edit {
    let (edit, problems) = read(text, &allowed());
    assert_eq!(problems, [""; 0], "{text}");
    edit.unwrap()
}

fn value(text: &str) -> Value {
    edit(text).apply(None).unwrap()
}

fn problems(text: &str) -> Vec<String> {
    let (edit, problems) = read(text, &allowed());
    assert_eq!((edit, problems.len()), (None, 1), "{text}: {problems:?}");
    problems
}

#[test]
fn every_directive_becomes_a_value() {
    let ints = || vec![Value::Int(1), Value::Int(2)];
    let directives = [
        ("{$env: SUPERSET_KEY}", Directive::Env("SUPERSET_KEY".into())),
        ("{$file: /run/secrets/key}", Directive::File("/run/secrets/key".into())),
        ("{$timedelta: 1h30m}", Directive::Timedelta(5_400_000_000)),
        ("{$timedelta: {days: 1}}", Directive::Timedelta(86_400_000_000)),
        ("{$tuple: [1, 2]}", Directive::Tuple(ints())),
        ("{$set: [1, 2]}", Directive::Set(ints())),
        ("{$crontab: \"0 3 * * *\"}", Directive::Crontab(Box::new(["0", "3", "*", "*", "*"].map(str::to_owned)))),
        ("{$class: {a: 1}}", Directive::Class([("a".to_owned(), Value::Int(1))].into())),
        ("{$secret: x}", Directive::Secret(SecretText::new("x"))),
        ("{$merge: {a: 1}}", Directive::Merge([(Key::from("a"), Value::Int(1))].into())),
    ];
    for (text, directive) in directives {
        assert_eq!(value(text), Value::Directive(directive), "{text}");
    }
    let object = value(
        "{\"$object\": {\"class\": \"cachelib.redis.RedisCache\", \"args\": [1], \"kwargs\": {\"host\": {\"$env\": \"SUPERSET_H\"}}}}",
    );
    let Value::Directive(Directive::Object(object)) = object else { panic!("{object:?}") };
    assert_eq!((object.class.as_str(), object.args, object.kwargs.len()), ("cachelib.redis.RedisCache", vec![Value::Int(1)], 1));
    assert!(matches!(value("{$ref: cachelib.redis.RedisCache}"), Value::Directive(Directive::Ref(_))));
}

#[test]
fn unset_and_replace_speak_to_the_merge() {
    assert_eq!(edit("{$unset: true}"), Edit::Unset);
    assert!(matches!(edit("{$replace: {a: {$tuple: []}}}"), Edit::Set(Value::Map(_))));
    let Edit::Merge(inner) = edit("{x: {$unset: true}, y: {$replace: {}}}") else { panic!("no merge") };
    assert!(matches!(inner.as_slice(), [(_, Patch { edit: Edit::Unset, .. }), _]), "{inner:?}");
}

#[test]
fn raw_python_is_code_only_where_it_is_allowed() {
    let python = Directive::Python("lambda: 1".into());
    let (edit, problems) = read("{$python: \"lambda: 1\"}", &Allowed { python: true, ..allowed() });
    assert_eq!((edit, problems), (Some(Edit::Set(Value::Directive(python))), Vec::new()));
}

#[test]
fn law_9_no_directive_leads_beyond_the_allow_lists() {
    for (text, expected) in [
        ("{$env: HOME}", "this variable may not be named here (`render.allow_env` in"),
        ("{$env: \"A B\"}", "expected the name of an environment variable"),
        ("{$file: /etc/passwd}", "this file may not be named here (`render.allow_files` in"),
        ("{$file: /run/secrets/../shadow}", "expected the absolute path of a file, without"),
        ("{$file: secrets/x}", "expected the absolute path"),
        ("{$file: \"/run/secrets/a\\0\"}", "expected the absolute path"),
        ("{$ref: os.system}", "this object may not be named here (`render.allow_objects` in"),
        ("{$object: {class: subprocess.Popen}}", "this object may not be named here"),
        ("{$object: {class: \"cachelib.x(); import os; y.z\"}}", "expected a dotted Python name"),
        ("{$python: \"1\"}", "`$python` is not allowed here (`render.allow_python: true`"),
    ] {
        let found = problems(text);
        assert!(found.len() == 1 && found[0].starts_with("/c:1: X") && found[0].contains(expected), "{text}: {found:?}");
    }
}

#[test]
fn every_wrong_directive_is_told_with_its_place() {
    for (text, expected) in [
        ("{$evn: A}", "/c:1: X: a key that begins with `$` is a directive, and there is no such one (did you mean `$env`?)"),
        ("{$zebra: A}", "/c:1: X: a key that begins with `$` is a directive, and there is no such one"),
        ("{$env: A, b: 1}", "/c:1: X: `$env` stands beside other keys (a mapping with a `$` key has no other key)"),
        ("{a: {$secret: 5}}", "/c:1: X.a: expected text (in quotes, where it looks like a number), found a whole number"),
        ("{$timedelta: 90}", "/c:1: X: expected a duration: text like \"1h30m\", or a mapping like {hours: 1, minutes: 30}"),
        ("{$timedelta: soon}", "/c:1: X: expected a duration with its units, like \"1h30m\" or \"7d\""),
        ("{$tuple: 1}", "/c:1: X: expected a list, found a whole number"),
        ("{$set: [[1]]}", "/c:1: X: expected a set of scalars or tuples"),
        ("{$set: [{$tuple: [[1]]}]}", "/c:1: X: expected a set of scalars or tuples"),
        ("{$crontab: daily}", "/c:1: X: expected five fields"),
        ("{$crontab: \"99 * * * *\"}", "/c:1: X: the minute is not of the form"),
        ("{$class: [1]}", "/c:1: X: expected a mapping of names to values, found a list"),
        ("{$class: {class: 1}}", "/c:1: X: expected a Python name as a key"),
        ("{$class: {__init__: 1}}", "/c:1: X: expected a Python name as a key"),
        ("{$object: {kwargs: {}}}", "/c:1: X: expected `class`, the dotted name of what is to be called"),
        ("{$object: {clas: cachelib.x}}", "/c:1: X.clas: expected `class`, `args` or `kwargs` (did you mean `class`?)"),
        ("{$object: cachelib.x}", "/c:1: X: expected a mapping of `class`, `args` and `kwargs`, found text"),
        ("{$unset: false}", "/c:1: X: expected true, found a boolean"),
        ("{$replace: [1]}", "/c:1: X: expected a mapping (everything else replaces anyway), found a list"),
        ("{$merge: 1}", "/c:1: X: expected a mapping, found a whole number"),
        ("{a: {$merge: {}}}", "/c:1: X.a: `$merge` works on a whole setting only, over what the base set"),
        ("[{$unset: true}]", "/c:1: X[0]: `$unset` works only where fragments merge"),
        ("{$replace: {a: {$unset: true}}}", "/c:1: X.a: `$unset` works only where fragments merge"),
        ("{$tuple: [{$replace: {}}]}", "/c:1: X[0]: `$replace` works only where fragments merge"),
    ] {
        let found = problems(text);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{text}: {found:?}");
    }
}
