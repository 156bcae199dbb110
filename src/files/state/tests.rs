//! What is remembered, on a real folder.

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
    let kept = LastGood { applied: applied("r1", b"A = 1\n"), inventory: serde_json::json!({"sales": 1}), ..LastGood::default() };
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
