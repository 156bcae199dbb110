//! Staging: all files of a pass lie beside their targets, complete and synced, before the first of them takes its place.
//!
//! In: [`Wanted`] files. Out: [`Installed`], with what each target held before, or an error that says what was done by then.
//! A candidate is made with no more than its final permissions from its first moment, and its content is written
//! only once owner and mode are set. Whatever fails while staging leaves every target and every folder as it was; what a crash
//! leaves is recognized by name and cleared by [`sweep`]. Equal content and mode are left alone (law 10); a wrong mode alone is
//! set right without rewriting. Missing folders are not made here: a typo in a path should not grow a tree.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use rustix::fs::{Gid, Uid, fchown};
use tempfile::TempPath;

use super::{FileSeen, FilesError, PERMISSIONS, folder_of, observe, off_thread, open_regular, sync_folder};

/// What stands between a target's name and the random end of a candidate's name.
const MARK: &str = ".setkeeper-";
/// How long that random end is.
const RANDOM: usize = 8;

/// A file as it should be.
#[derive(Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Where.
    pub path: PathBuf,
    /// Its content.
    pub bytes: Vec<u8>,
    /// Its permissions.
    pub mode: u32,
}

impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wanted({}, {} bytes, mode {:o})", self.path.display(), self.bytes.len(), self.mode)
    }
}

/// How a target differs from what is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// In nothing.
    None,
    /// In its permissions only.
    Mode,
    /// In its content; or it is missing.
    Content,
}

impl Wanted {
    /// Compares with what lies there.
    #[must_use]
    pub fn differs_from(&self, seen: Option<&FileSeen>) -> Difference {
        match seen {
            Some(seen) if seen.bytes != self.bytes => Difference::Content,
            Some(seen) if seen.mode != self.mode & PERMISSIONS => Difference::Mode,
            Some(_) => Difference::None,
            None => Difference::Content,
        }
    }
}

/// One target that was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// The target.
    pub path: PathBuf,
    /// In what it differed.
    pub difference: Difference,
}

/// What a pass changed; empty where everything was right already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// The targets, in the order in which they were changed.
    pub replaced: Vec<Replaced>,
}

/// Stages and installs all of `wanted`, off the async threads. A dropped future does not stop the work half-way.
pub async fn install(wanted: Vec<Wanted>) -> Result<Installed, FilesError> {
    off_thread(move || {
        let mut stage = Stage::default();
        for file in &wanted {
            stage.add(file)?;
        }
        stage.commit()
    })
    .await
}

/// Files that are ready to take their places. Dropped without [`Stage::commit`], it removes them.
#[derive(Debug, Default)]
pub struct Stage {
    staged: Vec<Staged>,
}

#[derive(Debug)]
struct Staged {
    replaced: Replaced,
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// The candidate, closed and synced.
    Rename(TempPath),
    /// The mode to set.
    SetMode(u32),
}

impl Stage {
    /// Compares one target and stages what it lacks.
    pub fn add(&mut self, wanted: &Wanted) -> Result<Difference, FilesError> {
        let previous = observe(&wanted.path)?;
        let difference = wanted.differs_from(previous.as_ref());
        let step = match difference {
            Difference::None => return Ok(difference),
            Difference::Mode => Step::SetMode(wanted.mode & PERMISSIONS),
            Difference::Content => Step::Rename(stage_one(wanted, previous.as_ref())?),
        };
        let replaced = Replaced { path: wanted.path.clone(), difference };
        self.staged.push(Staged { replaced, step });
        Ok(difference)
    }

    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.staged.is_empty()
    }

    /// Puts everything in its place, in the order in which it was added, and makes it durable.
    pub fn commit(self) -> Result<Installed, FilesError> {
        let mut installed = Installed::default();
        let mut folders = BTreeSet::new();
        for Staged { replaced, step } in self.staged {
            if matches!(step, Step::Rename(_)) {
                folders.insert(folder_of(&replaced.path).to_owned());
            }
            if let Err(source) = step.take(&replaced.path) {
                // What was renamed before stays, and must not come undone by a power cut either; the first error is the news.
                let _ = sync_all(folders, &installed);
                return Err(FilesError::Install { path: replaced.path, done: installed.paths(), source });
            }
            installed.replaced.push(replaced);
        }
        sync_all(folders, &installed)?;
        Ok(installed)
    }
}

impl Step {
    fn take(self, target: &Path) -> io::Result<()> {
        match self {
            Self::Rename(candidate) => candidate.persist(target).map_err(|error| error.error),
            Self::SetMode(mode) => {
                let file = open_regular(target).map_err(io::Error::other)?.ok_or(io::ErrorKind::NotFound)?;
                file.set_permissions(Permissions::from_mode(mode))?;
                file.sync_all()
            }
        }
    }
}

impl Installed {
    /// The targets that were changed.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.replaced.iter().map(|replaced| replaced.path.clone()).collect()
    }
}

fn sync_all(folders: BTreeSet<PathBuf>, installed: &Installed) -> Result<(), FilesError> {
    for folder in folders {
        sync_folder(&folder).map_err(|source| FilesError::SyncFolder { folder, done: installed.paths(), source })?;
    }
    Ok(())
}

fn stage_one(wanted: &Wanted, previous: Option<&FileSeen>) -> Result<TempPath, FilesError> {
    let path = &wanted.path;
    let folder = folder_of(path);
    write_candidate(folder, wanted, previous).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            FilesError::NoFolder { path: path.clone(), folder: folder.to_owned() }
        }
        _ => FilesError::Stage { path: path.clone(), source },
    })
}

fn write_candidate(folder: &Path, wanted: &Wanted, previous: Option<&FileSeen>) -> io::Result<TempPath> {
    let name = wanted.path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let mode = wanted.mode & PERMISSIONS;
    let mut candidate = tempfile::Builder::new()
        .prefix(&candidate_prefix(name))
        .rand_bytes(RANDOM)
        .permissions(Permissions::from_mode(mode & 0o600))
        .tempfile_in(folder)?;
    let file = candidate.as_file_mut();
    keep_owner(file, previous)?;
    // After the owner, since changing the owner clears bits; and exactly, whatever the umask took away.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(&wanted.bytes)?;
    file.sync_all()?;
    Ok(candidate.into_temp_path())
}

/// Gives the candidate its predecessor's owner and group, as far as we may: the group alone can often be kept where
/// the owner cannot.
fn keep_owner(file: &File, previous: Option<&FileSeen>) -> io::Result<()> {
    let Some(previous) = previous else { return Ok(()) };
    let metadata = file.metadata()?;
    if metadata.gid() != previous.gid {
        let _ = fchown(file, None, Some(Gid::from_raw(previous.gid)));
    }
    if metadata.uid() != previous.uid {
        let _ = fchown(file, Some(Uid::from_raw(previous.uid)), None);
    }
    Ok(())
}

fn candidate_prefix(name: &OsStr) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(MARK);
    prefix
}

/// Removes the candidates that an earlier run, killed while staging, left beside these targets; says how many.
///
/// For the start only: a candidate of a pass under way looks the same.
pub fn sweep<'a>(targets: impl IntoIterator<Item = &'a Path>) -> Result<usize, FilesError> {
    let mut removed = 0;
    for target in targets {
        let Some(name) = target.file_name() else { continue };
        let folder = folder_of(target);
        removed += sweep_folder(folder, &candidate_prefix(name))
            .map_err(|source| FilesError::Sweep { folder: folder.to_owned(), source })?;
    }
    Ok(removed)
}

fn sweep_folder(folder: &Path, prefix: &OsStr) -> io::Result<usize> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut removed = 0;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let end = name.as_bytes().strip_prefix(prefix.as_bytes());
        let ours = end.is_some_and(|end| end.len() == RANDOM && end.iter().all(u8::is_ascii_alphanumeric));
        if ours && entry.file_type()?.is_file() {
            fs::remove_file(entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests;
