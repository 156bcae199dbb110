//! `datasource apply`: a file becomes a datasource of the tree, if it is valid there.

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;

use super::super::change::{self, Change};
use super::super::tree::{self, Seen};
use crate::desired::resolver::Resolution;
use crate::model::datasource::DatasourceName;
use crate::model::problem::Problem;
use crate::model::snapshot::Snapshot;
use crate::output::{self, Advice, Problems};
use crate::settings::Settings;

/// Standard input in a file's place.
const STDIN: &str = "-";

/// Creates or replaces a datasource.
pub(super) fn run(settings: &Settings, name: Option<&str>, file: &Path) -> anyhow::Result<ExitCode> {
    let name = match name {
        Some(name) => name.to_owned(),
        None => stem(file)?,
    };
    change::check_name(&name)?;
    let after: Arc<[u8]> = read(file)?.into();
    tree::block_on(async {
        let cluster = tree::cluster(settings).await?;
        let seen = Seen::of(&cluster).await?;
        let child = place(settings, &seen, &name);
        let before = change::node(&seen.snapshot.datasources, child).and_then(change::bytes);
        let root = cluster.paths().datasources();
        let datasources = change::with(&seen.snapshot.datasources, root, child, Some(&after));
        let snapshot = Snapshot { datasources, ..seen.snapshot.clone() };
        check(&tree::resolve(settings, &seen.key, &snapshot).1, &change::path(root, child), &name)?;
        let change = Change { path: change::path(root, child), before, after: Some(after) };
        if change.before == change.after {
            output::say(&format!("{} is as it was", change.path));
        } else {
            change::commit(&cluster, std::slice::from_ref(&change)).await?;
            output::say(&format!("{}d {}", change.verb(), change.path));
        }
        cluster.close().await;
        Ok(ExitCode::SUCCESS)
    })
}

/// A child of that name, unless the branch's own node is the datasource of that name.
fn place<'n>(settings: &Settings, seen: &Seen, name: &'n str) -> Option<&'n str> {
    let (_, resolution) = seen.resolve(settings);
    let known = DatasourceName::new(name);
    let exists = resolution.datasources.contains_key(&known) || resolution.invalid.contains_key(&known);
    if exists { super::child(seen, name) } else { Some(name) }
}

/// Refuses what would be wrong there: by itself, or beside another datasource of the same `database_name`.
fn check(resolution: &Resolution, path: &str, name: &str) -> anyhow::Result<()> {
    let of_it: Vec<_> = resolution.problems.iter().filter(|problem| problem.znode == path).cloned().collect();
    if of_it.iter().any(Problem::is_error) {
        return Err(Problems { subject: "datasource", problems: of_it }.into());
    }
    if !resolution.datasources.contains_key(&DatasourceName::new(name)) {
        anyhow::bail!("{path} would be no datasource: it is empty");
    }
    output::say(&output::problems(&of_it));
    Ok(())
}

fn stem(file: &Path) -> anyhow::Result<String> {
    let stem = file.file_stem().and_then(|stem| stem.to_str()).filter(|_| file.as_os_str() != STDIN);
    stem.map(ToOwned::to_owned)
        .with_context(|| Advice { message: "the datasource has no name".to_owned(), hint: "give one with --name".to_owned() })
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    if file.as_os_str() == STDIN {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes).context("failed to read standard input")?;
        return Ok(bytes);
    }
    fs::read(file).with_context(|| format!("failed to read {}", file.display()))
}
