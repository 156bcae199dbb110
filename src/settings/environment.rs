//! Which environment variables are settings.
//!
//! `SETKEEPER_SOURCE__ZOOKEEPER__CONNECT` is `source.zookeeper.connect`. The prefix alone proves nothing: the agent's secrets
//! bear it, and Kubernetes sets `SETKEEPER_PORT`, `SETKEEPER_HTTP_SERVICE_HOST` and their like for services of such names. So a
//! variable is taken for a setting where it has a `__` or names a top-level key, and where it is one slip away from a setting
//! it is refused; every other one is left alone.

use std::sync::Arc;

use super::tree::{Layer, Node, Place};
use crate::model::problem::Problem;

const PREFIX: &str = "SETKEEPER_";
const SECRET_PREFIX: &str = "SETKEEPER_SECRET_";
/// Names the settings file; the command line reads it.
pub(crate) const CONFIG: &str = "SETKEEPER_CONFIG";

/// What a variable is to the settings.
#[derive(Debug, PartialEq)]
pub(super) enum Meaning {
    /// The setting at this dotted key.
    Setting(Vec<String>),
    /// Meant as a setting, but misspelt.
    Slip(Problem),
    /// Nothing.
    Foreign,
}

/// The variable that sets the dotted key `path`.
pub(super) fn variable(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', "__").to_uppercase())
}

/// Where the variable `name` stands.
pub(super) fn layer(name: &str) -> Layer {
    Layer::Variable(Arc::from(name))
}

/// Reads the name of a variable.
pub(super) fn meaning(name: &str, defaults: &Node) -> Meaning {
    let Some(rest) = name.strip_prefix(PREFIX).filter(|_| name != CONFIG && !name.starts_with(SECRET_PREFIX)) else {
        return Meaning::Foreign;
    };
    let path: Vec<_> = rest.split("__").map(str::to_lowercase).collect();
    let is_top_level = |key: &str| defaults.entries().iter().any(|entry| entry.name == key);
    if path.len() > 1 || path.first().is_some_and(|key| is_top_level(key)) {
        return Meaning::Setting(path);
    }
    match slip(rest, defaults) {
        Some(meant) => {
            let problem = Place::within(layer(name)).problem("", "names no setting");
            Meaning::Slip(problem.hint(format!("did you mean {meant}?")))
        }
        None => Meaning::Foreign,
    }
}

/// The variable that was meant by one whose name has single underscores, or one wrong letter in a top-level key.
fn slip(rest: &str, defaults: &Node) -> Option<String> {
    let rest = rest.to_lowercase();
    let flat = |key: &str| key.replace('.', "_");
    if let Some(key) = defaults.leaves().iter().find(|key| key.contains('.') && flat(key) == rest) {
        return Some(variable(key));
    }
    let below = |key: &str| rest.strip_prefix(&format!("{}_", flat(key))).map(|below| variable(&format!("{key}.{below}")));
    if let Some(meant) = OPEN_SECTIONS.iter().find_map(|key| below(key)) {
        return Some(meant);
    }
    let mut keys = defaults.entries().iter().map(|entry| &entry.name);
    keys.find(|key| strsim::damerau_levenshtein(key, &rest) == 1).map(|key| variable(key))
}

/// Sections that the defaults leave empty or null.
const OPEN_SECTIONS: [&str; 4] = ["source.zookeeper.auth", "source.zookeeper.tls", "source.directory", "instance.labels"];

#[cfg(test)]
mod tests {
    use super::super::yaml;
    use super::*;

    fn meaning_of(name: &str) -> Meaning {
        meaning(name, &yaml::defaults(super::super::load::DEFAULTS).unwrap())
    }

    #[test]
    fn settings_secrets_and_strangers_are_told_apart() {
        assert_eq!(meaning_of("SETKEEPER_STATE_DIR"), Meaning::Setting(vec!["state_dir".into()]));
        assert_eq!(meaning_of("SETKEEPER_HTTP__LISTEN"), Meaning::Setting(vec!["http".into(), "listen".into()]));
        for foreign in [
            "SETKEEPER_CONFIG",
            "SETKEEPER_SECRET_SUPERSET",
            "SETKEEPER_SECRET_A__B",
            "SETKEEPER_CACHE",
            "SETKEEPER_SYSTEM",
            "SETKEEPER_PORT",
            "SETKEEPER_PORT_9180_TCP_ADDR",
            "SETKEEPER_HTTP_SERVICE_HOST",
            "HOME",
        ] {
            assert_eq!(meaning_of(foreign), Meaning::Foreign, "{foreign}");
        }
    }

    #[test]
    fn a_slip_is_refused_and_names_what_was_meant() {
        for (slip, meant) in [
            ("SETKEEPER_SOURCE_ZOOKEEPER_CONNECT", "SETKEEPER_SOURCE__ZOOKEEPER__CONNECT"),
            ("SETKEEPER_SOURCE_DIRECTORY_PATH", "SETKEEPER_SOURCE__DIRECTORY__PATH"),
            ("SETKEEPER_INSTANCE_LABELS_ROLE", "SETKEEPER_INSTANCE__LABELS__ROLE"),
            ("SETKEEPER_CLUSTR", "SETKEEPER_CLUSTER"),
        ] {
            let Meaning::Slip(problem) = meaning_of(slip) else { panic!("{slip}") };
            assert_eq!(problem.hint, Some(format!("did you mean {meant}?")));
        }
    }
}
