//! Production stays untouched while candidates that name it are checked: its metadata database, its Redis, its files.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use setkeeper::check::checker::{Checker, Level};
use setkeeper::check::report::Outcome::Proven;

use super::support::{check, environment, settings, shared_folder, whole};
use crate::support::services::{Service, postgres_with_a_log, python, redis_of_ones_own};

/// A config that uses both servers for all that they can be used for.
fn config(postgres: u16, redis: u16) -> String {
    format!(
        "from cachelib.redis import RedisCache\n\
         from redis import Redis\n\
         SECRET_KEY = 'canary-key-of-the-candidate'\n\
         SQLALCHEMY_DATABASE_URI = 'postgresql://postgres@127.0.0.1:{postgres}/superset'\n\
         URL = 'redis://127.0.0.1:{redis}/0'\n\
         CACHE_CONFIG = {{'CACHE_TYPE': 'RedisCache', 'CACHE_REDIS_URL': URL, 'CACHE_KEY_PREFIX': 'cache'}}\n\
         DATA_CACHE_CONFIG = THUMBNAIL_CACHE_CONFIG = FILTER_STATE_CACHE_CONFIG = EXPLORE_FORM_DATA_CACHE_CONFIG = CACHE_CONFIG\n\
         DISTRIBUTED_COORDINATION_CONFIG = CACHE_CONFIG\n\
         RESULTS_BACKEND = RedisCache(host='127.0.0.1', port={redis}, key_prefix='results')\n\
         SESSION_SERVER_SIDE = True\n\
         SESSION_TYPE = 'redis'\n\
         SESSION_REDIS = Redis(host='127.0.0.1', port={redis})\n\
         RATELIMIT_ENABLED = True\n\
         RATELIMIT_STORAGE_URI = URL\n\
         class CeleryConfig:\n    broker_url = URL\n    result_backend = URL\n    imports = ('superset.sql_lab',)\n\
         CELERY_CONFIG = CeleryConfig\n"
    )
}

/// What a Redis counts, asked over one connection, which therefore does not count.
struct Counters(BufReader<TcpStream>);

impl Counters {
    fn of(redis: &Service) -> Self {
        Self(BufReader::new(TcpStream::connect(("127.0.0.1", redis.port)).unwrap()))
    }

    fn ask(&mut self, section: &str) -> String {
        write!(self.0.get_mut(), "INFO {section}\r\n").unwrap();
        let mut length = String::new();
        self.0.read_line(&mut length).unwrap();
        let length: usize = length.trim().trim_start_matches('$').parse().unwrap();
        let mut text = vec![0; length + 2];
        self.0.read_exact(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    /// Connections received so far, and the keys.
    fn seen(&mut self) -> (u64, String) {
        let stats = self.ask("stats");
        let line = stats.lines().find_map(|line| line.strip_prefix("total_connections_received:")).unwrap();
        (line.parse().unwrap(), self.ask("keyspace"))
    }
}

fn connections(postgres: &Service) -> usize {
    postgres.log().matches("connection authorized").count()
}

/// Builds the app and asks it as a check does, with nothing replaced.
fn without_a_check(config: &Path, home: &Path) {
    let script = "from superset.app import create_app\n\
        client = create_app().test_client()\n\
        client.get('/health')\n\
        client.get('/login/')";
    let status = Command::new(python())
        .args(["-c", script])
        .env("SUPERSET_CONFIG_PATH", config)
        .env("SUPERSET_HOME", home)
        .output()
        .unwrap();
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
}

#[tokio::test]
async fn neither_the_metadata_database_nor_redis_sees_a_check() {
    let (postgres, redis) = (postgres_with_a_log().await, redis_of_ones_own().await);
    let folder = tempfile::tempdir().unwrap();
    let config = config(postgres.port, redis.port);
    let file = folder.path().join("superset_config.py");
    fs::write(&file, &config).unwrap();
    // The variable beats any config on 6.1, and must not beat the check.
    let variables = folder.path().join("env");
    let uri = format!("postgresql://postgres@127.0.0.1:{}/superset", postgres.port);
    fs::write(&variables, format!("SUPERSET__SQLALCHEMY_DATABASE_URI={uri}\n")).unwrap();
    let mut settings = settings(&shared_folder());
    settings.check.env_file = Some(variables);
    let checker = Checker::new(Level::App, &settings, environment());

    let mut counters = Counters::of(&redis);
    let before = (connections(&postgres), counters.seen());
    let report = check(&checker, &whole(&config)).await;
    assert_eq!(report.outcome, Proven, "{report:#?}");
    assert_eq!((connections(&postgres), counters.seen()), before);

    without_a_check(&file, folder.path());
    let after = (connections(&postgres), counters.seen().0);
    assert!(after.0 > before.0 && after.1 > before.1.0, "the test would not notice a connection: {before:?} {after:?}");
}

#[tokio::test]
async fn a_metadata_database_in_a_file_and_supersets_home_stay_as_they_are() {
    let home = tempfile::tempdir().unwrap();
    let metadata = home.path().join("superset.db");
    fs::write(&metadata, b"").unwrap();
    let config = format!(
        "import os\n\
         SECRET_KEY = 'canary-key-of-the-candidate'\n\
         DATA_DIR = {home:?}\n\
         SQLALCHEMY_DATABASE_URI = 'sqlite:///{metadata}'\n\
         ENABLE_TIME_ROTATE = True\n\
         FILENAME = os.path.join(DATA_DIR, 'superset.log')\n\
         UPLOAD_FOLDER = os.path.join(DATA_DIR, 'uploads/')\n\
         CACHE_CONFIG = {{'CACHE_TYPE': 'FileSystemCache', 'CACHE_DIR': os.path.join(DATA_DIR, 'cache')}}\n\
         SESSION_SERVER_SIDE = True\n\
         SESSION_TYPE = 'filesystem'\n\
         SESSION_FILE_DIR = os.path.join(DATA_DIR, 'sessions')\n",
        home = home.path(),
        metadata = metadata.display()
    );
    let before = all_files(home.path());
    let settings = settings(&shared_folder());
    let mut variables = environment();
    variables.push(("SUPERSET_HOME".into(), home.path().into()));
    let report = check(&Checker::new(Level::App, &settings, variables), &whole(&config)).await;
    assert_eq!(report.outcome, Proven, "{report:#?}");
    assert_eq!(all_files(home.path()), before);
}

/// Content and time of every file, and every folder's time.
fn all_files(folder: &Path) -> BTreeMap<String, (Vec<u8>, SystemTime)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let time = |path: &Path| path.metadata().unwrap().modified().unwrap();
        found.insert(folder.display().to_string(), (Vec::new(), time(&folder)));
        for path in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.display().to_string(), (fs::read(&path).unwrap(), time(&path)));
            }
        }
    }
    found
}
