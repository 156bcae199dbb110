//! Releases as people handle them: history, diff, rollback, edit, purge; edits in parts; pause; the rollout.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use setkeeper::model::digest::{Release, Revision};
use setkeeper::model::instance::InstanceId;
use setkeeper::model::rollout::Quarantined;
use setkeeper::zookeeper::cluster::{Cluster, LIMIT};

use super::{Said, Shell};
use crate::support::agent::{Agent, access, client, settings, text};
use crate::support::eventually;
use crate::support::proxy::{Network, Proxy};
use crate::support::server::Server;

/// A server on which an agent has made the cluster's key.
async fn with_key() -> (Server, Agent) {
    let server = Server::start().await;
    let mut agent = Agent::start(&server.connect(), "web-1");
    agent.tree_where("anything", |_| true).await;
    (server, agent)
}

async fn cluster(server: &Server) -> Cluster {
    Cluster::open(&access(&settings(&server.connect())), LIMIT).await.unwrap()
}

fn write(shell: &Shell, name: &str, text: &str) {
    let path = shell.path(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// What a command says that must succeed.
#[track_caller]
fn says(shell: &Shell, arguments: &[&str]) -> String {
    let said = shell.run(arguments);
    assert_eq!(said.code, 0, "{arguments:?}: {}", said.err);
    said.err
}

#[tokio::test]
async fn the_history_tells_who_changed_what_and_an_earlier_release_comes_back() {
    let (server, _agent) = with_key().await;
    let shell = Shell::new(&server);
    write(&shell, "t/config/10-a.yaml", "ROW_LIMIT: 1 # one\nSECRET_KEY: canary-one\n");
    write(&shell, "t/datasources/s.yaml", "sqlalchemy_uri: duckdb://\n");
    says(&shell, &["apply", "-m", "the beginning", "t"]);
    says(&shell, &["config", "set", "ROW_LIMIT", "2"]);
    write(&shell, "t/config/10-a.yaml", "ROW_LIMIT: 3\nSECRET_KEY: canary-two\n");
    write(&shell, "t/config/20-b.yaml", "when: {role: worker}\nconfig: {SQLLAB_TIMEOUT: 9}\n");
    says(&shell, &["config", "apply", "-m", "for workers", "t"]);
    let history = shell.json(&["config", "history"]);
    let told = |key: &str| history.as_array().unwrap().iter().map(|one| one[key].clone()).collect::<Vec<_>>();
    assert_eq!(told("seq"), [1, 2, 3]);
    assert_eq!(told("message"), [json!("the beginning"), json!(null), json!("for workers")]);
    assert!(history[0]["by"].as_str().is_some_and(|by| by.contains('@')), "{history}");
    assert_eq!(told("changed"), [json!(null), json!(["ROW_LIMIT"]), json!(["ROW_LIMIT", "SECRET_KEY", "SQLLAB_TIMEOUT"])]);
    assert!(shell.ok(&["config", "history"]).contains("the beginning"));

    let diff = shell.json(&["config", "diff", "1", "3"]);
    let expected = json!([
        {"fragment": "10-a", "key": "ROW_LIMIT", "before": 1, "after": 3},
        {"fragment": "10-a", "key": "SECRET_KEY", "before": "***", "after": "***"},
        {"fragment": "20-b", "key": "SQLLAB_TIMEOUT", "before": null, "after": 9},
    ]);
    assert_eq!(diff, expected);
    assert!(shell.ok(&["config", "diff", "--reveal", "1"]).contains("+ \"canary-two\""));
    assert!(says(&shell, &["config", "diff", "3", "now"]).contains("nothing differs"));

    assert!(says(&shell, &["config", "rollback", "1"]).contains("published release 1"));
    let bytes = client(&server.connect()).await.get_data("/superset/config/10-a").await.unwrap().0;
    assert_eq!(String::from_utf8(bytes).unwrap(), "ROW_LIMIT: 1 # one\nSECRET_KEY: canary-one\n", "byte by byte");
    assert_eq!(shell.json(&["config", "get"]).as_object().unwrap().len(), 2);
    let last = shell.json(&["config", "history"])[3].clone();
    assert_eq!((&last["digest"], &last["message"]), (&history[0]["digest"], &json!("rollback to 1: the beginning")));
    assert!(says(&shell, &["config", "rollback", "1"]).contains("the config is as release 1 had it"));
    assert!(shell.fails(&["config", "rollback", "99"]).contains("no release 99 is kept"));
    // The datasource stayed, and no change of a datasource is a release.
    assert_eq!(shell.json(&["datasource", "list"]).as_array().unwrap().len(), 1);
    says(&shell, &["datasource", "delete", "s"]);
    assert_eq!(shell.json(&["config", "history"]).as_array().unwrap().len(), 4);

    let completed = Release::new(history[1]["digest"].as_str().unwrap());
    cluster(&server).await.complete(&completed).await.unwrap();
    assert!(says(&shell, &["history", "purge"]).contains("removed 2 releases"));
    let left = shell.json(&["config", "history"]);
    assert_eq!(left.as_array().unwrap().iter().map(|one| one["seq"].clone()).collect::<Vec<_>>(), [2, 4]);
    assert_eq!(client(&server.connect()).await.list_children("/superset/trees").await.unwrap().len(), 2);
}

fn edit(shell: &Shell, script: &str, arguments: &[&str]) -> Said {
    write(shell, "editor", &format!("#!/bin/sh\n{script}\n"));
    let editor = shell.path("editor");
    fs::set_permissions(&editor, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let path = std::env::var("PATH").unwrap();
    let command = &[&["config", "edit"], arguments].concat();
    Said::from(shell.command(command).env("EDITOR", &editor).env("PATH", path).env("TMPDIR", shell.dir.path()).output().unwrap())
}

#[tokio::test]
async fn an_edit_is_checked_and_refused_where_somebody_was_faster_and_nothing_written_is_lost() {
    let (server, _agent) = with_key().await;
    let shell = Shell::new(&server);
    let said = edit(&shell, "printf 'A: 1 # mine\\n' > \"$1\"", &["10-a", "-m", "first"]);
    assert!(said.code == 0 && said.err.contains("created /superset/config/10-a"), "{}", said.err);
    assert_eq!(shell.json(&["config", "history"])[0]["message"], "first");
    assert!(edit(&shell, "true", &["10-a"]).err.contains("is as it was"));
    let wrong = edit(&shell, "printf 'a: 1\\n' > \"$1\"", &["10-a"]);
    assert!(wrong.code == 1 && wrong.err.contains("/superset/config/10-a:1: a: "), "{}", wrong.err);
    let kept = wrong.err.lines().find_map(|line| line.strip_prefix("what you wrote is kept in ")).unwrap().to_owned();
    assert_eq!(fs::read_to_string(kept).unwrap(), "a: 1\n");
    let program = env!("CARGO_BIN_EXE_setkeeper");
    let faster = format!("{program} config set B 7 --in 10-a >&2; sed -i 's/A: 1/A: 2/' \"$1\"");
    let overtaken = edit(&shell, &faster, &["10-a"]);
    assert!(overtaken.code == 1 && overtaken.err.contains("was changed by somebody else meanwhile"), "{}", overtaken.err);
    assert!(overtaken.err.contains("what you wrote is kept in"));
    assert_eq!(shell.json(&["config", "get"]), json!({"A": 1, "B": 7}));
    assert!(edit(&shell, "exit 3", &["10-a"]).err.contains("failed to edit with"));
    assert!(edit(&shell, "printf 'C: 1\\n' > \"$1\"", &[]).err.contains("d /superset/config"));
}

/// A folder with a tree of five megabytes that says `round`.
fn large(shell: &Shell, round: usize) {
    let filler = "x".repeat(50_000);
    for n in 0..100 {
        write(shell, &format!("large/config/{n:03}.yaml"), &format!("A_{n}: {round}\n# {filler}\n"));
    }
}

#[tokio::test]
async fn a_tree_of_five_megabytes_is_published_in_parts_and_taken_over_after_kill_9() {
    let (server, mut agent) = with_key().await;
    let shell = Shell::new(&server);
    large(&shell, 1);
    let said = says(&shell, &["apply", "-m", "large", "large"]);
    assert!(said.contains("publishing in parts") && said.contains("made 100 changes"), "{said}");
    let is = |round: usize| {
        move |tree: &setkeeper::model::snapshot::Snapshot| {
            (0..100).all(|n| text(tree, &format!("{n:03}")).is_some_and(|text| text.starts_with(&format!("A_{n}: {round}\n"))))
        }
    };
    agent.tree_where("the first round", is(1)).await;
    assert_eq!(shell.json(&["config", "history"])[0]["message"], "large");

    large(&shell, 2);
    let proxy = Proxy::before(server.port).await;
    let slow = Shell::at(&proxy.connect(), "");
    large(&slow, 2);
    proxy.set(Network::Slow(Duration::from_millis(100)));
    let mut killed = slow.command(&["apply", "large"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let live = client(&server.connect()).await;
    eventually("half an edit", async || {
        let (bytes, _) = live.get_data("/superset/config/030").await.unwrap();
        bytes.starts_with(b"A_30: 2").then_some(())
    })
    .await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    drop(proxy);
    assert!(live.check_stat("/superset/publishing").await.unwrap().is_some(), "it was killed too late");
    let whole = |agent: &Agent| is(1)(&agent.tree.borrow().as_ref().unwrap().snapshot);
    assert!(whole(&agent), "law 2: the last snapshot stays");
    let mut new = Agent::start(&server.connect(), "web-2");
    new.link_where("connected", |link| link.connected).await;
    for arguments in [&["apply", "large"][..], &["config", "set", "B", "1"], &["config", "rollback", "1"]] {
        let refused = shell.fails(arguments);
        assert!(refused.contains("is publishing") && refused.contains("--takeover"), "{refused}");
    }
    assert!(shell.ok(&["rollout", "status"]).contains("is publishing"));
    assert!(whole(&agent) && new.tree.borrow().is_none());
    let said = says(&shell, &["apply", "--takeover", "large"]);
    assert!(said.contains("publishing in parts"), "{said}");
    agent.tree_where("the second round", is(2)).await;
    new.tree_where("the second round", is(2)).await;
    assert!(live.check_stat("/superset/publishing").await.unwrap().is_none());
}

#[tokio::test]
async fn an_edit_taken_over_may_also_be_undone() {
    let (server, mut agent) = with_key().await;
    let shell = Shell::new(&server);
    says(&shell, &["config", "set", "A", "1"]);
    says(&shell, &["export", "before"]);
    let cluster = cluster(&server).await;
    cluster.begin_publishing(&setkeeper::model::pause::Publishing::default(), false).await.unwrap();
    agent.has("50-cli", "A: 1\n").await;
    cluster.set("/superset/config/90-half", b"B: 1".to_vec(), setkeeper::zookeeper::edit::Expect::Absent).await.unwrap();
    says(&shell, &["apply", "--takeover", "before"]);
    assert_eq!(shell.json(&["config", "get"]), json!({"A": 1}));
    assert!(cluster.publishing().await.unwrap().is_none());
}

#[tokio::test]
async fn a_pause_is_shown_and_lifted_and_a_quarantine_too() {
    let (server, _agent) = with_key().await;
    let shell = Shell::new(&server);
    assert!(says(&shell, &["resume"]).contains("nothing was paused"));
    let said = says(&shell, &["pause", "--reason", "upgrade", "--for", "90m"]);
    assert!(said.starts_with("paused by ") && said.contains(" until 2") && said.ends_with(": upgrade\n"), "{said}");
    assert!(shell.ok(&["rollout", "status"]).contains(": upgrade"));
    assert!(says(&shell, &["resume"]).contains("resumed; it was paused by"));
    assert!(shell.fails(&["pause", "--for=-5m"]).contains("longer than nothing"));
    assert_eq!(shell.run(&["pause", "--for", "soon"]).code, 2);

    assert!(shell.fails(&["rollout", "release"]).contains("no release is in quarantine"));
    let cluster = cluster(&server).await;
    let bad = |release: &str| {
        let id = InstanceId::parse("web-1").unwrap();
        Quarantined::new(Release::new(release), Revision::new("v"), id, "ModuleNotFoundError: x")
    };
    cluster.quarantine(&bad("r1")).await.unwrap();
    let status = shell.json(&["rollout", "status"]);
    assert_eq!(status["quarantine"][0]["reason"], "ModuleNotFoundError: x");
    assert_eq!(status["instances"][0]["id"], "web-1");
    assert!(status["published"].is_string() && status["completed"].is_null(), "{status}");
    cluster.quarantine(&bad("r2")).await.unwrap();
    assert!(shell.fails(&["rollout", "release"]).contains("name one of r1, r2"));
    assert!(shell.fails(&["rollout", "release", "r9"]).contains("r9 is not in quarantine"));
    assert!(says(&shell, &["rollout", "release", "r1"]).contains("r1 may be tried again"));
    assert!(says(&shell, &["rollout", "release"]).contains("r2 may be tried again"));
}
