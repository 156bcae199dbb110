//! The private folder of one check: 0700, held by a lock while the check runs, removed with all that lies in it afterwards.
//!
//! A killed agent leaves its folder, and perhaps the processes of its check. [`sweep`], at the next start, knows both by the folder's
//! name, which is also the mark of the processes, and spares the folders whose checks are running.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tracing::warn;

use super::error::CheckError;
use super::{programs, survivors};
use crate::files::lock::{FolderLock, LockError};

/// The folder of one check.
#[derive(Debug)]
pub(super) struct Scratch {
    id: String,
    folder: PathBuf,
    _lock: FolderLock,
}

impl Scratch {
    /// Makes one in `room`, with the programs in it and an empty home.
    pub(super) fn make(room: &Path) -> Result<Self, CheckError> {
        let id = format!("{:016x}", rand::random::<u64>());
        let folder = room.join(&id);
        let failed = |source| CheckError::Scratch { path: folder.clone(), source };
        make_folder(&folder).map_err(failed)?;
        let lock = FolderLock::take(&folder).map_err(|error| failed(io::Error::other(error)))?;
        let scratch = Self { id, folder, _lock: lock };
        for name in ["programs", "home", "tmp"] {
            let path = scratch.path(name);
            make_folder(&path).map_err(|source| CheckError::Scratch { path, source })?;
        }
        for (name, text) in programs::ALL {
            scratch.write(&format!("programs/{name}"), text.as_bytes())?;
        }
        Ok(scratch)
    }

    /// What marks its processes.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// A path within it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a file that only its owner may read.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), CheckError> {
        let path = self.path(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(bytes)).map_err(|source| CheckError::Scratch { path, source })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            warn!(folder = %self.folder.display(), %error, "failed to remove a check's scratch folder");
        }
    }
}

/// Makes a folder that only its owner may enter, with those above it.
pub(super) fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Ends and removes what killed checks left in `room`.
pub(super) fn sweep(room: &Path) {
    let Ok(entries) = fs::read_dir(room) else { return };
    for folder in entries.flatten().map(|entry| entry.path()) {
        let lock = FolderLock::take(&folder);
        if matches!(lock, Err(LockError::InUse { .. })) {
            continue;
        }
        let ended = folder.file_name().and_then(|name| name.to_str()).map_or(0, survivors::end);
        let removed = fs::remove_dir_all(&folder);
        warn!(folder = %folder.display(), processes = ended, removed = removed.is_ok(), "an earlier check was cut off");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn it_is_private_and_goes_with_its_owner() {
        let room = tempfile::tempdir().unwrap();
        let scratch = Scratch::make(room.path()).unwrap();
        scratch.write("candidate", b"canary").unwrap();
        assert_eq!(scratch.path(".").metadata().unwrap().mode() & 0o777, 0o700);
        assert_eq!(scratch.path("candidate").metadata().unwrap().mode() & 0o777, 0o600);
        assert!(scratch.path("programs/setkeeper_probe.py").exists());
        sweep(room.path());
        assert!(scratch.path("candidate").exists(), "a running check was swept");
        drop(scratch);
        assert_eq!(fs::read_dir(room.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_check_left_is_ended_and_removed() {
        let room = tempfile::tempdir().unwrap();
        let folder = room.path().join("0123456789abcdef-left");
        fs::create_dir_all(folder.join("home")).unwrap();
        let mut left = Command::new("sleep").arg("60").env(survivors::MARK, "0123456789abcdef-left").spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(100));
        sweep(room.path());
        assert!(!left.wait().unwrap().success());
        assert!(!folder.exists());
    }
}
