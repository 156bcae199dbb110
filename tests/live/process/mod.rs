//! Superset's process, supervised and reloaded, on a real gunicorn, a real Celery and a real Superset.
//!
//! Each test has a folder as its tree, an agent with the command after `--`, and looks at `/proc` for who runs.

mod celery;
mod children;
mod found;
mod handoff;
mod supervised;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use setkeeper::processes::{Process, Table, gunicorn};
use tempfile::TempDir;

use crate::support::eventually;
use crate::support::program::Agent;
use crate::support::services::Superset;

/// A tree in a folder, and an agent that keeps a Superset beside it in line.
struct Stand {
    superset: Superset,
    agent: Agent,
    tree: TempDir,
}

impl Stand {
    /// With this Superset, which is not started; its name is the instance's id.
    fn new(id: &str, superset: Superset) -> Self {
        let tree = tempfile::tempdir().unwrap();
        let agent = Agent::of_directory("process", id, tree.path(), &superset.url)
            .with("datasources", json!({"push": false, "resync": "1h"}))
            .with("log", json!({"level": "setkeeper=debug,info"}));
        let config = agent.path("superset_config.py");
        let agent = agent.with("render.superset_config", json!({"path": config, "base": superset.base()}));
        Self { superset, agent, tree }
    }

    /// The file that Superset loads.
    fn config(&self) -> PathBuf {
        self.agent.path("superset_config.py")
    }

    /// With Superset's own command supervised.
    fn supervising(mut self) -> Self {
        let words = self.superset.words(&self.config());
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        self.agent = self.agent.supervising(&words);
        self
    }

    /// Publishes this config.
    fn publish(&self, config: &str) {
        let draft = self.agent.path("draft");
        fs::write(&draft, config).unwrap();
        fs::rename(draft, self.tree.path().join("config.yaml")).unwrap();
    }

    /// Waits until every answer bears the revision that the agent says is applied, and says which.
    async fn serves(&self, line: &str) -> String {
        self.agent.has_line(line).await;
        let revision = eventually("the agent says that it is applied", async || {
            let status = self.agent.in_sync().await;
            let revision = status["instance"]["applied"]["revision"].as_str().unwrap().to_owned();
            // What is in sync a moment after a change may still be the revision before it.
            self.agent.rendered().filter(|text| text.contains(&revision)).map(|_| revision)
        })
        .await;
        eventually("superset runs the revision", async || {
            (self.superset.revision().await.as_deref() == Some(&*revision)).then_some(())
        })
        .await;
        revision
    }

    /// Starts it all and waits until Superset serves its first revision.
    async fn started(mut self) -> Self {
        self.publish("ROW_LIMIT: 1\n");
        self.agent.start().await;
        self.serves("ROW_LIMIT = 1").await;
        self
    }

    /// Gunicorn's master, below the supervisor.
    fn master(&self) -> Process {
        only(gunicorns(self.agent.pid().cast_signed()))
    }
}

/// Every master of gunicorn below this process.
fn gunicorns(ancestor: i32) -> Vec<Process> {
    let table = Table::read().unwrap();
    gunicorn::masters(&table).filter(|master| table.descends(master.pid, ancestor)).cloned().collect()
}

fn only(mut found: Vec<Process>) -> Process {
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// The agent, which is the supervisor's child.
pub fn agent_of(supervisor: u32) -> Process {
    let is_agent = |process: &&Process| {
        process.parent == supervisor.cast_signed() && process.arguments.iter().any(|word| word == "--supervised")
    };
    only(Table::read().unwrap().iter().filter(is_agent).cloned().collect())
}

/// Waits until a process has ended.
async fn gone(process: &Process) {
    eventually("the process ends", async || (!process.is_alive()).then_some(())).await;
}

/// The children of a process that have ended and were not waited for.
fn zombies(parent: u32) -> Vec<String> {
    let stats = fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("stat")).ok());
    stats.filter(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(&format!(" Z {parent} ")))).collect()
}

/// Whether nobody listens there.
async fn is_silent(superset: &Superset) -> bool {
    let answer = crate::support::http().get(format!("{}/health", superset.url)).timeout(Duration::from_secs(2)).send().await;
    answer.is_err()
}

fn own_pid_file(path: &Path) -> i32 {
    fs::read_to_string(path).unwrap().trim().parse().unwrap()
}
