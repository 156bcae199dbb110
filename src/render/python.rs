//! Python literals: the only way in which a value gets into a Python file.
//!
//! In goes a [`Value`], out comes an expression that evaluates to the same value of the same type, on one line where it fits
//! and else over several, and what the file must import for it. Nothing can break out of a literal: strings are quoted and
//! everything in them that is not plainly printable is escaped (quotes, line ends and NUL, but also separators and marks of
//! direction that would let a file read differently from what it does). Same value, same bytes.

use std::borrow::Cow;
use std::fmt::Write;

use crate::model::value::{Directive, Key, Mapping, Value};

/// How wide a line may be before a collection goes over several.
const WIDTH: usize = 100;
const INDENT: usize = 4;

/// What the expressions of a file refer to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs(u8);

impl Needs {
    /// `_setkeeper_os`
    pub const OS: Self = Self(1);
    /// `_setkeeper_read`
    pub const READ: Self = Self(2);
    /// `_setkeeper_datetime`
    pub const DATETIME: Self = Self(4);
    /// `_setkeeper_crontab`
    pub const CRONTAB: Self = Self(8);
    /// `_setkeeper_import`
    pub const IMPORT: Self = Self(16);
    /// `_setkeeper_merge`
    pub const MERGE: Self = Self(32);

    /// These and those.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is among them.
    #[must_use]
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Writes `name = value`, with the line end.
#[must_use]
pub fn assignment(name: &str, value: &Value) -> (String, Needs) {
    let mut writer = Writer { out: format!("{name} = "), needs: Needs::default(), setting: name };
    writer.write(value, 0, 0);
    writer.out.push('\n');
    (writer.out, writer.needs)
}

/// Writes a value as an expression.
#[must_use]
pub fn expression(value: &Value) -> (String, Needs) {
    let mut writer = Writer { out: String::new(), needs: Needs::default(), setting: "" };
    writer.write(value, 0, 0);
    (writer.out, writer.needs)
}

/// Writes text as a string literal.
#[must_use]
pub fn string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_plain(c) => out.push(c),
            // Writing to a String cannot fail.
            c if u32::from(c) <= 0xff => drop(write!(out, "\\x{:02x}", u32::from(c))),
            c if u32::from(c) <= 0xffff => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c => drop(write!(out, "\\U{:08x}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

/// Whether a character stands in a file as what it is and is seen as that.
fn is_plain(c: char) -> bool {
    let hidden = matches!(u32::from(c),
        0x00ad | 0x061c | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfe00..=0xfe0f | 0xfeff | 0xfff0..=0xffff
        | 0xe000..=0xf8ff | 0xe_0000..=0x10_ffff);
    !c.is_control() && !hidden
}

/// How a value is written: as one word, or as items between brackets.
enum Form<'v> {
    Word(Cow<'v, str>),
    Group { open: Cow<'v, str>, items: Vec<(String, &'v Value)>, close: &'static str, comma: bool },
}

struct Writer<'n> {
    out: String,
    needs: Needs,
    setting: &'n str,
}

impl Writer<'_> {
    /// Writes a value whose lines begin at `indent`, with `tail` characters to come after it.
    fn write(&mut self, value: &Value, indent: usize, tail: usize) {
        let form = self.form(value);
        let Form::Group { open, items, close, comma } = form else {
            return self.write_word(&form);
        };
        let start = self.out.len();
        let column = start - self.out.rfind('\n').map_or(0, |at| at + 1);
        let room = WIDTH.saturating_sub(column + tail);
        if self.write_flat(&open, &items, close, comma, start + room) {
            return;
        }
        self.out.truncate(start);
        self.out.push_str(&open);
        let inner = indent + INDENT;
        for (prefix, item) in items {
            self.line(inner);
            self.out.push_str(&prefix);
            self.write(item, inner, 1);
            self.out.push(',');
        }
        self.line(indent);
        self.out.push_str(close);
    }

    fn line(&mut self, indent: usize) {
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n(' ', indent));
    }

    fn write_word(&mut self, form: &Form<'_>) {
        if let Form::Word(word) = form {
            self.out.push_str(word);
        }
    }

    /// Writes a group on one line, unless that would end beyond `end`; what it left is the caller's to cut off.
    fn write_flat(&mut self, open: &str, items: &[(String, &Value)], close: &str, comma: bool, end: usize) -> bool {
        self.out.push_str(open);
        for (index, (prefix, item)) in items.iter().enumerate() {
            if index > 0 {
                self.out.push_str(", ");
            }
            self.out.push_str(prefix);
            let fits = match self.form(item) {
                form @ Form::Word(_) => {
                    self.write_word(&form);
                    true
                }
                Form::Group { open, items, close, comma } => self.write_flat(&open, &items, close, comma, end),
            };
            if !fits || self.out.len() > end {
                return items.is_empty();
            }
        }
        if comma && items.len() == 1 {
            self.out.push(',');
        }
        self.out.push_str(close);
        items.is_empty() || self.out.len() <= end
    }

    fn form<'v>(&mut self, value: &'v Value) -> Form<'v> {
        let word = |text: &'static str| Form::Word(Cow::Borrowed(text));
        match value {
            Value::Null => word("None"),
            Value::Bool(true) => word("True"),
            Value::Bool(false) => word("False"),
            Value::Int(number) => Form::Word(number.to_string().into()),
            Value::Float(number) => Form::Word(float(*number)),
            Value::Str(text) => Form::Word(string(text).into()),
            Value::List(items) => group("[", each(items), "]"),
            Value::Map(mapping) => group("{", pairs(mapping), "}"),
            Value::Directive(directive) => self.directive(directive),
        }
    }

    fn directive<'v>(&mut self, directive: &'v Directive) -> Form<'v> {
        let mut owned = |needs: Needs, text: String| {
            self.needs = self.needs.and(needs);
            Form::Word(text.into())
        };
        match directive {
            Directive::Env(name) => owned(Needs::OS, format!("_setkeeper_os.environ[{}]", string(name))),
            Directive::File(path) => owned(Needs::READ, format!("_setkeeper_read({})", string(path))),
            Directive::Timedelta(microseconds) => owned(Needs::DATETIME, timedelta(*microseconds)),
            Directive::Crontab(fields) => owned(Needs::CRONTAB, crontab(fields)),
            Directive::Ref(name) => {
                let (module, name) = name.split();
                owned(Needs::IMPORT, format!("_setkeeper_import({}, {})", string(module), string(name)))
            }
            Directive::Secret(secret) => Form::Word(string(secret.expose()).into()),
            Directive::Python(text) => Form::Word(raw(text).into()),
            Directive::Tuple(items) => Form::Group { open: "(".into(), items: each(items), close: ")", comma: true },
            Directive::Set(items) if items.is_empty() => Form::Word("set()".into()),
            Directive::Set(items) => group("{", each(items), "}"),
            Directive::Class(attributes) => {
                let items = attributes.iter().map(|(name, value)| (format!("{}: ", string(name)), value)).collect();
                group("type(\"Config\", (), {", items, "})")
            }
            Directive::Object(object) => {
                self.needs = self.needs.and(Needs::IMPORT);
                let (module, name) = object.class.split();
                let mut items = each(&object.args);
                items.extend(object.kwargs.iter().map(|(name, value)| (format!("{name}="), value)));
                group(format!("_setkeeper_import({}, {})(", string(module), string(name)), items, ")")
            }
            Directive::Merge(mapping) => {
                self.needs = self.needs.and(Needs::MERGE);
                group(format!("_setkeeper_merge({}, {{", string(self.setting)), pairs(mapping), "})")
            }
        }
    }
}

fn group<'v>(open: impl Into<Cow<'v, str>>, items: Vec<(String, &'v Value)>, close: &'static str) -> Form<'v> {
    Form::Group { open: open.into(), items, close, comma: false }
}

fn each(items: &[Value]) -> Vec<(String, &Value)> {
    items.iter().map(|item| (String::new(), item)).collect()
}

fn pairs(mapping: &Mapping) -> Vec<(String, &Value)> {
    mapping.iter().map(|(key, value)| (format!("{}: ", key_literal(key)), value)).collect()
}

fn key_literal(key: &Key) -> String {
    match key {
        Key::Null => "None".to_owned(),
        Key::Bool(true) => "True".to_owned(),
        Key::Bool(false) => "False".to_owned(),
        Key::Int(number) => number.to_string(),
        Key::Str(text) => string(text),
    }
}

fn float(number: f64) -> Cow<'static, str> {
    if number.is_nan() {
        "float(\"nan\")".into()
    } else if number.is_infinite() {
        if number > 0.0 { "float(\"inf\")" } else { "float(\"-inf\")" }.into()
    } else {
        // Rust writes the shortest digits that read back as the same number, with a point or an exponent, as Python does.
        format!("{number:?}").into()
    }
}

/// As Python itself shows it: days, seconds and microseconds, the last two never negative.
fn timedelta(microseconds: i64) -> String {
    const SECOND: i64 = 1_000_000;
    const DAY: i64 = 86_400 * SECOND;
    let (days, rest) = (microseconds.div_euclid(DAY), microseconds.rem_euclid(DAY));
    let parts = [("days", days), ("seconds", rest / SECOND), ("microseconds", rest % SECOND)];
    let named: Vec<_> =
        parts.iter().filter(|(_, number)| *number != 0).map(|(name, number)| format!("{name}={number}")).collect();
    format!("_setkeeper_datetime.timedelta({})", named.join(", "))
}

fn crontab(fields: &[String; 5]) -> String {
    let names = ["minute", "hour", "day_of_month", "month_of_year", "day_of_week"];
    // Celery's own default for each is "*".
    let given = names.iter().zip(fields).filter(|(_, field)| *field != "*");
    let arguments: Vec<_> = given.map(|(name, field)| format!("{name}={}", string(field))).collect();
    format!("_setkeeper_crontab({})", arguments.join(", "))
}

/// Raw Python in brackets, so that it stays one expression; a comment in it must not swallow the closing one.
fn raw(text: &str) -> String {
    let text = text.trim();
    if text.contains(['#', '\n', '\r']) { format!("(\n{text}\n)") } else { format!("({text})") }
}

#[cfg(test)]
mod tests {
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
    fn nothing_breaks_out_of_a_string() {
        for (value, expected) in [
            ("\"; import os #", r#""\"; import os #""#),
            ("'\\", r#""'\\""#),
            ("a\nb\r\t\0\u{1b}\u{7f}\u{85}", r#""a\nb\r\t\x00\x1b\x7f\x85""#),
            ("\u{2028}\u{202e}\u{feff}\u{e000}\u{1f600}\u{e0001}", "\"\\u2028\\u202e\\ufeff\\ue000\u{1f600}\\U000e0001\""),
            ("größe {x} %s", "\"größe {x} %s\""),
        ] {
            assert_eq!(string(value), expected);
        }
    }

    #[test]
    fn directives_become_expressions_that_name_what_they_need() {
        let name = DottedName::parse("cachelib.redis.RedisCache").unwrap();
        let one = || vec![Value::Int(1)];
        for (directive, expected, needs) in [
            (Directive::Env("A".into()), "_setkeeper_os.environ[\"A\"]", Needs::OS),
            (Directive::File("/a\"b".into()), "_setkeeper_read(\"/a\\\"b\")", Needs::READ),
            (
                Directive::Timedelta(-1),
                "_setkeeper_datetime.timedelta(days=-1, seconds=86399, microseconds=999999)",
                Needs::DATETIME,
            ),
            (Directive::Timedelta(0), "_setkeeper_datetime.timedelta()", Needs::DATETIME),
            (Directive::Tuple(one()), "(1,)", Needs::default()),
            (Directive::Tuple(vec![]), "()", Needs::default()),
            (Directive::Tuple(vec![Value::Int(1), Value::Null]), "(1, None)", Needs::default()),
            (Directive::Set(one()), "{1}", Needs::default()),
            (Directive::Set(vec![]), "set()", Needs::default()),
            (Directive::Class([("a".to_owned(), Value::Int(1))].into()), "type(\"Config\", (), {\"a\": 1})", Needs::default()),
            (Directive::Ref(name.clone()), "_setkeeper_import(\"cachelib.redis\", \"RedisCache\")", Needs::IMPORT),
            (
                Directive::Object(Box::new(Object {
                    class: name,
                    args: one(),
                    kwargs: [("host".to_owned(), Value::Null)].into(),
                })),
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
        assert_eq!(
            assignment("FEATURE_FLAGS", &over_base).0,
            "FEATURE_FLAGS = _setkeeper_merge(\"FEATURE_FLAGS\", {\"A\": True})\n"
        );
    }

    #[test]
    fn depth_costs_no_more_than_size() {
        let words = Value::List((0..200).map(|number| Value::Str(format!("word-{number}"))).collect());
        let deep = (0..200).fold(words, |value, _| Value::List(vec![value]));
        assert!(text(&deep).len() > 200);
    }
}
