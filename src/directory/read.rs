//! Reads what a listing names, and makes the next snapshot from the last.
//!
//! In: the listings of both branches, and what is known from the last time. Out: a [`Snapshot`] that shares with the last one
//! whatever did not change (law 12), its versions counted up where bytes did. Only files that look different are read,
//! and those so young that a second write within the clock's grain could have left them looking the same.
//! A tree that changes while it is read is read again; if it will not stand still, nothing new is told yet.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::fs::OFlags;

use super::Roots;
use super::scan::{Entry, Found, Listing, Look, ScanError, list};
use crate::files::hints::Watched;
use crate::model::snapshot::{Branch, Content, Node, Origin, Snapshot};

/// How long a file may be: as long as a znode.
const LIMIT: u64 = 1024 * 1024;
/// How coarse a file system's clock may be.
const GRAIN: Duration = Duration::from_secs(2);
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
}

impl Reader {
    pub fn new(roots: Roots) -> Self {
        Self { roots, snapshot: Snapshot::default(), known: BTreeMap::new(), counter: 0, folders: BTreeSet::new() }
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

    /// Reads what changed. `false` means that the tree did not stand still and the snapshot is the one before.
    pub fn read(&mut self) -> Result<bool, ScanError> {
        for _ in 0..TRIES {
            let before = self.list()?;
            let (next, known) = self.next(&before);
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
        let mut known = BTreeMap::new();
        let last = self.snapshot.clone();
        let snapshot = Snapshot {
            config: self.branch(config, &last.config, &mut known),
            datasources: self.branch(datasources, &last.datasources, &mut known),
            rollout: None,
        };
        (snapshot, known)
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
        Some(Node { origin: Origin::new(entry.path.to_string_lossy()), content, version: self.counter })
    }
}

fn is_of(node: &Node, path: &Path) -> bool {
    node.origin.as_str() == path.to_string_lossy()
}

/// Whether a later change is sure to show in the look.
fn is_old(look: &Look) -> bool {
    let (seconds, _) = look.changed.max(look.modified);
    let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    // A time to come is not to be trusted either.
    SystemTime::now().duration_since(changed).is_ok_and(|age| age > GRAIN)
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
