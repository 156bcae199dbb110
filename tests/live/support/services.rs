//! Real services for the tests, each started once and ended with the test process.
//!
//! Each runs as the child of a small shell that waits for the end of its input, which is a pipe that we hold: however this
//! process ends, the pipe closes and the shell ends the service.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::sync::{Mutex, OnceCell};

use super::free_port;

const GUARD: &str = r#""$@" & pid=$!; read -r _; kill "$pid"; wait "$pid""#;

/// A service that ends when this is dropped, or with this process.
pub struct Service {
    guard: Child,
    pub port: u16,
    log: PathBuf,
    /// Kept for as long as the service runs.
    folder: Option<TempDir>,
}

impl Service {
    fn start(script: &str, port: u16, folder: &Path, arguments: &[&str], environment: &[(String, String)]) -> Self {
        let log = folder.join("log");
        let out = fs::File::options().create(true).append(true).open(&log).unwrap();
        let guard = Command::new("sh")
            .args(["-c", GUARD, "sh"])
            .arg(service(script))
            .args(arguments)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        Self { guard, port, log, folder: None }
    }

    async fn ready(self, what: &str, probe: impl AsyncFn(u16) -> bool) -> Self {
        let until = Instant::now() + Duration::from_secs(90);
        while !probe(self.port).await {
            let said = fs::read_to_string(&self.log).unwrap_or_default();
            assert!(Instant::now() < until, "{what} is not ready:\n{said}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self
    }
}

impl Service {
    /// What it has said.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// A Superset and where it is.
pub struct Superset {
    pub url: String,
    pub config: PathBuf,
    pub pid_file: PathBuf,
    pub home: PathBuf,
    folder: TempDir,
    port: u16,
    environment: Vec<(String, String)>,
    service: Option<Service>,
}

impl Superset {
    /// A place for one, with these lines of config over the base. It is not started yet.
    pub fn place(config: &str, environment: &[(&str, &str)]) -> Self {
        let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
        let path = |name: &str| folder.path().join(name);
        let (home, config_file, pid_file) = (path("home"), path("config.py"), path("pid"));
        fs::write(&config_file, layered(&home, config)).unwrap();
        let own = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
        let environment = environment.iter().map(own).collect();
        let url = format!("http://127.0.0.1:{port}");
        let superset = Self { url, config: config_file, pid_file, home, folder, port, environment, service: None };
        let made = superset.script("base", &[]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        superset
    }

    /// The file that every config must take first.
    pub fn base(&self) -> PathBuf {
        self.home.join("base.py")
    }

    fn script(&self, command: &str, more: &[&str]) -> Command {
        let mut script = Command::new(service("superset"));
        script.args(self.arguments(command)).args(more);
        script
    }

    fn arguments(&self, command: &str) -> Vec<String> {
        let (home, port) = (self.home.display().to_string(), self.port.to_string());
        [command, "--version", &version(), "--home", &home, "--port", &port].map(ToOwned::to_owned).to_vec()
    }

    /// The words that run it with this config.
    pub fn words(&self, config: &Path) -> Vec<String> {
        let mut words = vec![service("superset").display().to_string()];
        words.extend(self.arguments("run"));
        words
            .extend(["--config", config.to_str().unwrap(), "--pid-file", self.pid_file.to_str().unwrap()].map(ToOwned::to_owned));
        words
    }

    /// The words that run one of Celery's programs with this config.
    pub fn celery_words(&self, config: &Path, arguments: &[&str]) -> Vec<String> {
        let script = service("superset").display().to_string();
        let (home, config) = (self.home.display().to_string(), config.display().to_string());
        let words = [&script, "celery", "--version", &version(), "--home", &home, "--config", &config, "--"];
        words.into_iter().chain(arguments.iter().copied()).map(ToOwned::to_owned).collect()
    }

    /// Starts it and waits until it answers.
    pub async fn start(&mut self) {
        let mut arguments = self.arguments("run");
        let (config, pid_file) = (self.config.display().to_string(), self.pid_file.display().to_string());
        arguments.extend(["--config".to_owned(), config, "--pid-file".to_owned(), pid_file]);
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let service = Service::start("superset", self.port, self.folder.path(), &arguments, &self.environment);
        self.service = Some(service.ready("Superset", answers).await);
    }

    /// Adds an administrator.
    pub async fn add_admin(&self, name: &str, password: &str) {
        // The script writes its home's base anew each time: two at once would meet there.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());
        let _turn = ONE_AT_A_TIME.lock().await;
        let mut arguments = self.arguments("cli");
        let words = ["--", "fab", "create-admin", "--username", name, "--firstname", name, "--lastname", name];
        arguments.extend(words.map(ToOwned::to_owned));
        arguments.extend(["--email".to_owned(), format!("{name}@localhost"), "--password".to_owned(), password.to_owned()]);
        let made = tokio::process::Command::new(service("superset")).args(arguments).output().await.unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    /// What it and gunicorn have said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The revision that it says it runs.
    pub async fn revision(&self) -> Option<String> {
        let answer = super::http().get(format!("{}/health", self.url)).send().await.ok()?;
        Some(answer.headers().get("X-Setkeeper-Revision")?.to_str().ok()?.to_owned())
    }

    /// Ends it.
    pub fn stop(&mut self) {
        self.service = None;
    }
}

fn service(script: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services").join(script)
}

/// The version under test.
pub fn version() -> String {
    std::env::var("SETKEEPER_TEST_SUPERSET").unwrap_or_else(|_| "6.1.0".to_owned())
}

/// A Superset of its own with these lines of config over the base.
pub async fn superset(config: &str, environment: &[(&str, &str)]) -> Superset {
    let mut superset = Superset::place(config, environment);
    superset.start().await;
    superset
}

/// A config that takes the home's own base first.
pub fn layered(home: &Path, config: &str) -> String {
    format!("exec(open({:?}).read())\nfrom datetime import timedelta\n{config}\n", home.join("base.py").to_str().unwrap())
}

async fn answers(port: u16) -> bool {
    let answer = reqwest::get(format!("http://127.0.0.1:{port}/health")).await;
    answer.is_ok_and(|answer| answer.status().is_success())
}

/// The Superset that most tests share.
pub async fn shared() -> &'static Superset {
    static SHARED: OnceCell<Superset> = OnceCell::const_new();
    // Superset's tunnels need a class that its own pins of paramiko no longer have.
    let config = "FEATURE_FLAGS = {'SSH_TUNNELING': True}\n\
        import paramiko\n\
        paramiko.DSSKey = getattr(paramiko, 'DSSKey', paramiko.RSAKey)";
    SHARED.get_or_init(|| superset(config, &[])).await
}

/// An SSH server for the user `tunnel` with this password; it ends when this is dropped.
pub struct SshServer {
    process: Child,
    pub port: u16,
}

impl SshServer {
    pub fn start(password: &str) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/live/support/ssh_server.py");
        let mut process = Command::new(service("superset"))
            .args(["python", "--version", &version()])
            .arg(script)
            .env("TUNNEL_PASSWORD", password)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { process, port: line.trim().parse().unwrap() }
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// One whose tokens live for 20 seconds, and which speaks German.
pub async fn impatient() -> &'static Superset {
    static SHARED: OnceCell<Superset> = OnceCell::const_new();
    let config = "JWT_ACCESS_TOKEN_EXPIRES = timedelta(seconds=20)\nBABEL_DEFAULT_LOCALE = 'de'";
    SHARED.get_or_init(|| superset(config, &[])).await
}

/// A PostgreSQL that takes any password.
pub async fn postgres() -> &'static Service {
    static SHARED: OnceCell<Service> = OnceCell::const_new();
    SHARED.get_or_init(|| database("postgres")).await
}

/// A MariaDB with the user root and the password `password`.
pub async fn mariadb() -> &'static Service {
    static SHARED: OnceCell<Service> = OnceCell::const_new();
    SHARED.get_or_init(|| database("mariadb")).await
}

/// A Redis.
pub async fn redis() -> &'static Service {
    static SHARED: OnceCell<Service> = OnceCell::const_new();
    SHARED.get_or_init(|| database("redis")).await
}

/// A PostgreSQL of one's own, which writes down every connection.
pub async fn postgres_with_a_log() -> Service {
    let postgres = database("postgres").await;
    let script = "import sys, psycopg2\n\
        connection = psycopg2.connect(host='127.0.0.1', port=sys.argv[1], user='postgres', dbname='superset')\n\
        connection.autocommit = True\n\
        connection.cursor().execute('ALTER SYSTEM SET log_connections = on')\n\
        connection.cursor().execute('SELECT pg_reload_conf()')";
    let port = postgres.port.to_string();
    let made = Command::new(service("superset")).args(["python", "--version", &version(), "-c", script, &port]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    postgres
}

/// A Redis of one's own.
pub async fn redis_of_ones_own() -> Service {
    database("redis").await
}

/// The Python of the Superset under test.
pub fn python() -> PathBuf {
    let cache =
        std::env::var_os("SETKEEPER_CACHE").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache"), PathBuf::from);
    cache.join(format!("superset-{}/venv/bin/python", version()))
}

async fn database(script: &str) -> Service {
    let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
    let (port_text, home) = (port.to_string(), folder.path().join("home").to_str().unwrap().to_owned());
    // PostgreSQL, started by root, runs as somebody else who must get in.
    Command::new("chmod").arg("755").arg(folder.path()).status().unwrap();
    let mut started = Service::start(script, port, folder.path(), &["run", "--port", &port_text, "--dir", &home], &[]);
    started.folder = Some(folder);
    started.ready(script, async |port| tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()).await
}

/// Carries out statements in MariaDB as its root, by Superset's own driver.
pub fn mariadb_statements(port: u16, statements: &[&str]) {
    let script = "import sys, pymysql\n\
        connection = pymysql.connect(host='127.0.0.1', port=int(sys.argv[1]), user='root', password='password')\n\
        for statement in sys.argv[2:]: connection.cursor().execute(statement)";
    let words = ["python", "--version", &version(), "-c", script, &port.to_string()];
    let made = Command::new(service("superset")).args(words).args(statements).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Makes a role in PostgreSQL, by Superset's own driver.
pub fn create_role(port: u16, name: &str) {
    let script = "import sys, psycopg2\nfrom psycopg2 import sql\n\
        connection = psycopg2.connect(host='127.0.0.1', port=sys.argv[1], user='postgres', dbname='superset')\n\
        connection.autocommit = True\n\
        connection.cursor().execute(sql.SQL('CREATE ROLE {} LOGIN').format(sql.Identifier(sys.argv[2])))";
    let made = Command::new(service("superset"))
        .args(["python", "--version", &version(), "-c", script, &port.to_string(), name])
        .output();
    let made = made.unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Makes a dataset, as somebody in the user interface does.
pub async fn create_dataset(superset: &Superset, database: i64, schema: &str, table: &str) {
    let script = "import json, sys, requests\n\
        url, database, schema, table = sys.argv[1:]\n\
        session = requests.Session()\n\
        login = {'username': 'admin', 'password': 'admin', 'provider': 'db'}\n\
        token = session.post(url + '/api/v1/security/login', json=login).json()['access_token']\n\
        session.headers['Authorization'] = 'Bearer ' + token\n\
        session.headers['X-CSRFToken'] = session.get(url + '/api/v1/security/csrf_token/').json()['result']\n\
        made = session.post(url + '/api/v1/dataset/', json={'database': int(database), 'schema': schema, 'table_name': table})\n\
        assert made.status_code == 201, made.text";
    let arguments = ["python", "--version", &version(), "-c", script, &superset.url, &database.to_string(), schema, table];
    let made = tokio::process::Command::new(service("superset")).args(arguments).output().await.unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Makes a user whose password is the name.
pub fn create_user(superset: &Superset, name: &str, role: &str) {
    let email = format!("{name}@localhost");
    let user = ["--role", role, "--username", name, "--password", name, "--email", &email];
    let names = ["--firstname", name, "--lastname", name];
    let made = superset.script("cli", &["--", "fab", "create-user"]).args(user).args(names).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
