//! What systemd hears of a unit: the program itself, with a socket where systemd would listen.

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A unit, and all that systemd has heard of it.
struct Unit {
    dir: TempDir,
    socket: UnixDatagram,
    child: Option<Child>,
    heard: Vec<String>,
}

impl Unit {
    fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = format!(
            "source: {{directory: {{path: tree}}}}\ncheck: {{require: none}}\nstate_dir: state\n\
             render: {{superset_config: {{path: out.py}}}}\nhttp: {{listen: \"127.0.0.1:{port}\"}}\n\
             superset: {{url: \"http://127.0.0.1:1\"}}\nverify: {{successes: 0}}\n"
        );
        fs::create_dir(dir.path().join("tree")).unwrap();
        fs::write(dir.path().join("tree/config.yaml"), config).unwrap();
        fs::write(dir.path().join("a.yaml"), settings).unwrap();
        let socket = UnixDatagram::bind(dir.path().join("socket")).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        Self { dir, socket, child: None, heard: Vec::new() }
    }

    /// Starts it as systemd does, with a watchdog where `watches`.
    fn start(mut self, watches: bool, words: &[&str]) -> Self {
        let mut command = Command::new("sh");
        // The watchdog is one process's, whose number only it knows beforehand.
        let watchdog = if watches { "export WATCHDOG_USEC=60000000 WATCHDOG_PID=$$; " } else { "" };
        command.arg("-c").arg(format!("{watchdog}exec \"$0\" \"$@\"")).arg(env!("CARGO_BIN_EXE_setkeeper")).arg("run");
        command.args(words).current_dir(self.dir.path()).env_clear().env("PATH", "/usr/bin:/bin");
        command.env("SETKEEPER_CONFIG", "a.yaml").env("SETKEEPER_SECRET_SUPERSET", "x").env("CANARY", "y");
        command.env("NOTIFY_SOCKET", self.dir.path().join("socket"));
        self.child = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        self
    }

    /// Waits until a line is heard that `is_it`.
    fn hears(&mut self, what: &str, is_it: impl Fn(&str) -> bool) {
        let began = Instant::now();
        while !self.heard.iter().any(|line| is_it(line)) {
            assert!(began.elapsed() < Duration::from_secs(20), "never heard {what}: {:?}", self.heard);
            self.listen();
        }
    }

    fn listen(&mut self) {
        let mut bytes = [0; 4096];
        if let Ok(length) = self.socket.recv(&mut bytes) {
            self.heard.extend(str::from_utf8(&bytes[..length]).unwrap().lines().map(ToOwned::to_owned));
        }
    }

    fn place(&self, line: &str) -> usize {
        self.heard.iter().position(|heard| heard == line).unwrap_or_else(|| panic!("no {line}: {:?}", self.heard))
    }

    fn has_heard(&self, line: &str) -> bool {
        self.heard.iter().any(|heard| heard == line)
    }

    fn is_told_to_stop(&self) {
        kill_process(Pid::from_child(self.child.as_ref().unwrap()), Signal::TERM).unwrap();
    }

    fn ends_with(&mut self) -> Option<i32> {
        self.child.take().unwrap().wait().unwrap().code()
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn a_unit_is_ready_once_its_loop_turns_says_how_it_fares_feeds_the_watchdog_and_says_that_it_stops() {
    let mut unit = Unit::new("ROW_LIMIT: 5000\n").start(true, &[]);
    unit.hears("READY=1", |line| line == "READY=1");
    // Nothing but a turn of the loop lets the watchdog be fed, and none was ready before it.
    assert!(unit.place("WATCHDOG=1") < unit.place("READY=1"), "{:?}", unit.heard);
    unit.hears("a release", |line| line.starts_with("STATUS=") && line.contains("release ") && !line.contains("no release"));
    let began = unit.heard.len();
    while !unit.heard[began..].iter().any(|line| line == "WATCHDOG=1") {
        unit.listen();
    }
    unit.is_told_to_stop();
    unit.hears("STOPPING=1", |line| line == "STOPPING=1");
    assert_eq!(unit.ends_with(), Some(0));
}

#[test]
fn a_status_quotes_what_is_wrong_in_one_line() {
    let mut unit = Unit::new("NO SUCH: {$nothing: 1}\n").start(false, &[]);
    unit.hears("the problem", |line| line.starts_with("STATUS=held"));
    let assigns = |line: &String| ["READY=1", "WATCHDOG=1"].contains(&line.as_str()) || line.starts_with("STATUS=");
    assert!(unit.heard.iter().all(assigns), "{:?}", unit.heard);
    // Nobody waits for a sign of life, so none is given.
    assert!(!unit.has_heard("WATCHDOG=1"));
}

#[test]
fn a_supervised_command_cannot_speak_for_its_unit_which_is_ready_when_superset_runs() {
    let words = ["--", "sh", "-c", "env > seen; while :; do sleep 0.1; done"];
    let mut unit = Unit::new("ROW_LIMIT: 5000\n").start(false, &words);
    unit.hears("READY=1", |line| line == "READY=1");
    let seen = fs::read_to_string(unit.dir.path().join("seen")).unwrap();
    assert!(seen.contains("CANARY=y") && !seen.contains("NOTIFY_SOCKET"), "{seen}");
    assert!(!unit.has_heard("STOPPING=1"));
    unit.is_told_to_stop();
    unit.hears("STOPPING=1", |line| line == "STOPPING=1");
    unit.ends_with();
}

#[test]
fn settings_that_are_wrong_never_make_a_unit_ready() {
    let mut unit = Unit::new("ROW_LIMIT: 5000\n").start(true, &["--set", "no.such=1"]);
    assert_eq!(unit.ends_with(), Some(1));
    unit.listen();
    assert_eq!(unit.heard, [""; 0]);
}
