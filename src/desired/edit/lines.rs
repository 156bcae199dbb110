//! Candidates for an edited text of `key=value` lines.

use super::super::item::Item;
use super::Given;
use super::meaning::{self, Steps, entries, is, json};

/// Candidates with this value at this path.
pub(super) fn set(text: &str, item: &Item, expected: &Item, steps: &Steps, given: &Given) -> Vec<String> {
    let Some(name) = steps.keys.first() else { return Vec::new() };
    let top = Steps { keys: vec![name.clone()], fixed: 0 };
    let plain = (steps.keys.len() == 1 && !given.text.contains('\n')).then(|| given.text.trim().to_owned());
    let json = meaning::at(expected, &top).and_then(json);
    let forms = plain.into_iter().chain(json);
    match line_of(item, name) {
        Some(at) => {
            let lines: Vec<_> = text.split_inclusive('\n').collect();
            let Some((line, (key, _))) = lines.get(at).and_then(|line| Some((line, line.split_once('=')?))) else {
                return Vec::new();
            };
            let end = if line.ends_with('\n') { "\n" } else { "" };
            let (before, after) = (lines[..at].concat(), lines[at + 1..].concat());
            forms.map(|form| format!("{before}{key}={form}{end}{after}")).collect()
        }
        None => {
            let line_end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
            forms.map(|form| format!("{text}{line_end}{name}={form}\n")).collect()
        }
    }
}

/// Candidates without the line of this path.
pub(super) fn unset(text: &str, item: &Item, steps: &Steps) -> Vec<String> {
    let Some(at) = steps.keys.first().and_then(|name| line_of(item, name)) else { return Vec::new() };
    let lines = text.split_inclusive('\n').enumerate().filter(|(index, _)| *index != at).map(|(_, line)| line);
    vec![lines.collect()]
}

/// On which line, counted from 0, a key stands.
fn line_of(item: &Item, name: &str) -> Option<usize> {
    let entry = entries(item).iter().find(|entry| is(&entry.key, name))?;
    usize::try_from(entry.line).ok()?.checked_sub(1)
}
