//! What the checker does around a Python that is played by a shell script.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::super::report::Outcome;
use super::*;
use crate::settings::Flags;
use crate::settings::load::{Sources, load};

fn settings(folder: &Path, python: Option<&Path>) -> Settings {
    let text = format!("state_dir: {}\nsource: {{directory: {{path: /tmp}}}}\n", folder.display());
    let (env, flags) = (BTreeMap::new(), Flags::default());
    let read_file = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
    let sources = Sources { file: Some(("s.yaml", &text)), env: &env, flags: &flags, host: "h", read_file: &read_file };
    let mut settings = load(&sources).unwrap();
    settings.check.python = python.map(ToOwned::to_owned);
    settings.superset.password = Reference::Env("APP_PASSWORD".to_owned());
    settings
}

fn key() -> DigestKey {
    DigestKey::from_bytes(&[1; DigestKey::LEN]).unwrap()
}

fn candidate() -> Candidate {
    let path = PathBuf::from("/etc/superset/superset_config.py");
    Candidate { path, text: SecretText::new("X = 1\n"), secrets: Vec::new() }
}

fn python(folder: &Path, script: &str) -> PathBuf {
    let path = folder.join("python");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn own() -> Vec<(OsString, OsString)> {
    vec![("PATH".into(), std::env::var_os("PATH").unwrap())]
}

#[test]
fn law_9_the_environment_is_the_agents_without_what_is_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["PATH", "SETKEEPER_SECRET_X", "APP_PASSWORD", "NOTIFY_SOCKET", "SUPERSET_ENV"];
    let environment = names.map(|name| (OsString::from(name), OsString::from("agent")));
    let mut settings = settings(folder.path(), None);
    let file = folder.path().join("env");
    fs::write(&file, "SUPERSET_ENV=file\nMORE=file\n").unwrap();
    settings.check.env_file = Some(file);
    let checker = Checker::new(Level::App, &settings, environment);
    let seen: Vec<_> = checker.environment().unwrap().into_iter().map(|(name, value)| format!("{name:?}={value:?}")).collect();
    assert_eq!(seen, [r#""MORE"="file""#, r#""PATH"="agent""#, r#""SUPERSET_ENV"="file""#]);
}

#[tokio::test]
async fn what_keeps_a_check_from_being_made_is_inconclusive_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path(), None);
    let check = async |settings: &Settings, environment: Vec<(OsString, OsString)>| {
        let report = Checker::new(Level::Syntax, settings, environment).check(&key(), &candidate()).await;
        assert_eq!(report.outcome, Outcome::Inconclusive);
        report.why
    };
    let why = check(&settings, Vec::new()).await;
    let expected = "failed to find Superset's Python: there is no `superset` on PATH \
        (set check.python to Superset's own Python, such as /app/.venv/bin/python)";
    assert_eq!(why, expected);
    settings.check.python = Some(PathBuf::from("/nowhere/python"));
    assert!(check(&settings, own()).await.starts_with("failed to run /nowhere/python: No such file"));
    settings.check.env_file = Some(folder.path().join("env"));
    assert!(check(&settings, own()).await.contains("failed to read Superset's environment from"));
    fs::write(folder.path().join("env"), "canary\n").unwrap();
    let why = check(&settings, own()).await;
    assert!(why.contains("line 1: no `=`") && !why.contains("canary"), "{why}");
}

#[tokio::test]
async fn a_candidate_is_tried_once_and_again_when_its_environment_changes() {
    let folder = tempfile::tempdir().unwrap();
    let tries = folder.path().join("tries");
    let script = format!("echo x >>{}; echo '{{\"begun\": true}}'; exit 1", tries.display());
    let mut settings = settings(folder.path(), Some(&python(folder.path(), &script)));
    let count = || fs::read_to_string(&tries).unwrap_or_default().lines().count();
    let revision = Revision::new("a");
    let checker = Checker::new(Level::Syntax, &settings, own());
    for _ in 0..2 {
        let report = checker.check_once(&key(), &revision, &candidate()).await.unwrap();
        assert_eq!(report.outcome, Outcome::Invalid);
        assert_eq!(count(), 1);
    }
    let again = Checker::new(Level::Syntax, &settings, own());
    again.check_once(&key(), &revision, &candidate()).await.unwrap();
    assert_eq!(count(), 1, "the record is not kept");
    let file = folder.path().join("env");
    fs::write(&file, "A=1\n").unwrap();
    settings.check.env_file = Some(file);
    let changed = Checker::new(Level::Syntax, &settings, own());
    changed.check_once(&key(), &revision, &candidate()).await.unwrap();
    assert_eq!(count(), 2);
    changed.forget(&revision).await.unwrap();
    changed.check_once(&key(), &revision, &candidate()).await.unwrap();
    assert_eq!(count(), 3);
}

#[tokio::test]
async fn a_check_that_is_given_up_has_not_died() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path(), Some(&python(folder.path(), "sleep 30")));
    let checker = Checker::new(Level::Syntax, &settings, own());
    let (key, revision, candidate) = (key(), Revision::new("a"), candidate());
    for _ in 0..3 {
        let given_up = tokio::time::timeout(Duration::from_millis(400), checker.check_once(&key, &revision, &candidate)).await;
        assert!(given_up.is_err(), "it was not tried");
    }
}
