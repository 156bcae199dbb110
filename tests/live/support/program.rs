//! The agent as a process: its settings, what it writes, what it says, and signals to it.
//!
//! An [`Agent`] is a folder with settings, state, secrets and rendered file, in which the built program can be started, stopped,
//! killed and started again. It ends with the test; where the test fails, the end of its log is shown.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::{PATIENCE, eventually, free_port};

const PROGRAM: &str = env!("CARGO_BIN_EXE_setkeeper");
/// Short enough to wait for its end, long enough for a busy machine.
pub const SESSION: Duration = Duration::from_secs(4);
const LOG_SHOWN: usize = 60;
/// How long what is supervised may take to end with its test.
const ENDS_WITHIN: Duration = Duration::from_secs(20);
const REST: Duration = Duration::from_millis(500);

/// An agent and the folder it lives in.
pub struct Agent {
    pub id: String,
    pub folder: TempDir,
    settings: Json,
    port: u16,
    wrapper: Vec<String>,
    command: Vec<String>,
    environment: Vec<(String, String)>,
    child: Option<Child>,
}

impl Agent {
    /// One of this cluster that reads ZooKeeper at `connect` and stands beside the Superset at `url`. It is not started yet.
    pub fn new(cluster: &str, id: &str, connect: &str, url: &str) -> Self {
        let session = format!("{}ms", SESSION.as_millis());
        let source = json!({"zookeeper": {"connect": connect, "session_timeout": session}});
        Self::with_source(cluster, id, &source, url)
    }

    /// The same from a folder, without ZooKeeper.
    pub fn of_directory(cluster: &str, id: &str, path: &Path, url: &str) -> Self {
        Self::with_source(cluster, id, &json!({"directory": {"path": path}}), url)
    }

    fn with_source(cluster: &str, id: &str, source: &Json, url: &str) -> Self {
        let (folder, port) = (TempDir::new().unwrap(), free_port());
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs::create_dir(path("secrets")).unwrap();
        let settings = json!({
            "cluster": cluster,
            "instance": {"id": id},
            "source": source,
            "state_dir": path("state"),
            "secrets": {"files": [path("secrets")]},
            "render": {"superset_config": {"path": path("superset_config.py")}},
            "check": {"require": "none"},
            "rollout": {"settle": "100ms", "soak": "100ms"},
            "superset": {"url": url, "password": "admin", "timeout": "15s"},
            "http": {"listen": format!("127.0.0.1:{port}")},
        });
        Self {
            id: id.to_owned(),
            folder,
            settings,
            port,
            wrapper: Vec::new(),
            command: Vec::new(),
            environment: Vec::new(),
            child: None,
        }
    }

    /// With this setting, by its dotted key.
    pub fn with(mut self, key: &str, value: Json) -> Self {
        self.set(key, value);
        self
    }

    /// Changes a setting for the next start.
    pub fn set(&mut self, key: &str, value: Json) {
        let at = key.split('.').fold(&mut self.settings, |at, part| &mut at[part]);
        *at = value;
    }

    /// With this in its environment.
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Takes a variable out of its environment for the next start, or puts it there.
    pub fn set_variable(&mut self, name: &str, value: Option<&str>) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    }

    /// Started by this program, which must become it.
    pub fn wrapped(mut self, words: &[&str]) -> Self {
        self.wrapper = words.iter().map(ToString::to_string).collect();
        self
    }

    /// Supervising this command.
    pub fn supervising(mut self, words: &[&str]) -> Self {
        self.command = words.iter().map(ToString::to_string).collect();
        self
    }

    /// Starts it and waits until it answers.
    pub async fn start(&mut self) {
        self.launch();
        self.answers().await;
    }

    /// The same, for a line.
    pub async fn started(mut self) -> Self {
        self.start().await;
        self
    }

    /// Starts it.
    pub fn launch(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.id);
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        let mut command = match self.wrapper.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(PROGRAM);
                command
            }
            None => Command::new(PROGRAM),
        };
        command.arg("run").arg("--config").arg(self.write_settings());
        if !self.command.is_empty() {
            command.arg("--").args(&self.command);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let child = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn();
        self.child = Some(child.unwrap());
    }

    /// Waits until it answers.
    pub async fn answers(&mut self) {
        eventually("the agent answers", async || {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().unwrap());
            assert!(ended.is_none(), "{} ended with {ended:?}", self.id);
            self.get("/livez").await.filter(|(status, _)| *status == 200)
        })
        .await;
    }

    /// Runs another command with the same settings.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = tokio::process::Command::new(PROGRAM);
        command.args(&self.words(arguments)[1..]).stdin(Stdio::null());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        tokio::time::timeout(PATIENCE, command.output()).await.expect("the command did not end").unwrap()
    }

    /// The words of another command with the same settings.
    pub fn words(&self, arguments: &[&str]) -> Vec<String> {
        let settings = self.write_settings().display().to_string();
        let arguments = arguments.iter().map(ToString::to_string);
        [PROGRAM.to_owned()].into_iter().chain(arguments).chain(["--config".to_owned(), settings]).collect()
    }

    fn write_settings(&self) -> PathBuf {
        let path = self.path("config.yaml");
        fs::write(&path, serde_json::to_vec_pretty(&self.settings).unwrap()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// TERM, and waits until it ended as it should.
    pub async fn stop(&mut self) {
        self.signal(Signal::TERM);
        let status = self.ends().await;
        assert!(status.success(), "{} ended with {status}\n{}", self.id, self.log());
    }

    /// Waits until it ended, and says how.
    pub async fn ends(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        eventually("the agent ends", async || child.try_wait().unwrap()).await
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// TERM, which ends what is supervised, too: `kill -9` would leave it behind.
    fn end_all(&mut self) {
        let Some(child) = &mut self.child else { return };
        let _ = kill_process(Pid::from_child(child), Signal::TERM);
        let began = Instant::now();
        while matches!(child.try_wait(), Ok(None)) && began.elapsed() < ENDS_WITHIN {
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// `SIGSTOP`.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// `SIGCONT`.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// A signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.as_ref().unwrap()), signal).unwrap();
    }

    /// A file in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a secret's file, by renaming as a careful writer does, and says where it is.
    pub fn secret(&self, name: &str, text: &str) -> String {
        let path = self.path("secrets").join(name);
        let draft = self.path("draft");
        fs::write(&draft, text).unwrap();
        fs::rename(&draft, &path).unwrap();
        path.display().to_string()
    }

    /// The rendered file.
    pub fn rendered(&self) -> Option<String> {
        fs::read_to_string(self.settings["render"]["superset_config"]["path"].as_str().unwrap()).ok()
    }

    /// Waits until the rendered file is as wanted.
    pub async fn renders(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        eventually(&format!("the file has {what}"), async || self.rendered().filter(|text| wanted(text))).await
    }

    /// Waits until the rendered file has this line.
    pub async fn has_line(&self, line: &str) -> String {
        self.renders(line, |text| text.lines().any(|own| own == line)).await
    }

    /// Everything it has written to its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// What it answers over HTTP; `None` where it does not.
    pub async fn get(&self, path: &str) -> Option<(u16, String)> {
        let request = super::http().get(format!("http://127.0.0.1:{}{path}", self.port)).timeout(Duration::from_secs(5));
        let answer = request.send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    /// Whether it says that it is ready.
    pub async fn is_ready(&self) -> bool {
        self.get("/readyz").await.is_some_and(|(status, _)| status == 200)
    }

    /// What it knows of the cluster and itself.
    pub async fn status(&self) -> Option<Json> {
        let (status, text) = self.get("/status").await?;
        assert_eq!(status, 200, "{text}");
        Some(serde_json::from_str(&text).unwrap())
    }

    /// Waits until its status is as wanted.
    pub async fn status_where(&self, what: &str, wanted: impl Fn(&Json) -> bool) -> Json {
        let (began, mut last) = (Instant::now(), Json::Null);
        while began.elapsed() < PATIENCE {
            if let Some(status) = self.status().await {
                if wanted(&status) {
                    return status;
                }
                last = status;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let own = &last["instance"];
        panic!("the status of {} never was: {what}, but {} ({})\n{last:#}", self.id, own["state"], own["error"]);
    }

    /// Waits until what it runs is what the tree wants.
    pub async fn in_sync(&self) -> Json {
        self.status_where("in sync", |status| {
            let own = &status["instance"];
            own["state"] == "in_sync" && own["applied"]["revision"].is_string() && own["applied"] == own["desired"]
        })
        .await
    }

    /// Waits until it leads.
    pub async fn leads(&self) {
        self.status_where("it leads", |status| status["instance"]["role"] == "leader").await;
    }

    /// Waits until these datasources are all in this state, and says what is said of the last one.
    pub async fn datasources(&self, names: &[&str], state: &str) -> Json {
        let what = format!("{names:?} {state}");
        let is_so = |status: &Json, name: &str| of(status, name).is_some_and(|one| one["state"] == state);
        let status = self.status_where(&what, |status| names.iter().all(|name| is_so(status, name))).await;
        names.last().and_then(|name| of(&status, name).cloned()).unwrap()
    }

    /// Waits until this datasource is in this state, and says what is said of it.
    pub async fn datasource(&self, name: &str, state: &str) -> Json {
        self.datasources(&[name], state).await
    }

    /// Waits until it has written nothing for a while, and shows what it has written: it remembers a moment later what it did.
    pub async fn rest(&self) -> Traces {
        let mut last = (self.traces(), Instant::now());
        eventually("it writes no more", async || {
            let traces = self.traces();
            if traces != last.0 {
                last = (traces, Instant::now());
            }
            (last.1.elapsed() > REST).then(|| last.0.clone())
        })
        .await
    }

    /// What tells whether anything in its folder was written anew: each file's name, inode and time of change. The log, the
    /// lock and what the test itself writes do not count.
    pub fn traces(&self) -> Traces {
        let mut found = Vec::new();
        trace(self.folder.path(), &mut found);
        found.retain(|(path, ..)| !["log", "config.yaml", "state/lock"].iter().any(|own| *path == self.path(own)));
        found.sort();
        found
    }
}

/// Each file with its inode and time of change.
pub type Traces = Vec<(PathBuf, u64, i64, i64)>;

/// What a status says of a datasource.
pub fn of<'a>(status: &'a Json, name: &str) -> Option<&'a Json> {
    status["datasources"].as_array()?.iter().find(|one| one["name"] == name)
}

fn trace(folder: &Path, found: &mut Traces) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, about) = (entry.path(), entry.metadata().unwrap());
        if about.is_dir() {
            trace(&path, found);
        } else {
            found.push((path, about.ino(), about.mtime(), about.mtime_nsec()));
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if !self.command.is_empty() {
            self.end_all();
        }
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            eprintln!("--- the log of {} ends:\n{}", self.id, lines[lines.len().saturating_sub(LOG_SHOWN)..].join("\n"));
        }
    }
}
