//! `rollout status --watch`, while ZooKeeper goes away and comes back.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, ChildStdout, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value as Json, json};
use setkeeper::model::digest::{Release, Revision};
use setkeeper::model::instance::{State, Version};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Shell;
use crate::support::agent::{Agent, client};
use crate::support::server::Server;

/// The command while it runs.
struct Watch {
    child: Child,
    out: mpsc::UnboundedReceiver<String>,
    talk: mpsc::UnboundedReceiver<String>,
}

impl Watch {
    fn start(shell: &Shell, more: &[&str]) -> Self {
        let mut command = shell.command(&[&["rollout", "status", "--watch"], more].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (stdout, stderr): (ChildStdout, ChildStderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        Self { child, out: lines(stdout), talk: lines(stderr) }
    }

    async fn document(&mut self, what: &str, is_meant: impl Fn(&Json) -> bool) {
        loop {
            let seen = serde_json::from_str(&said(&mut self.out, what).await).unwrap();
            if is_meant(&seen) {
                return;
            }
        }
    }

    /// Its code, after Ctrl-C where it is to end by that.
    async fn ends(mut self, interrupted: bool) -> Option<i32> {
        if interrupted {
            kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        }
        tokio::task::spawn_blocking(move || self.child.wait().unwrap().code()).await.unwrap()
    }
}

fn lines(from: impl std::io::Read + Send + 'static) -> mpsc::UnboundedReceiver<String> {
    let (sender, lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || BufReader::new(from).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    lines
}

async fn said(lines: &mut mpsc::UnboundedReceiver<String>, what: &str) -> String {
    timeout(Duration::from_secs(30), lines.recv()).await.ok().flatten().unwrap_or_else(|| panic!("{what}: nothing was said"))
}

async fn talks(watch: &mut Watch, part: &str) {
    while !said(&mut watch.talk, part).await.contains(part) {}
}

#[tokio::test]
async fn a_rollout_is_watched_until_it_rests_although_zookeeper_goes_away() {
    let server = Server::start().await;
    let shell = Shell::new(&server);
    assert!(shell.fails(&["rollout", "status", "--watch", "--connect", "127.0.0.1:1"]).contains("failed to connect"));
    let mut agent = Agent::start(&server.connect(), "web-1");
    agent.leads().await;
    shell.ok(&["config", "set", "ROW_LIMIT", "1"]);
    let published: Release = serde_json::from_value(shell.json(&["rollout", "status"])["published"].clone()).unwrap();

    let (mut watch, mut waiting) = (Watch::start(&shell, &["-o", "json"]), Watch::start(&shell, &["--until-done"]));
    let mut refused = Watch::start(&shell, &["--until-done"]);
    watch.document("the first", |seen| seen["published"] == published.as_str() && seen["completed"] == Json::Null).await;
    let version = Version { release: Some(published.clone()), revision: Some(Revision::new("v1")) };
    agent.record.send_modify(|record| {
        let record = record.as_mut().unwrap();
        (record.state, record.desired) = (State::Reloading, version.clone());
    });
    watch.document("a change", |seen| seen["instances"][0]["state"] == "reloading").await;
    while !said(&mut waiting.out, "a line").await.ends_with(&format!("Z  web-1: reloading - -> {published}")) {}

    server.freeze();
    talks(&mut watch, "the rollout cannot be read: ").await;
    server.thaw();
    talks(&mut watch, "the rollout can be read again").await;

    let client = client(&server.connect()).await;
    let write = async |rollout: Json| {
        client.set_data("/superset/rollout", rollout.to_string().as_bytes(), None).await.unwrap();
    };
    write(json!({"quarantine": [{"release": published, "instance": "web-1", "reason": "it raises"}]})).await;
    agent.record.send_modify(|record| record.as_mut().unwrap().state = State::Held);
    talks(&mut refused, &format!("error: release {published} proved bad on web-1: it raises")).await;
    assert_eq!(refused.ends(false).await, Some(1));
    watch.document("quarantine", |seen| seen["quarantine"][0]["reason"] == "it raises").await;
    assert_eq!(waiting.ends(false).await, Some(1));

    write(json!({"completed": published})).await;
    agent.record.send_modify(|record| {
        let record = record.as_mut().unwrap();
        (record.state, record.applied) = (State::InSync, version);
    });
    watch.document("completed", |seen| seen["completed"] == published.as_str()).await;
    assert_eq!(watch.ends(true).await, Some(0));
    assert_eq!(Watch::start(&shell, &["--until-done"]).ends(false).await, Some(0));
}

#[tokio::test]
async fn ctrl_c_before_the_end_that_was_awaited_is_no_success() {
    let server = Server::start().await;
    let shell = Shell::new(&server);
    let mut watch = Watch::start(&shell, &["--until-done"]);
    assert_eq!(said(&mut watch.out, "the table").await, "Published: -");
    assert_eq!(watch.ends(true).await, Some(130));
}
