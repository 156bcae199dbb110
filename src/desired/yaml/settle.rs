//! Settling: what a raw scalar means, and what may be a key.
//!
//! In: [`Raw`] values and the text they came from. Out: items, or every scalar and key that is refused. What a plain scalar
//! means is read from the text itself ([`super::super::scalar`]), because the library follows YAML 1.1 there and knows no
//! integer beyond 64 bits. A refusal names the place and never the scalar (law 9).

use std::collections::BTreeSet;

use serde_yaml::{Location, Spanned};

use super::super::item::{Entry, Item, What};
use super::super::notes::{Field, Notes, shown};
use super::super::scalar::{self, Plain};
use super::raw::Raw;
use crate::model::value::Key;

/// Decides what the scalars mean and what the keys are; `None` where a scalar is refused, which was noted then.
pub(super) fn item(raw: Spanned<Raw>, text: &str, field: &Field<'_>, notes: &mut Notes<'_>) -> Option<Item> {
    let line = raw.referenced.line().max(1);
    let what = match raw.value {
        Raw::List(items) => {
            let settled =
                items.into_iter().enumerate().map(|(index, item)| self::item(item, text, &Field::Item(field, index), notes));
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
        match item(value, text, &Field::Key(field, &key), notes) {
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
