//! Candidates for an edited YAML text, the plainest first. That one of them is right is for somebody else to find out.

use std::ops::Range;

use super::super::item::{Item, What};
use super::super::scalar::{self, Plain};
use super::Given;
use super::meaning::{Steps, entries, is, json, quoted};
use super::spots::{Shape, Spot};

/// How far a nested line is indented.
const INDENT: usize = 2;

/// How far into a text a path leads.
struct Reached<'s> {
    /// The last mapping on the way.
    map: &'s Spot,
    /// The entry in it that is on the way, and the last one that is there.
    entry: Option<&'s (Range<usize>, Spot)>,
    /// What of the path is not there.
    rest: Vec<String>,
}

/// Candidates with this value at this path.
pub(super) fn set(text: &str, spot: &Spot, item: &Item, steps: &Steps, given: &Given) -> Vec<String> {
    let reached = reach(spot, item, &steps.keys);
    let Some((key, value)) = reached.entry else { return insert(text, &reached, item, given) };
    let Some(colon) = colon(text, key) else { return Vec::new() };
    let indent = column(text, key.start);
    let end = value.at.end.max(colon);
    let forms = if reached.rest.is_empty() { forms(given, indent) } else { nested(&reached.rest, given, indent) };
    forms.into_iter().map(|form| format!("{}{form}{}", &text[..colon], &text[end..])).collect()
}

/// Candidates without the entry at this path, which is there.
pub(super) fn unset(text: &str, spot: &Spot, item: &Item, steps: &Steps) -> Vec<String> {
    let Reached { map, entry: Some((key, value)), .. } = reach(spot, item, &steps.keys) else { return Vec::new() };
    let Shape::Map { is_flow, entries } = &map.shape else { return Vec::new() };
    if *is_flow {
        let index = entries.iter().position(|(other, _)| other == key).unwrap_or_default();
        let until_next = entries.get(index + 1).map(|(next, _)| key.start..next.start);
        let since_last = index.checked_sub(1).map(|last| entries[last].1.at.end..value.at.end);
        return until_next
            .into_iter()
            .chain(since_last)
            .chain(std::iter::once(key.start..value.at.end))
            .map(|cut| without(text, &cut, ""))
            .collect();
    }
    let end = value.at.end.max(key.end);
    let cut = line_start(text, key.start)..text[end..].find('\n').map_or(text.len(), |line_end| end + line_end + 1);
    // Comments on the lines that go stay, on lines of their own.
    let indent = " ".repeat(column(text, key.start));
    let comments: String = Spot::of(&text[cut.clone()])
        .map(|part| part.comments(&text[cut.clone()]))
        .unwrap_or_default()
        .iter()
        .map(|comment| format!("{indent}{comment}\n"))
        .collect();
    let mut candidates = vec![without(text, &cut, &comments)];
    // The last entry of a mapping that must stay.
    candidates.extend(above(text, spot, map).map(|colon| format!("{} {{}}\n{comments}{}", &text[..colon], &text[cut.end..])));
    candidates
}

fn without(text: &str, cut: &Range<usize>, instead: &str) -> String {
    format!("{}{instead}{}", &text[..cut.start], &text[cut.end..])
}

/// The colon of the entry whose value is `map`.
fn above(text: &str, spot: &Spot, map: &Spot) -> Option<usize> {
    let Shape::Map { entries, .. } = &spot.shape else { return None };
    entries.iter().find_map(|(key, value)| if value.at == map.at { colon(text, key) } else { above(text, value, map) })
}

fn reach<'s>(spot: &'s Spot, item: &Item, keys: &[String]) -> Reached<'s> {
    let nothing = Reached { map: spot, entry: None, rest: keys.to_vec() };
    let Shape::Map { entries: spots, .. } = &spot.shape else { return nothing };
    let Some((name, rest)) = keys.split_first() else { return nothing };
    let Some(index) = entries(item).iter().position(|entry| is(&entry.key, name)) else { return nothing };
    let (Some(found), Some(entry)) = (spots.get(index), entries(item).get(index)) else { return nothing };
    match &entry.item.what {
        What::Map(_) if !rest.is_empty() => reach(&found.1, &entry.item, rest),
        _ => Reached { map: spot, entry: Some(found), rest: rest.to_vec() },
    }
}

/// A new entry in the last mapping on the way.
fn insert(text: &str, reached: &Reached<'_>, item: &Item, given: &Given) -> Vec<String> {
    let (map, rest) = (reached.map, &reached.rest);
    match &map.shape {
        Shape::Map { is_flow: true, entries } => {
            let (at, comma) = entries.last().map_or((map.at.start + 1, ""), |(key, last)| (last.at.end.max(key.end), ", "));
            let forms = flow_entries(rest, given);
            forms.into_iter().map(|form| format!("{}{comma}{form}{}", &text[..at], &text[at..])).collect()
        }
        Shape::Map { is_flow: false, entries } => {
            let Some(((first, _), (key, last))) = entries.first().zip(entries.last()) else { return Vec::new() };
            let end = last.at.end.max(key.end);
            let end = text[end..].find('\n').map_or(text.len(), |line_end| end + line_end);
            let indent = column(text, first.start);
            let form = |form: String| format!("{}\n{}{form}{}", &text[..end], " ".repeat(indent), &text[end..]);
            block_entries(rest, given, indent).into_iter().map(form).map(ended).collect()
        }
        _ if matches!(item.what, What::Null) => {
            let line_end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
            block_entries(rest, given, 0).into_iter().map(|form| format!("{text}{line_end}{form}\n")).collect()
        }
        _ => Vec::new(),
    }
}

fn ended(text: String) -> String {
    if text.ends_with('\n') { text } else { text + "\n" }
}

/// What may stand after a key's colon: the value as it was written, on one line or below, or as JSON.
fn forms(given: &Given, indent: usize) -> Vec<String> {
    let below: String = given.text.lines().map(|line| format!("\n{}{line}", " ".repeat(indent + INDENT))).collect();
    let on_line = (!given.text.contains('\n')).then(|| format!(" {}", given.text.trim()));
    on_line.into_iter().chain([below]).chain(json(&given.item).map(|json| format!(" {json}"))).collect()
}

/// The same for keys that are not there yet.
fn nested(keys: &[String], given: &Given, indent: usize) -> Vec<String> {
    let below = block_entries(keys, given, indent + INDENT);
    let below = below.into_iter().map(|form| format!("\n{}{form}", " ".repeat(indent + INDENT)));
    below.chain(flow_entries(keys, given).into_iter().map(|form| format!(" {{{form}}}"))).collect()
}

fn block_entries(keys: &[String], given: &Given, indent: usize) -> Vec<String> {
    let Some((last, above)) = keys.split_last() else { return Vec::new() };
    let (mut head, mut indent) = (String::new(), indent);
    for name in above {
        indent += INDENT;
        head.push_str(&format!("{}:\n{}", key_text(name), " ".repeat(indent)));
    }
    forms(given, indent).into_iter().map(|form| format!("{head}{}:{form}", key_text(last))).collect()
}

fn flow_entries(keys: &[String], given: &Given) -> Vec<String> {
    let plain = (!given.text.contains('\n')).then(|| given.text.trim().to_owned());
    let wrap = |value: String| {
        keys.iter().rev().enumerate().fold(value, |inner, (depth, name)| match depth {
            0 => format!("{}: {inner}", quoted(name)),
            _ => format!("{}: {{{inner}}}", quoted(name)),
        })
    };
    json(&given.item).into_iter().chain(plain).map(wrap).collect()
}

/// A key as it is written in a block: plain where that is the same text.
fn key_text(name: &str) -> String {
    let is_plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    let reads_back = || matches!(scalar::read(name), Plain::Text);
    if is_plain && reads_back() { name.to_owned() } else { quoted(name) }
}

/// After the colon of this key.
fn colon(text: &str, key: &Range<usize>) -> Option<usize> {
    let rest = text.get(key.end..)?;
    let after = rest.trim_start_matches([' ', '\t']).strip_prefix(':')?;
    Some(text.len() - after.len())
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |line_end| line_end + 1)
}

fn column(text: &str, at: usize) -> usize {
    text[line_start(text, at)..at].chars().count()
}
