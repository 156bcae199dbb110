//! `export`: the tree in a folder, in the shape that a directory source and `apply` read.
//!
//! Every byte as it is in the tree, in files that only their owner reads: fragments and datasources may hold secrets. A folder
//! that an earlier export made is brought up to date, and what the tree no longer has is removed from it; any other folder
//! has to be empty, so that nobody's own files are lost.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use super::{change, given, tree};
use crate::cli::Shared;
use crate::files;
use crate::model::snapshot::{Branch, Content, Node, Snapshot};
use crate::output::{self, Advice};

/// Says that a folder is ours to change. Directory sources look past names that begin with a dot.
const MARK: &str = ".setkeeper-export";
const MARK_TEXT: &[u8] = b"Written by `setkeeper export`, which may replace everything here.\n";

/// What a temporary file has from its first moment.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// Writes the tree to `dir`.
pub(super) fn run(shared: &Shared, dir: &Path) -> anyhow::Result<ExitCode> {
    let settings = given::settings(shared)?;
    let seen = tree::block_on(tree::read(&settings))?;
    let nodes = files_of(&seen.snapshot)?;
    let is_ours = prepare(dir)?;
    for folder in [dir.to_owned(), dir.join("config"), dir.join("datasources")] {
        make(&folder)?;
    }
    install(dir, &nodes)?;
    let removed = if is_ours { remove_others(dir, &nodes)? } else { 0 };
    let removed = if removed == 0 { String::new() } else { format!(", removed {removed}") };
    output::say(&format!("wrote {} nodes to {}{removed}", nodes.len(), dir.display()));
    Ok(ExitCode::SUCCESS)
}

/// Each file's path within the folder, and its content.
fn files_of(snapshot: &Snapshot) -> anyhow::Result<Vec<(PathBuf, Vec<u8>)>> {
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
    // First of all: a folder that is left half done is still ours.
    write(&dir.join(MARK), MARK_TEXT)?;
    let bar = output::progress("writing files", files.len());
    for (path, bytes) in files {
        write(&dir.join(path), bytes)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    // All at once: file by file, thousands of them take a minute.
    let synced = fs::File::open(dir).and_then(|folder| Ok(rustix::fs::syncfs(&folder)?));
    synced.with_context(|| format!("failed to sync {}", dir.display()))
}

/// Puts a whole file in its place, readable by its owner alone from its first moment; one that is right is left alone.
fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if let Ok(Some(seen)) = files::observe(path)
        && seen.bytes == bytes
        && seen.mode == FILE_MODE
    {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    let put = || -> io::Result<()> {
        let mut draft = tempfile::Builder::new().prefix(".setkeeper-").tempfile_in(folder)?;
        draft.write_all(bytes)?;
        draft.persist(path)?;
        Ok(())
    };
    put().with_context(|| format!("failed to write {}", path.display()))
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
