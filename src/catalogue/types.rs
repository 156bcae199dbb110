//! Types: of which a setting's default is, and which others Superset takes in its place.
//!
//! In: a word of the table, such as `int|null`. Out: whether a value of some kind is right, and how to say what is. The
//! table says what Superset's sources say (its default, its annotation); what holds for every setting alike is said here.

/// Of what kind a value is, as Python takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// `None`
    Null = 1,
    /// `bool`
    Bool = 1 << 1,
    /// `int`
    Int = 1 << 2,
    /// `float`
    Float = 1 << 3,
    /// `str`
    Text = 1 << 4,
    /// `list`
    List = 1 << 5,
    /// `tuple`
    Tuple = 1 << 6,
    /// `set`
    Set = 1 << 7,
    /// `dict`
    Mapping = 1 << 8,
    /// `datetime.timedelta`
    Timedelta = 1 << 9,
    /// A function or a class.
    Callable = 1 << 10,
    /// An instance of anything else.
    Object = 1 << 11,
}

/// The kinds, each with the table's word for it and how a person says it.
const KINDS: [(Kind, &str, &str); 12] = [
    (Kind::Mapping, "dict", "a mapping"),
    (Kind::Bool, "bool", "true or false"),
    (Kind::Int, "int", "a whole number"),
    (Kind::Float, "float", "a number"),
    (Kind::Text, "str", "text"),
    (Kind::List, "list", "a list"),
    (Kind::Tuple, "tuple", "a tuple"),
    (Kind::Set, "set", "a set"),
    (Kind::Timedelta, "timedelta", "a duration"),
    (Kind::Callable, "callable", "a function or a class"),
    (Kind::Object, "object", "an object"),
    (Kind::Null, "null", "null"),
];

/// The types that a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Types {
    kinds: u16,
    is_literal: bool,
}

impl Types {
    /// Everything: the default is `None`, or nobody has said.
    pub const ANY: Self = Self { kinds: u16::MAX, is_literal: true };
    /// Truth.
    pub const BOOL: Self = Self { kinds: Kind::Bool as u16, is_literal: true };

    /// Reads a word of the table; `None` for `-`, which says that there is no such setting.
    pub(super) fn parse(word: &str) -> Option<Self> {
        let (names, is_literal) = word.strip_suffix('~').map_or((word, true), |names| (names, false));
        if names == "any" {
            return Some(Self { is_literal, ..Self::ANY });
        }
        let kind = |name: &str| KINDS.iter().find(|(_, word, _)| *word == name).map(|(kind, ..)| *kind as u16);
        let kinds = names.split('|').filter_map(kind).fold(0, |all, kind| all | kind);
        (kinds != 0).then_some(Self { kinds, is_literal })
    }

    /// These or those.
    pub(super) fn or(self, other: Self) -> Self {
        Self { kinds: self.kinds | other.kinds, is_literal: self.is_literal && other.is_literal }
    }

    /// Whether these are among the types.
    #[must_use]
    pub fn has(self, kind: Kind) -> bool {
        self.kinds & kind as u16 != 0
    }

    /// Whether the default is one that a fragment can write without a directive.
    #[must_use]
    pub fn is_literal(self) -> bool {
        self.is_literal
    }

    /// Whether a value of this kind is right. Python takes a whole number for any number. Superset goes through its lists,
    /// looks into them and sends them to the browser, all of which a tuple bears, but not a set: that has no order and no
    /// JSON. A class or a function may make the object that is wanted.
    #[must_use]
    pub fn accept(self, kind: Kind) -> bool {
        self.has(kind)
            || match kind {
                Kind::Int => self.has(Kind::Float),
                Kind::Tuple => self.has(Kind::List),
                Kind::List => self.has(Kind::Tuple),
                Kind::Callable => self.has(Kind::Object),
                _ => false,
            }
    }

    /// What is expected, as a person says it.
    #[must_use]
    pub fn expected(self) -> String {
        let said: Vec<_> = KINDS.iter().filter(|(kind, ..)| self.has(*kind)).map(|(.., said)| *said).collect();
        match said.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => said.concat(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_the_table_is_what_python_takes() {
        let types = Types::parse("int|null").unwrap();
        assert!(types.accept(Kind::Int) && types.accept(Kind::Null));
        assert!(!types.accept(Kind::Bool) && !types.accept(Kind::Float) && !types.accept(Kind::Text));
        assert_eq!(types.expected(), "a whole number or null");
        assert!(Types::parse("float").unwrap().accept(Kind::Int));
        assert!(!Types::parse("bool").unwrap().accept(Kind::Int));
        assert_eq!(Types::parse("-"), None);
    }

    #[test]
    fn a_tuple_stands_for_a_list_and_a_set_does_not() {
        let list = Types::parse("list").unwrap();
        assert!(list.accept(Kind::Tuple) && !list.accept(Kind::Set));
        let set = Types::parse("set").unwrap();
        assert!(!set.accept(Kind::List) && !set.accept(Kind::Tuple));
    }

    #[test]
    fn what_is_no_literal_is_told() {
        let types = Types::parse("callable|str~").unwrap();
        assert!(!types.is_literal() && types.accept(Kind::Text) && types.accept(Kind::Callable));
        assert_eq!(types.expected(), "text or a function or a class");
        let both = Types::parse("dict").unwrap().or(Types::parse("any~").unwrap());
        assert!(both.accept(Kind::Object) && !both.is_literal());
    }
}
