//! YAML: a node's text becomes a tree of items with their lines, or problems that say nothing of what the text holds.
//!
//! YAML 1.2, and JSON by the same parser. The library finds structure, anchors, duplicate keys and bombs; what a plain
//! scalar means is decided here ([`super::scalar`]), from the text itself, because the library follows YAML 1.1 there and
//! knows no integer beyond 64 bits. Nothing here knows directives or settings.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::{Error, Location, NonFiniteFloatPolicy, Spanned};

use super::notes::{Field, Notes, shown};
use super::scalar::{self, Plain};
use crate::model::value::Key;

/// How many bytes a node may have: four times what ZooKeeper takes by default.
const MAX_BYTES: usize = 4 << 20;
/// How deep a value may be nested. The library takes up to 40 KiB of stack a level and a task's thread has 2 MiB.
const MAX_DEPTH: usize = 32;
/// How many values a node may hold, those that aliases repeat included.
const MAX_VALUES: usize = 200_000;

/// One value, and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// The line, counted from 1.
    pub line: u64,
    /// What it is.
    pub what: What,
}

/// What an item is, before anybody asks what it means.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// Nothing.
    Null,
    /// Truth.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// A number.
    Float(f64),
    /// Text.
    Text(String),
    /// A sequence.
    List(Vec<Item>),
    /// A mapping, in the order in which it was written.
    Map(Vec<Entry>),
}

/// One key of a mapping, and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// The key's line.
    pub line: u64,
    /// The value.
    pub item: Item,
}

impl What {
    /// What kind of value it is, as a problem names it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

/// Reads a node's bytes as text, without a byte-order mark; `None` when that was noted as a problem.
pub fn text<'a>(bytes: &'a [u8], notes: &mut Notes<'_>) -> Option<&'a str> {
    if bytes.len() > MAX_BYTES {
        notes.error(None, &Field::Root, format!("expected at most {} MiB, found {} bytes", MAX_BYTES >> 20, bytes.len()));
        return None;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(error) => {
            let line = bytes[..error.valid_up_to()].split(|byte| *byte == b'\n').count() as u64;
            notes.error(line, &Field::Root, "expected text in UTF-8, found other bytes");
            None
        }
    }
}

/// Reads one YAML document; `None` when there is no such document, which was noted then.
pub fn parse(text: &str, notes: &mut Notes<'_>) -> Option<Item> {
    match serde_yaml::from_str_with_options::<Spanned<Raw>>(text, options()) {
        Ok(raw) => settle(raw, text, &Field::Root, notes),
        Err(error) => {
            let line = error.location().map(|location| location.line()).filter(|line| *line > 0);
            notes.error(line, &Field::Root, describe(error.without_snippet()));
            None
        }
    }
}

pub(super) fn options() -> serde_yaml::Options {
    serde_yaml::options! {
        budget: serde_yaml::budget! { max_depth: MAX_DEPTH, max_nodes: MAX_VALUES, simple_key_max_lookahead: MAX_BYTES, max_merge_keys: 1000 },
        alias_limits: serde_yaml::alias_limits! { max_total_replayed_events: MAX_VALUES },
        emit_comments: false,
        strict_booleans: true,
        reject_unsupported_tags: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
    }
}

/// Says what is wrong in words of our own: the library's may quote the text, and the text may be a secret.
fn describe(error: &Error) -> String {
    let text = match error {
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            return format!("the key `{}` is there twice in one mapping", shown(key));
        }
        Error::DuplicateMappingKey { .. } => "a key is there twice in one mapping",
        Error::MultipleDocuments { .. } => "expected one YAML document, found another after it",
        Error::UnsupportedTag { .. } => "a YAML tag (`!name`) means nothing here; expected plain data or a `$` directive",
        Error::UnknownAnchor { .. } => "an alias (`*name`) refers to an anchor that is not there",
        Error::RecursiveReferencesRequireWeakTypes { .. } => "an anchor contains itself",
        Error::MergeValueNotMapOrSeqOfMaps { .. } => "expected a mapping after `<<`",
        Error::Budget { breach, .. } => return describe_breach(breach),
        Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => "its aliases repeat too much",
        Error::AliasError { error, .. } => return describe(error),
        // The scanner's own messages are fixed sentences about syntax.
        Error::ExternalMessage { msg, .. } if msg.contains("recursion limit") => return too_deep(),
        Error::ExternalMessage { msg, .. } => return format!("expected YAML or JSON: {msg}"),
        Error::Eof { .. } => "expected YAML or JSON: the text ends too early",
        _ => "expected YAML or JSON: a value that does not fit its tag or place",
    };
    text.to_owned()
}

fn describe_breach(breach: &serde_yaml::budget::BudgetBreach) -> String {
    use serde_yaml::budget::BudgetBreach as Breach;
    match breach {
        Breach::Depth { .. } => too_deep(),
        Breach::Nodes { .. } | Breach::Events { .. } => {
            format!("holds more than {MAX_VALUES} values, those repeated by aliases included")
        }
        _ => "its anchors, aliases or merge keys are too many".to_owned(),
    }
}

fn too_deep() -> String {
    format!("is nested more than {MAX_DEPTH} levels deep")
}

/// What the library makes of a value.
#[derive(Debug)]
pub(super) enum Raw {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Raw, E> {
        Ok(Raw::Int(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Raw, E> {
        Ok(Raw::Int(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Raw, E> {
        Ok(Raw::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Raw, E> {
        Ok(Raw::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

/// Decides what the scalars mean and what the keys are; `None` where a scalar is refused, which was noted then.
fn settle(raw: Spanned<Raw>, text: &str, field: &Field<'_>, notes: &mut Notes<'_>) -> Option<Item> {
    let line = raw.referenced.line().max(1);
    let what = match raw.value {
        Raw::List(items) => {
            let settled =
                items.into_iter().enumerate().map(|(index, item)| settle(item, text, &Field::Item(field, index), notes));
            // All are settled before any is missed, so that every problem is noted.
            What::List(settled.collect::<Vec<_>>().into_iter().collect::<Option<_>>()?)
        }
        Raw::Map(entries) => What::Map(settle_entries(entries, text, field, notes)?),
        scalar => settle_scalar(scalar, raw.defined, text).map_err(|message| notes.error(line, field, message)).ok()?,
    };
    Some(Item { line, what })
}

fn settle_entries(
    entries: Vec<(Spanned<Raw>, Spanned<Raw>)>,
    text: &str,
    field: &Field<'_>,
    notes: &mut Notes<'_>,
) -> Option<Vec<Entry>> {
    let mut seen = BTreeSet::new();
    let mut settled = Vec::with_capacity(entries.len());
    let mut whole = true;
    for (key, value) in entries {
        let line = key.referenced.line().max(1);
        let key = match settle_key(key, text) {
            Ok(key) => key,
            Err(message) => {
                notes.error(line, field, message);
                whole = false;
                continue;
            }
        };
        let twin = key.twin().filter(|twin| seen.contains(twin));
        if twin.is_some() || !seen.insert(key.clone()) {
            notes.error(
                line,
                field,
                format!(
                    "the key `{}` is there twice in one mapping: to Python, true is 1 and false is 0",
                    shown(&key.to_string())
                ),
            );
            whole = false;
        }
        match settle(value, text, &Field::Key(field, &key), notes) {
            Some(item) => settled.push(Entry { key, line, item }),
            None => whole = false,
        }
    }
    whole.then_some(settled)
}

fn settle_key(key: Spanned<Raw>, text: &str) -> Result<Key, &'static str> {
    const KINDS: &str = "expected text, a whole number, true, false or null as a key";
    match key.value {
        Raw::List(_) | Raw::Map(_) => Err(KINDS),
        scalar => match settle_scalar(scalar, key.defined, text)? {
            What::Null => Ok(Key::Null),
            What::Bool(truth) => Ok(Key::Bool(truth)),
            What::Int(number) => Ok(Key::Int(number)),
            What::Text(text) => Ok(Key::Str(text)),
            _ => Err(KINDS),
        },
    }
}

fn settle_scalar(scalar: Raw, place: Location, text: &str) -> Result<What, &'static str> {
    let plain = source(place, text).filter(|(before, word)| is_plain(before, word)).map(|(_, word)| scalar::read(word));
    Ok(match (plain, scalar) {
        (Some(Plain::Refused(message)), _) => return Err(message),
        // Beyond 64 bits the library makes a float of a whole number.
        (Some(Plain::Int(number)), Raw::Float(_)) | (_, Raw::Int(number)) => What::Int(number),
        (_, Raw::Float(number)) => What::Float(number),
        (_, Raw::Null) => What::Null,
        (_, Raw::Bool(truth)) => What::Bool(truth),
        (_, Raw::Text(text)) => What::Text(text),
        (_, Raw::List(_) | Raw::Map(_)) => return Err("expected a scalar"),
    })
}

/// The scalar as it is written, and what stands before it.
fn source(place: Location, text: &str) -> Option<(&str, &str)> {
    let span = place.span();
    let start = usize::try_from(span.byte_offset()?).ok()?;
    let end = start.checked_add(usize::try_from(span.byte_len()?).ok()?)?;
    Some((text.get(..start)?, text.get(start..end)?))
}

/// Whether a scalar is plain: neither quoted nor a block (`|`, `>`) nor tagged. The library does not tell.
fn is_plain(before: &str, word: &str) -> bool {
    if word.starts_with(['"', '\'']) {
        return false;
    }
    let mut tokens = before.rsplit(|c: char| c.is_ascii_whitespace()).filter(|token| !token.is_empty());
    !tokens.find(|token| !token.starts_with('&')).is_some_and(|token| is_block_header(token) || is_tag(token))
}

/// `|`, `>-`, `|2+`
fn is_block_header(token: &str) -> bool {
    token.strip_prefix(['|', '>']).is_some_and(|rest| rest.len() <= 2 && rest.chars().all(|c| matches!(c, '+' | '-' | '1'..='9')))
}

/// `!`, `!!str`, `!<tag:yaml.org,2002:str>`
fn is_tag(token: &str) -> bool {
    token.strip_prefix('!').is_some_and(|rest| match rest.strip_prefix('!') {
        Some(name) => name.chars().all(|c| c.is_ascii_alphanumeric()),
        None => rest.is_empty() || (rest.starts_with('<') && rest.ends_with('>')),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::snapshot::Origin;

    fn read(text: &str) -> Result<What, Vec<String>> {
        let origin = Origin::new("/n");
        let mut notes = Notes::new(&origin);
        let item = parse(text, &mut notes);
        let problems: Vec<_> = notes.into_problems().iter().map(ToString::to_string).collect();
        item.filter(|_| problems.is_empty()).map(|item| item.what).ok_or(problems)
    }

    fn values(text: &str) -> Vec<What> {
        match read(text).unwrap() {
            What::Map(entries) => entries.into_iter().map(|entry| entry.item.what).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn scalars_mean_what_yaml_1_2_says() {
        let text = "a: 18446744073709551616\nb: 'no'\nc: |-\n  012\nd: !!str 012\ne: nan\nf: !!float 12\ng: &x 7\nh: *x\ni: \"1_0\"\nj: >\n  yes\n";
        let text_of = |text: &str| What::Text(text.to_owned());
        let expected = vec![
            What::Int(1 << 64),
            text_of("no"),
            text_of("012"),
            text_of("012"),
            text_of("nan"),
            What::Int(12),
            What::Int(7),
            What::Int(7),
            text_of("1_0"),
            text_of("yes\n"),
        ];
        let found = values(text);
        assert_eq!(found[..5], expected[..5]);
        assert_eq!(found[5], What::Float(12.0));
        assert_eq!(found[6..], expected[6..]);
    }

    #[test]
    fn a_plain_scalar_is_told_from_a_tagged_or_a_block_whatever_its_key() {
        for key in ["\"a >\"", "\"a |x\"", "\"a !\"", "\"b !!str\"", "? &q \"!\"\n"] {
            assert!(read(&format!("{key}: yes")).is_err(), "{key}");
        }
        for header in ["|", "|-", ">2-", "!!str", "!", "!<tag:yaml.org,2002:str>", "!!str &a"] {
            let space = if header.starts_with(['|', '>']) { "\n  " } else { " " };
            assert!(read(&format!("a: {header}{space}yes")).is_ok(), "{header}");
        }
    }

    #[test]
    fn json_is_read_by_the_same_parser() {
        let json = "{\"a\":\t1,\n\t\"b\": [true, null, 1.5e3],\n\t\"c\": \"\\ud83d\\ude00 \\/ \\u0000\"}";
        let expected = vec![
            What::Int(1),
            What::List(vec![
                Item { line: 2, what: What::Bool(true) },
                Item { line: 2, what: What::Null },
                Item { line: 2, what: What::Float(1500.0) },
            ]),
            What::Text("😀 / \0".to_owned()),
        ];
        assert_eq!(values(json), expected);
        let long = format!("{{\"{}\": 1}}", "k".repeat(5000));
        assert_eq!(values(&long), [What::Int(1)]);
    }

    #[test]
    fn all_scalars_that_are_refused_are_told_at_once() {
        let problems = read("a: yes\nb: [1, 012, {c: 1_000}]\n2001: x\nno: 1\n1.5: x\n? [k]\n: v\ntrue: a\n1: b\n").unwrap_err();
        let start = |line: &str| problems.iter().any(|problem| problem.starts_with(line));
        for line in [
            "/n:1: a: expected true",
            "/n:2: b[1]: expected a number",
            "/n:2: b[2].c: expected",
            "/n:4: expected true",
            "/n:5: expected text",
        ] {
            assert!(start(line), "{line} in {problems:#?}");
        }
        assert!(start("/n:6: expected text") && start("/n:9: the key `1` is there twice"), "{problems:#?}");
    }

    #[test]
    fn what_is_no_yaml_is_told_with_its_line_and_not_quoted() {
        for (text, expected) in [
            ("a: 1\nb: 2\na: hunter2", "/n:3: the key `a` is there twice in one mapping"),
            ("{\"a\": 1, \"a\": 2}", "/n:1: the key `a` is there twice in one mapping"),
            ("a: 1\n---\nb: hunter2", "/n:3: expected one YAML document, found another after it"),
            ("a: !hunter2 1", "/n:1: a YAML tag (`!name`) means nothing here; expected plain data or a `$` directive"),
            ("a: *hunter2", "/n:1: an alias (`*name`) refers to an anchor that is not there"),
            ("a: &a [*a]", "/n:1: an anchor contains itself"),
            ("\n{a: [}", "/n:2: expected YAML or JSON: mismatched bracket '[' closed by '}'"),
            ("a: {<<: 1}", "/n:1: expected a mapping after `<<`"),
            ("a: \"hunter2", "/n:1: expected YAML or JSON: "),
            ("a:\n\tb: hunter2", "/n:2: expected YAML or JSON: "),
            ("a: \"\\ud800hunter2\"", "/n:1: expected YAML or JSON: "),
            ("\u{0}\u{1}hunter2", "/n:1: expected YAML or JSON: "),
            ("a: !!int hunter2", "/n:1: expected YAML or JSON: "),
            ("a: !!binary hunter2*", "/n:1: expected YAML or JSON: "),
            ("hunter2: [", "/n:1: expected YAML or JSON: "),
        ] {
            let problems = read(text).unwrap_err();
            assert!(problems[0].starts_with(expected), "{text:?}: {problems:?}");
            assert!(!problems[0].contains("hunter2"), "{problems:?}");
        }
    }

    #[test]
    fn bombs_and_depths_are_refused_before_they_cost_much() {
        let mut bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned();
        for name in b'b'..=b'l' {
            let earlier = char::from(name - 1);
            let aliases = [format!("*{earlier}").as_str(); 9].join(",");
            bomb.extend([format!("{0}: &{0} [{aliases}]\n", char::from(name))]);
        }
        let wide = format!("a: [{}]", "1,".repeat(300_000));
        for text in [
            bomb,
            wide,
            "[".repeat(1_000_000),
            "? ".repeat(1_000_000),
            "- ".repeat(1_000_000),
            "{a: ".repeat(100),
            format!("{}{}", "[".repeat(33), "]".repeat(33)),
        ] {
            let start = std::time::Instant::now();
            assert!(read(&text).is_err());
            // Debug builds take up to a second here, a parser without a budget for ever.
            assert!(start.elapsed().as_secs() < 20);
        }
    }

    #[test]
    fn what_is_deep_but_not_too_deep_is_read() {
        assert!(read(&format!("{}1{}", "{a: ".repeat(31), "}".repeat(31))).is_ok());
        assert!(read(&format!("{}1", "- ".repeat(31))).is_ok());
    }

    #[test]
    fn bytes_that_are_no_text_are_told() {
        let origin = Origin::new("/n");
        let mut notes = Notes::new(&origin);
        assert_eq!(text(b"a: 1\n\xff\xfe", &mut notes), None);
        assert_eq!(text(&vec![b' '; MAX_BYTES + 1], &mut notes), None);
        assert_eq!(text("\u{feff}a".as_bytes(), &mut notes), Some("a"));
        let problems: Vec<_> = notes.into_problems().iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            ["/n: expected at most 4 MiB, found 4194305 bytes", "/n:2: expected text in UTF-8, found other bytes"]
        );
    }
}
