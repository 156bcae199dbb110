//! Installing files while things go wrong for real: full and read-only disks, vanished folders, killed processes.
//!
//! Each test has two sides in one function. The outer side starts this program again for the same test, in surroundings made
//! for it, and judges what is left; the inner side, which finds its folder in the environment, does the work.
#![allow(missing_docs, reason = "a test says what it shows by its name")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in the functions around it too")]

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use setkeeper::files::FilesError;
use setkeeper::files::lock::LockError;
use setkeeper::files::stage::{Installed, Stage, Wanted, sweep};
use setkeeper::files::state::{Applied, FileCopy, LastGood, StateDir, StateError};

const FOLDER: &str = "SETKEEPER_TEST_FOLDER";
/// What the shell says where it may not mount.
const NO_MOUNT: i32 = 77;
const BIG: usize = 400 * 1024;

/// The folder to work in, on the inner side.
fn inner() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

/// This program again, for the one test, after `setup` in a shell.
fn again(test: &str, folder: &Path, wrapper: &[&str], setup: &str) -> Command {
    let script = format!("{setup}\nexec \"$0\" --exact \"$1\" --nocapture --test-threads=1");
    let mut words: Vec<&str> = wrapper.to_vec();
    words.extend(["sh", "-c", &script]);
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).arg(std::env::current_exe().unwrap()).arg(test).env(FOLDER, folder);
    command
}

fn succeeded(output: &Output) {
    let said = [&output.stdout[..], &output.stderr[..]].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success(), "{:?}\n{}\n{}", output.status, said[0], said[1]);
    assert!(said[0].contains("1 passed"), "the inner side did not run: {}", said[0]);
}

fn root() -> bool {
    rustix::process::geteuid().is_root()
}

fn wanted(path: &Path, bytes: impl Into<Vec<u8>>) -> Wanted {
    Wanted { path: path.to_owned(), bytes: bytes.into(), mode: 0o640 }
}

fn install(files: &[Wanted]) -> Result<Installed, FilesError> {
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

fn until(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what} never came");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A child that is gone when the test is, whatever happens.
struct Doomed(Child);

impl Doomed {
    fn spawn(mut command: Command) -> Self {
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// SIGKILL.
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A pass of two files of which the second does not fit: nothing may have changed, and what fits must still go.
fn install_what_does_not_fit(folder: &Path) -> io::Error {
    let (small, big) = (folder.join("small.py"), folder.join("big.py"));
    install(&[wanted(&small, "A = 1\n"), wanted(&big, "B = 1\n")]).unwrap();
    let error = install(&[wanted(&small, "A = 2\n"), wanted(&big, vec![b'#'; BIG])]).unwrap_err();
    assert_eq!(
        (fs::read_to_string(&small).unwrap().as_str(), fs::read_to_string(&big).unwrap().as_str()),
        ("A = 1\n", "B = 1\n")
    );
    assert_eq!(names(folder), ["big.py", "small.py"], "no candidate stays");
    install(&[wanted(&small, "A = 2\n")]).unwrap();
    match error {
        FilesError::Stage { path, source } if path == big => source,
        other => panic!("{other:?}"),
    }
}

/// The same for the agent's memory.
fn save_what_does_not_fit(folder: &Path) {
    let state = StateDir::open(&folder.join("state")).unwrap();
    let copy = |bytes| Applied { files: vec![FileCopy::new("/a", 0o640, bytes)], ..Applied::default() };
    let kept = LastGood { applied: copy(b"small".to_vec()), ..LastGood::default() };
    state.save(&kept).unwrap();
    let error = state.save(&LastGood { applied: copy(vec![b'#'; BIG]), ..LastGood::default() }).unwrap_err();
    assert!(matches!(error, StateError::Files(FilesError::Stage { .. })), "{error:?}");
    assert_eq!(state.last_good().unwrap().value, Some(kept));
}

const LIMIT_FILES: &str = "trap '' XFSZ; ulimit -f 64";

#[test]
fn a_full_disk_changes_nothing_and_leaves_nothing() {
    let test = "a_full_disk_changes_nothing_and_leaves_nothing";
    if let Some(folder) = inner() {
        let target = folder.join("etc");
        fs::create_dir(&target).unwrap();
        let source = install_what_does_not_fit(&target);
        if std::env::var_os("SETKEEPER_TEST_MOUNTED").is_some() {
            assert_eq!(source.kind(), io::ErrorKind::StorageFull);
            let error = FilesError::Stage { path: target.join("a"), source };
            assert!(error.hint().unwrap().starts_with("free some space"), "{error:?}");
        }
        return save_what_does_not_fit(&folder);
    }
    let folder = tempfile::tempdir().unwrap();
    let wrapper: &[&str] = if root() { &["unshare", "-m"] } else { &["unshare", "-Urm"] };
    let mount = format!("mount -t tmpfs -o size=256k none \"${FOLDER}\" || exit {NO_MOUNT}; export SETKEEPER_TEST_MOUNTED=1");
    let mut output = again(test, folder.path(), wrapper, &mount).output().unwrap();
    // Where nobody may mount, a limit on the size of files fails the same call.
    if !String::from_utf8_lossy(&output.stdout).contains("running 1 test") {
        output = again(test, folder.path(), &[], LIMIT_FILES).output().unwrap();
    }
    succeeded(&output);
}

#[test]
fn a_limit_on_the_size_of_files_changes_nothing_and_leaves_nothing() {
    let test = "a_limit_on_the_size_of_files_changes_nothing_and_leaves_nothing";
    if let Some(folder) = inner() {
        let target = folder.join("etc");
        fs::create_dir(&target).unwrap();
        assert_eq!(install_what_does_not_fit(&target).kind(), io::ErrorKind::FileTooLarge);
        return save_what_does_not_fit(&folder);
    }
    let folder = tempfile::tempdir().unwrap();
    succeeded(&again(test, folder.path(), &[], LIMIT_FILES).output().unwrap());
}

#[test]
fn a_read_only_folder_changes_nothing_and_says_so() {
    let test = "a_read_only_folder_changes_nothing_and_says_so";
    if let Some(folder) = inner() {
        let (closed, open) = (folder.join("closed"), folder.join("open/a.py"));
        let error = install(&[wanted(&open, "A = 2\n"), wanted(&closed.join("a.py"), "A = 2\n")]).unwrap_err();
        assert!(
            matches!(&error, FilesError::Stage { source, .. } if source.kind() == io::ErrorKind::PermissionDenied),
            "{error:?}"
        );
        assert!(error.hint().unwrap().contains("the right to write in"), "{error:?}");
        assert_eq!(fs::read_to_string(&open).unwrap(), "A = 1\n");
        assert_eq!((names(&closed), names(open.parent().unwrap())), (vec!["a.py".to_owned()], vec!["a.py".to_owned()]));
        let state = StateDir::open(&closed.join("state")).unwrap_err();
        assert!(matches!(&state, StateError::Create { .. }) && state.hint().is_some(), "{state:?}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for name in ["closed", "open"] {
        fs::create_dir(folder.path().join(name)).unwrap();
        fs::write(folder.path().join(name).join("a.py"), "A = 1\n").unwrap();
    }
    fs::set_permissions(folder.path().join("closed"), fs::Permissions::from_mode(0o555)).unwrap();
    // Root passes every mode, unless it lacks the capabilities for that.
    let wrapper: &[&str] = if root() { &["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner"] } else { &[] };
    let output = again(test, folder.path(), wrapper, "").output().unwrap();
    fs::set_permissions(folder.path().join("closed"), fs::Permissions::from_mode(0o755)).unwrap();
    succeeded(&output);
}

#[test]
fn a_folder_that_vanishes_before_the_install_is_told_with_what_was_done() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first/a"), folder.path().join("second/b"));
    for path in [&first, &second] {
        fs::create_dir(path.parent().unwrap()).unwrap();
    }
    let mut stage = Stage::default();
    stage.add(&wanted(&first, "1")).unwrap();
    stage.add(&wanted(&second, "2")).unwrap();
    fs::remove_dir_all(second.parent().unwrap()).unwrap();
    let error = stage.commit().unwrap_err();
    assert!(matches!(&error, FilesError::Install { path, done, .. } if *path == second && *done == [first.clone()]), "{error:?}");
    assert_eq!(fs::read_to_string(&first).unwrap(), "1");
    let error = install(&[wanted(&second, "2")]).unwrap_err();
    assert!(matches!(error, FilesError::NoFolder { .. }), "{error:?}");
}

#[test]
fn killed_with_candidates_staged_leaves_the_targets_and_what_can_be_swept() {
    let test = "killed_with_candidates_staged_leaves_the_targets_and_what_can_be_swept";
    if let Some(folder) = inner() {
        let mut stage = Stage::default();
        for name in ["a.py", "b.py"] {
            stage.add(&wanted(&folder.join(name), vec![b'#'; BIG])).unwrap();
        }
        fs::write(folder.join("staged"), "").unwrap();
        std::thread::sleep(Duration::from_secs(60));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let targets = ["a.py", "b.py"].map(|name| folder.path().join(name));
    install(&targets.each_ref().map(|path| wanted(path, "A = 1\n"))).unwrap();
    let mut child = Doomed::spawn(again(test, folder.path(), &[], ""));
    until("the staging", || folder.path().join("staged").exists());
    child.kill();
    fs::remove_file(folder.path().join("staged")).unwrap();
    assert_eq!(names(folder.path()).len(), 4, "two targets and two candidates");
    assert_eq!(sweep(targets.iter().map(PathBuf::as_path)).unwrap(), 2);
    assert_eq!(names(folder.path()), ["a.py", "b.py"]);
    assert!(targets.iter().all(|path| fs::read_to_string(path).unwrap() == "A = 1\n"));
    install(&targets.each_ref().map(|path| wanted(path, "A = 2\n"))).unwrap();
}

#[test]
fn killed_at_any_moment_no_target_is_ever_half_written() {
    let test = "killed_at_any_moment_no_target_is_ever_half_written";
    let content = |n: usize| vec![if n.is_multiple_of(2) { b'a' } else { b'b' }; BIG];
    // Small, since its digest takes a debug build so long that few kills would meet the install.
    let copy = |n| Applied { files: vec![FileCopy::new("/a", 0o640, content(n)[..9].to_vec())], ..Applied::default() };
    if let Some(folder) = inner() {
        let state = StateDir::open(&folder.join("state")).unwrap();
        for n in 0.. {
            install(&[wanted(&folder.join("a.py"), content(n))]).unwrap();
            state.save(&LastGood { applied: copy(n), ..LastGood::default() }).unwrap();
        }
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("a.py");
    let (mut swept, mut kinds) = (0, std::collections::BTreeSet::new());
    // At least so many kills, and until one of them met a candidate and each content was met.
    for round in 0.. {
        if round >= 20 && swept > 0 && kinds.len() == 2 {
            break;
        }
        assert!(round < 300, "no kill met the middle of a pass: {swept} candidates, contents {kinds:?}");
        let now = || fs::metadata(&target).ok().map(|seen| (seen.ino(), seen.modified().unwrap()));
        let before = now();
        let mut child = Doomed::spawn(again(test, folder.path(), &[], ""));
        until("the first install", || now().is_some() && now() != before);
        std::thread::sleep(Duration::from_micros(700 * round % 20_000));
        child.kill();
        let bytes = fs::read(&target).unwrap();
        assert!(bytes == content(0) || bytes == content(1), "round {round}: {} bytes", bytes.len());
        kinds.insert(bytes[0]);
        swept += sweep([target.as_path()]).unwrap();
        assert_eq!(names(folder.path()), ["a.py", "state"]);
        let state = StateDir::open(&folder.path().join("state")).unwrap();
        let loaded = state.last_good().unwrap();
        assert!(loaded.problem.is_none(), "round {round}: {:?}", loaded.problem);
        assert!(loaded.value.is_none_or(|kept| kept.applied == copy(0) || kept.applied == copy(1)));
        assert_eq!(names(state.path()).iter().filter(|name| name.starts_with('.')).count(), 0, "opening sweeps");
    }
}

#[test]
fn a_state_folder_is_free_as_soon_as_its_agent_is_dead() {
    let test = "a_state_folder_is_free_as_soon_as_its_agent_is_dead";
    if let Some(folder) = inner() {
        let _state = StateDir::open(&folder).unwrap();
        std::thread::sleep(Duration::from_secs(60));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut child = Doomed::spawn(again(test, folder.path(), &[], ""));
    let pid = child.0.id();
    let refused = || match StateDir::open(folder.path()) {
        Err(StateError::Lock(LockError::InUse { pid, .. })) => pid,
        _ => None,
    };
    until("the child's lock", || folder.path().join("lock").exists() && refused() == Some(pid));
    child.kill();
    StateDir::open(folder.path()).unwrap();
}
