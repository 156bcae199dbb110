//! Files on this machine: seen, compared, staged, replaced atomically, remembered, watched.
//!
//! In: what a file should hold ([`stage::Wanted`]). Out: what was there ([`FileSeen`]), what was changed
//! ([`stage::Installed`]), and hints that a folder may have changed ([`hints`]). Equal content is never rewritten (law 10),
//! and no content shows in an error or a debug print (law 9).
//!
//! A symbolic link at a target is refused, neither followed nor replaced: following it would let whoever owns the folder
//! send our writes elsewhere, and replacing it would quietly part the two names. Links among the parent folders are fine.
//! Everything here blocks; [`off_thread`] runs it away from the async threads. Nothing here knows what the files mean.

pub mod hints;
pub mod lock;
pub mod stage;
pub mod state;

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::OFlags;
use rustix::io::Errno;

/// Which bits of a file's mode are its permissions.
pub const PERMISSIONS: u32 = 0o7777;

/// What went wrong with a file. None of these is known to be lasting: a disk is emptied, a folder comes back.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The target is a symbolic link.
    #[error("refused to touch {path}: it is a symbolic link")]
    Symlink {
        /// The target.
        path: PathBuf,
        /// Where the link points.
        points_to: PathBuf,
    },
    /// The target is a folder, a pipe, a device.
    #[error("refused to touch {path}: it is not a regular file")]
    NotAFile {
        /// The target.
        path: PathBuf,
    },
    /// The target has no folder to lie in.
    #[error("failed to find the folder {folder} for {path}")]
    NoFolder {
        /// The target.
        path: PathBuf,
        /// Its folder.
        folder: PathBuf,
    },
    /// The file that is there could not be read.
    #[error("failed to read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The new content could not be put beside the target; every target is as it was.
    #[error("failed to stage {path}")]
    Stage {
        /// The target.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A staged file could not take its target's place; those in `done` already had.
    #[error("failed to install {path} ({} of the pass already installed)", done.len())]
    Install {
        /// The target.
        path: PathBuf,
        /// Targets that were replaced before it.
        done: Vec<PathBuf>,
        /// Why.
        source: io::Error,
    },
    /// Every target is replaced, but the folder could not be made durable: a power cut may bring the old content back.
    #[error("failed to sync the folder {folder}")]
    SyncFolder {
        /// The folder.
        folder: PathBuf,
        /// Targets that were replaced.
        done: Vec<PathBuf>,
        /// Why.
        source: io::Error,
    },
    /// Left-over files of an earlier run could not be removed.
    #[error("failed to clear left-over files in {folder}")]
    Sweep {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The thread that did the work ended before its time.
    #[error("failed to finish the work on files")]
    Interrupted,
}

impl FilesError {
    /// What a person can do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Symlink { points_to, .. } => Some(format!("name the file itself in the settings: {}", points_to.display())),
            Self::NotAFile { .. } => Some("name a regular file in the settings, or move away what is there".to_owned()),
            Self::NoFolder { folder, .. } => {
                Some(format!("create it with rights for this agent to write: mkdir -p {}", folder.display()))
            }
            Self::Stage { path, source } | Self::Install { path, source, .. } => hint_for(path, source),
            Self::SyncFolder { folder, source, .. } | Self::Sweep { folder, source } => hint_for(folder, source),
            Self::Read { path, source } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some(format!("give this agent's user the right to read {}", path.display()))
            }
            Self::Read { .. } | Self::Interrupted => None,
        }
    }
}

fn hint_for(path: &Path, source: &io::Error) -> Option<String> {
    let folder = folder_of(path);
    match source.kind() {
        io::ErrorKind::PermissionDenied => Some(format!("give this agent's user the right to write in {}", folder.display())),
        io::ErrorKind::ReadOnlyFilesystem => Some(format!("mount {} writable for this agent", folder.display())),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some(format!("free some space on the disk of {}", folder.display()))
        }
        _ => None,
    }
}

/// When a file came to lie there as it does.
pub fn changed(path: &Path) -> io::Result<SystemTime> {
    let about = std::fs::symlink_metadata(path)?;
    let since_1970 =
        Duration::new(about.ctime().try_into().unwrap_or_default(), about.ctime_nsec().try_into().unwrap_or_default());
    Ok(SystemTime::UNIX_EPOCH + since_1970)
}

/// A file as it lies there.
#[derive(Clone, PartialEq, Eq)]
pub struct FileSeen {
    /// Its content.
    pub bytes: Vec<u8>,
    /// Its permissions ([`PERMISSIONS`]).
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

impl fmt::Debug for FileSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileSeen({} bytes, mode {:o}, owner {}:{})", self.bytes.len(), self.mode, self.uid, self.gid)
    }
}

/// Looks at `path`; `None` where there is nothing.
pub fn observe(path: &Path) -> Result<Option<FileSeen>, FilesError> {
    let read = |source| FilesError::Read { path: path.to_owned(), source };
    let Some(mut file) = open_regular(path)? else { return Ok(None) };
    let metadata = file.metadata().map_err(read)?;
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
    file.read_to_end(&mut bytes).map_err(read)?;
    Ok(Some(FileSeen { bytes, mode: metadata.mode() & PERMISSIONS, uid: metadata.uid(), gid: metadata.gid() }))
}

/// Opens `path` for reading if it is a regular file, without following a link and without waiting on a pipe.
fn open_regular(path: &Path) -> Result<Option<File>, FilesError> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = match OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if Errno::from_io_error(&error) == Some(Errno::LOOP) => {
            let points_to = path.read_link().unwrap_or_else(|_| path.to_owned());
            return Err(FilesError::Symlink { path: path.to_owned(), points_to: folder_of(path).join(points_to) });
        }
        Err(source) => return Err(FilesError::Read { path: path.to_owned(), source }),
    };
    let metadata = file.metadata().map_err(|source| FilesError::Read { path: path.to_owned(), source })?;
    if metadata.is_file() { Ok(Some(file)) } else { Err(FilesError::NotAFile { path: path.to_owned() }) }
}

/// The folder in which `path` lies.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Makes what was renamed in `folder` durable.
fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        // Some network file systems cannot sync a folder and say so: there is nothing more that we could do there.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => Ok(()),
        other => other,
    }
}

/// Runs blocking `work` on a thread made for that. Dropping the future does not stop the work.
pub async fn off_thread<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<FilesError> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(_) => Err(FilesError::Interrupted.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn sees_nothing_where_nothing_is() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(observe(&folder.path().join("absent")).unwrap(), None);
        assert_eq!(observe(&folder.path().join("no/such/folder")).unwrap(), None);
    }

    #[test]
    fn sees_content_mode_and_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.py");
        std::fs::write(&path, "A = 1\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o604)).unwrap();
        let seen = observe(&path).unwrap().unwrap();
        assert_eq!((seen.bytes.as_slice(), seen.mode), (b"A = 1\n".as_slice(), 0o604));
        assert_eq!(seen.uid, rustix::process::getuid().as_raw());
    }

    #[test]
    fn refuses_links_folders_and_pipes_and_does_not_hang_on_them() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        symlink("real.py", &link).unwrap();
        let error = observe(&link).unwrap_err();
        assert!(matches!(&error, FilesError::Symlink { points_to, .. } if *points_to == folder.path().join("real.py")));
        assert!(error.hint().unwrap().ends_with("/real.py"), "{error:?}");

        assert!(matches!(observe(folder.path()).unwrap_err(), FilesError::NotAFile { .. }));
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        assert!(matches!(observe(&pipe).unwrap_err(), FilesError::NotAFile { .. }));
    }

    #[test]
    fn law_9_content_does_not_show_in_a_debug_print() {
        let seen = FileSeen { bytes: b"canary".to_vec(), mode: 0o640, uid: 1, gid: 2 };
        assert_eq!(format!("{seen:?}"), "FileSeen(6 bytes, mode 640, owner 1:2)");
    }
}
