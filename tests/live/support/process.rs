//! An agent in a process of its own, which can be frozen and killed. It is this very test binary, run for one test only:
//! that test calls [`be_an_agent_if_asked`] first.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::agent::Agent;

const ASKED: &str = "SETKEEPER_TEST_AGENT";

/// The process. Dropping it kills it.
pub struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

/// In the process: an agent that says `leads` and `follows` whenever that changes, until it is killed.
pub async fn be_an_agent_if_asked() {
    let Ok(connect) = std::env::var(ASKED) else { return };
    let agent = Agent::start(&connect, "process");
    let mut led = None;
    loop {
        let leads = agent.leads_now();
        if led.replace(leads) != Some(leads) {
            println!("\n{}", if leads { "leads" } else { "follows" });
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl Process {
    /// Runs the test of this name in a process of its own, where it is an agent.
    pub fn start(test: &str, connect: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(ASKED, connect)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// What it says next: `leads` or `follows`.
    pub async fn says(&mut self) -> String {
        let said = async {
            loop {
                let line = self.lines.next_line().await.unwrap().expect("the process ended");
                if matches!(&*line, "leads" | "follows") {
                    return line;
                }
            }
        };
        tokio::time::timeout(super::PATIENCE, said).await.expect("the process says nothing")
    }

    /// `SIGSTOP`, `SIGCONT` or `SIGKILL`.
    pub fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())).unwrap();
        kill_process(pid, signal).unwrap();
    }
}
