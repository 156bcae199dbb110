//! Values as Python expressions.
//!
//! Everything that comes from a znode passes through here as a typed literal, so that no content can break out of one: text
//! is escaped to printable ASCII, numbers are written by this program, names have been parsed as dotted identifiers. The
//! one exception is `$python`, which the operator must have allowed. The same value always makes the same text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::model::value::{Directive, Key, Mapping, Value};

/// How far a nested line is indented.
const INDENT: &str = "    ";
/// Up to which width a list or a mapping stays on one line.
const WIDTH: usize = 100;

/// A Python expression, and what it needs to be imported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expression {
    /// The expression.
    pub text: String,
    /// Modules that it names.
    pub modules: BTreeSet<String>,
}

/// The expression that evaluates to `value`.
///
/// `$merge` counts as its mapping here; what it merges over is for whoever knows the setting's name.
#[must_use]
pub fn expression(value: &Value) -> Expression {
    let mut writer = Writer::default();
    let text = writer.value(value, 0);
    Expression { text, modules: writer.modules }
}

/// `text` as a Python string literal.
#[must_use]
pub fn string(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() + 2);
    literal.push('"');
    for c in text.chars() {
        match c {
            '"' => literal.push_str("\\\""),
            '\\' => literal.push_str("\\\\"),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\t' => literal.push_str("\\t"),
            ' '..='~' => literal.push(c),
            // Writing to a String cannot fail.
            c if u32::from(c) <= 0xff => drop(write!(literal, "\\x{:02x}", u32::from(c))),
            c if u32::from(c) <= 0xffff => drop(write!(literal, "\\u{:04x}", u32::from(c))),
            c => drop(write!(literal, "\\U{:08x}", u32::from(c))),
        }
    }
    literal.push('"');
    literal
}

#[derive(Default)]
struct Writer {
    modules: BTreeSet<String>,
}

impl Writer {
    fn value(&mut self, value: &Value, depth: usize) -> String {
        match value {
            Value::Null => "None".to_owned(),
            Value::Bool(truth) => python_bool(*truth).to_owned(),
            Value::Int(number) => number.to_string(),
            Value::Float(number) => float(*number),
            Value::Str(text) => string(text),
            Value::List(items) => self.items("[", items, "]", depth),
            Value::Map(map) => self.mapping(map, depth),
            Value::Directive(directive) => self.directive(directive, depth),
        }
    }

    fn directive(&mut self, directive: &Directive, depth: usize) -> String {
        match directive {
            Directive::Env(name) => {
                self.needs("os");
                format!("_setkeeper_os.environ[{}]", string(name))
            }
            Directive::File(path) => format!("_setkeeper_read({})", string(path)),
            Directive::Timedelta(microseconds) => {
                self.needs("datetime");
                timedelta(*microseconds)
            }
            Directive::Tuple(items) if items.len() == 1 => format!("({},)", self.value(&items[0], depth)),
            Directive::Tuple(items) => self.items("(", items, ")", depth),
            Directive::Set(items) if items.is_empty() => "set()".to_owned(),
            Directive::Set(items) => self.items("{", items, "}", depth),
            Directive::Crontab(fields) => {
                self.needs("celery.schedules");
                crontab(fields)
            }
            Directive::Class(attributes) => self.class(attributes, depth),
            Directive::Object { class, args, kwargs } => self.object(class.split(), args, kwargs, depth),
            Directive::Ref(name) => self.reference(name.split()),
            Directive::Merge(map) => self.mapping(map, depth),
            Directive::Secret(text) => string(text.expose()),
            Directive::Python(code) => format!("({code}\n)"),
        }
    }

    fn needs(&mut self, module: &str) {
        self.modules.insert(module.to_owned());
    }

    fn reference(&mut self, (module, name): (&str, &str)) -> String {
        self.needs(module);
        format!("{}.{name}", alias(module))
    }

    /// Keyword arguments go in as a mapping: there a name is text and cannot be a keyword or break out.
    fn object(&mut self, class: (&str, &str), args: &[Value], kwargs: &BTreeMap<String, Value>, depth: usize) -> String {
        let callee = self.reference(class);
        let mut arguments: Vec<_> = args.iter().map(|arg| self.value(arg, depth + 1)).collect();
        if !kwargs.is_empty() {
            arguments.push(format!("**{}", self.named(kwargs, "{", "}", depth + 1)));
        }
        enclosed(&format!("{callee}("), &arguments, ")", depth)
    }

    /// A class made by a call, so that it can stand within an expression.
    fn class(&mut self, attributes: &BTreeMap<String, Value>, depth: usize) -> String {
        self.named(attributes, "type(\"SetkeeperClass\", (), {", "})", depth)
    }

    fn named(&mut self, values: &BTreeMap<String, Value>, open: &str, close: &str, depth: usize) -> String {
        let items: Vec<_> =
            values.iter().map(|(name, value)| format!("{}: {}", string(name), self.value(value, depth + 1))).collect();
        enclosed(open, &items, close, depth)
    }

    fn items(&mut self, open: &str, items: &[Value], close: &str, depth: usize) -> String {
        let items: Vec<_> = items.iter().map(|item| self.value(item, depth + 1)).collect();
        enclosed(open, &items, close, depth)
    }

    fn mapping(&mut self, map: &Mapping, depth: usize) -> String {
        let items: Vec<_> = map.iter().map(|(name, value)| format!("{}: {}", key(name), self.value(value, depth + 1))).collect();
        enclosed("{", &items, "}", depth)
    }
}

/// The name under which the generated code imports a module: one that no setting and no base has.
#[must_use]
pub fn alias(module: &str) -> String {
    // Underscores are doubled first, so that no two modules share a name.
    format!("_setkeeper_{}", module.replace('_', "__").replace('.', "_dot_"))
}

fn key(key: &Key) -> String {
    match key {
        Key::Null => "None".to_owned(),
        Key::Bool(truth) => python_bool(*truth).to_owned(),
        Key::Int(number) => number.to_string(),
        Key::Str(text) => string(text),
    }
}

fn python_bool(truth: bool) -> &'static str {
    if truth { "True" } else { "False" }
}

fn float(number: f64) -> String {
    if number.is_nan() {
        "float(\"nan\")".to_owned()
    } else if number.is_infinite() {
        let sign = if number > 0.0 { "" } else { "-" };
        format!("float(\"{sign}inf\")")
    } else {
        // Rust's `{:?}` is the shortest text that reads back as the same number, always with a point or an exponent.
        format!("{number:?}")
    }
}

fn timedelta(microseconds: i64) -> String {
    let (seconds, rest) = (microseconds.div_euclid(1_000_000), microseconds.rem_euclid(1_000_000));
    let rest = if rest == 0 { String::new() } else { format!(", microseconds={rest}") };
    format!("_setkeeper_datetime.timedelta(seconds={seconds}{rest})")
}

fn crontab(fields: &[String; 5]) -> String {
    let [minute, hour, day, month, weekday] = fields.each_ref().map(|field| string(field));
    let names = format!("minute={minute}, hour={hour}, day_of_month={day}, month_of_year={month}, day_of_week={weekday}");
    format!("{}.crontab({names})", alias("celery.schedules"))
}

fn enclosed(open: &str, items: &[String], close: &str, depth: usize) -> String {
    let length: usize = items.iter().map(|item| item.len() + 2).sum();
    let is_short = length + open.len() + depth * INDENT.len() <= WIDTH && !items.iter().any(|item| item.contains('\n'));
    if is_short {
        return format!("{open}{}{close}", items.join(", "));
    }
    let (inner, outer) = (INDENT.repeat(depth + 1), INDENT.repeat(depth));
    let lines: String = items.iter().map(|item| format!("{inner}{item},\n")).collect();
    format!("{open}\n{lines}{outer}{close}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::value::DottedName;

    fn text(value: &Value) -> String {
        expression(value).text
    }

    #[test]
    fn no_text_breaks_out_of_its_literal() {
        let nasty = "\"\"\"\\\n\r\0'#{}\u{2028}\u{1f600}é\")";
        let literal = string(nasty);
        assert!(literal.chars().all(|c| (' '..='~').contains(&c)), "{literal}");
        assert_eq!(literal, r#""\"\"\"\\\n\r\x00'#{}\u2028\U0001f600\xe9\")""#);
    }

    #[test]
    fn numbers_keep_their_type() {
        assert_eq!(text(&Value::Int(1)), "1");
        assert_eq!(text(&Value::Float(1.0)), "1.0");
        assert_eq!(text(&Value::Float(-0.0)), "-0.0");
        assert_eq!(text(&Value::Float(1e300)), "1e300");
        assert_eq!(text(&Value::Float(f64::NEG_INFINITY)), "float(\"-inf\")");
    }

    #[test]
    fn directives_become_code() {
        let of = |directive| text(&Value::Directive(directive));
        assert_eq!(of(Directive::Env("A".into())), "_setkeeper_os.environ[\"A\"]");
        assert_eq!(of(Directive::Timedelta(5_400_000_000)), "_setkeeper_datetime.timedelta(seconds=5400)");
        assert_eq!(of(Directive::Timedelta(-1)), "_setkeeper_datetime.timedelta(seconds=-1, microseconds=999999)");
        assert_eq!(of(Directive::Tuple(vec![Value::Int(1)])), "(1,)");
        assert_eq!(of(Directive::Tuple(vec![])), "()");
        assert_eq!(of(Directive::Set(vec![])), "set()");
        let redis = DottedName::parse("cachelib.redis.RedisCache").unwrap();
        let kwargs = BTreeMap::from([("host".to_owned(), Value::from("r"))]);
        let object = Directive::Object { class: redis, args: vec![], kwargs };
        assert_eq!(of(object), "_setkeeper_cachelib_dot_redis.RedisCache(**{\"host\": \"r\"})");
    }

    #[test]
    fn long_values_go_over_lines_with_their_keys_sorted() {
        let map = (0..30).rev().map(|n| (Key::Str(format!("KEY_{n:02}")), Value::Int(n))).collect();
        let text = text(&Value::Map(map));
        assert!(text.starts_with("{\n    \"KEY_00\": 0,\n    \"KEY_01\": 1,\n"), "{text}");
        assert!(text.ends_with("    \"KEY_29\": 29,\n}"), "{text}");
    }
}
