//! Reads what a listing names, and makes the next snapshot from the last.
//!
//! In: the listings of both branches, and what is known from the last time. Out: a [`Snapshot`] that shares with the last one
//! whatever did not change (law 12), its versions counted up where bytes did. Only files that look different are read,
//! and those so young that a second write within the clock's grain could have left them looking the same.
//! A tree that changes while it is read is read again; while it will not stand still, or a file in it was written only just
//! now, nothing new is told yet: what looks complete may be the first half of what an editor writes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::fs::OFlags;

use super::scan::{Entry, Found, Listing, Look, ScanError, list};
use super::{ROLLOUT, Roots};
use crate::files::hints::Watched;
use crate::model::snapshot::{Branch, Content, Node, Origin, Snapshot};

/// How long a file may be: as long as a znode.
const LIMIT: u64 = 1024 * 1024;
/// How coarse a file system's clock may be.
const GRAIN: Duration = Duration::from_secs(2);
/// How long ago a file must have been written to be taken for complete.
pub(super) const COMPLETE: Duration = Duration::from_millis(50);
/// How often a tree that changes while it is read is read again at once.
const TRIES: u32 = 3;

/// Remembers the last snapshot and what its files looked like.
pub(super) struct Reader {
    roots: Roots,
    snapshot: Snapshot,
    /// The look at which each file was read, by its path; only those old enough to be told apart by it.
    known: BTreeMap<PathBuf, Look>,
    counter: i64,
    folders: BTreeSet<PathBuf>,
    /// Whether something new was written only just now.
    fresh: bool,
}

impl Reader {
    pub fn new(roots: Roots) -> Self {
        Self { roots, snapshot: Snapshot::default(), known: BTreeMap::new(), counter: 0, folders: BTreeSet::new(), fresh: false }
    }

    /// The tree as last read.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// What to watch: the folders of the tree, and its own folder's name where it is named and where it truly lies.
    pub fn watched(&self) -> Watched {
        let mut watched = Watched::default();
        let folder = &self.roots.folder;
        watched.entry(folder);
        if let Ok(place) = folder.canonicalize() {
            watched.entry(&place);
        }
        self.folders.iter().for_each(|folder| watched.folder(folder));
        watched
    }

    /// Reads what changed. `false` means that the tree did not stand still and the snapshot is the one before; `hurry` takes
    /// it as soon as the files agree with each other, however fresh they are.
    pub fn read(&mut self, hurry: bool) -> Result<bool, ScanError> {
        for _ in 0..TRIES {
            let before = self.list()?;
            let (next, known) = self.next(&before);
            if self.fresh && !hurry {
                return Ok(false);
            }
            if self.list()? == before {
                self.snapshot = next;
                self.known = known;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn list(&mut self) -> Result<[Listing; 2], ScanError> {
        let folder = &self.roots.folder;
        // Asked for by itself: a missing folder would look like one without branches.
        let open = fs::read_dir(folder).map(drop);
        self.folders = folder.canonicalize().into_iter().collect();
        open.map_err(|source| ScanError::List { path: folder.clone(), source })?;
        let listings = [list(&self.roots.config)?, list(&self.roots.datasources)?];
        self.folders.extend(listings.iter().flat_map(|listing| listing.folders.iter().cloned()));
        Ok(listings)
    }

    fn next(&mut self, [config, datasources]: &[Listing; 2]) -> (Snapshot, BTreeMap<PathBuf, Look>) {
        self.fresh = false;
        let mut known = BTreeMap::new();
        let last = self.snapshot.clone();
        let snapshot = Snapshot {
            config: self.branch(config, &last.config, &mut known),
            datasources: self.branch(datasources, &last.datasources, &mut known),
            rollout: self.rollout(last.rollout.as_ref()),
        };
        (snapshot, known)
    }

    /// The rollout record beside the tree: too small to be worth remembering how it looked.
    fn rollout(&mut self, last: Option<&Node>) -> Option<Node> {
        let path = self.roots.folder.join(ROLLOUT);
        path.symlink_metadata().ok()?;
        let content = read(&path);
        if let Some(last) = last.filter(|last| last.content == content) {
            return Some(last.clone());
        }
        self.counter += 1;
        Some(Node { origin: Origin::new(path.to_string_lossy()), content, version: self.counter })
    }

    fn branch(&mut self, listing: &Listing, last: &Branch, known: &mut BTreeMap<PathBuf, Look>) -> Branch {
        let root = listing.root.as_ref();
        let root = root.and_then(|entry| self.node(entry, last.root.as_ref(), known).or_else(|| last.root.clone()));
        let mut children = last.children.clone();
        for name in last.children.keys() {
            if !listing.children.contains_key(&**name) {
                children.remove(name);
            }
        }
        for (name, entry) in &listing.children {
            if let Some(node) = self.node(entry, last.children.get(&**name), known) {
                children.insert(Arc::from(name.as_str()), node);
            }
        }
        Branch { root, children }
    }

    /// The node for `entry`; `None` where `last` is still right.
    fn node(&mut self, entry: &Entry, last: Option<&Node>, known: &mut BTreeMap<PathBuf, Look>) -> Option<Node> {
        let content = match &entry.found {
            Found::Unusable(why) => Content::Unreadable(why.as_str().into()),
            Found::File(look) => {
                if self.known.get(&entry.path) == Some(look) && last.is_some_and(|last| is_of(last, &entry.path)) {
                    known.insert(entry.path.clone(), *look);
                    return None;
                }
                let content = read(&entry.path);
                if is_old(look) && matches!(content, Content::Bytes(_)) {
                    known.insert(entry.path.clone(), *look);
                }
                content
            }
        };
        if last.is_some_and(|last| last.content == content && is_of(last, &entry.path)) {
            return None;
        }
        self.counter += 1;
        self.fresh |= matches!(&entry.found, Found::File(look) if age(look).is_some_and(|age| age < COMPLETE));
        Some(Node { origin: Origin::new(entry.path.to_string_lossy()), content, version: self.counter })
    }
}

fn is_of(node: &Node, path: &Path) -> bool {
    node.origin.as_str() == path.to_string_lossy()
}

/// Whether a later change is sure to show in the look.
fn is_old(look: &Look) -> bool {
    age(look).is_some_and(|age| age > GRAIN)
}

/// How long ago the file was written; `None` for a time that is yet to come, which is not to be trusted.
fn age(look: &Look) -> Option<Duration> {
    let (seconds, nanoseconds) = look.changed.max(look.modified);
    let changed = Duration::new(u64::try_from(seconds).ok()?, u32::try_from(nanoseconds).ok()?);
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + changed).ok()
}

fn read(path: &Path) -> Content {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
        file.take(LIMIT + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) if bytes.len() as u64 > LIMIT => Content::Unreadable("it is longer than 1 MiB".into()),
        Ok(bytes) => Content::Bytes(bytes.into()),
        Err(error) => Content::Unreadable(error.to_string().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(folder: &Path) -> Reader {
        let at = |name| folder.join(name);
        Reader::new(Roots { folder: folder.to_owned(), config: at("config"), datasources: at("datasources") })
    }

    fn write(folder: &Path, text: &str) -> PathBuf {
        let path = folder.join("config/a.yaml");
        fs::create_dir_all(folder.join("config")).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn a_file_written_just_now_waits_unless_there_is_hurry() {
        let folder = tempfile::tempdir().unwrap();
        let mut reader = reader(folder.path());
        write(folder.path(), "A: 1");
        assert!(!reader.read(false).unwrap());
        assert!(reader.snapshot().config.is_empty());
        std::thread::sleep(2 * COMPLETE);
        assert!(reader.read(false).unwrap());
        assert_eq!(reader.snapshot().config.children.len(), 1);
        write(folder.path(), "A: 2");
        assert!(reader.read(true).unwrap());
        assert_eq!(reader.snapshot().config.children["a"].content, Content::Bytes((*b"A: 2").into()));
    }

    #[test]
    fn a_file_is_known_by_its_look_only_once_a_later_change_is_sure_to_show() {
        let folder = tempfile::tempdir().unwrap();
        let mut reader = reader(folder.path());
        let path = write(folder.path(), "A: 1");
        reader.read(true).unwrap();
        assert!(reader.known.is_empty());
        std::thread::sleep(GRAIN + COMPLETE);
        reader.read(true).unwrap();
        assert!(reader.known.contains_key(&path));
        let before = reader.snapshot().clone();
        reader.read(true).unwrap();
        assert_eq!((reader.known.len(), reader.snapshot()), (1, &before));
    }

    #[test]
    fn a_fresh_file_whose_content_is_the_old_one_holds_nothing_up() {
        let folder = tempfile::tempdir().unwrap();
        let mut reader = reader(folder.path());
        write(folder.path(), "A: 1");
        reader.read(true).unwrap();
        write(folder.path(), "A: 1");
        assert!(reader.read(false).unwrap());
    }
}
