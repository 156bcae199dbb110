//! `render`: the files that this instance would write, on stdout.

use std::process::ExitCode;

use serde::Serialize;

use super::{given, rendering, tree};
use crate::cli::{Reveal, Shared};
use crate::model::problem::Problem;
use crate::output::{self, Problems};
use crate::render::renderer::RenderedFile;

/// One file as programs read it.
#[derive(Serialize)]
struct Shown<'a> {
    path: String,
    mode: String,
    text: &'a str,
}

/// Prints the files.
pub(super) fn run(shared: &Shared, reveal: Reveal) -> anyhow::Result<ExitCode> {
    let settings = given::settings(shared)?;
    let seen = tree::block_on(tree::read(&settings))?;
    let (_, resolution) = seen.resolve(&settings);
    let Ok(config) = &resolution.config else { return Err(config_problems(resolution.problems.iter()).into()) };
    let rendering = rendering::render(&settings, &seen.key, config).map_err(rendering::problems)?;
    let files = if reveal.reveal { rendering.whole.files } else { rendering.shown.files };
    let all: Vec<_> = files.iter().map(shown).collect();
    output::print(shared.output, &all, |all| text(all))?;
    Ok(ExitCode::SUCCESS)
}

/// The problems because of which there is no config.
pub(super) fn config_problems<'a>(problems: impl Iterator<Item = &'a Problem>) -> Problems {
    Problems { subject: "tree", problems: problems.filter(|problem| problem.is_error()).cloned().collect() }
}

fn shown(file: &RenderedFile) -> Shown<'_> {
    Shown { path: file.target.path.display().to_string(), mode: format!("{:04o}", file.target.mode), text: &file.text }
}

/// One file as it is; several, each below its name.
fn text(files: &[Shown<'_>]) -> String {
    match files {
        [one] => one.text.to_owned(),
        many => many.iter().map(|file| format!("==> {} <==\n{}\n", file.path, file.text)).collect(),
    }
}
