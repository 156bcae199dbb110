//! The processes under test: the release build of the agent with a settings file, and the floor.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::support::free_port;
use super::waiter::Waiter;

/// How long anything may take before the bench gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A process with a folder of its own, in which it keeps one file as ZooKeeper wants it. It ends when this is dropped.
pub struct Process {
    child: Child,
    folder: TempDir,
}

/// Where a process's memory is, in MB.
pub struct Memory {
    pub resident: f64,
    /// The part that is its own, rather than of files such as the program itself.
    pub own: f64,
}

impl Process {
    /// The floor, watching what lies below `root`.
    pub fn floor(connect: &str, root: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["floor", connect, root])
            .arg(folder.path().join("file"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self { child, folder }
    }

    /// An agent, following the tree at `root`, with a state folder that holds nothing yet.
    pub fn agent(connect: &str, root: &str) -> Self {
        Self::agent_with(connect, root, &json!({}))
    }

    /// The same with `more` in its settings.
    pub fn agent_with(connect: &str, root: &str, more: &Json) -> Self {
        let folder = TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name);
        let mut settings = json!({
            "instance": {"id": root.trim_matches('/')},
            "source": {"zookeeper": {"connect": connect, "root": root}},
            "state_dir": path("state"),
            "render": {"superset_config": {"path": path("file")}},
            "superset": {"url": "http://127.0.0.1:1", "password": "admin"},
            "http": {"listen": format!("127.0.0.1:{}", free_port())},
        });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        // JSON is YAML.
        fs::write(path("settings.yaml"), settings.to_string()).unwrap();
        let log = fs::File::create(path("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_setkeeper"))
            .args(["run", "--config"])
            .arg(path("settings.yaml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    /// The file that it keeps.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("file")
    }

    /// Waits until its file holds `marker`.
    pub fn shows(&mut self, marker: &str) {
        let arrived = Waiter::new(&self.file()).until(marker, PATIENCE);
        assert!(arrived.is_some() && self.child.try_wait().unwrap().is_none(), "{marker} never came:\n{}", self.log());
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        let text = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Its memory now.
    pub fn memory(&self) -> Memory {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
        };
        Memory { resident: field("VmRSS"), own: field("RssAnon") }
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let code = self.child.wait().unwrap();
        assert!(code.success(), "{code}:\n{}", self.log());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How big a file is, in KB.
pub fn kilobytes(path: &Path) -> f64 {
    fs::metadata(path).unwrap().len() as f64 / 1024.0
}
