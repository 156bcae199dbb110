//! `config edit`: a fragment in the user's own editor.
//!
//! The text is checked before it is written, and the server refuses it where somebody changed the fragment meanwhile. A text that
//! is refused is kept in a file that only its author reads, and the file is named. No session is open while the editor is: people
//! take longer than any timeout.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;

use anyhow::Context;

use super::super::change::{self, Change};
use super::super::tree::{self, Seen};
use super::super::{given, publish};
use super::edit::text;
use crate::desired::edit::when;
use crate::desired::lens::Lens;
use crate::desired::resolver::Resolver;
use crate::model::problem::Problem;
use crate::model::snapshot::Snapshot;
use crate::output::{self, Advice, Problems};
use crate::settings::Settings;

/// Opens the fragment, and writes what came of it.
pub(super) fn run(settings: &Settings, fragment: Option<&str>, message: Option<&str>) -> anyhow::Result<ExitCode> {
    if let Some(name) = fragment {
        change::check_name(name)?;
    }
    let (seen, path) = tree::block_on(look(settings, fragment))?;
    let node = change::node(&seen.snapshot.config, fragment);
    let before = node.map(|node| text(node, &path)).transpose()?.unwrap_or_default();
    let file = draft(fragment.unwrap_or("config"), &before)?;
    let after = edited(file.path())?;
    if after == before {
        output::say(&format!("{path} is as it was"));
        return Ok(ExitCode::SUCCESS);
    }
    let change = Change { path: path.clone(), before: node.and_then(change::bytes), after: Some(after.as_bytes().into()) };
    let written =
        check(settings, &seen, fragment, &path, &after).and_then(|()| tree::block_on(write(settings, &seen, &change, message)));
    if let Err(error) = written {
        let (_, kept) = file.keep().with_context(|| "failed to keep what was edited")?;
        output::say(&format!("what you wrote is kept in {}", kept.display()));
        return Err(error);
    }
    output::say(&format!("{}d {path}", change.verb()));
    Ok(ExitCode::SUCCESS)
}

async fn look(settings: &Settings, fragment: Option<&str>) -> anyhow::Result<(Seen, String)> {
    let cluster = tree::cluster(settings).await?;
    let seen = Seen::of(&cluster).await?;
    let path = change::path(cluster.paths().config(), fragment);
    cluster.close().await;
    Ok((seen, path))
}

/// A file with the text, readable by its owner alone.
fn draft(name: &str, text: &str) -> anyhow::Result<tempfile::NamedTempFile> {
    let made = tempfile::Builder::new().prefix(&format!("{name}-")).suffix(".yaml").tempfile();
    let mut file = made.context("failed to make a file to edit")?;
    file.write_all(text.as_bytes()).and_then(|()| file.flush()).context("failed to write the file to edit")?;
    Ok(file)
}

fn edited(path: &Path) -> anyhow::Result<String> {
    let command = given::editor();
    let (program, arguments) = command.split_first().context("failed to find an editor")?;
    let advice = || Advice {
        message: format!("failed to edit with {program}"),
        hint: "set EDITOR to a program that waits until the file is closed".to_owned(),
    };
    let ended = Command::new(program).args(arguments).arg(path).status().with_context(advice)?;
    if !ended.success() {
        return Err(advice().into());
    }
    fs::read_to_string(path).context("failed to read what was edited")
}

/// Refuses a fragment that would be in error.
fn check(settings: &Settings, seen: &Seen, fragment: Option<&str>, path: &str, after: &str) -> anyhow::Result<()> {
    let bytes: Arc<[u8]> = after.as_bytes().into();
    let root = fragment.and_then(|name| path.strip_suffix(name)).unwrap_or(path).trim_end_matches('/');
    let config = change::with(&seen.snapshot.config, root, fragment, Some(&bytes));
    let mut lens = Lens::new(settings);
    lens.labels.extend(when(after));
    let resolution = Resolver::new(lens).resolve(&seen.key, &Snapshot { config, ..seen.snapshot.clone() });
    let problems: Vec<_> = resolution.problems.iter().filter(|problem| problem.znode == path).cloned().collect();
    if problems.iter().any(Problem::is_error) {
        return Err(Problems { subject: "fragment as it would be", problems }.into());
    }
    output::say(&output::problems(&problems));
    Ok(())
}

async fn write(settings: &Settings, seen: &Seen, change: &Change, message: Option<&str>) -> anyhow::Result<()> {
    let cluster = tree::cluster(settings).await?;
    change::commit(&cluster, std::slice::from_ref(change)).await?;
    publish::announce(settings, &cluster, seen, message).await;
    cluster.close().await;
    Ok(())
}
