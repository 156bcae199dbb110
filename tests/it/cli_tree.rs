//! The commands on a tree in a folder, which need no service.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value as Json;

use crate::cli::Run;

const SETTINGS: &str = "
source: {directory: {path: tree}}
check: {require: none}
state_dir: state
render: {superset_config: {path: out/superset_config.py}, templates: [{source: t.j2, path: out/t.conf, mode: \"0600\"}]}
secrets: {files: [/run/secrets], env: [SETKEEPER_SECRET_*]}
http: {listen: \"127.0.0.1:1\"}
";

const BASE: &str = "# limits\nROW_LIMIT: 5000\nSECRET_KEY: canary-key\nFEATURE_FLAGS: {A: true, B: false}\nAPP_NAME: Ours\n";
const OVER: &str = "FEATURE_FLAGS:\n  B: true\nRESULTS: {url: \"redis://u:canary-uri@cache/0\", pin: {$secret: canary-pin}}\n";
const SALES: &str = "engine: postgresql\nhost: 127.0.0.1\nport: 1\nuser: u\npassword: canary-password\n";

fn run() -> Run {
    let run = Run::new().file("a.yaml", SETTINGS).file("t.j2", "name={{ config.APP_NAME }}\npin={{ config.RESULTS.pin }}\n");
    run.file("tree/config.yaml", BASE).file("tree/config/20-over.yaml", OVER).env("SETKEEPER_CONFIG", "a.yaml").file("out/x", "")
}

fn json(run: &Run, arguments: &[&str]) -> Json {
    let output = run.output(arguments);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn check_tells_what_is_wrong_in_the_tree_and_in_what_is_rendered() {
    let run = run().file("tree/config/30-bad.yaml", "A: 1\nb: 2\nROW_LIMT: 5\n").file("tree/datasources/x.yaml", "hots: a\n");
    insta::assert_snapshot!("tree-check", run.shown(&["check"]).replace(run.dir.path().to_str().unwrap(), "DIR"));
    let output = Run::new()
        .file("a.yaml", SETTINGS)
        .file("t.j2", "{{ config.NOWHERE }}\n")
        .file("tree/config.yaml", BASE)
        .output(&["check", "-c", "a.yaml"]);
    assert!(text(&output.stdout).contains("error: t.j2:1: "), "{output:?}");
    assert_eq!(output.status.code(), Some(1));
}

const TYPES: &str = "
FEATURE_FLAGS: [ALERT_REPORTS]
ROW_LIMIT: many
SQLLAB_TIMEOUT: {$env: SUPERSET_TIMEOUT}
AUTH_TYPE: AUTH_DB
THEME_DEFAULT: {}
SMTP_USER: null
ACME_BANNER: hello
JWT_ACCESS_TOKEN_EXPIRES: {$timedelta: 1h}
";

#[test]
fn check_tells_wrong_types_and_unknown_names_for_the_version_that_the_settings_state() {
    let worker = "when: {role: worker}\nconfig: {FEATURE_FLAGS: {ALERT_REPORT: true, KV_STORE: true}, HTTP_HEADERS: 3}\n";
    let run = Run::new().file("a.yaml", SETTINGS).file("t.j2", "").env("SETKEEPER_CONFIG", "a.yaml");
    let run = run.file("tree/config/10-types.yaml", TYPES).file("tree/config/20-worker.yaml", worker);
    let allow = "render.allow_env=[SUPERSET_*]";
    insta::assert_snapshot!("tree-check-types", run.shown(&["check", "--set", allow]));
    insta::assert_snapshot!("tree-check-types-5", run.shown(&["check", "--set", allow, "--set", "superset.version=5.0.0"]));
}

#[test]
fn render_shows_every_file_and_no_secret() {
    let run = run();
    insta::assert_snapshot!("tree-render", without_revision(&run.shown(&["render"])));
    let whole = text(&run.output(&["render", "--reveal"]).stdout);
    for secret in ["canary-key", "canary-uri", "canary-pin"] {
        assert!(whole.contains(secret), "{secret} in {whole}");
    }
    let files = json(&run, &["render", "-o", "json"]);
    assert_eq!(files[1]["path"], "out/t.conf");
    assert_eq!((&files[1]["mode"], &files[1]["text"]), (&"0600".into(), &"name=Ours\npin=***\n".into()));
}

/// Where no agent has made a key, every run has another.
fn without_revision(text: &str) -> String {
    let is_revision = |word: &str| word.len() == 16 && word.chars().all(|c| c.is_ascii_hexdigit());
    let mut out = String::new();
    for word in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let bare = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        out.push_str(&if is_revision(bare) { word.replace(bare, "REVISION") } else { word.to_owned() });
    }
    out
}

#[test]
fn plan_shows_what_differs_and_no_secret_of_either_side() {
    let run = run();
    let first = without_revision(&run.shown(&["plan"]));
    insta::assert_snapshot!("tree-plan-first", first);
    let before = text(&run.output(&["render", "--reveal", "-o", "json"]).stdout);
    let files: Json = serde_json::from_str(&before).unwrap();
    for file in files.as_array().unwrap() {
        let path = run.dir.path().join(file["path"].as_str().unwrap());
        fs::write(&path, file["text"].as_str().unwrap()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    }
    // What was a secret is none any more, by name or by place; only the file on disk still holds it.
    let run = run
        .file("tree/config.yaml", "ROW_LIMIT: 7\nAPP_NAME: Theirs\n")
        .file("tree/config/20-over.yaml", "RESULTS: {pin: open}\n");
    let second = without_revision(&run.shown(&["plan"]));
    insta::assert_snapshot!("tree-plan-second", second);
    assert!(!first.contains("canary") && !second.contains("canary"));
    assert!(text(&run.output(&["plan", "--reveal"]).stdout).contains("canary-key"));
    let steps = json(&run, &["plan", "-o", "json"]);
    assert_eq!(steps["steps"][0]["step"], "install");
    assert!(steps["steps"][0]["diff"].as_str().unwrap().contains("-ROW_LIMIT = 5000\n"));
}

#[test]
fn plan_says_by_its_exit_code_whether_there_is_anything_to_do() {
    let run = run();
    assert_eq!(run.output(&["plan", "--exit-code"]).status.code(), Some(1));
    assert_eq!(run.output(&["plan"]).status.code(), Some(0));
    let bad = run.file("tree/config/30-bad.yaml", "b: 2\n").file("tree/datasources/sales.yaml", SALES);
    let shown = bad.shown(&["plan", "--exit-code", "--set", "superset.url=http://127.0.0.1:1", "--set", "superset.timeout=1s"]);
    assert!(shown.starts_with("$ setkeeper plan --exit-code"), "{shown}");
    // Both are told: the config in error, and the Superset that nobody can ask.
    for part in ["exit code: 3", "30-bad.yaml:1: b: ", "failed to resolve superset.password"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
}

#[test]
fn config_is_shown_whole_in_part_and_by_its_sources() {
    let run = run();
    insta::assert_snapshot!("tree-config-get", run.shown(&["config", "get"]));
    assert_eq!(json(&run, &["config", "get", "FEATURE_FLAGS", "-o", "json"]), serde_json::json!({"A": true, "B": true}));
    assert_eq!(text(&run.output(&["config", "get", "FEATURE_FLAGS.B"]).stdout), "true\n");
    assert_eq!(json(&run, &["config", "get", "SECRET_KEY", "-o", "json"]), "***");
    assert_eq!(json(&run, &["config", "get", "SECRET_KEY", "--reveal", "-o", "json"]), "canary-key");
    insta::assert_snapshot!("tree-config-get-unknown", run.shown(&["config", "get", "ROW_LIMT"]));
    insta::assert_snapshot!("tree-config-explain", run.shown(&["config", "explain", "FEATURE_FLAGS"]));
    let secret = run.shown(&["config", "explain", "RESULTS"]);
    assert!(!secret.contains("canary") && secret.contains("20-over.yaml"), "{secret}");
}

#[test]
fn a_folder_is_not_written_by_commands() {
    let run = run();
    insta::assert_snapshot!("tree-config-set", run.shown(&["config", "set", "A", "1"]));
    for arguments in [&["config", "unset", "A"][..], &["datasource", "delete", "x"], &["apply", "tree"], &["ds", "apply", "t.j2"]]
    {
        let shown = run.shown(arguments);
        assert!(shown.contains("exit code: 1") && shown.contains("hint: edit its files"), "{shown}");
    }
}

#[test]
fn a_datasource_is_shown_without_its_password() {
    let run = run().file("tree/datasources/sales.yaml", SALES);
    insta::assert_snapshot!("tree-datasource-get", run.shown(&["datasource", "get", "sales"]));
    assert_eq!(text(&run.output(&["datasource", "get", "sales", "--reveal"]).stdout), SALES);
    assert_eq!(json(&run, &["datasource", "get", "sales", "--reveal", "-o", "json"])["password"], "canary-password");
    insta::assert_snapshot!("tree-datasource-get-unknown", run.shown(&["datasource", "get", "sale"]));
}

#[test]
fn a_datasource_test_goes_as_far_as_it_can() {
    let run = run().file("tree/datasources/sales.yaml", SALES);
    insta::assert_snapshot!("tree-datasource-test", run.shown(&["datasource", "test", "sales"]));
    let missing = run.file("tree/datasources/other.yaml", &SALES.replace("canary-password", "{$env: SETKEEPER_SECRET_NONE}"));
    let parts = json(&missing, &["datasource", "test", "other", "-o", "json"]);
    assert_eq!((&parts[0]["part"], &parts[0]["outcome"]), (&"secrets".into(), &"failed".into()));
}

#[test]
fn an_export_is_private_complete_and_never_over_foreign_files() {
    let run = run().file("tree/datasources/sales.yaml", SALES).file("tree/datasources/old.yaml", SALES);
    insta::assert_snapshot!("tree-export", run.shown(&["export", "made"]));
    let path = |name: &str| run.dir.path().join(name);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for folder in ["made", "made/config", "made/datasources"] {
        assert_eq!(mode(&path(folder)), 0o700, "{folder}");
    }
    for (name, expected) in [("config.yaml", BASE), ("config/20-over.yaml", OVER), ("datasources/sales.yaml", SALES)] {
        let file = path("made").join(name);
        assert_eq!((fs::read_to_string(&file).unwrap(), mode(&file)), (expected.to_owned(), 0o600), "{name}");
    }
    // Exported again, what is gone goes; a file that is nobody's node stays.
    fs::remove_file(path("tree/datasources/old.yaml")).unwrap();
    fs::write(path("made/notes.txt"), "mine").unwrap();
    let again = run.shown(&["export", "made"]);
    assert!(again.contains("wrote 3 nodes to made, removed 1"), "{again}");
    assert!(path("made/notes.txt").exists() && !path("made/datasources/old.yaml").exists());
    insta::assert_snapshot!("tree-export-foreign", run.shown(&["export", "tree"]));
}

#[test]
fn a_zookeeper_that_is_away_is_named_with_a_hint() {
    let run = Run::new();
    for arguments in [&["status"][..], &["check"], &["plan"], &["config", "get"], &["config", "set", "A", "1"], &["ds", "list"]] {
        let output = run.output(&[&["--connect", "127.0.0.1:1"], arguments].concat());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(said.contains("error: failed to connect to ZooKeeper at 127.0.0.1:1") && said.contains("\nhint: "), "{said}");
    }
    insta::assert_snapshot!("zookeeper-away", run.shown(&["--connect", "127.0.0.1:1", "status"]));
}
