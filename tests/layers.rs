//! The house keeps its order: a room imports only rooms above it, and pure rooms do no I/O and read no clock.
//!
//! Reads the sources as text. A room that is not in the list fails, so that a new one is given a place on purpose.
// A test says what went wrong by panicking, in the functions it calls too.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Every room, from the one that imports nothing to the one that imports all.
const ORDER: &[&str] = &[
    "model",
    "metrics",
    "catalogue",
    "settings",
    "desired",
    "render",
    "plan",
    "rollout",
    "files",
    "secrets",
    "processes",
    "systemd",
    "supervise",
    "zookeeper",
    "directory",
    "superset",
    "check",
    "world",
    "live",
    "reconcile",
    "http",
    "agent",
    "output",
    "cli",
    "commands",
];

/// Rooms that only compute.
const PURE: &[&str] = &["model", "catalogue", "desired", "render", "plan", "rollout"];

/// What a room that only computes does not name.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "tokio",
    "reqwest",
    "zookeeper_client",
    "notify",
    "rustix",
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
    "rand::",
];

struct Source {
    room: String,
    path: PathBuf,
    text: String,
}

#[test]
fn rooms_import_only_rooms_above_them() {
    let rank: BTreeMap<_, _> = ORDER.iter().enumerate().map(|(rank, room)| (*room, rank)).collect();
    let mut wrong = Vec::new();
    for source in sources() {
        let Some(own) = rank.get(source.room.as_str()) else {
            wrong.push(format!("{}: room `{}` has no place in ORDER", source.path.display(), source.room));
            continue;
        };
        for imported in imports(&source.text) {
            match rank.get(imported.as_str()) {
                Some(other) if other > own => {
                    wrong.push(format!("{}: imports `{imported}`, which is below", source.path.display()));
                }
                None => wrong.push(format!("{}: imports `{imported}`, which has no place in ORDER", source.path.display())),
                Some(_) => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn law_3_pure_rooms_do_no_io_and_read_no_clock() {
    let mut wrong = Vec::new();
    let pure = sources().into_iter().filter(|source| PURE.contains(&source.room.as_str()));
    for source in pure.filter(|source| !source.path.ends_with("tests.rs")) {
        let code = source.text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for word in IMPURE.iter().filter(|word| line.contains(*word)) {
                wrong.push(format!("{}:{}: `{word}` in a pure room", source.path.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<_> =
        sources().into_iter().filter(|source| !source.text.starts_with("//!")).map(|source| source.path).collect();
    assert!(silent.is_empty(), "no `//!` header: {silent:?}");
}

#[test]
fn the_reader_sees_imports() {
    let text =
        "use crate::model::x;\nuse crate::{plan, files::y};\nfn f() { crate::http::z() }\n// crate::agent is only named here";
    assert_eq!(imports(text), ["files", "http", "model", "plan"]);
}

fn sources() -> Vec<Source> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![src.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let inside = path.strip_prefix(&src).unwrap();
                let room = inside.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
                if room != "lib" && room != "main" {
                    found.push(Source { room, text: fs::read_to_string(&path).unwrap(), path });
                }
            }
        }
    }
    assert!(found.len() > 20, "the sources were not found");
    found
}

/// The rooms that a text names as `crate::room` or within `crate::{…}`, sorted.
fn imports(text: &str) -> Vec<String> {
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut rooms: Vec<String> = code
        .split("crate::")
        .skip(1)
        .flat_map(|rest| match rest.strip_prefix('{') {
            Some(group) => group.split('}').next().unwrap_or_default().split(',').map(first_word).collect(),
            None => vec![first_word(rest)],
        })
        .filter(|room| !room.is_empty())
        .collect();
    rooms.sort();
    rooms.dedup();
    rooms
}

fn first_word(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}
