//! `config set`, `unset`, `get`, `explain`.

use super::Shell;
use crate::support::agent::{client, open};
use crate::support::server::Server;

async fn put(server: &Server, path: &str, text: &str) {
    let client = client(&server.connect()).await;
    let parents: Vec<_> = path.match_indices('/').skip(1).map(|(at, _)| &path[..at]).collect();
    for parent in parents {
        let _ = client.create(parent, b"", &open()).await;
    }
    client.create(path, text.as_bytes(), &open()).await.unwrap();
}

async fn text(server: &Server, path: &str) -> Option<String> {
    let (bytes, _) = client(&server.connect()).await.get_data(path).await.ok()?;
    String::from_utf8(bytes).ok()
}

#[tokio::test]
async fn a_setting_goes_where_it_already_is_and_comments_stay() {
    let server = Server::start().await;
    let shell = Shell::new(&server);
    put(&server, "/superset/config/10-limits", "# why\nROW_LIMIT: 5000 # rows\nFLAGS:\n  A: true\n").await;
    assert!(shell.run(&["config", "set", "ROW_LIMIT", "7"]).err.contains("updated /superset/config/10-limits"));
    shell.ok(&["config", "set", "--in", "10-limits", "FLAGS.B", "{$env: X}", "--set", "render.allow_env=[X]"]);
    let expected = "# why\nROW_LIMIT: 7 # rows\nFLAGS:\n  A: true\n  B: {$env: X}\n";
    assert_eq!(text(&server, "/superset/config/10-limits").await.as_deref(), Some(expected));
    shell.ok(&["config", "unset", "FLAGS.B"]);
    assert!(shell.run(&["config", "set", "APP_NAME", "Our Superset"]).err.contains("created /superset/config/50-cli"));
    assert_eq!(shell.ok(&["config", "get", "APP_NAME"]), "Our Superset\n");
    assert_eq!(shell.json(&["config", "get"])["ROW_LIMIT"], 7);
    // Our own fragment goes with its last key.
    shell.ok(&["config", "unset", "APP_NAME"]);
    assert_eq!(text(&server, "/superset/config/50-cli").await, None);
    assert!(shell.run(&["config", "set", "ROW_LIMIT", "7"]).err.contains("is as it was"));
}

#[tokio::test]
async fn what_would_not_be_true_afterwards_is_refused() {
    let server = Server::start().await;
    let shell = Shell::new(&server);
    put(&server, "/superset/config/10-a", "A: 1\nM: {x: 1}\n").await;
    put(&server, "/superset/config/90-z", "A: 2\nM: {y: 1}\nGONE: {$unset: true}\n").await;
    let several = shell.fails(&["config", "set", "A", "3"]);
    assert!(several.contains("/superset/config/10-a, /superset/config/90-z") && several.contains("--in 90-z"), "{several}");
    let later = shell.fails(&["config", "set", "A", "3", "--in", "10-a"]);
    assert!(later.contains("/superset/config/90-z comes after") && later.contains("hint: set it there: --in 90-z"), "{later}");
    assert!(shell.fails(&["config", "set", "GONE", "3", "--in", "20-b"]).contains("has the last word about GONE"));
    shell.ok(&["config", "set", "M.x", "3", "--in", "10-a"]);
    assert_eq!(shell.json(&["config", "get", "M"]), serde_json::json!({"x": 3, "y": 1}));
    for (fragment, key, value, part) in [
        ("95-x", "lower", "1", "expected the name of a setting"),
        ("95-x", "B", "yes", "value:1: expected true or false"),
        ("95-x", "B", "{$env: HOME}", "this variable may not be named here"),
        ("90-z", "A.b", "1", "`A` is a whole number there"),
        ("a/b", "B", "1", "cannot be the name of a znode"),
    ] {
        let said = shell.fails(&["config", "set", key, value, "--in", fragment]);
        assert!(said.contains(part), "{key} {value}: {said}");
    }
    assert_eq!(text(&server, "/superset/config/95-x").await, None);
}

#[tokio::test]
async fn labels_decide_which_fragments_count() {
    let server = Server::start().await;
    let shell = Shell::new(&server);
    put(&server, "/superset/config/10-all", "A: 1\n").await;
    put(&server, "/superset/config/20-worker", "when: {role: worker}\nconfig:\n  B: 1\n").await;
    assert!(shell.fails(&["config", "get", "B"]).contains("no fragment sets B for this instance"));
    assert_eq!(shell.ok(&["config", "get", "B", "--set", "instance.labels.role=worker"]), "1\n");
    shell.ok(&["config", "set", "B", "2"]);
    assert_eq!(shell.ok(&["config", "get", "B", "--set", "instance.labels.role=worker"]), "2\n");
    let explained = shell.json(&["config", "explain", "B", "--set", "instance.labels.role=worker"]);
    let expected = serde_json::json!([{"key": "B", "value": 2, "fragment": "/superset/config/20-worker", "line": 3}]);
    assert_eq!(explained, expected);
}

#[tokio::test]
async fn lines_of_key_and_value_are_edited_as_such() {
    let server = Server::start().await;
    let shell = Shell::new(&server);
    put(&server, "/superset/config/n0000000001", "database_url=postgres://user:canary@host:5432/dbname\n").await;
    let uri = shell.ok(&["config", "get", "SQLALCHEMY_DATABASE_URI"]);
    assert_eq!(uri, "postgresql://user:***@host:5432/dbname\n");
    shell.ok(&["config", "set", "ROW_LIMIT", "5", "--in", "n0000000001"]);
    let expected = "database_url=postgres://user:canary@host:5432/dbname\nROW_LIMIT=5\n";
    assert_eq!(text(&server, "/superset/config/n0000000001").await.as_deref(), Some(expected));
}
