//! Hints that something in a few folders may have changed, from the kernel.
//!
//! In: what is [`Watched`]. Out: a [`Notify`] that is rung after anything there changed. A hint may come for nothing and may get
//! lost (too many at once, a network file system, no inotify left), so whoever waits for one also looks on its own clock.
//! Folders are watched one by one, not recursively: what is not read needs no watch (a `.git` beside the tree, say), and a
//! recursive watch follows a symbolic link only once, to where it pointed at the start. Watches belong to inodes, not to
//! paths: whenever [`Hints::cover`] says no, new ones must be made, and what is watched looked at again.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{RecursiveMode, Watcher};
use tokio::sync::Notify;

use super::folder_of;

/// What to watch. Folders go by their true paths: two names of one folder would undo each other's watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched(BTreeMap<PathBuf, Names>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Names {
    All,
    These(BTreeSet<OsString>),
}

impl Watched {
    /// Adds everything that lies directly in `folder`; nothing where that does not exist.
    pub fn folder(&mut self, folder: &Path) {
        if let Ok(folder) = folder.canonicalize() {
            self.0.insert(folder, Names::All);
        }
    }

    /// Adds what lies at `path`, whatever it is or becomes, but not its neighbours.
    pub fn entry(&mut self, path: &Path) {
        let (Ok(folder), Some(name)) = (folder_of(path).canonicalize(), path.file_name()) else { return };
        match self.0.entry(folder).or_insert_with(|| Names::These(BTreeSet::new())) {
            Names::All => {}
            Names::These(names) => drop(names.insert(name.to_owned())),
        }
    }

    /// Whether a change at `path` counts.
    fn counts(&self, path: &Path) -> bool {
        let among = |folder: &Path, name| match self.0.get(folder) {
            Some(Names::All) => true,
            Some(Names::These(names)) => names.contains(name),
            None => false,
        };
        self.0.contains_key(path) || path.parent().zip(path.file_name()).is_some_and(|(folder, name)| among(folder, name))
    }
}

/// Watches that stand; dropping it ends them.
pub struct Hints {
    watched: Watched,
    incomplete: bool,
    stale: Arc<AtomicBool>,
    _watcher: Option<notify::RecommendedWatcher>,
}

impl Hints {
    /// Watches and rings `bell`.
    #[must_use]
    pub fn on(watched: Watched, bell: Arc<Notify>) -> Self {
        let stale = Arc::new(AtomicBool::new(false));
        if watched.0.is_empty() {
            return Self { watched, incomplete: true, stale, _watcher: None };
        }
        let listener = listener(watched.clone(), bell, Arc::clone(&stale));
        let Ok(mut inotify) = notify::recommended_watcher(listener) else {
            return Self { watched, incomplete: true, stale, _watcher: None };
        };
        let mut incomplete = false;
        for folder in watched.0.keys() {
            incomplete |= inotify.watch(folder, RecursiveMode::NonRecursive).is_err();
        }
        Self { watched, incomplete, stale, _watcher: Some(inotify) }
    }

    /// Whether a folder could not be watched, so that only looking tells.
    #[must_use]
    pub fn incomplete(&self) -> bool {
        self.incomplete
    }

    /// Whether these are still the watches for `watched`: the same places, no folder of them moved or deleted since.
    #[must_use]
    pub fn cover(&self, watched: &Watched) -> bool {
        self.watched == *watched && !self.stale.load(Ordering::Acquire)
    }
}

fn listener(
    watched: Watched,
    bell: Arc<Notify>,
    stale: Arc<AtomicBool>,
) -> impl FnMut(notify::Result<notify::Event>) + Send + 'static {
    move |event| {
        // An error means that events were lost.
        let Ok(event) = event else { return bell.notify_one() };
        let lost = event.need_rescan();
        if !lost && (is_reading(event.kind) || !event.paths.iter().any(|path| watched.counts(path))) {
            return;
        }
        let moved = matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)));
        if moved && event.paths.iter().any(|path| watched.0.contains_key(path)) {
            stale.store(true, Ordering::Release);
        }
        bell.notify_one();
    }
}

/// Whether the event only tells that somebody, most often we, opened or read a file.
fn is_reading(kind: EventKind) -> bool {
    matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    const LONG: Duration = Duration::from_secs(5);
    const SHORT: Duration = Duration::from_millis(150);

    fn watch(add: impl FnOnce(&mut Watched)) -> (Hints, Arc<Notify>, Watched) {
        let bell = Arc::new(Notify::new());
        let mut watched = Watched::default();
        add(&mut watched);
        (Hints::on(watched.clone(), Arc::clone(&bell)), bell, watched)
    }

    async fn rings(bell: &Notify, within: Duration) -> bool {
        tokio::time::timeout(within, bell.notified()).await.is_ok()
    }

    #[tokio::test]
    async fn a_write_rings_and_a_read_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        fs::write(&file, "1").unwrap();
        let (hints, bell, watched) = watch(|watched| watched.folder(folder.path()));
        assert!(!hints.incomplete());
        fs::read(&file).unwrap();
        assert!(!rings(&bell, SHORT).await, "reading is no change");
        fs::write(&file, "2").unwrap();
        assert!(rings(&bell, LONG).await);
        assert!(hints.cover(&watched));
    }

    #[tokio::test]
    async fn a_folder_that_is_replaced_makes_the_watch_stale() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("tree");
        fs::create_dir(&folder).unwrap();
        let (hints, bell, watched) = watch(|watched| watched.folder(&folder));
        fs::remove_dir(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        assert!(rings(&bell, LONG).await);
        tokio::time::sleep(SHORT).await;
        assert!(!hints.cover(&watched), "the same path is another folder now");
    }

    #[tokio::test]
    async fn of_a_busy_folder_only_the_entry_asked_for_rings() {
        let folder = tempfile::tempdir().unwrap();
        let (_hints, bell, _) = watch(|watched| watched.entry(&folder.path().join("tree")));
        fs::write(folder.path().join("neighbour"), "1").unwrap();
        assert!(!rings(&bell, SHORT).await);
        fs::create_dir(folder.path().join("tree")).unwrap();
        assert!(rings(&bell, LONG).await);
    }

    #[test]
    fn where_nothing_can_be_watched_that_is_told() {
        let (hints, _, _) = watch(|watched| watched.folder(Path::new("/no/such/folder")));
        assert!(hints.incomplete());
    }
}
