//! Values as fragments and datasources mean them: plain data, and directives for what is not a literal.
//!
//! A [`Value`] is what is left once fragments are merged: `$replace` and `$unset`, which speak to the merge, are not in it.
//! Mappings are sorted, so that the same value always renders to the same bytes.

use std::collections::BTreeMap;
use std::fmt;

use super::secret::SecretText;

/// A key of a mapping.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// `null:`
    Null,
    /// `true:`
    Bool(bool),
    /// `1:`
    Int(i128),
    /// `name:`
    Str(String),
}

/// A mapping of values.
pub type Mapping = BTreeMap<Key, Value>;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// Truth.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// A floating-point number; infinities and not-a-number included.
    Float(f64),
    /// Text.
    Str(String),
    /// A sequence.
    List(Vec<Value>),
    /// A mapping.
    Map(Mapping),
    /// What no literal can say.
    Directive(Directive),
}

/// What a one-key mapping whose key begins with `$` means.
#[derive(Clone, Debug, PartialEq)]
pub enum Directive {
    /// `{$env: NAME}`: an environment variable, read where the value is used.
    Env(String),
    /// `{$file: path}`: a file's content, read where the value is used, without the line end at its end.
    File(String),
    /// `{$timedelta: …}`, in microseconds.
    Timedelta(i64),
    /// `{$tuple: […]}`
    Tuple(Vec<Value>),
    /// `{$set: […]}`
    Set(Vec<Value>),
    /// `{$crontab: "m h dom mon dow"}`: the five fields.
    Crontab(Box<[String; 5]>),
    /// `{$class: {…}}`: a class with those attributes.
    Class(BTreeMap<String, Value>),
    /// `{$object: {class, args, kwargs}}`: an imported class, called.
    Object(Box<Object>),
    /// `{$ref: dotted.name}`: an imported object.
    Ref(DottedName),
    /// `{$merge: {…}}`: merged, as Superset loads, over what the base set.
    Merge(Mapping),
    /// `{$secret: "…"}`: plain text that is a secret wherever it stands.
    Secret(SecretText),
    /// `{$python: "expression"}`: raw Python.
    Python(String),
}

/// What `$object` imports and calls. Boxed, like a crontab's fields, because a tree holds ten thousand values and hardly any of
/// these.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// The dotted name to import and call.
    pub class: DottedName,
    /// Positional arguments.
    pub args: Vec<Value>,
    /// Keyword arguments.
    pub kwargs: BTreeMap<String, Value>,
}

/// A dotted Python name of two parts or more (`cachelib.redis.RedisCache`): identifiers only, so that it can stand in code.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DottedName(String);

impl DottedName {
    /// Takes `text` if it is a dotted name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<_> = text.split('.').collect();
        (parts.len() >= 2 && parts.iter().all(|part| is_identifier(part))).then(|| Self(text.to_owned()))
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The module to import, and the name in it.
    #[must_use]
    pub fn split(&self) -> (&str, &str) {
        self.0.rsplit_once('.').unwrap_or(("", &self.0))
    }
}

/// Whether `text` may name an attribute or an argument: an identifier that is no keyword and no `__name`, which Python
/// gives a meaning of its own.
#[must_use]
pub fn is_attribute(text: &str) -> bool {
    is_identifier(text) && !text.starts_with("__") && !KEYWORDS.contains(&text)
}

const KEYWORDS: [&str; 35] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif", "else",
    "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise",
    "return", "try", "while", "with", "yield",
];

/// Whether `text` is an ASCII Python identifier (keywords are not looked at).
#[must_use]
pub fn is_identifier(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && chars.all(|rest| rest.is_ascii_alphanumeric() || rest == '_')
}

impl Value {
    /// What kind of value it is, as an error message names it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::Str(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
            Self::Directive(_) => "a directive",
        }
    }

    /// Calls `visit` with every directive that holds no other value in it, at any depth of lists and mappings.
    pub fn visit_directives<'a>(&'a self, visit: &mut impl FnMut(&'a Directive)) {
        match self {
            Self::Directive(directive) => visit(directive),
            Self::List(items) => items.iter().for_each(|item| item.visit_directives(visit)),
            Self::Map(map) => map.values().for_each(|value| value.visit_directives(visit)),
            _ => {}
        }
    }

    /// The text, where it is plain text.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }
}

impl Key {
    /// The other key that Python holds for the same one (`1 == True`), where there is one.
    #[must_use]
    pub fn twin(&self) -> Option<Self> {
        match self {
            Self::Bool(truth) => Some(Self::Int((*truth).into())),
            Self::Int(0) => Some(Self::Bool(false)),
            Self::Int(1) => Some(Self::Bool(true)),
            _ => None,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(truth) => write!(f, "{truth}"),
            Self::Int(number) => write!(f, "{number}"),
            Self::Str(text) => f.write_str(text),
        }
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self::Str(text.to_owned())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Str(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dotted_identifiers_are_names() {
        assert_eq!(DottedName::parse("cachelib.redis.RedisCache").unwrap().split(), ("cachelib.redis", "RedisCache"));
        for bad in ["os", "os.", ".os", "os.system('x')", "a b.c", "1a.b", "a..b", "ä.b"] {
            assert!(DottedName::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn attributes_are_no_keywords_and_nothing_that_python_reads_itself() {
        assert!(is_attribute("broker_url") && is_attribute("_x"));
        for bad in ["class", "None", "__slots__", "a.b", "", "1a"] {
            assert!(!is_attribute(bad), "{bad}");
        }
    }

    #[test]
    fn a_value_is_small() {
        assert!(size_of::<Value>() <= 48, "{}", size_of::<Value>());
    }

    #[test]
    fn true_is_one_to_python() {
        assert_eq!(Key::Bool(true).twin(), Some(Key::Int(1)));
        assert_eq!(Key::Int(0).twin(), Some(Key::Bool(false)));
        assert_eq!((Key::Int(2).twin(), Key::from("1").twin()), (None, None));
    }
}
