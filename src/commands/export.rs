//! `export`: the tree in a folder, in the shape that a directory source and `apply` read.
//!
//! Every byte as it is in the tree, in files that only their owner reads: fragments and datasources may hold secrets. A folder
//! that an earlier export made is brought up to date, and what the tree no longer has is removed from it; any other folder
//! has to be empty, so that nobody's own files are lost.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use super::{change, given, tree};
use crate::cli::Shared;
use crate::files::FilesError;
use crate::files::stage::{Stage, Wanted};
use crate::model::snapshot::{Branch, Content, Node, Snapshot};
use crate::output::{self, Advice, advised};

/// Says that a folder is ours to change. Directory sources look past names that begin with a dot.
const MARK: &str = ".setkeeper-export";
const MARK_TEXT: &[u8] = b"Written by `setkeeper export`, which may replace everything here.\n";

const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// How many files are staged at once: each is held open until its place is taken.
const AT_ONCE: usize = 256;

/// Writes the tree to `dir`.
pub(super) fn run(shared: &Shared, dir: &Path) -> anyhow::Result<ExitCode> {
    let settings = given::settings(shared)?;
    let seen = tree::block_on(tree::read(&settings))?;
    let files = files(&seen.snapshot)?;
    let is_ours = prepare(dir)?;
    for folder in [dir.to_owned(), dir.join("config"), dir.join("datasources")] {
        make(&folder)?;
    }
    install(dir, &files)?;
    let removed = if is_ours { remove_others(dir, &files)? } else { 0 };
    let removed = if removed == 0 { String::new() } else { format!(", removed {removed}") };
    output::say(&format!("wrote {} nodes to {}{removed}", files.len(), dir.display()));
    Ok(ExitCode::SUCCESS)
}

/// Each file's path within the folder, and its content.
fn files(snapshot: &Snapshot) -> anyhow::Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut files = Vec::new();
    for (name, branch) in [("config", &snapshot.config), ("datasources", &snapshot.datasources)] {
        if let Some(root) = branch.root.as_ref().filter(|root| root.is_filled()) {
            files.push((PathBuf::from(format!("{name}.yaml")), content(root)?));
        }
        files.extend(children(name, branch)?);
    }
    Ok(files)
}

fn children(folder: &str, branch: &Branch) -> anyhow::Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut files = Vec::new();
    for (name, node) in &branch.children {
        if name.contains('/') {
            output::say(&format!("warning: {} is left out: it lies deeper than anything that is read", node.origin));
            continue;
        }
        // A directory source looks past it, so that `apply` would delete it.
        if name.starts_with('.') {
            let message = format!("{} cannot be a file of the tree: its name begins with a dot", node.origin);
            return Err(Advice { message, hint: "give the node another name first".to_owned() }.into());
        }
        files.push((Path::new(folder).join(format!("{name}.yaml")), content(node)?));
    }
    Ok(files)
}

fn content(node: &Node) -> anyhow::Result<Vec<u8>> {
    match &node.content {
        Content::Unreadable(why) => anyhow::bail!("failed to read {}: {why}", node.origin),
        Content::Bytes(_) => Ok(change::bytes(node).unwrap_or_default().to_vec()),
    }
}

/// Whether the folder is one of ours; refuses one that is somebody else's.
fn prepare(dir: &Path) -> anyhow::Result<bool> {
    let mut entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).with_context(|| format!("failed to read {}", dir.display())),
    };
    if dir.join(MARK).is_file() {
        return Ok(true);
    }
    if entries.next().is_none() {
        return Ok(false);
    }
    let message = format!("{} is not empty, and no export made it", dir.display());
    Err(Advice { message, hint: "name a new folder, an empty one, or one that an earlier export made".to_owned() }.into())
}

fn make(folder: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder);
    made.with_context(|| format!("failed to make {}", folder.display()))
}

fn install(dir: &Path, files: &[(PathBuf, Vec<u8>)]) -> anyhow::Result<()> {
    let failed = |error: FilesError| advised(&error, error.hint());
    let commit = |wanted: &[Wanted]| -> Result<(), FilesError> {
        let mut stage = Stage::default();
        wanted.iter().try_for_each(|wanted| stage.add(wanted).map(drop))?;
        stage.commit().map(drop)
    };
    // First of all: a folder that is left half done is still ours.
    commit(&[Wanted { path: dir.join(MARK), bytes: MARK_TEXT.to_vec(), mode: FILE_MODE }]).map_err(failed)?;
    let bar = output::progress("writing files", files.len());
    for part in files.chunks(AT_ONCE) {
        let wanted = part.iter().map(|(path, bytes)| Wanted { path: dir.join(path), bytes: bytes.clone(), mode: FILE_MODE });
        commit(&wanted.collect::<Vec<_>>()).map_err(failed)?;
        bar.inc(part.len() as u64);
    }
    bar.finish_and_clear();
    Ok(())
}

/// Removes the files of nodes that the tree no longer has.
fn remove_others(dir: &Path, files: &[(PathBuf, Vec<u8>)]) -> anyhow::Result<usize> {
    let kept: BTreeSet<_> = files.iter().map(|(path, _)| dir.join(path)).collect();
    let mut removed = 0;
    for folder in [dir.to_owned(), dir.join("config"), dir.join("datasources")] {
        for entry in fs::read_dir(&folder).with_context(|| format!("failed to read {}", folder.display()))? {
            let path = entry.with_context(|| format!("failed to read {}", folder.display()))?.path();
            let is_of_tree =
                path.extension().is_some_and(|extension| ["json", "yaml", "yml"].iter().any(|known| extension == *known));
            if is_of_tree && !path.is_dir() && !kept.contains(&path) {
                fs::remove_file(&path).with_context(|| format!("failed to remove {}", path.display()))?;
                removed += 1;
            }
        }
    }
    Ok(removed)
}
