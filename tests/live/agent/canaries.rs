//! Law 9: secrets planted in every place that takes one, and in every place where one may stand by mistake; then everything that
//! the agent and its commands say, write or publish is searched for them.
//!
//! Every canary begins with [`CANARY`] and goes on with where it was planted, so that a failure says which one sang. It holds
//! no character that any spelling changes; those around it do.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value as Json, json};
use zookeeper_client as zk;

use super::Scene;
use crate::support::agent::client;
use crate::support::program::{Agent, of};
use crate::support::services::mariadb;
use crate::support::tree::Tree;
use crate::support::{eventually, free_port};

const CANARY: &str = "kanarie";

fn canary(place: &str) -> String {
    format!("p@ss/{CANARY}-{place}:%41'\"\\ 7")
}

/// For where a character other than these would be a mistake of another kind.
fn plain(place: &str) -> String {
    format!("{CANARY}-{place}-7")
}

fn encoded(place: &str) -> String {
    percent_encoding::utf8_percent_encode(&canary(place), percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Every command that reads something, and what it takes.
const COMMANDS: &[&[&str]] = &[
    &["status"],
    &["status", "-o", "json"],
    &["check"],
    &["check", "-o", "json"],
    &["plan"],
    &["plan", "-o", "json"],
    &["render"],
    &["config", "get"],
    &["config", "get", "-o", "json"],
    &["config", "get", "SQLALCHEMY_DATABASE_URI"],
    &["config", "explain", "SECRET_KEY"],
    &["config", "explain", "CELERY_CONFIG"],
    &["datasource", "list"],
    &["datasource", "list", "-o", "json"],
    &["datasource", "get", "canary-uri"],
    &["datasource", "get", "canary-query", "-o", "json"],
    &["datasource", "get", "canary-extra", "-o", "yaml"],
    &["datasource", "get", "canary-secret"],
    &["datasource", "get", "canary-bad-uri"],
    &["datasource", "test", "canary-uri"],
    &["datasource", "test", "canary-echo"],
    &["datasource", "test", "canary-file"],
    &["datasource", "test", "canary-bad-uri"],
];

/// Everything said so far, each with where it was said.
struct Said(Vec<(String, String)>);

impl Said {
    /// By the agent over HTTP and in its log, in ZooKeeper, and by every command.
    async fn by(agent: &Agent, tree: &Tree) -> Self {
        let mut said = Self(vec![("the log".to_owned(), agent.log())]);
        for path in ["/", "/status", "/metrics", "/livez", "/readyz"] {
            let (_, text) = agent.get(path).await.unwrap();
            said.0.push((format!("GET {path}"), text));
        }
        said.0.push(("its arguments".to_owned(), fs::read_to_string(format!("/proc/{}/cmdline", agent.pid())).unwrap()));
        said.add_nodes(tree, "/superset").await;
        for arguments in COMMANDS {
            let output = agent.run(arguments).await;
            let text = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
            assert!(!text.contains("panicked"), "{arguments:?}: {text}");
            said.0.push((format!("setkeeper {}", arguments.join(" ")), text));
        }
        said
    }

    /// What the agent writes into ZooKeeper: all but what people write there, and the key of all digests.
    async fn add_nodes(&mut self, tree: &Tree, root: &str) {
        let mut left = vec![root.to_owned()];
        while let Some(path) = left.pop() {
            let own = tree.names(&path).await.into_iter().map(|name| format!("{path}/{name}"));
            left.extend(own.filter(|path| !["config", "datasources", "key"].contains(&path.trim_start_matches("/superset/"))));
            let text = tree.read(&path).await.unwrap_or_default();
            self.0.push((path, text));
        }
        assert!(self.0.iter().any(|(place, text)| place.starts_with("/superset/instances/") && !text.is_empty()));
    }

    fn with(mut self, place: &str, text: &[u8]) -> Self {
        self.0.push((place.to_owned(), String::from_utf8_lossy(text).into_owned()));
        self
    }

    /// Where canaries are, and what stands around each.
    fn sightings(&self) -> String {
        let mut found = String::new();
        for (place, text) in &self.0 {
            let lower = text.to_lowercase();
            for (at, _) in lower.match_indices(CANARY) {
                let from = (0..=at.saturating_sub(160)).rev().find(|from| lower.is_char_boundary(*from)).unwrap_or(0);
                let around: String = lower[from..].chars().take(230).collect();
                writeln!(found, "{place}: …{}…", around.replace('\n', "⏎")).unwrap();
            }
        }
        found
    }

    fn hold_no_canary(&self) {
        let found = self.sightings();
        assert!(found.is_empty(), "{} canaries sing:\n{found}", found.lines().count());
    }
}

/// A cage: a cluster whose tree, credentials and Superset are full of canaries.
struct Cage {
    scene: Scene,
    agent: Agent,
    tree: Tree,
}

const ZOOKEEPER_USER: &str = "keeper";

impl Cage {
    async fn new(name: &str) -> Self {
        let scene = Scene::of(name).await;
        let user = format!("{name}-admin");
        scene.superset.add_admin(&user, &canary("superset")).await;
        let session = client(&scene.zookeeper.connect()).await;
        session.auth("digest", format!("{ZOOKEEPER_USER}:{}", plain("zookeeper")).as_bytes()).await.unwrap();
        let agent = scene.agent("a");
        let password = agent.secret("zookeeper", &plain("zookeeper"));
        let agent = agent
            .with("superset.username", json!(user))
            .with("superset.password", json!({"$env": "SETKEEPER_SECRET_CANARY"}))
            .with_variable("SETKEEPER_SECRET_CANARY", &canary("superset"))
            .with("source.zookeeper.auth", json!({"username": ZOOKEEPER_USER, "password": {"$file": password}}))
            .with("source.zookeeper.acl", json!("creator"))
            .with("superset.timeout", json!("20s"))
            .with("log.level", json!("trace"));
        Self { scene, agent, tree: Tree::of(session) }
    }

    async fn plant_settings(&self) {
        let uri = format!("postgresql://user:{}@host:5432/meta", encoded("metadata"));
        let settings = json!({
            "SECRET_KEY": canary("secret-key"),
            "SQLALCHEMY_DATABASE_URI": uri,
            "MAIL": {"$secret": canary("secret-directive")},
            "DEEP": {"er": [{"smtp_password": canary("deep")}, {"$secret": canary("in-a-list")}]},
            "CELERY_CONFIG": {"$class": {"broker_url": format!("redis://:{}@host/0", encoded("broker"))}},
        });
        self.tree.fragment("10-secrets", settings.to_string()).await;
        let lines = format!("SMTP_PASSWORD={}\n", plain("line"));
        self.tree.fragment("20-lines", lines).await;
    }

    async fn plant_datasources(&self, mariadb: u16) {
        let put = async |name: &str, meant: Json| self.tree.datasource(name, &meant).await;
        let at = |what: &str, place: &str| format!("{what}://root:{}@127.0.0.1:{mariadb}/sales", encoded(place));
        put("canary-uri", json!({"sqlalchemy_uri": at("mysql+pymysql", "uri")})).await;
        let query = format!("mysql+pymysql://root@127.0.0.1:{mariadb}/sales?password={}", encoded("query"));
        put("canary-query", json!({"sqlalchemy_uri": query})).await;
        let root = format!("mysql+pymysql://root@127.0.0.1:{mariadb}/sales");
        put("canary-secret", json!({"sqlalchemy_uri": root, "password": {"$secret": canary("directive")}})).await;
        let file = self.agent.secret("db", &canary("file"));
        put("canary-file", json!({"sqlalchemy_uri": root, "password": {"$file": file}})).await;
        put("canary-env", json!({"sqlalchemy_uri": root, "password": {"$env": "SETKEEPER_SECRET_CANARY"}})).await;
        let parts = json!({"engine": "mysql", "host": "127.0.0.1", "port": mariadb, "user": "root", "password": canary("part")});
        put("canary-part", parts).await;
        // DuckDB repeats a wrong option's value in its error.
        let echo = json!({"engine_params": {"connect_args": {"config": {"access_mode": {"$secret": plain("echo")}}}}});
        put("canary-echo", json!({"sqlalchemy_uri": "duckdb:///:memory:", "extra": echo})).await;
        let credentials =
            json!({"credentials_info": {"private_key": canary("encrypted"), "client": {"$secret": canary("client")}}});
        let extra = json!({"sqlalchemy_uri": "duckdb:///:memory:", "masked_encrypted_extra": credentials});
        put("canary-extra", extra).await;
        let extra = json!({"note_password": canary("extra")});
        put("canary-good", json!({"sqlalchemy_uri": "duckdb:///:memory:", "extra": extra})).await;
        put("canary-no-driver", json!({"sqlalchemy_uri": at("firebird+nosuch", "no-driver")})).await;
        let unreachable = format!("postgresql://u:{}@127.0.0.1:{}/d", encoded("unreachable"), free_port());
        put("canary-unreachable", json!({"sqlalchemy_uri": unreachable})).await;
        let tunnel = json!({"server_address": "127.0.0.1", "server_port": 1, "username": "u", "password": canary("tunnel")});
        put("canary-tunnel", json!({"sqlalchemy_uri": root, "ssh_tunnel": tunnel})).await;
        self.plant_mistakes(mariadb).await;
    }

    /// Secrets where somebody put them by mistake.
    async fn plant_mistakes(&self, mariadb: u16) {
        let put = async |name: &str, text: String| self.tree.put(&format!("datasources/{name}"), text).await;
        put("canary-bad-uri", format!("sqlalchemy_uri: mysql://root:{}@host:port/x", plain("bad-uri"))).await;
        put("canary-no-uri", format!("sqlalchemy_uri: {}", plain("no-uri"))).await;
        put("canary-typo", format!("sqlalchemy_uri: duckdb://\npasswrd: {}", plain("typo"))).await;
        put("canary-key", format!("{{mysql://root:{}@host/x}}", plain("key"))).await;
        put("canary-directive", format!("sqlalchemy_uri: duckdb://\npassword: {{$secrt: {}}}", plain("wrong-directive"))).await;
        put("canary-yaml", format!("sqlalchemy_uri: \"mysql://root:{}@h/x", plain("unclosed"))).await;
        put("canary-type", format!("sqlalchemy_uri: [\"mysql://root:{}@h/x\"]", plain("type"))).await;
        put("canary-twice", format!("password: {0}\npassword: {0}\n", plain("twice"))).await;
        put("canary-no-map", plain("no-map")).await;
        put("canary-lines", format!("host=127.0.0.1\nport={mariadb}\npassword {}\n", plain("no-equals"))).await;
        put("canary-outside", format!("sqlalchemy_uri: duckdb://\npassword: {{$file: /etc/{}}}", "passwd")).await;
    }
}

/// All states but `pending`: everything has been tried.
async fn everything_is_tried(agent: &Agent) {
    agent
        .status_where("everything tried", |status| {
            let all = status["datasources"].as_array().unwrap();
            all.len() >= 20 && all.iter().all(|one| one["state"] != "pending")
        })
        .await;
}

fn assert_private(path: &Path) {
    let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "{}", path.display());
}

#[tokio::test]
async fn law_9_no_canary_sings_while_everything_that_can_fail_fails() {
    let (mut cage, mariadb) = tokio::join!(Cage::new("canary"), mariadb());
    cage.plant_settings().await;
    cage.plant_datasources(mariadb.port).await;
    let rendered = cage.agent.path("superset_config.py");
    // It says everything that it can get at, the bare content of a secret's file last.
    let secret = cage.agent.path("secrets/db");
    let reload = format!("cat {}; env | grep SETKEEPER_SECRET >&2; cat {}; exit 3", rendered.display(), secret.display());
    cage.agent.set("reload.command", json!(["sh", "-c", reload]));
    cage.agent.set("verify.successes", json!(0));
    cage.agent.start().await;
    let failed = cage.agent.status_where("the reload failed", |status| status["instance"]["state"] == "failed").await;
    assert!(failed["instance"]["error"].as_str().unwrap().contains("exit status: 3"), "{failed:#}");
    everything_is_tried(&cage.agent).await;
    cage.agent.datasource("canary-good", "in_sync").await;
    for (name, state) in [("canary-uri", "failed"), ("canary-unreachable", "unreachable")] {
        cage.agent.datasource(name, state).await;
    }
    let echo = of(&cage.agent.status().await.unwrap(), "canary-echo").unwrap()["error"].clone();
    assert!(echo.as_str().unwrap().contains("unrecognized value"), "{echo}");
    for name in ["bad-uri", "no-uri", "typo", "directive", "yaml", "type", "twice", "no-map", "lines", "outside", "key"] {
        cage.agent.datasource(&format!("canary-{name}"), "invalid").await;
    }
    Said::by(&cage.agent, &cage.tree).await.hold_no_canary();

    // Where they must be they are, or this test would prove nothing.
    let text = cage.agent.rendered().unwrap();
    for place in ["secret-key", "metadata", "secret-directive", "deep", "in-a-list", "broker", "line"] {
        assert!(text.contains(&format!("{CANARY}-{place}")) || text.contains(&format!("{CANARY}%2D{place}")), "{place}");
    }
    assert_eq!(fs::metadata(&rendered).unwrap().permissions().mode() & 0o777, 0o640);
    let state = cage.agent.path("state");
    for entry in fs::read_dir(&state).unwrap() {
        assert_private(&entry.unwrap().path());
    }
    let last_words = fs::read_to_string(state.join("reload.log")).unwrap();
    assert!(last_words.contains(&canary("file")) && last_words.contains(&canary("superset")), "{last_words}");
    let shown = Said(Vec::new()).with("the file", text.as_bytes());
    assert!(!shown.sightings().is_empty(), "the search finds nothing at all");
}

#[tokio::test]
async fn law_9_no_canary_sings_when_the_config_is_wrong() {
    let mut cage = Cage::new("aviary").await;
    let template = cage.agent.path("template");
    let lines = [
        format!("token = {}", plain("template-text")),
        "{{ config.SECRET_KEY | int }}".to_owned(),
        "{{ config[config.SECRET_KEY] }}".to_owned(),
    ];
    fs::write(&template, lines.join("\n")).unwrap();
    let templates = json!([{"source": template, "path": cage.agent.path("from-template"), "mode": "0640"}]);
    cage.agent.set("render.templates", templates);
    cage.tree.fragment("10-secrets", json!({"SECRET_KEY": canary("secret-key")}).to_string()).await;
    cage.agent.start().await;
    cage.agent.status_where("held by its template", |status| status["instance"]["state"] == "held").await;
    Said::by(&cage.agent, &cage.tree).await.hold_no_canary();

    let wrong = [
        ("unclosed", format!("SECRET_KEY: \"{}", plain("unclosed"))),
        ("twice", format!("SECRET_KEY: {0}\nSECRET_KEY: {0}", plain("twice"))),
        ("key", format!("{{postgresql://user:{}@host/x}}", plain("key"))),
        ("directive", format!("SECRET_KEY: {{$secrt: {}}}", plain("directive"))),
        ("python", format!("SECRET_KEY: {{$python: \"'{}'\"}}", plain("python"))),
        ("outside", format!("SECRET_KEY: {{$env: {}}}", plain("env").replace('-', "_"))),
        ("beside", format!("SECRET_KEY: {{$secret: {}, OTHER: 1}}", plain("beside"))),
        ("tag", format!("SECRET_KEY: !!binary {}", plain("tag"))),
        ("anchor", format!("SECRET_KEY: &{0} x\nOTHER: *{0}2", plain("anchor"))),
        ("lines", format!("database_url postgres://user:{}@host/db\nx=1", plain("lines"))),
        ("scalar", plain("scalar")),
        ("list", format!("[{}]", plain("list"))),
        ("when", format!("{{when: {{role: {0}}}, config: {{SECRET_KEY: {0}}}, other: {0}}}", plain("when"))),
        ("timedelta", format!("SECRET_KEY: {{$timedelta: {}}}", plain("timedelta"))),
        ("crontab", format!("SECRET_KEY: {{$crontab: {}}}", plain("crontab"))),
        ("ref", format!("SECRET_KEY: {{$ref: {}}}", plain("ref"))),
    ];
    for (name, text) in &wrong {
        cage.tree.fragment(&format!("50-{name}"), text).await;
    }
    let status = cage.agent.status_where("every fragment refused", |status| {
        let problems = status["problems"].as_array().unwrap();
        let is_told = |name: &str| problems.iter().any(|one| one["znode"].as_str().unwrap().ends_with(name));
        wrong.iter().all(|(name, _)| is_told(name))
    });
    assert_eq!(status.await["instance"]["state"], "held");
    Said::by(&cage.agent, &cage.tree).await.hold_no_canary();
}

#[tokio::test]
async fn law_9_no_canary_sings_when_credentials_and_settings_are_wrong() {
    let mut cage = Cage::new("cockatoo").await;
    cage.tree.fragment("10-secrets", json!({"SECRET_KEY": canary("secret-key")}).to_string()).await;
    let binary = cage.agent.path("secrets/binary");
    fs::write(&binary, [CANARY.as_bytes(), &[0xff, 0xfe], CANARY.as_bytes()].concat()).unwrap();
    let wrong = json!({"sqlalchemy_uri": "postgresql://u@h/d", "password": {"$file": binary}});
    cage.tree.datasource("canary-binary", &wrong).await;
    let own = cage.agent.secret("superset", &canary("wrong-login"));
    cage.agent.set("superset.password", json!({"$file": own}));
    cage.agent.start().await;
    let refused = async || cage.agent.log().contains("failed to list connections").then_some(());
    eventually("the login is refused", refused).await;
    // A secret's file that changes into something worse.
    fs::write(&own, [CANARY.as_bytes(), &[0xff]].concat()).unwrap();
    eventually("the worse one is refused", async || cage.agent.log().contains("the earlier one stays").then_some(())).await;
    let mut said = Said::by(&cage.agent, &cage.tree).await;
    cage.agent.stop().await;

    // What only whoever starts it sees.
    for (key, value) in [
        ("superset.pasword", json!(plain("unknown-key"))),
        ("superset.password", json!([plain("list")])),
        ("superset.password", json!({"$file": cage.agent.path("secrets/binary")})),
        ("superset.password", json!({"$fil": plain("directive")})),
        ("superset.url", json!(format!("http://user:{}@127.0.0.1:1/", plain("url")))),
        ("superset.timeout", json!(plain("duration"))),
        ("source.zookeeper.auth", json!(plain("auth"))),
        ("source.zookeeper.auth", json!({"username": "u", "pasword": plain("auth-key")})),
    ] {
        let mut broken = cage.scene.agent("a").with("log.level", json!("trace"));
        broken.set(key, value);
        for command in ["check", "run", "status"] {
            // Those that are right in themselves would run on.
            let command = ["timeout", "5"].map(ToOwned::to_owned).into_iter().chain(broken.words(&[command]));
            let output = tokio::process::Command::from(words(command)).output().await.unwrap();
            said = said.with(&format!("{key} wrong"), &output.stdout).with(&format!("{key} wrong"), &output.stderr);
        }
    }
    said.hold_no_canary();
}

fn words(mut words: impl Iterator<Item = String>) -> std::process::Command {
    let mut command = std::process::Command::new(words.next().unwrap());
    command.args(words);
    command
}

#[tokio::test]
async fn law_9_no_canary_sings_when_zookeeper_refuses() {
    let scene = Scene::of("budgie").await;
    let session = client(&scene.zookeeper.connect()).await;
    session.auth("digest", b"somebody:else").await.unwrap();
    let mine = zk::CreateMode::Persistent.with_acls(zk::Acls::creator_all());
    session.create("/superset", b"", &mine).await.unwrap();
    let agent = scene.agent("a");
    let password = agent.secret("zookeeper", &canary("zookeeper"));
    let auth = json!({"username": ZOOKEEPER_USER, "password": {"$file": password}});
    let mut agent = agent.with("source.zookeeper.auth", auth).with("log.level", json!("trace"));
    agent.start().await;
    agent.status_where("it may not", |status| status["instance"]["error"].is_string()).await;
    let mut said = Said(vec![("the log".to_owned(), agent.log())]);
    for path in ["/", "/status", "/metrics"] {
        said = said.with(path, agent.get(path).await.unwrap().1.as_bytes());
    }
    for command in ["status", "check", "render"] {
        let output = agent.run(&[command]).await;
        said = said.with(command, &output.stdout).with(command, &output.stderr);
    }
    said.hold_no_canary();
}
