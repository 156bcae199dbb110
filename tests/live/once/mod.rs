//! `setkeeper once` on a real ZooKeeper: processes that run at the same time, die, freeze and lose their network.
//!
//! What a command does is seen in a file: it writes a line with its name and the time (of the machine's one clock) when it begins,
//! every few milliseconds while it runs, and when it ends.

mod ends;
mod outcomes;
mod shares;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use setkeeper::processes::{Process, Table};
use tempfile::TempDir;

use crate::support::eventually;

/// Short enough to wait for its end, long enough for a busy machine.
const SESSION: Duration = Duration::from_secs(4);

/// A folder for the settings and for what the commands write.
struct Place {
    dir: TempDir,
}

/// A `setkeeper once` that runs. Dropping it ends it and all below it.
struct Once {
    child: Child,
    err: PathBuf,
    log: PathBuf,
}

/// How one ended.
struct Ended {
    code: i32,
    err: String,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// Starts one that finds ZooKeeper at `connect`; `$LOG` and `$NAME` are for the script.
    fn once(&self, name: &str, connect: &str, arguments: &[&str], script: &str) -> Once {
        let timeout = format!("source.zookeeper.session_timeout={}ms", SESSION.as_millis());
        self.with(name, &["--connect", connect, "--set", &timeout], arguments, script)
    }

    fn with(&self, name: &str, settings: &[&str], arguments: &[&str], script: &str) -> Once {
        self.wrapped(&["env"], name, settings, arguments, script)
    }

    /// Started by this program, which must become it or its parent.
    fn wrapped(&self, wrapper: &[&str], name: &str, settings: &[&str], arguments: &[&str], script: &str) -> Once {
        let (err, log) = (self.dir.path().join(format!("{name}.err")), self.dir.path().join("log"));
        fs::write(self.dir.path().join("empty.yaml"), "").unwrap();
        let child = Command::new(wrapper[0])
            .args(&wrapper[1..])
            .args([env!("CARGO_BIN_EXE_setkeeper"), "once", "db"])
            .args(settings)
            .args(arguments)
            .args(["--", "sh", "-c", script])
            .current_dir(self.dir.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("USER", name)
            .env("SETKEEPER_CONFIG", "empty.yaml")
            .env("SETKEEPER_SECRET_CANARY", "canary")
            .env("NAME", name)
            .env("LOG", &log)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&err).unwrap())
            .spawn()
            .unwrap();
        Once { child, err, log }
    }

    /// What the commands wrote: who, what, and when in seconds.
    fn log(&self) -> Vec<(String, String, f64)> {
        let text = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        let line = |line: &str| {
            let mut words = line.split(' ').map(ToOwned::to_owned);
            Some((words.next()?, words.next()?, words.next()?.parse().ok()?))
        };
        text.lines().filter_map(line).collect()
    }

    /// How often a command began.
    fn begins(&self) -> usize {
        self.log().iter().filter(|(_, what, _)| what == "begin").count()
    }

    /// When this one wrote something last, and first.
    fn span(&self, name: &str) -> (f64, f64) {
        let log = self.log();
        let times: Vec<_> = log.iter().filter(|(who, ..)| who == name).map(|(_, _, at)| *at).collect();
        (*times.first().unwrap(), *times.last().unwrap())
    }
}

/// A script that says when it begins, that it runs, and when it ends; with this in between, and this at its end.
fn script(steps: u32, end: &str) -> String {
    let say = |what: &str| format!("read t _ </proc/uptime; echo \"$NAME {what} $t\" >>$LOG");
    format!(
        "{}; i=0; while [ $i -lt {steps} ]; do {}; sleep 0.05; i=$((i+1)); done; {}; {end}",
        say("begin"),
        say("runs"),
        say("end")
    )
}

/// One that is not done by itself.
fn long() -> String {
    script(2000, "exit 0")
}

impl Once {
    fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.err).unwrap_or_default()
    }

    async fn says(&self, text: &str) {
        eventually(&format!("{text:?} is said"), async || self.said().contains(text).then_some(())).await;
    }

    /// Waits until its command has begun.
    async fn begun(&self, name: &str) {
        let line = format!("{name} runs");
        let begun = async || fs::read_to_string(&self.log).unwrap_or_default().contains(&line).then_some(());
        eventually(&line, begun).await;
    }

    fn signal(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    /// The process that keeps the lock.
    fn keeper(&self) -> i32 {
        self.below().into_iter().find(|process| process.arguments.iter().any(|word| word == "--keeper")).unwrap().pid
    }

    /// Everything that its command consists of.
    fn commands(&self) -> Vec<Process> {
        self.below().into_iter().filter(|process| !process.arguments.iter().any(|word| word == "--keeper")).collect()
    }

    fn below(&self) -> Vec<Process> {
        let table = Table::read().unwrap();
        table.iter().filter(|process| process.pid != self.pid() && table.descends(process.pid, self.pid())).cloned().collect()
    }

    async fn ends(mut self) -> Ended {
        let status = eventually("it ends", async || self.child.try_wait().unwrap()).await;
        assert_eq!(status.signal(), None, "{}", self.said());
        Ended { code: status.code().unwrap(), err: self.said() }
    }
}

impl Drop for Once {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            for process in self.below() {
                send(process.pid, Signal::KILL);
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- {}:\n{}", self.err.display(), self.said());
        }
    }
}

fn send(pid: i32, signal: Signal) {
    // It may have ended.
    let _ = kill_process(Pid::from_raw(pid).unwrap(), signal);
}

fn key(key: &str) -> [&str; 2] {
    ["--key", key]
}
