//! Python expressions: the only way in which a value gets into a Python file.
//!
//! In goes a [`Value`], out comes an expression that evaluates to the same value of the same type, on one line where it fits
//! and else over several, and what the file must import for it. Words are written in `literal`, out of which nothing can
//! break; here they are put between brackets. Same value, same bytes.

pub(super) mod literal;

use std::borrow::Cow;

use crate::model::value::{Directive, Mapping, Value};
use literal::string;

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
            Value::Float(number) => Form::Word(literal::float(*number)),
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
            Directive::Timedelta(microseconds) => owned(Needs::DATETIME, literal::timedelta(*microseconds)),
            Directive::Crontab(fields) => owned(Needs::CRONTAB, literal::crontab(fields)),
            Directive::Ref(name) => {
                let (module, name) = name.split();
                owned(Needs::IMPORT, format!("_setkeeper_import({}, {})", string(module), string(name)))
            }
            Directive::Secret(secret) => Form::Word(string(secret.expose()).into()),
            Directive::Python(text) => Form::Word(literal::raw(text).into()),
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
    mapping.iter().map(|(key, value)| (format!("{}: ", literal::key(key)), value)).collect()
}

#[cfg(test)]
mod tests;
