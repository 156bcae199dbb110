//! Notices that a secret file changed, so that whoever used it resolves it again.
//!
//! In: the set of files in use, which may change over time. Out: a generation that grows with every change of any of them;
//! a file that is only added or dropped changes nothing. The kernel's hints are taken where there are any, and the files
//! are looked at on a clock besides: a link far away may have moved (Kubernetes swaps `..data`), and network file systems
//! give no hint at all. It never opens a secret.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::files::hints::{Hints, Watched};

/// How long writers are given to finish after the first hint.
const SETTLE: Duration = Duration::from_millis(50);

/// What tells one state of a file from another without opening it; `None` where it cannot be reached.
type Look = Option<(PathBuf, u64, u64, u64, (i64, i64), (i64, i64))>;

/// Watches `files` until `cancel`, looking at least every `every`.
pub async fn run(
    mut files: watch::Receiver<BTreeSet<PathBuf>>,
    generation: watch::Sender<u64>,
    every: Duration,
    cancel: CancellationToken,
) {
    let bell = Arc::new(Notify::new());
    let mut looks = BTreeMap::new();
    let mut hints = None;
    loop {
        let set = files.borrow_and_update().clone();
        let watched = watched(&set);
        if !hints.as_ref().is_some_and(|hints: &Hints| hints.cover(&watched)) {
            hints = Some(Hints::on(watched, Arc::clone(&bell)));
        }
        // Looked at only once the watches stand, so that nothing falls between.
        if look_again(&mut looks, &set) {
            generation.send_modify(|generation| *generation += 1);
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            changed = files.changed() => if changed.is_err() { return },
            () = bell.notified() => tokio::time::sleep(SETTLE).await,
            () = tokio::time::sleep(every) => {}
        }
    }
}

/// Looks at every file of `set`; says whether one that was known before is another now.
fn look_again(looks: &mut BTreeMap<PathBuf, Look>, set: &BTreeSet<PathBuf>) -> bool {
    looks.retain(|path, _| set.contains(path));
    let mut changed = false;
    for path in set {
        let now = look(path);
        if let Some(before) = looks.insert(path.clone(), now.clone()) {
            changed |= before != now;
        }
    }
    changed
}

fn look(path: &Path) -> Look {
    let place = path.canonicalize().ok()?;
    let seen = fs::metadata(&place).ok()?;
    let times = ((seen.mtime(), seen.mtime_nsec()), (seen.ctime(), seen.ctime_nsec()));
    Some((place, seen.dev(), seen.ino(), seen.len(), times.0, times.1))
}

/// Where a change may show: in the folder in which a file is named (any name: `..data` may be swapped), and where it truly lies.
fn watched(files: &BTreeSet<PathBuf>) -> Watched {
    let mut watched = Watched::default();
    for path in files {
        path.parent().into_iter().for_each(|folder| watched.folder(folder));
        if let Ok(place) = path.canonicalize() {
            watched.entry(&place);
        }
    }
    watched
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const LONG: Duration = Duration::from_secs(5);
    const NEVER: Duration = Duration::from_secs(3600);

    struct Watched {
        files: watch::Sender<BTreeSet<PathBuf>>,
        generation: watch::Receiver<u64>,
        cancel: CancellationToken,
    }

    impl Watched {
        fn start(files: &[&Path], every: Duration) -> Self {
            let files = watch::Sender::new(files.iter().map(|&path| path.to_owned()).collect());
            let (sender, generation) = watch::channel(0);
            let cancel = CancellationToken::new();
            tokio::spawn(run(files.subscribe(), sender, every, cancel.clone()));
            Self { files, generation, cancel }
        }

        async fn grows(&mut self) {
            tokio::time::timeout(LONG, self.generation.changed()).await.expect("no change was seen").unwrap();
        }

        async fn stays(&mut self) {
            let quiet = tokio::time::timeout(Duration::from_millis(300), self.generation.changed()).await;
            assert!(quiet.is_err(), "a change was seen");
        }
    }

    impl Drop for Watched {
        fn drop(&mut self) {
            self.cancel.cancel();
        }
    }

    #[tokio::test]
    async fn a_rewritten_file_and_a_replaced_one_are_noticed_and_a_read_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sales");
        fs::write(&path, "1").unwrap();
        let mut watched = Watched::start(&[&path], NEVER);
        watched.stays().await;
        fs::read(&path).unwrap();
        watched.stays().await;
        fs::write(&path, "2").unwrap();
        watched.grows().await;
        let next = folder.path().join("next");
        fs::write(&next, "3").unwrap();
        fs::rename(next, &path).unwrap();
        watched.grows().await;
        fs::remove_file(&path).unwrap();
        watched.grows().await;
        fs::write(&path, "4").unwrap();
        watched.grows().await;
    }

    #[tokio::test]
    async fn a_swap_as_kubernetes_does_it_is_noticed_again_and_again() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        let publish = |name: &str, text: &str| {
            fs::create_dir(place(name)).unwrap();
            fs::write(place(name).join("sales"), text).unwrap();
            symlink(name, place("..data_tmp")).unwrap();
            fs::rename(place("..data_tmp"), place("..data")).unwrap();
        };
        publish("..2024_01", "1");
        symlink("..data/sales", place("sales")).unwrap();
        let mut watched = Watched::start(&[&place("sales")], NEVER);
        watched.stays().await;
        for (old, new) in [("..2024_01", "..2024_02"), ("..2024_02", "..2024_03")] {
            publish(new, "2");
            fs::remove_dir_all(place(old)).unwrap();
            watched.grows().await;
        }
    }

    #[tokio::test]
    async fn a_file_where_no_folder_was_is_found_on_the_clock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("later/sales");
        let mut watched = Watched::start(&[&path], Duration::from_millis(50));
        watched.stays().await;
        fs::create_dir(folder.path().join("later")).unwrap();
        fs::write(&path, "1").unwrap();
        watched.grows().await;
    }

    #[tokio::test]
    async fn the_set_may_change_and_that_alone_is_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("first"), folder.path().join("second"));
        fs::write(&first, "1").unwrap();
        fs::write(&second, "1").unwrap();
        let mut watched = Watched::start(&[&first], NEVER);
        watched.files.send_replace(BTreeSet::from([second.clone()]));
        watched.stays().await;
        fs::write(&first, "2").unwrap();
        watched.stays().await;
        fs::write(&second, "2").unwrap();
        watched.grows().await;
    }
}
