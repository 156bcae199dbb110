//! What two agents never share: a state folder, and a file that they render.
//!
//! A folder is held by a `flock` on a file in it with the owner's process id, which is only for the error message. A rendered
//! file is held by a lock on its folder, at the byte that its name makes: the file itself is replaced by each install, and a
//! file beside it would have to be cleared away. The kernel lets go of both when the process ends, however it ends. Where
//! a folder cannot be locked, nobody is kept from rendering.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};
use tracing::info;

use super::folder_of;

/// The file in a folder by which that is held.
const NAME: &str = "lock";

/// Why the lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another agent has it.
    #[error("{} is in use by another agent{}", folder.display(), pid.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// The other's process id, as seen by itself.
        pid: Option<u32>,
    },
    /// Another agent renders the same file.
    #[error("{} is rendered by another agent on this machine already", target.display())]
    Rendered {
        /// The file.
        target: PathBuf,
    },
    /// The lock file could not be opened or locked.
    #[error("failed to lock {}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl LockError {
    /// What a person can do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::InUse { .. } => Some("give each agent a state_dir of its own, or stop the other one"),
            Self::Rendered { .. } => Some("give each agent files of its own to render, or stop the other one"),
            Self::Io { .. } => None,
        }
    }
}

/// Holds a folder until it is dropped or the process ends.
#[derive(Debug)]
pub struct FolderLock {
    file: File,
}

impl FolderLock {
    /// Takes the lock of `folder`, or says who has it.
    pub fn take(folder: &Path) -> Result<Self, LockError> {
        let path = folder.join(NAME);
        let failed = |source| LockError::Io { path: path.clone(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::InUse { folder: folder.to_owned(), pid: read_pid(&mut file) });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        write_pid(&mut file).map_err(failed)?;
        Ok(Self { file })
    }

    /// Whether it is still `folder` that it holds: who deletes a folder deletes its lock, and whoever makes it anew may lock it.
    #[must_use]
    pub fn holds(&self, folder: &Path) -> bool {
        let own = self.file.metadata().map(|own| (own.dev(), own.ino()));
        let there = std::fs::symlink_metadata(folder.join(NAME)).map(|there| (there.dev(), there.ino()));
        own.is_ok_and(|own| there.is_ok_and(|there| own == there))
    }
}

/// Holds rendered files until it is dropped or the process ends.
#[derive(Debug)]
pub struct TargetLocks {
    _folders: Vec<File>,
}

impl TargetLocks {
    /// Takes the place of each file, whether or not it is there, or says which of them another agent has.
    pub fn take<'a>(targets: impl IntoIterator<Item = &'a Path>) -> Result<Self, LockError> {
        // Named twice by one agent, a file would be in that agent's own way.
        let targets: BTreeSet<_> = targets.into_iter().collect();
        let mut folders = Vec::new();
        for target in targets {
            match lock_place(target) {
                Ok(Some(folder)) => folders.push(folder),
                Ok(None) => return Err(LockError::Rendered { target: target.to_owned() }),
                // What keeps a file from being rendered there, too, is told when that is tried.
                Err(error) => info!(path = %target.display(), %error, "another agent that renders this file would go unnoticed"),
            }
        }
        Ok(Self { _folders: folders })
    }
}

/// The folder of `target` with the place of its name locked; `None` where another process has that.
fn lock_place(target: &Path) -> io::Result<Option<File>> {
    let name = target.file_name().unwrap_or_default();
    let folder = File::open(folder_of(target))?;
    // Only who may write can lock for writing, and nobody may write to a folder: so all hold it for reading, and who asks
    // whether it could be had for writing learns of the others. Asked again afterwards, since two may begin at once.
    if is_held(&folder, name)? {
        return Ok(None);
    }
    fcntl(&folder, FcntlArg::F_OFD_SETLK(&place(name, libc::F_RDLCK)))?;
    Ok(if is_held(&folder, name)? { None } else { Some(folder) })
}

fn is_held(folder: &File, name: &OsStr) -> Result<bool, Errno> {
    let mut asked = place(name, libc::F_WRLCK);
    fcntl(folder, FcntlArg::F_OFD_GETLK(&mut asked))?;
    Ok(i32::from(asked.l_type) != libc::F_UNLCK)
}

/// The byte of the folder that stands for this name.
#[expect(clippy::cast_possible_truncation, reason = "the kernel's own numbers, none above 2")]
fn place(name: &OsStr, kind: i32) -> libc::flock {
    let digest: [u8; 32] = Sha256::digest(name.as_bytes()).into();
    let start = digest.iter().take(8).fold(0_i64, |number, byte| number << 8 | i64::from(*byte)) & (i64::MAX >> 1);
    libc::flock { l_type: kind as _, l_whence: libc::SEEK_SET as _, l_start: start, l_len: 1, l_pid: 0 }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_learns_who_holds_it_and_gets_it_once_it_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let held = FolderLock::take(folder.path()).unwrap();
        let error = FolderLock::take(folder.path()).unwrap_err();
        assert!(error.to_string().ends_with(&format!("(process {})", std::process::id())), "{error}");
        drop(held);
        FolderLock::take(folder.path()).unwrap();
    }

    #[test]
    fn whose_folder_is_deleted_holds_it_no_more_although_another_is_made_there() {
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("state");
        std::fs::create_dir(&folder).unwrap();
        let held = FolderLock::take(&folder).unwrap();
        assert!(held.holds(&folder));
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(!held.holds(&folder));
        std::fs::create_dir(&folder).unwrap();
        let again = FolderLock::take(&folder).unwrap();
        assert!(again.holds(&folder) && !held.holds(&folder));
    }
    fn hold(target: &Path) -> Result<TargetLocks, LockError> {
        TargetLocks::take([target])
    }

    #[test]
    fn a_rendered_file_is_held_whatever_becomes_of_it_and_its_neighbours_are_free() {
        let folder = tempfile::tempdir().unwrap();
        let (real, other_way) = (folder.path().join("real"), folder.path().join("link"));
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &other_way).unwrap();
        let target = real.join("superset_config.py");
        let held = TargetLocks::take([&*target, &*target, &*real.join("other.ini")]).unwrap();
        for _ in 0..2 {
            for same in [target.clone(), other_way.join("superset_config.py"), real.join("other.ini")] {
                let error = hold(&same).unwrap_err();
                assert_eq!(error.to_string(), format!("{} is rendered by another agent on this machine already", same.display()));
            }
            drop(hold(&real.join("superset_worker_config.py")).unwrap());
            // Replaced as an install does it.
            std::fs::write(real.join("next"), "").unwrap();
            std::fs::rename(real.join("next"), &target).unwrap();
        }
        drop(held);
        drop(hold(&target).unwrap());
        let names: Vec<_> = std::fs::read_dir(&real).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["superset_config.py"], "a lock leaves nothing");
    }

    #[test]
    fn where_there_is_no_folder_nobody_is_refused() {
        hold(Path::new("/no/such/folder/superset_config.py")).unwrap();
    }
}
