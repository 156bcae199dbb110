//! Settings whose part is not built yet in this version.
//!
//! Every key parses from the first release on, so that a file never has to be rewritten; but a setting that would be
//! ignored in silence is worse than one that is refused. This table is the whole list: building a part deletes its lines.

use super::tree::{Node, Value};

/// A key, and the words that it may hold besides its default.
const UNBUILT: &[(&str, &[&str])] = &[
    ("boot.fallback", &[]),
    ("check.require", &["none"]),
    ("check.python", &[]),
    ("check.env_file", &[]),
    ("check.timeout", &[]),
    ("check.memory", &[]),
    ("verify.url", &[]),
    ("verify.successes", &[]),
    ("verify.timeout", &[]),
    ("rollout.slots", &[]),
    ("rollout.settle", &[]),
    ("rollout.soak", &[]),
    ("rollout.canary_wait", &[]),
    ("rollout.allow_protected", &[]),
];

/// Whether `node`, which is not the default of `key`, has an effect in this version.
pub(super) fn is_built(key: &str, node: &Node) -> bool {
    match UNBUILT.iter().find(|(unbuilt, _)| *unbuilt == key) {
        None => true,
        Some((_, words)) => match &node.value {
            Value::Text(text) | Value::Bare(text) => words.contains(&text.as_str()),
            _ => false,
        },
    }
}
