//! Real services for the tests, each started once and ended with the test process.
//!
//! Each runs as the child of a small shell that waits for the end of its input, which is a pipe that we hold: however this
//! process ends, the pipe closes and the shell ends the service.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::sync::OnceCell;

const GUARD: &str = r#""$@" & pid=$!; read -r _; kill "$pid"; wait "$pid""#;

/// A service that ends when this is dropped, or with this process.
pub struct Service {
    guard: Child,
    pub port: u16,
    pub folder: TempDir,
}

impl Service {
    fn start(script: &str, port: u16, folder: TempDir, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services");
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let guard = Command::new("sh")
            .args(["-c", GUARD, "sh"])
            .arg(scripts.join(script))
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { guard, port, folder }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    async fn ready(self, what: &str, probe: impl AsyncFn(u16) -> bool) -> Self {
        let until = Instant::now() + Duration::from_secs(90);
        while !probe(self.port).await {
            assert!(Instant::now() < until, "{what} is not ready:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(200)).await;
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

/// A Superset and where it is.
pub struct Superset {
    pub service: Service,
    pub url: String,
    pub config: PathBuf,
    pub pid_file: PathBuf,
}

pub fn version() -> String {
    std::env::var("SETKEEPER_SUPERSET_VERSION").unwrap_or_else(|_| "6.1.0".to_owned())
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A Superset of its own with these lines of config over the base.
pub async fn superset(config: &str, environment: &[(&str, &str)]) -> Superset {
    let (port, folder, version) = (free_port(), tempfile::tempdir().unwrap(), version());
    let path = |name: &str| folder.path().join(name);
    let (home, config_file, pid_file) = (path("home"), path("config.py"), path("pid"));
    fs::write(&config_file, layered(&home, config)).unwrap();
    let text = |path: &PathBuf| path.to_str().unwrap().to_owned();
    let (home, config_text, pid_text, port_text) = (text(&home), text(&config_file), text(&pid_file), port.to_string());
    let base = ["base", "--version", &version, "--home", &home, "--port", &port_text];
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/superset");
    let made = Command::new(scripts).args(base).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let arguments =
        ["run", "--version", &version, "--home", &home, "--port", &port_text, "--config", &config_text, "--pid-file", &pid_text];
    let service = Service::start("superset", port, folder, &arguments, environment);
    let service = service.ready("Superset", answers).await;
    Superset { service, url: format!("http://127.0.0.1:{port}"), config: config_file, pid_file }
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
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/superset");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/live_superset/support/ssh_server.py");
        let mut process = Command::new(scripts)
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

/// One whose tokens live for 8 seconds, and which speaks German.
pub async fn impatient() -> &'static Superset {
    static SHARED: OnceCell<Superset> = OnceCell::const_new();
    let config = "JWT_ACCESS_TOKEN_EXPIRES = timedelta(seconds=8)\nBABEL_DEFAULT_LOCALE = 'de'";
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

async fn database(script: &str) -> Service {
    let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
    let (port_text, home) = (port.to_string(), folder.path().join("home").to_str().unwrap().to_owned());
    // PostgreSQL, started by root, runs as somebody else who must get in.
    Command::new("chmod").arg("755").arg(folder.path()).status().unwrap();
    let service = Service::start(script, port, folder, &["run", "--port", &port_text, "--dir", &home], &[]);
    service.ready(script, async |port| tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()).await
}

/// Makes a role in PostgreSQL, by Superset's own driver.
pub fn create_role(port: u16, name: &str) {
    let script = "import sys, psycopg2\nfrom psycopg2 import sql\n\
        connection = psycopg2.connect(host='127.0.0.1', port=sys.argv[1], user='postgres', dbname='superset')\n\
        connection.autocommit = True\n\
        connection.cursor().execute(sql.SQL('CREATE ROLE {} LOGIN').format(sql.Identifier(sys.argv[2])))";
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/superset");
    let made = Command::new(scripts).args(["python", "--version", &version(), "-c", script, &port.to_string(), name]).output();
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
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/superset");
    let arguments = ["python", "--version", &version(), "-c", script, &superset.url, &database.to_string(), schema, table];
    let made = tokio::process::Command::new(scripts).args(arguments).output().await.unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Makes a user whose password is the name.
pub async fn create_user(superset: &Superset, name: &str, role: &str) {
    let home = superset.service.folder.path().join("home");
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/superset");
    let made = tokio::process::Command::new(scripts)
        .args(["cli", "--version", &version(), "--port", &superset.service.port.to_string(), "--home"])
        .arg(home)
        .args(["--", "fab", "create-user", "--role", role, "--username", name, "--password", name])
        .args(["--firstname", name, "--lastname", name, "--email", &format!("{name}@localhost")])
        .output()
        .await
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
