//! What an agent remembers in its `state_dir`: the last good revision, the guard's inventory, a directory source's key.
//!
//! Every file is replaced atomically, durable, and 0600; an equal one is not rewritten (law 10). Each begins with a line that
//! names its form and the digest of the rest, so that a torn or altered one is known as such: it is kept aside under another
//! name, reported as a [`Problem`], and treated as absent. A missing memory costs a comparison; a wrong one could install a
//! wrong file. One agent holds the folder at a time ([`FolderLock`]).
//! It does not decide what is remembered when, and does not say whether the remembered is still right.

use std::fmt::{self, Write};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rand::Rng;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};
use tracing::warn;

use super::lock::{FolderLock, LockError};
use super::stage::{Stage, Wanted, sweep};
use super::{FilesError, observe};
use crate::model::digest::DigestKey;
use crate::model::instance::Version;
use crate::model::problem::Problem;
use crate::model::protected::Protected;
use crate::model::snapshot::Origin;
use crate::rollout::journal::Journal;

const LAST_GOOD: &str = "last-good.json";
const KEY: &str = "key";
/// How the first line of a record begins. Another number is another form, which this version cannot read.
const FORM: &str = "setkeeper-state 1 ";
const MODE: u32 = 0o600;

/// Why the state could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The folder could not be made.
    #[error("failed to create the state folder {path}")]
    Create {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another agent has it, or the lock failed.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A file of it could not be read or written.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// A damaged file could not be kept aside.
    #[error("failed to keep the damaged {path} aside")]
    KeepAside {
        /// The damaged file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The record could not be put into words.
    #[error("failed to encode a record of the state")]
    Encode(#[from] serde_json::Error),
    /// A new key could not be stored.
    #[error("failed to store a new key at {path}")]
    StoreKey {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl StateError {
    /// What a person can do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Create { .. } => Some("set state_dir to a folder that this agent's user may write".to_owned()),
            Self::Lock(error) => error.hint().map(str::to_owned),
            Self::Files(error) => error.hint(),
            _ => None,
        }
    }
}

/// A file's content: as text where it is text, since that is what nearly all of them are.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Stored {
    Text(String),
    Bytes(Vec<u8>),
}

/// A copy of one file, as it was installed or found. What it holds may be secret and shows in no debug print (law 9).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileCopy {
    /// Where the file lies.
    pub path: PathBuf,
    /// Its permissions.
    pub mode: u32,
    content: Stored,
}

impl FileCopy {
    /// Copies `bytes`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, mode: u32, bytes: Vec<u8>) -> Self {
        let content = String::from_utf8(bytes).map_or_else(|error| Stored::Bytes(error.into_bytes()), Stored::Text);
        Self { path: path.into(), mode, content }
    }

    /// The content.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.content {
            Stored::Text(text) => text.as_bytes(),
            Stored::Bytes(bytes) => bytes,
        }
    }

    /// The file that would bring it back.
    #[must_use]
    pub fn wanted(&self) -> Wanted {
        Wanted { path: self.path.clone(), bytes: self.bytes().to_vec(), mode: self.mode }
    }
}

impl fmt::Debug for FileCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileCopy({}, {} bytes, mode {:o})", self.path.display(), self.bytes().len(), self.mode)
    }
}

/// One applied revision with its files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Which release and revision; both empty for files that are not ours: found before the first release, or a fallback.
    pub version: Version,
    /// Its files.
    pub files: Vec<FileCopy>,
}

/// What survives a restart of the agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LastGood {
    /// What ran well last, whatever is being tried now.
    pub applied: Applied,
    /// Where the course of a release was.
    pub journal: Journal,
    /// What must not change unnoticed, as it is in what ran well last; `None` where that is not known.
    pub protected: Option<Protected>,
    /// Whether there ever was a Superset to be told of a release.
    pub is_told: bool,
    /// What the guard against sudden loss has to remember, in its own words.
    pub inventory: Json,
}

/// What was read, and what had to be kept aside.
#[derive(Debug)]
pub struct Loaded<T> {
    /// What was read; `None` where there is nothing, or nothing sound.
    pub value: Option<T>,
    /// What was wrong with it.
    pub problem: Option<Problem>,
}

/// An open state folder; nobody else has it.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    lock: FolderLock,
}

impl StateDir {
    /// Opens `path`, made with mode 0700 where it does not exist.
    ///
    /// The mode of an existing folder is its owner's business (it may be `/tmp`, or a volume that is not ours to change);
    /// one in which others may write is warned about.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let create = |source| StateError::Create { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(create)?;
        if fs::metadata(path).map_err(create)?.mode() & 0o022 != 0 {
            warn!(path = %path.display(), "others may write in the state folder");
        }
        let lock = FolderLock::take(path)?;
        let state = Self { path: path.to_owned(), lock };
        sweep([LAST_GOOD, KEY].map(|name| state.path.join(name)).iter().map(PathBuf::as_path))?;
        Ok(state)
    }

    /// Whether it is still there, and ours: somebody may have deleted it, or put another in its place.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        self.lock.holds(&self.path)
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the last good revision. A damaged record is kept aside and reported.
    pub fn last_good(&self) -> Result<Loaded<LastGood>, StateError> {
        load_record(&self.path.join(LAST_GOOD))
    }

    /// Stores the last good revision; says whether anything had to be written.
    pub fn save(&self, last_good: &LastGood) -> Result<bool, StateError> {
        save_record(&self.path.join(LAST_GOOD), last_good)
    }

    /// The key under which a directory source's tree is digested: random, made once, the same ever after.
    pub fn digest_key(&self) -> Result<Loaded<DigestKey>, StateError> {
        let path = self.path.join(KEY);
        let mut problem = None;
        if let Some(seen) = observe(&path)? {
            if let Some(key) = DigestKey::from_bytes(&seen.bytes) {
                return Ok(Loaded { value: Some(key), problem });
            }
            problem = Some(keep_aside(&path, "it is not a key of 32 bytes")?);
        }
        let bytes = store_new_key(&path).map_err(|source| StateError::StoreKey { path, source })?;
        Ok(Loaded { value: DigestKey::from_bytes(&bytes), problem })
    }

    /// Stores the key that is in use, where there is none: after its loss the next start would make another.
    pub fn keep_key(&self, key: &DigestKey) -> Result<(), StateError> {
        let path = self.path.join(KEY);
        if observe(&path)?.is_some() {
            return Ok(());
        }
        store_key(&path, key.expose()).map(drop).map_err(|source| StateError::StoreKey { path, source })
    }
}

/// Reads one record of the state. A damaged one is kept aside and reported.
pub fn load_record<T: DeserializeOwned>(path: &Path) -> Result<Loaded<T>, StateError> {
    match read_record(path)? {
        Read::Nothing => Ok(Loaded { value: None, problem: None }),
        Read::Sound(value) => Ok(Loaded { value: Some(value), problem: None }),
        Read::Damaged(why) => Ok(Loaded { value: None, problem: Some(keep_aside(path, &why)?) }),
    }
}

/// Stores one record of the state; says whether anything had to be written.
pub fn save_record<T: Serialize>(path: &Path, record: &T) -> Result<bool, StateError> {
    let body = serde_json::to_string(record)?;
    let bytes = format!("{FORM}{}\n{body}\n", hex(&Sha256::digest(body.as_bytes()))).into_bytes();
    let mut stage = Stage::default();
    stage.add(&Wanted { path: path.to_owned(), bytes, mode: MODE })?;
    Ok(!stage.commit()?.replaced.is_empty())
}

/// Reads the last good revision of an agent that may be running, as commands do: takes no lock and changes nothing.
pub fn peek(state_dir: &Path) -> Result<Option<LastGood>, StateError> {
    match read_record(&state_dir.join(LAST_GOOD))? {
        Read::Sound(value) => Ok(Some(value)),
        Read::Nothing | Read::Damaged(_) => Ok(None),
    }
}

/// Reads the key of a directory source as [`peek`] reads the rest; `None` where no agent has made one yet.
pub fn peek_key(state_dir: &Path) -> Result<Option<DigestKey>, StateError> {
    Ok(observe(&state_dir.join(KEY))?.and_then(|seen| DigestKey::from_bytes(&seen.bytes)))
}

enum Read<T> {
    Nothing,
    Sound(T),
    Damaged(String),
}

fn read_record<T: DeserializeOwned>(path: &Path) -> Result<Read<T>, StateError> {
    let Some(seen) = observe(path)? else { return Ok(Read::Nothing) };
    Ok(parse_record(&seen.bytes).map_or_else(|why| Read::Damaged(why.to_owned()), Read::Sound))
}

/// Says what is wrong without quoting anything: the record holds files that may hold secrets.
fn parse_record<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, &'static str> {
    let text = str::from_utf8(bytes).map_err(|_| "it is not text")?;
    let (first, body) = text.split_once('\n').ok_or("it ends in its first line")?;
    let digest = first.strip_prefix(FORM).ok_or("it is not in the form that this version writes")?;
    let body = body.strip_suffix('\n').ok_or("its end is missing")?;
    if hex(&Sha256::digest(body.as_bytes())) != digest {
        return Err("its content does not match its digest");
    }
    serde_json::from_str(body).map_err(|_| "its fields are not those that this version writes")
}

/// Renames a damaged file to the first free `<name>.damaged-<n>`.
fn keep_aside(path: &Path, why: &str) -> Result<Problem, StateError> {
    let numbered = |n: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".damaged-{n}"));
        PathBuf::from(name)
    };
    let aside = (1..u32::MAX).map(numbered).find(|aside| fs::symlink_metadata(aside).is_err()).unwrap_or_else(|| numbered(0));
    fs::rename(path, &aside).map_err(|source| StateError::KeepAside { path: path.to_owned(), source })?;
    let origin = Origin::new(path.to_string_lossy());
    Ok(Problem::warning(&origin, format!("the stored state cannot be used: {why}"))
        .hint(format!("it was kept as {}; delete that once it is of no more use", aside.display())))
}

fn store_new_key(path: &Path) -> io::Result<Vec<u8>> {
    let mut key = [0; DigestKey::LEN];
    rand::rng().fill_bytes(&mut key);
    store_key(path, &key)
}

/// Puts a key in place unless one came to be meanwhile, which is then the key.
fn store_key(path: &Path, key: &[u8]) -> io::Result<Vec<u8>> {
    let folder = super::folder_of(path);
    let mut candidate = tempfile::Builder::new().prefix(".key.setkeeper-").rand_bytes(8).tempfile_in(folder)?;
    io::Write::write_all(candidate.as_file_mut(), key)?;
    candidate.as_file().sync_all()?;
    match candidate.persist_noclobber(path) {
        Ok(_) => super::sync_folder(folder).map(|()| key.to_vec()),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => fs::read(path),
        Err(error) => Err(error.error),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
