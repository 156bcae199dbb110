//! Checkers and candidates for the tests.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use setkeeper::check::checker::{Candidate, Checker, Level};
use setkeeper::check::report::{Outcome, Report};
use setkeeper::model::digest::DigestKey;
use setkeeper::model::secret::SecretText;
use setkeeper::settings::load::{Sources, load};
use setkeeper::settings::{Flags, Settings};

use crate::support::services::{python, version};

/// What every candidate begins with. Nobody listens on that port.
pub const BASE: &str = "SECRET_KEY = 'canary-key-of-the-candidate'\n\
    SQLALCHEMY_DATABASE_URI = 'postgresql://bob:canary-password@127.0.0.1:1/superset'\n\
    SQLALCHEMY_ENGINE_OPTIONS = {'max_overflow': 3, 'connect_args': {'sslmode': 'disable'}}\n";

/// A check has the lowest priority: beside other tests it takes many times its three seconds.
pub const PATIENT: Duration = Duration::from_secs(300);

pub fn key() -> DigestKey {
    DigestKey::from_bytes(&[7; DigestKey::LEN]).unwrap()
}

/// Settings with their state in `folder`.
pub fn settings(folder: &Path) -> Settings {
    let text = format!("state_dir: {}\nsource: {{directory: {{path: /tmp}}}}\n", folder.display());
    let (env, flags) = (BTreeMap::new(), Flags::default());
    let read_file = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
    let sources = Sources { file: Some(("test", &text)), env: &env, flags: &flags, host: "test", read_file: &read_file };
    let mut settings = load(&sources).unwrap();
    settings.check.python = Some(python());
    settings.check.timeout = PATIENT;
    settings
}

/// The folder that tests share, since making a database takes ten seconds.
pub fn shared_folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("check-{}", version()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

pub fn environment() -> Vec<(OsString, OsString)> {
    ["PATH", "HOME", "LANG"].iter().filter_map(|name| Some((name.into(), std::env::var_os(name)?))).collect()
}

/// A checker in the shared folder, with these bounds.
pub fn checker(limit: Duration) -> Checker {
    let mut settings = settings(&shared_folder());
    settings.check.timeout = limit;
    Checker::new(Level::App, &settings, environment())
}

/// These lines after [`BASE`].
pub fn candidate(lines: &str) -> Candidate {
    whole(&format!("{BASE}{lines}\n"))
}

pub fn whole(text: &str) -> Candidate {
    Candidate { path: PathBuf::from("/etc/superset/superset_config.py"), text: SecretText::new(text), secrets: Vec::new() }
}

/// Checks, and sees to it that the report shows no canary.
pub async fn check(checker: &Checker, candidate: &Candidate) -> Report {
    let report = checker.check(&key(), candidate).await;
    let shown = format!("{} {} {}", report.why, report.last_lines.join("\n"), report.warnings.join("\n"));
    assert!(!shown.contains("canary"), "{report:#?}");
    assert!(!report.why.contains('\n'));
    report
}

/// Checks, and expects this.
pub async fn expect(checker: &Checker, lines: &str, outcome: Outcome, why: &str) {
    let report = check(checker, &candidate(lines)).await;
    assert!(report.outcome == outcome && report.why.starts_with(why), "{lines}\nexpected {outcome:?} {why:?}: {report:#?}");
}

/// Whether a process runs; one that has ended and waits for its parent does not.
pub fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.trim()).join("stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}
