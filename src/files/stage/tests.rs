//! Staging and installing on real files.

use std::os::unix::fs::symlink;

use super::*;

fn wanted(path: &Path, text: &str, mode: u32) -> Wanted {
    Wanted { path: path.to_owned(), bytes: text.into(), mode }
}

fn commit(files: &[Wanted]) -> Result<Installed, FilesError> {
    let mut stage = Stage::default();
    for file in files {
        stage.add(file)?;
    }
    stage.commit()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & PERMISSIONS
}

#[test]
fn a_new_file_gets_exactly_its_mode_and_leaves_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("superset_config.py");
    let installed = commit(&[wanted(&path, "A = 1\n", 0o666)]).unwrap();
    assert_eq!(installed.paths(), std::slice::from_ref(&path));
    assert_eq!((fs::read_to_string(&path).unwrap().as_str(), mode(&path)), ("A = 1\n", 0o666));
    assert_eq!(names(folder.path()), ["superset_config.py"]);
}

#[test]
fn law_10_an_equal_file_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    commit(&[wanted(&path, "same", 0o640)]).unwrap();
    let before = fs::metadata(&path).unwrap();
    assert_eq!(commit(&[wanted(&path, "same", 0o640)]).unwrap(), Installed::default());
    let after = fs::metadata(&path).unwrap();
    assert_eq!((before.ino(), before.ctime_nsec()), (after.ino(), after.ctime_nsec()));
}

#[test]
fn a_wrong_mode_alone_is_set_right_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    commit(&[wanted(&path, "same", 0o644)]).unwrap();
    let inode = fs::metadata(&path).unwrap().ino();
    let installed = commit(&[wanted(&path, "same", 0o600)]).unwrap();
    assert_eq!(installed.replaced[0].difference, Difference::Mode);
    assert_eq!((mode(&path), fs::metadata(&path).unwrap().ino()), (0o600, inode));
}

#[test]
fn a_candidate_is_never_wider_than_its_target_will_be() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let mut stage = Stage::default();
    stage.add(&wanted(&path, "x", 0o440)).unwrap();
    let candidate = folder.path().join(&names(folder.path())[0]);
    assert_eq!(mode(&candidate), 0o440);
    assert!(!path.exists());
    stage.commit().unwrap();
    assert_eq!(mode(&path), 0o440);
}

#[test]
fn one_file_that_cannot_be_staged_leaves_every_target_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("missing/second"));
    fs::write(&first, "old").unwrap();
    let error = commit(&[wanted(&first, "new", 0o640), wanted(&second, "new", 0o640)]).unwrap_err();
    assert!(matches!(&error, FilesError::NoFolder { folder: missing, .. } if missing.ends_with("missing")), "{error:?}");
    assert!(error.hint().unwrap().starts_with("create it"));
    assert_eq!(fs::read_to_string(&first).unwrap(), "old");
    assert_eq!(names(folder.path()), ["first"]);
}

#[test]
fn a_failure_in_the_middle_says_what_was_done() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let mut stage = Stage::default();
    stage.add(&wanted(&first, "1", 0o640)).unwrap();
    stage.add(&wanted(&second, "2", 0o640)).unwrap();
    fs::create_dir(&second).unwrap();
    let error = stage.commit().unwrap_err();
    assert!(matches!(&error, FilesError::Install { path, done, .. } if *path == second && *done == [first.clone()]), "{error:?}");
    assert_eq!(fs::read_to_string(&first).unwrap(), "1");
    assert_eq!(names(folder.path()), ["first", "second"], "no candidate stays");
}

#[test]
fn a_link_at_the_target_is_refused_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (real, link) = (folder.path().join("real"), folder.path().join("link"));
    fs::write(&real, "old").unwrap();
    symlink(&real, &link).unwrap();
    assert!(matches!(commit(&[wanted(&link, "new", 0o640)]), Err(FilesError::Symlink { .. })));
    assert_eq!(fs::read_to_string(&real).unwrap(), "old");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
}

#[test]
fn sweep_removes_our_candidates_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("a.py");
    let keep = ["a.py", ".a.py.setkeeper-", ".a.py.setkeeper-toolongforus", ".b.py.setkeeper-abcd1234", ".a.py.swp"];
    for name in keep.iter().chain(&[".a.py.setkeeper-abcd1234"]) {
        fs::write(folder.path().join(name), "x").unwrap();
    }
    assert_eq!(sweep([target.as_path()]).unwrap(), 1);
    let mut kept = keep.map(String::from);
    kept.sort();
    assert_eq!(names(folder.path()), kept);
    assert_eq!(sweep([Path::new("/no/such/folder/a")]).unwrap(), 0);
}

#[test]
fn a_file_keeps_its_owner_where_we_may_give_it_away() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    fs::write(&path, "old").unwrap();
    let other = if rustix::process::getuid().is_root() { 12_345 } else { rustix::process::getuid().as_raw() };
    std::os::unix::fs::chown(&path, Some(other), None).unwrap();
    commit(&[wanted(&path, "new", 0o640)]).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().uid(), other);
}

#[tokio::test]
async fn installs_off_the_async_threads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let installed = install(vec![wanted(&path, "x", 0o640)]).await.unwrap();
    assert_eq!(installed.replaced.len(), 1);
}
