//! The start by hand with a folder, made as the README says: only its places are moved, and nothing listens where Superset would.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::reading::examples;

#[test]
fn the_start_by_hand_with_a_folder_renders_the_file_follows_an_edit_and_stops_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("datasources")).unwrap();
    let all = examples();
    let example = |name: &str| all.iter().find(|(known, _)| known == name).map(|(_, text)| text.clone()).unwrap();
    for name in ["config.yaml", "datasources/sales.yaml"] {
        fs::write(tree.join(name), example(name)).unwrap();
    }
    fs::write(dir.path().join("setkeeper.yaml"), example("setkeeper.yaml")).unwrap();
    let agent = Agent::start(dir.path());
    wait_for("the file", || agent.rendered().contains("ROW_LIMIT = 5000"));
    fs::write(tree.join("config.yaml"), example("config.yaml").replace("5000", "6000")).unwrap();
    wait_for("the edit", || agent.rendered().contains("ROW_LIMIT = 6000"));
    // No gunicorn is there to be told: it loads the file when it starts, so that the agent is ready for it.
    wait_for("readiness", || agent.get("/readyz").ends_with("ok\n"));
    wait_for("the whole revision", || agent.get("/status").contains("superset does not run; whether it runs well"));
    assert!(agent.get("/livez").ends_with("ok\n"));
    assert_eq!(agent.stop(), Some(0));
}

/// An agent as the README starts it, in a folder of its own.
struct Agent {
    child: Child,
    port: u16,
    file: PathBuf,
}

impl Agent {
    fn start(dir: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let file = dir.join("superset_config.py");
        let place = |name: &str| dir.join(name).display().to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_setkeeper"));
        command.env_clear().env("SETKEEPER_SECRET_SUPERSET", "unused").stderr(Stdio::null());
        command.args(["run", "--config", &place("setkeeper.yaml")]);
        for setting in [
            format!("source.directory.path={}", place("tree")),
            format!("state_dir={}", place("state")),
            format!("render.superset_config.path={}", file.display()),
            format!("reload.pid_file={}", place("gunicorn.pid")),
            // There is no Superset's Python to check with.
            "check.require=none".to_owned(),
            "superset.url=http://127.0.0.1:1".to_owned(),
            format!("http.listen=127.0.0.1:{port}"),
        ] {
            command.args(["--set", &setting]);
        }
        Self { child: command.spawn().unwrap(), port, file }
    }

    fn rendered(&self) -> String {
        fs::read_to_string(&self.file).unwrap_or_default()
    }

    fn get(&self, path: &str) -> String {
        let ask = || -> io::Result<String> {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().unwrap_or_default()
    }

    /// Asks it to stop, and says how it ended.
    fn stop(mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It has ended already, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait_for(what: &str, mut seen: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !seen() {
        assert!(Instant::now() < end, "{what} did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}
