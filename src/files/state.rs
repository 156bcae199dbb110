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
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};
use tracing::warn;

use super::lock::{FolderLock, LockError};
use super::stage::{Replaced, Stage, Wanted, sweep};
use super::{FilesError, observe};
use crate::model::digest::DigestKey;
use crate::model::instance::Version;
use crate::model::problem::Problem;
use crate::model::snapshot::Origin;

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
    #[error("failed to encode the last good revision")]
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
            Self::Lock(LockError::InUse { .. }) => {
                Some("give each agent a state_dir of its own, or stop the other one".to_owned())
            }
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

    /// Copies what lay there before it was replaced; `None` where nothing did.
    #[must_use]
    pub fn of_previous(replaced: &Replaced) -> Option<Self> {
        let previous = replaced.previous.as_ref()?;
        Some(Self::new(&replaced.path, previous.mode, previous.bytes.clone()))
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
    /// Which release and revision; both empty for files that were there before the agent.
    pub version: Version,
    /// Its files.
    pub files: Vec<FileCopy>,
}

/// What survives a restart of the agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LastGood {
    /// What is applied.
    pub applied: Applied,
    /// Whether a reload was begun of which nobody knows how it ended.
    pub reloading: bool,
    /// What was applied before it, for going back.
    pub previous: Option<Applied>,
    /// What the guard against sudden loss has to remember, in its own words.
    pub inventory: Json,
}

impl LastGood {
    /// Remembers `next` as applied, and what was applied before as the previous one, if that is another.
    pub fn advance(&mut self, next: Applied) {
        if self.applied.files == next.files {
            self.applied.version = next.version;
        } else {
            self.previous = Some(std::mem::replace(&mut self.applied, next)).filter(|former| !former.files.is_empty());
        }
    }
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
    _lock: FolderLock,
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
        let state = Self { path: path.to_owned(), _lock: lock };
        sweep([LAST_GOOD, KEY].map(|name| state.path.join(name)).iter().map(PathBuf::as_path))?;
        Ok(state)
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the last good revision. A damaged record is kept aside and reported.
    pub fn last_good(&self) -> Result<Loaded<LastGood>, StateError> {
        let path = self.path.join(LAST_GOOD);
        match read_record(&path)? {
            Read::Nothing => Ok(Loaded { value: None, problem: None }),
            Read::Sound(value) => Ok(Loaded { value: Some(value), problem: None }),
            Read::Damaged(why) => Ok(Loaded { value: None, problem: Some(keep_aside(&path, &why)?) }),
        }
    }

    /// Stores the last good revision; says whether anything had to be written.
    pub fn save(&self, last_good: &LastGood) -> Result<bool, StateError> {
        let body = serde_json::to_string(last_good)?;
        let bytes = format!("{FORM}{}\n{body}\n", hex(&Sha256::digest(body.as_bytes()))).into_bytes();
        let mut stage = Stage::default();
        stage.add(&Wanted { path: self.path.join(LAST_GOOD), bytes, mode: MODE })?;
        Ok(!stage.commit()?.replaced.is_empty())
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

enum Read {
    Nothing,
    Sound(LastGood),
    Damaged(String),
}

fn read_record(path: &Path) -> Result<Read, StateError> {
    let Some(seen) = observe(path)? else { return Ok(Read::Nothing) };
    Ok(parse_record(&seen.bytes).map_or_else(|why| Read::Damaged(why.to_owned()), Read::Sound))
}

/// Says what is wrong without quoting anything: the record holds files that may hold secrets.
fn parse_record(bytes: &[u8]) -> Result<LastGood, &'static str> {
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

/// Puts a new key in place unless one came to be meanwhile, which is then the key.
fn store_new_key(path: &Path) -> io::Result<Vec<u8>> {
    let mut key = vec![0; DigestKey::LEN];
    rand::rng().fill_bytes(&mut key);
    let folder = super::folder_of(path);
    let mut candidate = tempfile::Builder::new().prefix(".key.setkeeper-").rand_bytes(8).tempfile_in(folder)?;
    io::Write::write_all(candidate.as_file_mut(), &key)?;
    candidate.as_file().sync_all()?;
    match candidate.persist_noclobber(path) {
        Ok(_) => super::sync_folder(folder).map(|()| key),
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
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::model::digest::Revision;

    fn applied(revision: &str, text: &[u8]) -> Applied {
        let version = Version { release: None, revision: Some(Revision::new(revision)) };
        Applied { version, files: vec![FileCopy::new("/etc/superset/a.py", 0o640, text.to_vec())] }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn remembers_across_a_restart_in_files_that_only_its_owner_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("var/state");
        let kept =
            LastGood { applied: applied("r1", b"A = 1\n"), inventory: serde_json::json!({"sales": 1}), ..LastGood::default() };
        let state = StateDir::open(&path).unwrap();
        assert!(state.last_good().unwrap().value.is_none());
        assert!(state.save(&kept).unwrap());
        assert!(!state.save(&kept).unwrap(), "an equal record is not rewritten");
        drop(state);
        let state = StateDir::open(&path).unwrap();
        assert_eq!(state.last_good().unwrap().value.unwrap(), kept);
        assert_eq!(peek(&path).unwrap().unwrap(), kept);
        state.digest_key().unwrap();
        assert_eq!(mode(&path), 0o700);
        for name in [LAST_GOOD, KEY, "lock"] {
            assert_eq!(mode(&path.join(name)), 0o600, "{name}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_come_back_as_they_were() {
        let copy = FileCopy::new("/a", 0o640, b"\xff\x00\n".to_vec());
        let json = serde_json::to_string(&copy).unwrap();
        assert_eq!(serde_json::from_str::<FileCopy>(&json).unwrap(), copy);
        assert_eq!(copy.wanted().bytes, b"\xff\x00\n");
    }

    #[test]
    fn advancing_keeps_the_previous_revision_and_forgets_no_other_thing() {
        let mut memory = LastGood { inventory: serde_json::json!([1]), ..LastGood::default() };
        memory.advance(applied("r1", b"1"));
        assert_eq!(memory.previous, None);
        memory.advance(applied("r2", b"2"));
        assert_eq!(memory.previous, Some(applied("r1", b"1")));
        memory.advance(applied("r2b", b"2"));
        assert_eq!(memory.previous, Some(applied("r1", b"1")), "another name for the same files is not another revision");
        assert_eq!((memory.applied, memory.inventory), (applied("r2b", b"2"), serde_json::json!([1])));
    }

    #[test]
    fn every_kind_of_damage_is_reported_kept_aside_and_treated_as_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path()).unwrap();
        let path = folder.path().join(LAST_GOOD);
        state.save(&LastGood { applied: applied("r1", b"canary"), ..LastGood::default() }).unwrap();
        let sound = fs::read(&path).unwrap();
        let half = sound[..sound.len() / 2].to_vec();
        let flipped = String::from_utf8(sound.clone()).unwrap().replace("canary", "canarz").into_bytes();
        let newer = String::from_utf8(sound).unwrap().replace("state 1", "state 2").into_bytes();
        for (n, damaged) in [half, flipped, newer, vec![], vec![0xff; 100], b"{}".to_vec()].into_iter().enumerate() {
            fs::write(&path, &damaged).unwrap();
            assert_eq!(peek(folder.path()).unwrap(), None);
            let loaded = state.last_good().unwrap();
            assert!(loaded.value.is_none());
            let problem = loaded.problem.unwrap();
            assert!(!format!("{problem:?}").contains("canar"), "{problem:?}");
            assert_eq!(fs::read(folder.path().join(format!("{LAST_GOOD}.damaged-{}", n + 1))).unwrap(), damaged);
            assert!(state.last_good().unwrap().problem.is_none(), "reported once");
        }
        state.save(&LastGood::default()).unwrap();
        assert_eq!(state.last_good().unwrap().value, Some(LastGood::default()));
    }

    #[test]
    fn the_key_is_made_once_whoever_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(KEY);
        let start = std::sync::Barrier::new(8);
        let keys: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        store_new_key(&path).unwrap()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(keys[0].len(), DigestKey::LEN);
        assert!(keys.iter().all(|key| *key == keys[0] && *key == fs::read(&path).unwrap()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no candidate stays");
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn a_key_of_another_length_is_kept_aside_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path()).unwrap();
        fs::write(folder.path().join(KEY), "short").unwrap();
        let loaded = state.digest_key().unwrap();
        assert!(loaded.value.is_some() && loaded.problem.is_some());
        assert_eq!(fs::read(folder.path().join("key.damaged-1")).unwrap(), b"short");
    }

    #[test]
    fn an_existing_folder_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        StateDir::open(folder.path()).unwrap();
        assert_eq!(mode(folder.path()), 0o755);
    }

    #[test]
    fn law_9_a_copy_does_not_show_its_content() {
        assert!(!format!("{:?}", applied("r", b"canary")).contains("canary"));
    }
}
