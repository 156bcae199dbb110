//! The source as a whole, on real folders, with the kernel's real hints.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::model::snapshot::{Branch, Content};

const LONG: Duration = Duration::from_secs(10);

struct Source {
    folder: tempfile::TempDir,
    tree: watch::Receiver<Option<Tree>>,
    status: watch::Receiver<Status>,
    cancel: CancellationToken,
}

fn layout() -> Layout {
    Layout { config: None, datasources: None, max_loss: 0.5 }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn names(branch: &Branch) -> Vec<&str> {
    branch.children.keys().map(|name| &**name).collect()
}

fn text(branch: &Branch, name: &str) -> String {
    match branch.children.get(name).map(|node| &node.content) {
        Some(Content::Bytes(bytes)) => String::from_utf8(bytes.to_vec()).unwrap(),
        Some(Content::Unreadable(why)) => format!("unreadable: {why}"),
        None => "absent".to_owned(),
    }
}

impl Source {
    /// Watches `tree` in a new folder that `prepare` has filled.
    fn start(prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        prepare(&folder.path().join("tree"));
        Self::watch(folder)
    }

    fn watch(folder: tempfile::TempDir) -> Self {
        let (outputs, tree) = watch::channel(None);
        let (status_sender, status) = watch::channel(Status::default());
        let cancel = CancellationToken::new();
        let key = Arc::new(DigestKey::from_bytes(&[1; 32]).unwrap());
        let (path, stop) = (folder.path().join("tree"), cancel.clone());
        tokio::spawn(async move { run(&path, &layout(), key, outputs, status_sender, stop).await.unwrap() });
        Self { folder, tree, status, cancel }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("tree").join(name)
    }

    /// Waits for a tree that is as `wanted` says.
    async fn shows(&mut self, wanted: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let mut tree = self.tree.clone();
        let seen = tree.wait_for(|tree| tree.as_ref().is_some_and(|tree| wanted(&tree.snapshot)));
        match tokio::time::timeout(LONG, seen).await {
            Ok(tree) => tree.unwrap().as_ref().unwrap().snapshot.clone(),
            Err(late) => panic!("it never came: {late}; last: {:?}, {:?}", self.tree.borrow(), self.status.borrow()),
        }
    }

    async fn says(&mut self, wanted: impl Fn(&Status) -> bool) -> Status {
        let seen = self.status.wait_for(|status| wanted(status));
        tokio::time::timeout(LONG, seen).await.expect("the status never came").unwrap().clone()
    }

    async fn stays(&mut self) {
        self.tree.borrow_and_update();
        let changed = tokio::time::timeout(Duration::from_millis(400), self.tree.changed()).await;
        assert!(changed.is_err(), "a tree came: {:?}", self.tree.borrow());
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

#[tokio::test]
async fn reads_the_tree_and_every_kind_of_change() {
    let mut source = Source::start(|tree| {
        write(&tree.join("config.yaml"), "BASE: 1");
        write(&tree.join("config/10-a.yaml"), "A: 1");
        write(&tree.join("datasources/sales.json"), "{}");
    });
    let first = source.shows(|_| true).await;
    assert_eq!((names(&first.config), names(&first.datasources)), (vec!["10-a"], vec!["sales"]));
    assert_eq!(first.config.root.as_ref().unwrap().content, Content::Bytes((*b"BASE: 1").into()));
    let node = &first.config.children["10-a"];
    assert_eq!(node.origin.as_str(), source.path("config/10-a.yaml").to_str().unwrap());
    assert!(source.says(|status| status.last_read.is_some()).await.error.is_none());

    write(&source.path("config/10-a.yaml"), "A: 2");
    let second = source.shows(|tree| text(&tree.config, "10-a") == "A: 2").await;
    assert!(second.config.children["10-a"].version > node.version);
    assert_eq!(second.config.root, first.config.root);
    assert_eq!(second.config.changes_since(&first.config).count(), 1);

    write(&source.path("config/20-b.yml"), "B: 1");
    source.shows(|tree| names(&tree.config) == ["10-a", "20-b"]).await;
    fs::rename(source.path("config/20-b.yml"), source.path("config/30-c.yml")).unwrap();
    source.shows(|tree| names(&tree.config) == ["10-a", "30-c"]).await;
    fs::remove_file(source.path("config/30-c.yml")).unwrap();
    source.shows(|tree| names(&tree.config) == ["10-a"]).await;
    fs::remove_file(source.path("config.yaml")).unwrap();
    source.shows(|tree| tree.config.root.is_none()).await;
    write(&source.path("datasources/hr.yaml"), "x: 1");
    source.shows(|tree| names(&tree.datasources) == ["hr", "sales"]).await;
}

#[tokio::test]
async fn law_10_what_changes_nothing_publishes_nothing() {
    let mut source = Source::start(|tree| write(&tree.join("config/10-a.yaml"), "A: 1"));
    source.shows(|_| true).await;
    write(&source.path("config/10-a.yaml"), "A: 1");
    write(&source.path("config/.10-a.yaml.swp"), "junk");
    write(&source.path("config/notes.txt"), "junk");
    fs::read(source.path("config/10-a.yaml")).unwrap();
    source.stays().await;
}

#[tokio::test]
async fn law_2_a_missing_folder_is_not_an_empty_tree() {
    let mut source = Source::start(|_| ());
    let status = source.says(|status| status.error.is_some()).await;
    assert!(status.error.unwrap().contains("failed to list"));
    assert!(source.tree.borrow().is_none());
    write(&source.path("config/10-a.yaml"), "A: 1");
    source.shows(|tree| text(&tree.config, "10-a") == "A: 1").await;
    fs::rename(source.path(""), source.folder.path().join("away")).unwrap();
    source.says(|status| status.error.is_some()).await;
    source.stays().await;
    assert_eq!(text(&source.tree.borrow().as_ref().unwrap().snapshot.config, "10-a"), "A: 1");
    write(&source.path("config/10-a.yaml"), "A: 2");
    source.shows(|tree| text(&tree.config, "10-a") == "A: 2").await;
    source.says(|status| status.error.is_none()).await;
}

#[tokio::test]
async fn law_2_a_branch_that_cannot_be_listed_keeps_the_last_tree() {
    let mut source = Source::start(|tree| write(&tree.join("config/10-a.yaml"), "A: 1"));
    source.shows(|_| true).await;
    fs::remove_dir_all(source.path("config")).unwrap();
    symlink("nowhere", source.path("config")).unwrap();
    source.says(|status| status.error.is_some()).await;
    source.stays().await;
    assert_eq!(names(&source.tree.borrow().as_ref().unwrap().snapshot.config), ["10-a"]);
}

#[tokio::test]
async fn law_2_a_file_that_cannot_be_read_is_not_absent() {
    let mut source = Source::start(|tree| write(&tree.join("config/10-a.yaml"), "A: 1"));
    source.shows(|_| true).await;
    fs::remove_file(source.path("config/10-a.yaml")).unwrap();
    symlink("nowhere", source.path("config/10-a.yaml")).unwrap();
    source.shows(|tree| text(&tree.config, "10-a").starts_with("unreadable: it cannot be reached")).await;
    write(&source.path("config/20-long.yaml"), &"x".repeat(1024 * 1024 + 1));
    source.shows(|tree| text(&tree.config, "20-long") == "unreadable: it is longer than 1 MiB").await;
}

#[tokio::test]
async fn a_folder_that_is_replaced_again_and_again_is_followed() {
    let mut source = Source::start(|tree| write(&tree.join("config/10-a.yaml"), "A: 0"));
    source.shows(|_| true).await;
    for n in 1..4 {
        let next = source.folder.path().join("next");
        write(&next.join("config/10-a.yaml"), &format!("A: {n}"));
        fs::remove_dir_all(source.path("")).unwrap();
        fs::rename(&next, source.path("")).unwrap();
        source.shows(|tree| text(&tree.config, "10-a") == format!("A: {n}")).await;
        write(&source.path("config/10-a.yaml"), &format!("A: {n}{n}"));
        source.shows(|tree| text(&tree.config, "10-a") == format!("A: {n}{n}")).await;
    }
}

#[tokio::test]
async fn a_branch_that_comes_and_goes_is_followed() {
    let mut source = Source::start(|tree| fs::create_dir(tree).unwrap());
    assert!(source.shows(|_| true).await.config.is_empty());
    for n in 0..3 {
        write(&source.path("datasources/sales.yaml"), &format!("x: {n}"));
        source.shows(|tree| text(&tree.datasources, "sales") == format!("x: {n}")).await;
        fs::remove_dir_all(source.path("datasources")).unwrap();
        source.shows(|tree| tree.datasources.is_empty()).await;
    }
}

/// Publishes `files` as the kubelet does: a new folder, `..data` swapped to it, then links for the names.
fn publish(tree: &Path, version: &str, files: &[(&str, &str)]) {
    for (name, text) in files {
        write(&tree.join(version).join(name), text);
    }
    let old = fs::read_link(tree.join("..data")).ok();
    symlink(version, tree.join("..data_tmp")).unwrap();
    fs::rename(tree.join("..data_tmp"), tree.join("..data")).unwrap();
    let tops: std::collections::BTreeSet<_> = files.iter().map(|(name, _)| name.split('/').next().unwrap()).collect();
    for top in tops {
        if fs::symlink_metadata(tree.join(top)).is_err() {
            symlink(Path::new("..data").join(top), tree.join(top)).unwrap();
        }
    }
    if let Some(old) = old {
        fs::remove_dir_all(tree.join(old)).unwrap();
    }
}

#[tokio::test]
async fn a_mounted_config_map_is_followed_through_its_swaps() {
    let files = |n: u32| [("config/10-a.yaml", format!("A: {n}")), ("config.yaml", format!("B: {n}"))];
    let mut source = Source::start(|tree| {
        let files = files(0);
        publish(tree, "..2024_00", &files.each_ref().map(|(name, text)| (*name, text.as_str())));
    });
    let first = source.shows(|_| true).await;
    assert_eq!(names(&first.config), ["10-a"], "nothing of ..data and ..2024_00 besides");
    for n in 1..4 {
        let files = files(n);
        let tree = source.path("");
        publish(&tree, &format!("..2024_0{n}"), &files.each_ref().map(|(name, text)| (*name, text.as_str())));
        let base = Content::Bytes(format!("B: {n}").into_bytes().into());
        let new = |tree: &Snapshot| {
            text(&tree.config, "10-a") == format!("A: {n}") && tree.config.root.as_ref().is_some_and(|root| root.content == base)
        };
        source.shows(new).await;
    }
}

#[tokio::test]
async fn a_mounted_folder_of_links_is_followed_too() {
    // Where the ConfigMap is mounted at `tree/config` itself.
    let mut source = Source::start(|tree| publish(&tree.join("config"), "..2024_00", &[("10-a.yaml", "A: 0")]));
    source.shows(|_| true).await;
    for n in 1..4 {
        publish(&source.path("config"), &format!("..2024_0{n}"), &[("10-a.yaml", &format!("A: {n}"))]);
        let tree = source.shows(|tree| text(&tree.config, "10-a") == format!("A: {n}")).await;
        assert_eq!(names(&tree.config), ["10-a"]);
    }
}

#[tokio::test]
async fn a_path_that_is_a_link_is_followed_when_it_is_turned() {
    let folder = tempfile::tempdir().unwrap();
    for n in [1, 2] {
        write(&folder.path().join(format!("v{n}/config/10-a.yaml")), &format!("A: {n}"));
    }
    symlink("v1", folder.path().join("tree")).unwrap();
    let mut source = Source::watch(folder);
    source.shows(|tree| text(&tree.config, "10-a") == "A: 1").await;
    let next = source.folder.path().join("next");
    symlink("v2", &next).unwrap();
    fs::rename(next, source.folder.path().join("tree")).unwrap();
    source.shows(|tree| text(&tree.config, "10-a") == "A: 2").await;
}

#[tokio::test]
async fn a_linked_file_is_followed_where_it_lies() {
    let mut source = Source::start(|tree| {
        write(&tree.with_file_name("elsewhere/a.yaml"), "A: 1");
        fs::create_dir_all(tree.join("config")).unwrap();
        symlink("../../elsewhere/a.yaml", tree.join("config/10-a.yaml")).unwrap();
    });
    source.shows(|tree| text(&tree.config, "10-a") == "A: 1").await;
    write(&source.folder.path().join("elsewhere/a.yaml"), "A: 2");
    source.shows(|tree| text(&tree.config, "10-a") == "A: 2").await;
}

#[tokio::test]
async fn a_writer_gets_a_moment_to_finish() {
    use std::io::Write;
    let mut source = Source::start(|tree| write(&tree.join("config/10-a.yaml"), "A: 0"));
    source.shows(|_| true).await;
    source.tree.borrow_and_update();
    let mut file = fs::File::create(source.path("config/10-a.yaml")).unwrap();
    for part in ["A: 1\n", "B: 2\n", "C: 3\n"] {
        file.write_all(part.as_bytes()).unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::timeout(LONG, source.tree.changed()).await.unwrap().unwrap();
    let first = source.tree.borrow().as_ref().unwrap().snapshot.clone();
    assert_eq!(text(&first.config, "10-a"), "A: 1\nB: 2\nC: 3\n", "the first that is published is whole");
}

#[tokio::test]
async fn no_change_goes_unseen_even_within_the_clocks_grain() {
    let mut source = Source::start(|tree| write(&tree.join("config/10-a.yaml"), "A: 000"));
    source.shows(|_| true).await;
    for n in 1..30 {
        // Same length, and written in place: only the clock or the content can tell.
        let wanted = format!("A: {n:03}");
        fs::write(source.path("config/10-a.yaml"), &wanted).unwrap();
        source.shows(|tree| text(&tree.config, "10-a") == wanted).await;
    }
}

#[tokio::test]
async fn a_burst_is_folded_and_its_end_is_what_counts() {
    let mut source = Source::start(|tree| fs::create_dir(tree).unwrap());
    source.shows(|_| true).await;
    let mut passes = 0;
    for n in 0..300 {
        write(&source.path(&format!("config/{n:03}.yaml")), "A: 1");
    }
    loop {
        tokio::time::timeout(LONG, source.tree.changed()).await.unwrap().unwrap();
        passes += 1;
        if source.tree.borrow_and_update().as_ref().unwrap().snapshot.config.children.len() == 300 {
            break;
        }
    }
    assert!(passes <= 5, "{passes} passes");
}

#[tokio::test]
async fn reads_once_for_commands() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("conf/main.yaml"), "A: 1");
    write(&folder.path().join("conf/main/x.yml"), "A: 2");
    write(&folder.path().join("data_source.json"), "{}");
    let layout = Layout { config: Some("conf/main".to_owned()), datasources: Some("data_source.json".to_owned()), max_loss: 0.5 };
    let snapshot = read(folder.path(), &layout).await.unwrap();
    assert!(snapshot.config.root.is_some() && snapshot.datasources.root.is_some());
    assert_eq!(names(&snapshot.config), ["x"]);
    for value in ["../up", "/etc", "a/../../b", "", "."] {
        let layout = Layout { config: Some(value.to_owned()), datasources: None, max_loss: 0.5 };
        assert!(matches!(read(folder.path(), &layout).await, Err(DirectoryError::Outside { .. })), "{value}");
    }
    assert!(matches!(read(&folder.path().join("absent"), &self::layout()).await, Err(DirectoryError::Scan(_))));
}

#[tokio::test]
async fn a_closed_file_is_told_to_those_who_may_not_read_it() {
    let mut source = Source::start(|tree| {
        write(&tree.join("config/10-a.yaml"), "A: 1");
        fs::set_permissions(tree.join("config/10-a.yaml"), fs::Permissions::from_mode(0o000)).unwrap();
    });
    // Root may read everything; everybody else is told why not.
    let root = rustix::process::geteuid().is_root();
    source.shows(|tree| text(&tree.config, "10-a").starts_with(if root { "A: 1" } else { "unreadable: " })).await;
    fs::set_permissions(source.path("config/10-a.yaml"), fs::Permissions::from_mode(0o600)).unwrap();
    source.shows(|tree| text(&tree.config, "10-a") == "A: 1").await;
}
