//! `check`: every problem of the settings, the tree, and the files to render, with where it is and what to do about it.
//!
//! Problems are what was asked for, so they go to stdout; the command fails where one of them is an error. Settings that are
//! wrong stop it there: nobody knows which tree they mean.

use std::process::ExitCode;

use super::{given, rendering, tree};
use crate::cli::Shared;
use crate::model::problem::Problem;
use crate::output::{self, Problems};
use crate::settings::Settings;

/// Prints all problems.
pub(super) fn run(shared: &Shared) -> anyhow::Result<ExitCode> {
    let (mut problems, settings) = match given::settings(shared) {
        Ok(settings) => (settings.warnings(), Some(settings)),
        Err(error) => (error.downcast::<Problems>()?.problems, None),
    };
    let of_tree = match &settings {
        Some(settings) => tree::block_on(problems_of_tree(settings)),
        None => Ok(Vec::new()),
    };
    let unread = of_tree.map(|found| problems.extend(found)).err();
    if problems.is_empty() && unread.is_none() {
        output::say("no problem found");
    }
    output::print(shared.output, problems.as_slice(), output::problems)?;
    if let Some(error) = unread {
        return Err(error);
    }
    match problems.iter().filter(|problem| Problem::is_error(problem)).count() {
        0 => Ok(ExitCode::SUCCESS),
        1 => anyhow::bail!("1 problem found"),
        count => anyhow::bail!("{count} problems found"),
    }
}

async fn problems_of_tree(settings: &Settings) -> anyhow::Result<Vec<Problem>> {
    let seen = tree::read(settings).await?;
    let (_, resolution) = seen.resolve(settings);
    let mut problems: Vec<_> = resolution.problems.iter().cloned().collect();
    // A template is strict on missing names, and a config in error lacks some.
    if let Ok(config) = &resolution.config {
        problems.extend(rendering::render(settings, &seen.key, config).err().into_iter().flatten());
    }
    Ok(problems)
}
