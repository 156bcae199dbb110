//! `config explain`: which fragment each part of a setting comes from.

use std::process::ExitCode;

use serde::Serialize;
use serde_json::Value as Json;

use super::super::tree;
use crate::cli::Shared;
use crate::desired::explain::{Leaf, explain};
use crate::desired::{redact, written};
use crate::output::{self, Advice};
use crate::settings::Settings;

/// One part, and where it comes from.
#[derive(Serialize)]
struct Part {
    key: String,
    value: Json,
    fragment: String,
    line: u64,
}

/// Prints every part of a setting with its fragment.
pub(super) fn run(shared: &Shared, settings: &Settings, key: &str, reveal: bool) -> anyhow::Result<ExitCode> {
    let seen = tree::block_on(tree::read(settings))?;
    let (resolver, resolution) = seen.resolve(settings);
    if let Err(held) = &resolution.config {
        output::say(&format!("warning: this is not what the instance runs: {held}"));
    }
    let parts: Vec<_> = explain(resolver.fragments(), key).iter().map(|leaf| part(leaf, reveal)).collect();
    if parts.is_empty() {
        let message = format!("no fragment sets {key} for this instance");
        let hint = "what no fragment sets has Superset's own default, or what the base sets".to_owned();
        return Err(Advice { message, hint }.into());
    }
    output::print(shared.output, parts.as_slice(), |parts| {
        output::table(["KEY", "VALUE", "FRAGMENT", "LINE"], parts.iter().map(row))
    })?;
    Ok(ExitCode::SUCCESS)
}

fn part(leaf: &Leaf, reveal: bool) -> Part {
    let value = if reveal { leaf.value.clone() } else { redact::at(leaf.path.iter(), &leaf.value) };
    Part { key: leaf.dotted(), value: written::json(&value), fragment: leaf.origin.as_str().to_owned(), line: leaf.line }
}

fn row(part: &Part) -> [String; 4] {
    [part.key.clone(), part.value.to_string(), part.fragment.clone(), part.line.to_string()]
}
