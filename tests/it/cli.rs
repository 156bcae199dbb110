//! The command line: exit code, stdout and stderr together, of the program itself.

use std::fmt::Write as _;
use std::fs;
use std::process::Output;

use assert_cmd::Command;
use setkeeper::cli;
use tempfile::TempDir;

/// Runs the program in a folder and an environment of its own, away from the settings of this host.
pub struct Run {
    pub dir: TempDir,
    pub env: Vec<(&'static str, &'static str)>,
}

impl Run {
    pub fn new() -> Self {
        let run = Self { dir: tempfile::tempdir().unwrap(), env: Vec::new() };
        run.file("empty.yaml", "").env("SETKEEPER_CONFIG", "empty.yaml")
    }

    pub fn file(self, name: &str, text: &str) -> Self {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    pub fn env(mut self, name: &'static str, value: &'static str) -> Self {
        self.env.push((name, value));
        self
    }

    pub fn output(&self, arguments: &[&str]) -> Output {
        let mut command = Command::cargo_bin("setkeeper").unwrap();
        command.current_dir(self.dir.path()).env_clear().envs(self.env.iter().copied());
        command.args(arguments).output().unwrap()
    }

    /// What a person sees, streams told apart.
    pub fn shown(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let mut shown =
            format!("$ {}\nexit code: {}\n", [&["setkeeper"], arguments].concat().join(" "), output.status.code().unwrap());
        for (name, stream) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
            writeln!(shown, "----- {name} -----\n{}", String::from_utf8_lossy(stream)).unwrap();
        }
        shown
    }
}

#[test]
fn a_setting_that_is_not_utf_8_is_refused_and_not_left_out() {
    use std::os::unix::ffi::OsStrExt;
    let run = Run::new();
    let with = |name: &str| {
        let mut command = Command::cargo_bin("setkeeper").unwrap();
        let value = std::ffi::OsStr::from_bytes(b"\xff");
        command.current_dir(run.dir.path()).env_clear().env("SETKEEPER_CONFIG", "empty.yaml").env(name, value);
        let output = command.args(["plan", "--connect", "127.0.0.1:1"]).output().unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    let refused = "error: the environment variable SETKEEPER_CLUSTER is not UTF-8 text\n";
    assert!(with("SETKEEPER_CLUSTER").contains(refused), "{}", with("SETKEEPER_CLUSTER"));
    for name in ["SETKEEPER_SECRET_X", "LESSOPEN"] {
        assert!(!with(name).contains("UTF-8"), "{name}");
    }
}

#[test]
fn help_of_every_command() {
    fn each(command: &clap::Command, path: &[&str]) {
        let name = if path.is_empty() { "setkeeper".to_owned() } else { path.join("-") };
        insta::assert_snapshot!(format!("help-{name}"), Run::new().shown(&[path, &["--help"]].concat()));
        for inner in command.get_subcommands() {
            each(inner, &[path, &[inner.get_name()]].concat());
        }
    }
    each(&cli::command(), &[]);
}

#[test]
fn misuse_ends_with_2() {
    for (name, arguments) in [
        ("none", &[][..]),
        ("unknown-command", &["staus"]),
        ("unknown-flag", &["status", "--jsn"]),
        ("missing-argument", &["config", "set", "ROW_LIMIT"]),
        ("bad-format", &["status", "-o", "xml"]),
        ("bad-set", &["check", "--set", "superset.password:canary"]),
        ("password", &["check", "--set", "superset.password=canary"]),
        ("plan", &["plan", "--exit-code", "now"]),
    ] {
        insta::assert_snapshot!(format!("misuse-{name}"), Run::new().shown(arguments));
        assert_eq!(Run::new().output(arguments).status.code(), Some(2), "{name}");
    }
}

#[test]
fn check_is_content_with_sound_settings() {
    let run = Run::new().file("a.yaml", "source: {directory: {path: tree}}\ncheck: {require: none}\n");
    let run = run.file("tree/config/10-a.yaml", "ROW_LIMIT: 5000\n");
    insta::assert_snapshot!("check-sound", run.shown(&["check", "-c", "a.yaml", "-o", "json"]));
}

#[test]
fn check_names_every_problem_of_the_settings() {
    let run = Run::new()
        .file("a.yaml", "clustr: a\nsource:\n  zookeeper:\n    conect: zk1\n    session_timeout: 15\n")
        .env("SETKEEPER_CONFIG", "a.yaml")
        .env("SETKEEPER_LOG__LEVL", "debug")
        .env("SETKEEPER_SECRET_SUPERSET", "canary");
    insta::assert_snapshot!("check-problems", run.shown(&["check", "--set", "http.lisen=127.0.0.1:1"]));
    insta::assert_snapshot!("check-problems-json", run.shown(&["check", "-o", "json"]));
    insta::assert_snapshot!("check-problems-yaml", run.shown(&["check", "-o", "yaml", "--connect", "zk1"]));
}

#[test]
fn check_says_where_yaml_does_not_parse() {
    let run = Run::new().file("a.yaml", "cluster: [a\n");
    insta::assert_snapshot!("check-not-yaml", run.shown(&["check", "-c", "a.yaml"]));
}

#[test]
fn warnings_are_shown_and_are_no_failure() {
    let settings = "source: {directory: {path: tree}}\nverify: {successes: 0}\n";
    let run = Run::new().file("a.yaml", settings).file("tree/config.yaml", "ROW_LIMT: 5000\n");
    insta::assert_snapshot!("check-warnings", run.shown(&["check", "-c", "a.yaml"]));
}

#[test]
fn a_settings_file_that_is_named_must_exist() {
    insta::assert_snapshot!("check-no-file", Run::new().shown(&["check", "--config", "nowhere.yaml"]));
}

#[test]
fn flags_of_their_own_set_the_tree() {
    let said = Run::new().shown(&["check", "--connect", "zk1:x", "--root", "superset"]);
    insta::assert_snapshot!("check-flags", said);
}

#[test]
fn flags_before_and_after_the_command_count_alike() {
    let said = Run::new().shown(&["--set", "cluster=", "--connect", "a b", "check", "--set", "http.listen=x"]);
    for field in ["cluster", "source.zookeeper.connect", "http.listen"] {
        assert!(said.contains(&format!("command line: {field}: ")), "{field} in\n{said}");
    }
}

#[test]
fn completions_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = Run::new().output(&["completions", shell]);
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{shell}");
        assert!(script.contains("datasource") && script.len() > 1000, "{shell}");
    }
}

#[test]
fn plan_with_exit_code_fails_with_3() {
    let output = Run::new().output(&["plan", "--exit-code", "-c", "nowhere.yaml"]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(Run::new().output(&["plan", "-c", "nowhere.yaml"]).status.code(), Some(1));
}

#[test]
fn version_is_one_line() {
    let output = Run::new().output(&["--version"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("setkeeper {}\n", env!("CARGO_PKG_VERSION")));
}
