//! The text of Superset's Python config: base, settings, and the header that proves which revision answers.
//!
//! In: the base's text and each setting's value. Out: text, the same for the same input. The parts are laid out so that
//! Python's own order of names does the merging: the base first, then what the tree sets, last the revision's header over
//! whatever either of them put into `OVERRIDE_HTTP_HEADERS`. Names that only this file needs begin with `_setkeeper_`, and
//! Superset takes over uppercase names alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

use imbl::ordmap::DiffItem;

use super::python::{alias, expression, string};
use crate::desired::config::Config;
use crate::model::digest::Revision;
use crate::model::value::{Directive, Value};

/// The response header that names the loaded revision.
pub const REVISION_HEADER: &str = "X-Setkeeper-Revision";

/// The number of this layout. It is part of every revision: change it with whatever changes the text for the same input.
pub const FORMAT: u32 = 1;

const READ_FILE: &str = r#"

def _setkeeper_read(path):
    with open(path, encoding="utf-8") as file:
        return file.read().removesuffix("\n").removesuffix("\r")

"#;

const MERGE: &str = r#"

def _setkeeper_merge(base, over):
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    both = {key: _setkeeper_merge(base[key], over[key]) for key in base.keys() & over.keys()}
    return {**base, **over, **both}

"#;

/// One setting as lines of Python, and the modules that they name.
#[derive(Clone, Debug)]
struct Lines {
    text: String,
    modules: BTreeSet<String>,
    reads: bool,
    merges: bool,
}

/// The settings as Python, each rendered once for as long as its value stays the same.
#[derive(Debug, Default)]
pub struct Settings {
    config: Config,
    lines: BTreeMap<Arc<str>, Lines>,
}

impl Settings {
    /// Takes the resolved settings; only those that differ from last time are rendered again.
    pub fn update(&mut self, config: &Config) {
        let before = std::mem::replace(&mut self.config, config.clone());
        for item in before.settings.diff(&config.settings) {
            match item {
                DiffItem::Add(name, setting) | DiffItem::Update { new: (name, setting), .. } => {
                    self.lines.insert(Arc::clone(name), Lines::of(name, setting.value()));
                }
                DiffItem::Remove(name, _) => drop(self.lines.remove(name)),
            }
        }
    }

    /// Each setting's lines, sorted by name: what a revision is made of.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.lines.values().map(|lines| lines.text.as_str())
    }

    fn modules(&self) -> BTreeSet<&str> {
        self.lines.values().flat_map(|lines| &lines.modules).map(String::as_str).collect()
    }

    /// The whole file.
    #[must_use]
    pub fn file(&self, base: Option<&str>, revision: &Revision) -> String {
        let settings: usize = self.texts().map(str::len).sum();
        let mut text = String::with_capacity(settings + base.map_or(0, str::len) + 2048);
        text.push_str("# Managed by setkeeper; do not edit: whatever is changed here is overwritten.\n");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# Revision {revision}");
        if let Some(base) = base {
            text.push_str("\n# --- base ---\n");
            text.push_str(base.strip_prefix('\u{feff}').unwrap_or(base));
            text.push_str(if base.ends_with('\n') { "" } else { "\n" });
        }
        text.push_str("\n# --- settings ---\n");
        for module in self.modules() {
            let _ = writeln!(text, "import {module} as {}", alias(module));
        }
        text.push_str(if self.lines.values().any(|lines| lines.reads) { READ_FILE } else { "" });
        text.push_str(if self.lines.values().any(|lines| lines.merges) { MERGE } else { "" });
        self.texts().for_each(|lines| text.push_str(lines));
        let (header, revision) = (string(REVISION_HEADER), string(revision.as_str()));
        text.push_str("\n# --- proof of load ---\n");
        let _ = writeln!(
            text,
            "OVERRIDE_HTTP_HEADERS = {{**(globals().get(\"OVERRIDE_HTTP_HEADERS\") or {{}}), {header}: {revision}}}"
        );
        text
    }
}

impl Lines {
    fn of(name: &str, value: &Value) -> Self {
        let expression = expression(value);
        let merges = matches!(value, Value::Directive(Directive::Merge(_)));
        let text = if merges {
            format!("{name} = _setkeeper_merge(globals().get({}), {})\n", string(name), expression.text)
        } else {
            format!("{name} = {}\n", expression.text)
        };
        let reads = expression.text.contains("_setkeeper_read(");
        Self { text, modules: expression.modules, reads, merges }
    }
}
