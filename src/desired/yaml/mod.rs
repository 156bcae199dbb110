//! YAML: a node's text becomes a tree of items with their lines, or problems that say nothing of what the text holds.
//!
//! YAML 1.2, and JSON by the same parser. The library finds structure, anchors, duplicate keys and bombs, within the limits
//! set here, and hands over raw values; `settle` decides what they mean. Nothing here knows directives or settings.

pub(super) mod raw;
mod settle;

use serde_yaml::{Error, NonFiniteFloatPolicy, Spanned};

use super::item::Item;
use super::notes::{Field, Notes, shown};
use raw::Raw;

/// How many bytes a node may have: four times what ZooKeeper takes by default.
const MAX_BYTES: usize = 4 << 20;
/// How deep a value may be nested. The library takes up to 40 KiB of stack a level and a task's thread has 2 MiB.
const MAX_DEPTH: usize = 32;
/// How many values a node may hold, those that aliases repeat included.
const MAX_VALUES: usize = 200_000;

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
        Ok(raw) => settle::item(raw, text, &Field::Root, notes),
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

#[cfg(test)]
mod tests;
