//! Disks that are full or read-only: what was good stays, status says why, and it heals by itself.
//!
//! The agent runs in a mount namespace of its own, in which a small disk lies over one of its folders; this needs no rights
//! beyond a user namespace. The test sees that disk through the process's root.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::{Scene, count, counted_reloads, reloaded};
use crate::support::eventually;
use crate::support::program::Agent;

/// An agent with a small disk at this folder of its own, which it shows from outside.
async fn on_small_disk(agent: Agent, folder: &str) -> (Agent, PathBuf) {
    let at = agent.path(folder);
    fs::create_dir_all(&at).unwrap();
    let script = format!("mount -t tmpfs -o size=128k,mode=755 none {} && exec \"$0\" \"$@\"", at.display());
    let agent = agent.wrapped(&["unshare", "--map-root-user", "--mount", "sh", "-c", &script]).started().await;
    let seen = Path::new("/proc").join(agent.pid().to_string()).join("root").join(at.strip_prefix("/").unwrap());
    (agent, seen)
}

/// Takes all the room that is left.
fn fill(disk: &Path) {
    let mut filler = File::create(disk.join("filler")).unwrap();
    loop {
        match filler.write(&[b'x'; 4096]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => return,
            Err(error) => panic!("{error}"),
        }
    }
}

fn free(disk: &Path) {
    fs::remove_file(disk.join("filler")).unwrap();
}

/// Mounts it anew, `ro` or `rw`.
fn remount(agent: &Agent, folder: &str, how: &str) {
    let pid = agent.pid().to_string();
    let options = format!("remount,{how}");
    let words = ["--target", &pid, "--user", "--preserve-credentials", "--mount", "mount", "-o", &options];
    let done = Command::new("nsenter").args(words).arg(agent.path(folder)).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// What lies on the disk.
fn names(disk: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(disk).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

async fn fails_with(agent: &Agent, why: &str) {
    let fails = |status: &serde_json::Value| {
        let own = &status["instance"];
        own["state"] == "failed" && own["error"].as_str().is_some_and(|error| error.contains(why))
    };
    agent.status_where(why, fails).await;
}

#[tokio::test]
async fn law_4_on_a_full_and_on_a_read_only_disk_the_last_good_file_stays_and_the_next_comes_when_it_can() {
    let scene = Scene::of("disk").await;
    scene.tree.fragment("50-site", "APP_NAME: one\n").await;
    let (agent, told) = counted_reloads(scene.agent("a"));
    let path = agent.path("rendered/superset_config.py");
    let (agent, disk) = on_small_disk(agent.with("render.superset_config.path", json!(path)), "rendered").await;
    agent.in_sync().await;
    let file = disk.join("superset_config.py");
    let one = fs::read_to_string(&file).unwrap();
    let mut reloads = 1;
    reloaded(&told, reloads).await;

    let long = |name: &str| format!("APP_NAME: {name}\nNOTE: {}\n", "x".repeat(20_000));
    for (name, why) in [("two", "No space left on device"), ("three", "Read-only file system")] {
        let before = fs::read_to_string(&file).unwrap();
        match name {
            "two" => fill(&disk),
            _ => remount(&agent, "rendered", "ro"),
        }
        scene.tree.fragment("50-site", long(name)).await;
        fails_with(&agent, why).await;
        assert_eq!(fs::read_to_string(&file).unwrap(), before);
        assert_eq!(count(&told), reloads);
        assert!(agent.is_ready().await);
        match name {
            "two" => free(&disk),
            _ => remount(&agent, "rendered", "rw"),
        }
        agent.in_sync().await;
        assert!(fs::read_to_string(&file).unwrap().contains(&format!("APP_NAME = \"{name}\"")));
        assert_eq!(names(&disk), ["superset_config.py"], "nothing half-written is left");
        reloads += 1;
        reloaded(&told, reloads).await;
    }
    assert_ne!(fs::read_to_string(&file).unwrap(), one);
}

#[tokio::test]
async fn a_full_disk_under_the_state_is_told_and_what_was_applied_is_remembered_once_there_is_room() {
    let mut scene = Scene::of("state").await;
    scene.tree.fragment("50-site", "APP_NAME: one\n").await;
    let (agent, disk) = on_small_disk(scene.agent("a"), "state").await;
    agent.in_sync().await;
    let remembers = |text: &str| fs::read_to_string(disk.join("last-good.json")).is_ok_and(|kept| kept.contains(text));
    let revision = agent.status().await.unwrap()["instance"]["applied"]["revision"].as_str().unwrap().to_owned();
    eventually("the first is remembered", async || remembers(&revision).then_some(())).await;

    fill(&disk);
    scene.tree.fragment("50-site", format!("APP_NAME: two\nNOTE: {}\n", "x".repeat(20_000))).await;
    agent.has_line("APP_NAME = \"two\"").await;
    eventually("the log tells", async || agent.log().contains("failed to remember the last good revision").then_some(())).await;
    let later = agent.in_sync().await["instance"]["applied"]["revision"].as_str().unwrap().to_owned();
    assert!(remembers(&revision) && !remembers(&later), "what was remembered stays whole");
    free(&disk);
    eventually("the second is remembered", async || remembers(&later).then_some(())).await;
    scene.zookeeper.kill();
    assert!(agent.is_ready().await);
}
