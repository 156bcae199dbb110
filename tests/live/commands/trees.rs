//! `export` and `apply`: whole trees.

use std::fs;

use super::Shell;
use crate::support::agent::{client, open};
use crate::support::server::Server;

fn write(shell: &Shell, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = shell.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

#[tokio::test]
async fn a_tree_goes_out_and_comes_back() {
    let server = Server::start().await;
    let shell = Shell::new(&server);
    let files = [
        ("t/config.yaml", "A: 1\n"),
        ("t/config/10-a.yaml", "B: 2 # b\n"),
        ("t/datasources/s.yaml", "sqlalchemy_uri: duckdb://\n"),
    ];
    write(&shell, &files);
    let dry = shell.run(&["apply", "--dry-run", "t"]);
    assert!(dry.err.contains("3 changes to make; nothing is done"), "{}", dry.err);
    assert_eq!(shell.json(&["config", "get"]), serde_json::json!({}));
    let made = shell.json(&["apply", "t"]);
    let expected = serde_json::json!([
        {"step": "create", "target": "/superset/config"},
        {"step": "create", "target": "/superset/config/10-a"},
        {"step": "create", "target": "/superset/datasources/s"},
    ]);
    assert_eq!(made, expected);
    assert_eq!(shell.json(&["config", "get"]), serde_json::json!({"A": 1, "B": 2}));
    shell.ok(&["export", "out"]);
    for (name, text) in files {
        assert_eq!(fs::read_to_string(shell.path(&name.replacen('t', "out", 1))).unwrap(), text, "{name}");
    }
    assert!(shell.run(&["apply", "out"]).err.contains("the tree is as the folder says"));
    // What the folder lacks goes; what is empty stays.
    for name in ["out/config.yaml", "out/datasources/s.yaml"] {
        fs::remove_file(shell.path(name)).unwrap();
    }
    let expected = serde_json::json!([
        {"step": "update", "target": "/superset/config"},
        {"step": "delete", "target": "/superset/datasources/s"},
    ]);
    assert_eq!(shell.json(&["apply", "out"]), expected);
    assert_eq!(shell.json(&["config", "get"]), serde_json::json!({"B": 2}));
    assert_eq!(shell.json(&["apply", "out"]), serde_json::json!([]));
}

#[tokio::test]
async fn nothing_is_written_of_a_tree_that_is_wrong_too_large_or_none() {
    let server = Server::start().await;
    let shell = Shell::new(&server);
    write(&shell, &[("bad/config/a.yaml", "A: 1\n"), ("bad/config/b.yaml", "b: 1\n"), ("bad/datasources/c.yaml", "x: 1\n")]);
    let said = shell.fails(&["apply", "bad"]);
    assert!(said.contains("problems in the tree") && said.contains("b.yaml:1: b: ") && said.contains("c.yaml:1: x: "), "{said}");
    let comment = format!("# {}\n", "x".repeat(1_048_500));
    write(&shell, &[("large/config/a.yaml", &comment), ("large/config/b.yaml", "A: 1\n")]);
    let said = shell.fails(&["apply", "large"]);
    assert!(said.contains("/superset/config/a: 10") && said.contains("a server takes at most 1048400"), "{said}");
    write(&shell, &[("none/notes.txt", "x")]);
    assert!(shell.fails(&["apply", "none"]).contains("holds no tree"));
    assert!(shell.fails(&["apply", "nowhere"]).contains("failed to read the tree in nowhere"));
    assert_eq!(shell.json(&["config", "get"]), serde_json::json!({}));
}

#[tokio::test]
async fn a_loss_that_the_guard_would_hold_is_named() {
    let server = Server::start().await;
    let shell = Shell::new(&server);
    let node = "sqlalchemy_uri: duckdb://\n";
    write(
        &shell,
        &[
            ("t/config.yaml", "A: 1\n"),
            ("t/datasources/a.yaml", node),
            ("t/datasources/b.yaml", node),
            ("t/datasources/c.yaml", node),
        ],
    );
    shell.ok(&["apply", "t"]);
    fs::remove_dir_all(shell.path("t/datasources")).unwrap();
    let said = shell.run(&["apply", "--dry-run", "t"]);
    assert!(said.err.contains("warning: the agents will not take this tree yet: the tree lost 3 of its 3"), "{}", said.err);
}

#[tokio::test]
async fn what_no_folder_can_hold_is_not_left_out_in_silence() {
    let server = Server::start().await;
    let shell = Shell::new(&server);
    let client = client(&server.connect()).await;
    for path in ["/superset", "/superset/config", "/superset/config/a", "/superset/config/a/deep"] {
        client.create(path, if path.ends_with('a') { b"A: 1" } else { b"" }, &open()).await.unwrap();
    }
    let said = shell.run(&["export", "out"]);
    assert!(said.code == 0 && said.err.contains("warning: /superset/config/a/deep is left out"), "{}", said.err);
    // Gone with its parent, not without it.
    assert_eq!(shell.json(&["apply", "out"]), serde_json::json!([]));
    fs::remove_file(shell.path("out/config/a.yaml")).unwrap();
    shell.ok(&["apply", "out"]);
    assert!(client.check_stat("/superset/config/a").await.unwrap().is_none());
    client.create("/superset/config/.hidden", b"A: 1", &open()).await.unwrap();
    assert!(shell.fails(&["export", "out"]).contains("/superset/config/.hidden cannot be a file of the tree"));
}
