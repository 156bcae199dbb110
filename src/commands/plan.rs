//! `plan`: what this instance would do if it led, step by step, and nothing of it done.
//!
//! The same pure rooms as the agent's, with what this machine and Superset hold now: the files first, then the connections.
//! What keeps a part from being planned (a config in error, a tree that is held, a Superset that is down) does not keep the
//! rest from being shown; the command fails then. Secrets are masked unless they are to be shown.

use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;

use super::{connections, given, mask, render, rendering, tree};
use crate::cli::{Reveal, Shared};
use crate::desired::config::Config;
use crate::desired::guard::{self, Inventory};
use crate::desired::resolver::Resolution;
use crate::files;
use crate::files::state::{self, LastGood};
use crate::model::digest::DigestKey;
use crate::model::instance::role;
use crate::model::problem::Problem;
use crate::output::{self, Advice, advised};
use crate::plan::files::{FileSeen, FileStep, FileWanted, Loaded, plan};
use crate::rollout::journal::Journal;
use crate::settings::Settings;
use crate::superset::reload::{Place, Way};

/// One step as it is shown.
#[derive(Serialize)]
pub(super) struct Shown {
    /// What would be done.
    pub step: &'static str,
    /// To what.
    pub target: String,
    /// What would be different then.
    pub diff: String,
}

/// All steps.
#[derive(Serialize)]
struct Plan {
    steps: Vec<Shown>,
}

/// Prints the plan. With `exit_code`, the code tells whether there is anything to do.
pub(super) fn run(shared: &Shared, exit_code: bool, reveal: Reveal) -> anyhow::Result<ExitCode> {
    let settings = given::settings(shared)?;
    let mut failures = Vec::new();
    let steps = tree::block_on(steps(&settings, reveal.reveal, &mut failures))?;
    let plan = Plan { steps };
    if failures.is_empty() && plan.steps.is_empty() {
        output::say("nothing to do");
    }
    output::print(shared.output, &plan, |plan| plan.steps.iter().map(text).collect::<Vec<_>>().join("\n"))?;
    if let Some(last) = failures.pop() {
        for error in &failures {
            output::say(&output::failure(error));
        }
        return Err(last);
    }
    Ok(if exit_code && !plan.steps.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn text(shown: &Shown) -> String {
    let diff: String = shown.diff.lines().map(|line| format!("{}\n", format!("  {line}").trim_end())).collect();
    format!("{} {}\n{diff}", shown.step, shown.target)
}

async fn steps(settings: &Settings, reveal: bool, failures: &mut Vec<anyhow::Error>) -> anyhow::Result<Vec<Shown>> {
    let seen = tree::read(settings).await?.comparable()?;
    let (_, resolution) = seen.resolve(settings);
    let memory = state::peek(&settings.state_dir).map_err(|error| advised(&error, error.hint()))?.unwrap_or_default();
    admit(settings, &resolution, &memory)?;
    let mut steps = Vec::new();
    match &resolution.config {
        _ if resolution.nothing.is_some() => {
            output::say(&resolution.nothing.iter().map(ToString::to_string).collect::<String>());
        }
        Ok(config) => match of_files(settings, &seen.key, config, &memory, reveal) {
            Ok(found) => steps.extend(found),
            Err(error) => failures.push(error),
        },
        Err(_) => {
            let of_config = resolution.problems.iter().filter(|problem| !is_of_datasource(&resolution, problem));
            failures.push(render::config_problems(of_config).into());
        }
    }
    warn_of_invalid(&resolution);
    if settings.datasources.push {
        match connections::steps(settings, &seen.key, &resolution, reveal).await {
            Ok(found) => steps.extend(found),
            Err(error) => failures.push(error),
        }
    }
    Ok(steps)
}

/// Refuses a tree of which the agent would take nothing.
fn admit(settings: &Settings, resolution: &Resolution, memory: &LastGood) -> anyhow::Result<()> {
    let accepted: Option<Inventory> = serde_json::from_value(memory.inventory.clone()).ok();
    let max_loss = settings.layout.max_loss;
    guard::admit(accepted.as_ref(), &resolution.inventory, &resolution.tree, &resolution.rollout, max_loss).map_err(|held| {
        let hint = "nothing of it is applied until then".to_owned();
        Advice { message: held.to_string(), hint }.into()
    })
}

fn is_of_datasource(resolution: &Resolution, problem: &Problem) -> bool {
    resolution.invalid.values().any(|problems| problems.contains(problem))
}

/// An invalid datasource holds back only itself.
fn warn_of_invalid(resolution: &Resolution) {
    for (name, problems) in &resolution.invalid {
        output::say(&format!("{name} stays as it is, because it is invalid:\n{}", output::problems(problems)));
    }
}

fn of_files(
    settings: &Settings,
    key: &DigestKey,
    config: &Arc<Config>,
    memory: &LastGood,
    reveal: bool,
) -> anyhow::Result<Vec<Shown>> {
    let rendering = rendering::render(settings, key, config).map_err(rendering::problems)?;
    let files = rendering.whole.files.iter();
    let wanted: Vec<_> = files
        .map(|file| FileWanted { path: file.target.path.clone(), mode: file.target.mode, bytes: file.text.as_bytes().into() })
        .collect();
    let seen = wanted.iter().map(observe).collect::<anyhow::Result<Vec<_>>>()?;
    let loaded = match &memory.journal {
        Journal { live: Some(revision), .. } => Loaded::Revision(revision),
        Journal { good: Some(_), .. } => Loaded::Unknown,
        _ => Loaded::Nothing,
    };
    let role = role(&settings.instance.labels);
    // Whether the agent is supervised is not seen from here: what is refused without that counts as a reload.
    let place = Place { role, config: &settings.render.superset_config.path, supervisor: None };
    let tells = Way::from_settings(&settings.reload, &place).map_or(true, |way| way.tells());
    let mut shown = Vec::new();
    for step in plan(&wanted, &seen, &rendering.whole.revision, loaded, tells) {
        match step {
            FileStep::Install(files) => {
                let places = files.iter().filter_map(|file| wanted.iter().position(|wanted| wanted.path == file.path));
                shown.extend(places.map(|at| Shown {
                    step: "install",
                    target: wanted[at].path.display().to_string(),
                    diff: diff(&rendering, at, &wanted[at], seen[at].as_ref(), reveal),
                }));
            }
            FileStep::Reload(_) => shown.push(Shown { step: "reload", target: "superset".to_owned(), diff: String::new() }),
        }
    }
    Ok(shown)
}

fn observe(file: &FileWanted) -> anyhow::Result<Option<FileSeen>> {
    let seen = files::observe(&file.path).map_err(|error| advised(&error, error.hint()))?;
    Ok(seen.map(|seen| FileSeen { mode: seen.mode, bytes: seen.bytes }))
}

fn diff(rendering: &rendering::Rendering, at: usize, wanted: &FileWanted, seen: Option<&FileSeen>, reveal: bool) -> String {
    let mut text = match seen {
        Some(seen) if seen.mode != wanted.mode => format!("mode {:04o} -> {:04o}\n", seen.mode, wanted.mode),
        _ => String::new(),
    };
    let before = seen.map(|seen| String::from_utf8_lossy(&seen.bytes).into_owned()).unwrap_or_default();
    let (after, shown) = (&*rendering.whole.files[at].text, &*rendering.shown.files[at].text);
    let side = |whole: &str| -> Side {
        let text = whole.lines().map(ToOwned::to_owned).collect();
        let shown = match at {
            _ if reveal => whole.lines().map(ToOwned::to_owned).collect(),
            // Superset's config comes first.
            0 => mask::python(whole, shown),
            _ => mask::lines(whole, shown),
        };
        Side { text, shown }
    };
    text.push_str(&unified(&side(&before), &side(after)));
    text
}

/// A text by its lines, and the same lines as they may be shown.
struct Side {
    text: Vec<String>,
    shown: Vec<String>,
}

/// How many lines around a change are shown.
const CONTEXT: usize = 3;

fn unified(before: &Side, after: &Side) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) =
        (before.text.iter().map(String::as_str).collect(), after.text.iter().map(String::as_str).collect());
    let diff = similar::TextDiff::from_slices(&old, &new);
    let mut text = String::new();
    for group in diff.grouped_ops(CONTEXT) {
        let hunk = similar::udiff::UnifiedHunkHeader::new(&group);
        text.push_str(&format!("{hunk}\n"));
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let (sign, line) = match change.tag() {
                similar::ChangeTag::Delete => ('-', change.old_index().and_then(|at| before.shown.get(at))),
                similar::ChangeTag::Insert => ('+', change.new_index().and_then(|at| after.shown.get(at))),
                similar::ChangeTag::Equal => (' ', change.new_index().and_then(|at| after.shown.get(at))),
            };
            text.push_str(&format!("{sign}{}\n", line.map_or("", String::as_str)));
        }
    }
    text
}
