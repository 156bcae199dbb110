//! A real ZooKeeper server, or three, as `tests/services/zookeeper` runs them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::free_ports;

/// A ZooKeeper server of this test alone.
pub struct Server {
    pub port: u16,
    pub tls_port: Option<u16>,
    arguments: Vec<String>,
    folder: PathBuf,
    child: Option<Child>,
    _owned: Option<TempDir>,
}

impl Server {
    /// Starts one and waits until it serves.
    pub async fn start() -> Self {
        Self::with(None, "").await
    }

    /// Starts one with these lines of `zoo.cfg` besides.
    pub async fn configured(lines: &str) -> Self {
        Self::with(None, lines).await
    }

    /// Starts one that also listens with TLS and demands a client certificate.
    pub async fn secure(certificates: &Path) -> Self {
        Self::with(Some(certificates), "").await
    }

    async fn with(certificates: Option<&Path>, lines: &str) -> Self {
        let owned = TempDir::new().unwrap();
        let [port, tls_port] = free_ports();
        let mut arguments = Vec::new();
        if let Some(certificates) = certificates {
            let tls = ["--tls".to_owned(), certificates.display().to_string(), "--tls-port".to_owned(), tls_port.to_string()];
            arguments.extend(tls);
        }
        let folder = owned.path().to_owned();
        if !lines.is_empty() {
            let config = folder.join("more.cfg");
            std::fs::write(&config, lines).unwrap();
            arguments.extend(["--config".to_owned(), config.display().to_string()]);
        }
        let mut server =
            Self { port, tls_port: certificates.map(|_| tls_port), arguments, folder, child: None, _owned: Some(owned) };
        server.launch();
        server.serves().await;
        server
    }

    /// How clients reach it.
    pub fn connect(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts the process without waiting for it.
    pub fn launch(&mut self) {
        let script = service("zookeeper");
        let log = File::options().create(true).append(true).open(self.folder.join("log")).unwrap();
        let child = Command::new(&script)
            .args(["run", "--port", &self.port.to_string(), "--dir"])
            .arg(&self.folder)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        self.child = Some(child.unwrap_or_else(|error| panic!("failed to run {}: {error}", script.display())));
    }

    /// Waits until it serves.
    pub async fn serves(&mut self) {
        let began = Instant::now();
        while self.mode().await.is_none() {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().unwrap());
            let late = began.elapsed() > super::PATIENCE;
            assert!(ended.is_none() && !late, "ZooKeeper does not serve:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// `standalone`, `leader` or `follower`; `None` while it does not serve.
    pub async fn mode(&self) -> Option<String> {
        let text = self.four_letters("srvr").await?;
        text.lines().find_map(|line| line.strip_prefix("Mode: ")).map(ToOwned::to_owned)
    }

    /// The answer to a four-letter word.
    pub async fn four_letters(&self, word: &str) -> Option<String> {
        let asked = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
            stream.write_all(word.as_bytes()).await.ok()?;
            let mut text = String::new();
            stream.read_to_string(&mut text).await.ok()?;
            Some(text)
        };
        tokio::time::timeout(Duration::from_secs(2), asked).await.ok()?
    }

    /// Gives these lines to ZooKeeper's own shell.
    pub async fn cli(&self, lines: &[&str]) {
        let mut shell = tokio::process::Command::new(service("zookeeper"))
            .args(["cli", "--port", &self.port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>() + "quit\n";
        shell.stdin.take().unwrap().write_all(text.as_bytes()).await.unwrap();
        let ended =
            tokio::time::timeout(super::PATIENCE, shell.wait_with_output()).await.expect("the shell did not end").unwrap();
        let said = [ended.stdout, ended.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        println!("{said}");
        assert!(ended.status.success() && !said.contains("Exception") && !said.contains("not valid"), "{said}");
    }

    /// Loses all that it held, as where its disk is gone, and serves again.
    pub async fn lose_everything(&mut self) {
        self.kill();
        std::fs::remove_dir_all(self.folder.join("data")).unwrap();
        self.launch();
        self.serves().await;
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// `SIGSTOP`: it holds every connection and answers none.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// `SIGCONT`.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.as_ref().map(Pid::from_child).unwrap();
        kill_process(pid, signal).unwrap();
    }

    fn log(&self) -> String {
        let text = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Three servers that elect a leader.
pub struct Ensemble {
    pub servers: Vec<Server>,
    _folder: TempDir,
}

impl Ensemble {
    /// Starts three and waits until each serves.
    pub async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let ports: [u16; 9] = free_ports();
        let members: Vec<_> = (0..3).map(|i| format!("{}=127.0.0.1:{}:{}", i + 1, ports[3 + 2 * i], ports[4 + 2 * i])).collect();
        let mut servers: Vec<_> = (0..3).map(|i| member(i, ports[i], &members.join(" "), folder.path())).collect();
        servers.iter_mut().for_each(Server::launch);
        for server in &mut servers {
            server.serves().await;
        }
        Self { servers, _folder: folder }
    }

    /// How clients reach it.
    pub fn connect(&self) -> String {
        self.servers.iter().map(Server::connect).collect::<Vec<_>>().join(",")
    }

    /// The server that leads.
    pub async fn leader(&mut self) -> &mut Server {
        let mut leader = None;
        for (i, server) in self.servers.iter().enumerate() {
            if server.mode().await.as_deref() == Some("leader") {
                leader = Some(i);
            }
        }
        &mut self.servers[leader.unwrap()]
    }
}

fn member(i: usize, port: u16, members: &str, folder: &Path) -> Server {
    let arguments = ["--id".to_owned(), (i + 1).to_string(), "--servers".to_owned(), members.to_owned()].to_vec();
    let folder = folder.join((i + 1).to_string());
    std::fs::create_dir(&folder).unwrap();
    Server { port, tls_port: None, arguments, folder, child: None, _owned: None }
}

/// The certificates of `tests/services/certs`, made in `folder`.
pub fn certificates(folder: &Path) {
    let script = service("certs");
    let made = Command::new(&script).arg(folder).output().unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

fn service(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services").join(name)
}
