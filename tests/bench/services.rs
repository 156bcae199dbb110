//! PostgreSQL and a Superset whose metadata is in it, as `tests/services` runs them.
//!
//! Each runs as the child of a small shell that waits for the end of its input, which is a pipe that we hold: however this
//! process ends, the pipe closes and the shell ends the service.

use std::fs::{self, Permissions};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::process::PATIENCE;
use super::support::free_port;

const GUARD: &str = r#""$@" & pid=$!; read -r _; kill "$pid"; wait "$pid""#;

/// A service that ends when this is dropped, or with this process.
pub struct Service {
    guard: Child,
    folder: TempDir,
    port: u16,
}

impl Service {
    fn start(folder: TempDir, port: u16, script: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let guard = Command::new("sh")
            .args(["-c", GUARD, "sh"])
            .arg(scripts().join(script))
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { guard, folder, port }
    }

    fn ready(self, what: &str, answers: impl Fn(u16) -> bool) -> Self {
        let began = Instant::now();
        while !answers(self.port) {
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(began.elapsed() < 2 * PATIENCE, "{what} is not ready:\n{}", log());
            sleep(Duration::from_millis(200));
        }
        self
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// PostgreSQL, with a database `superset`.
pub struct Postgres(Service);

impl Postgres {
    pub fn start() -> Self {
        let (folder, port) = (TempDir::new().unwrap(), free_port());
        // Started by root it runs as somebody else, who must get in.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let home = folder.path().join("home");
        let arguments = ["run", "--port", &port.to_string(), "--dir", home.to_str().unwrap()];
        let service = Service::start(folder, port, "postgres", &arguments, &[]);
        Self(service.ready("PostgreSQL", |port| TcpStream::connect(("127.0.0.1", port)).is_ok()))
    }

    /// The number of its release.
    pub fn version(&self) -> String {
        fs::read_to_string(self.0.folder.path().join("home/data/PG_VERSION")).unwrap().trim().to_owned()
    }

    pub fn uri(&self) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/superset", self.0.port)
    }
}

/// A Superset that keeps its metadata in PostgreSQL, and logs every request.
pub struct Superset {
    service: Service,
    access_log: PathBuf,
}

impl Superset {
    pub fn start(runtime: &Runtime, postgres: &Postgres) -> Self {
        let (folder, port) = (TempDir::new().unwrap(), free_port());
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let (home, access_log, port_text, metadata) = (path("home"), path("access"), port.to_string(), postgres.uri());
        let place = ["--home", &home, "--port", &port_text, "--metadata", &metadata];
        let made = Command::new(scripts().join("superset")).arg("init").args(place).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let options = format!("--access-logfile {access_log} --access-logformat '%(m)s %(U)s %(s)s'");
        let arguments = [&["run"], &place[..]].concat();
        let service = Service::start(folder, port, "superset", &arguments, &[("GUNICORN_CMD_ARGS", &options)]);
        let health = |port| {
            let answer = runtime.block_on(reqwest::get(format!("http://127.0.0.1:{port}/health")));
            answer.is_ok_and(|answer| answer.status().is_success())
        };
        Self { service: service.ready("Superset", health), access_log: access_log.into() }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.service.port)
    }

    /// Every request so far: method, path, status.
    pub fn requests(&self) -> Vec<String> {
        fs::read_to_string(&self.access_log).unwrap_or_default().lines().map(ToOwned::to_owned).collect()
    }

    /// Waits until this many of the requests after the first `from` are `wanted`, and says when they were.
    pub fn answered(&self, from: usize, wanted: &str, count: usize, patience: Duration) -> Instant {
        let began = Instant::now();
        loop {
            let requests = self.requests();
            let now = Instant::now();
            if requests[from..].iter().filter(|request| *request == wanted).count() >= count {
                return now;
            }
            assert!(began.elapsed() < patience, "not answered {count} times: {wanted}\n{}", requests[from..].join("\n"));
            sleep(Duration::from_millis(50));
        }
    }
}

/// Where the services' scripts are.
pub fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services")
}
