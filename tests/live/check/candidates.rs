//! What a check says of candidates, each broken in one way.

use std::fs;

use setkeeper::check::checker::{Checker, Level};
use setkeeper::check::report::Outcome::{Inconclusive, Invalid, Proven};
use setkeeper::model::digest::Revision;

use super::support::{BASE, PATIENT, candidate, check, checker, environment, expect, key, settings, shared_folder, whole};
use crate::support::services::{python, version};

#[tokio::test]
async fn a_good_candidate_is_proven_and_its_protected_settings_are_told_apart() {
    let checker = checker(PATIENT);
    let good = check(&checker, &candidate("ROW_LIMIT = 'many'")).await;
    assert_eq!((good.outcome, good.why.as_str()), (Proven, "passed"), "{good:#?}");
    assert_eq!(good.warnings, ["ROW_LIMIT is str, and the default is int"]);
    let again = check(&checker, &candidate("ROW_LIMIT = 5")).await;
    assert_eq!(again.protected.changed_from(&good.protected), [""; 0]);
    assert!(good.protected.secret_key.is_some() && good.protected.metadata_uri.is_some());
    let other = check(&checker, &candidate("SECRET_KEY = 'canary-another-key'")).await;
    assert_eq!((other.outcome, other.protected.changed_from(&good.protected)), (Proven, vec!["SECRET_KEY"]));
}

#[tokio::test]
async fn the_default_metadata_uri_is_the_same_in_every_check() {
    let checker = checker(PATIENT);
    let text = whole("SECRET_KEY = 'canary-key-of-the-candidate'\n");
    let (one, other) = (check(&checker, &text).await, check(&checker, &text).await);
    assert_eq!((one.outcome, &one.protected), (Proven, &other.protected), "{one:#?}");
}

#[tokio::test]
async fn what_does_not_load_is_invalid_and_what_is_missing_here_is_inconclusive() {
    let checker = checker(PATIENT);
    for (lines, outcome, why) in [
        ("X = (", Invalid, "syntax: SyntaxError: '(' was never closed (/etc/superset/superset_config.py, line 4)"),
        ("SECRET_KEY = 'canary", Invalid, "syntax: SyntaxError: unterminated string literal"),
        ("raise ValueError(SECRET_KEY)", Invalid, "loading: ValueError: *** (line 4)"),
        ("import nothing_of_that_name", Invalid, "loading: ModuleNotFoundError: No module named 'nothing_of_that_name' (line 4)"),
        ("import sys; sys.exit(0)", Invalid, "loading: SystemExit: 0 (line 4)"),
        ("import os; os._exit(0)", Invalid, "loading: the process was ended from within, with exit status 0"),
        ("import os; os.kill(os.getpid(), 9)", Inconclusive, "loading: the process was killed, perhaps for want of memory"),
        ("import os; X = os.environ['NOT_HERE']", Inconclusive, "loading: the environment variable NOT_HERE is not set here"),
        ("X = open('/not/here').read()", Inconclusive, "loading: the file /not/here is not there"),
    ] {
        expect(&checker, lines, outcome, why).await;
    }
}

#[tokio::test]
async fn what_superset_does_not_start_with_or_answers_with_an_error_is_invalid() {
    let checker = checker(PATIENT);
    for (lines, why) in [
        ("FEATURE_FLAGS = ['A']", "create_app: ValueError"),
        ("HTTP_HEADERS = 3", "request /health: Superset answers with status 500: TypeError: 'int' object is not a mapping"),
        ("LANGUAGES = ['en']", "request /login/: Superset answers with status 500"),
        ("CELERY_CONFIG = 'nothing_of_that_name'", "celery: ModuleNotFoundError"),
        (
            "class CeleryConfig:\n    broker_url = 'redis://:canary-broker@127.0.0.1:1/0'\n    \
             beat_schedule = {'reports': {'task': 'x', 'schedule': 'often'}}\nCELERY_CONFIG = CeleryConfig",
            "celery beat_schedule 'reports': ",
        ),
        (
            "class CeleryConfig:\n    broker_url = 'redis://:canary-broker@127.0.0.1:1/0'\n    \
             beat_schedule = {'reports': {'task': 'x', 'schedule': 60, 'nosuch': 1}}\nCELERY_CONFIG = CeleryConfig",
            "celery beat_schedule 'reports': ",
        ),
    ] {
        expect(&checker, lines, Invalid, why).await;
    }
}

#[tokio::test]
async fn parts_that_the_check_replaces_are_tried_apart() {
    let checker = checker(PATIENT);
    for (lines, why) in [
        ("SECRET_KEY = ''", "SECRET_KEY: it must be a text that is not empty"),
        ("SECRET_KEY = None", "SECRET_KEY: it must be a text that is not empty"),
        ("SQLALCHEMY_DATABASE_URI = 'nosuch://a:canary-pw@h/d'", "SQLALCHEMY_DATABASE_URI: NoSuchModuleError"),
        ("SQLALCHEMY_DATABASE_URI = 'canary no uri'", "SQLALCHEMY_DATABASE_URI: ArgumentError"),
        ("SQLALCHEMY_ENGINE_OPTIONS = {'nosuch': 1}", "SQLALCHEMY_DATABASE_URI: TypeError: Invalid argument(s) 'nosuch'"),
        ("CACHE_CONFIG = {'CACHE_TYPE': 'NoSuch'}", "CACHE_CONFIG: ImportStringError"),
        ("DATA_CACHE_CONFIG = 'RedisCache'", "DATA_CACHE_CONFIG: it must be a dict, not str"),
        ("CACHE_CONFIG = {'CACHE_TYPE': 'RedisCache', 'CACHE_REDIS_URL': 'canary'}", "CACHE_CONFIG: ValueError"),
        ("RATELIMIT_STORAGE_URI = 'nosuch://h'", "RATELIMIT_STORAGE_URI: its scheme"),
        ("SESSION_SERVER_SIDE = True\nSESSION_TYPE = 'nosuch'", "SESSION_TYPE: ValueError"),
        ("RESULTS_BACKEND = 'redis'", "RESULTS_BACKEND: it must be an object with get and set"),
    ] {
        expect(&checker, lines, Invalid, why).await;
    }
}

#[tokio::test]
async fn what_answers_with_a_redirect_or_elsewhere_is_proven() {
    let checker = checker(PATIENT);
    for lines in [
        "TALISMAN_ENABLED = True\nTALISMAN_CONFIG = {'force_https': True, 'content_security_policy': None}",
        "SERVER_NAME = 'superset.example.com'\nENABLE_PROXY_FIX = True",
        "APPLICATION_ROOT = '/analytics'",
        "from flask_appbuilder.security.manager import AUTH_REMOTE_USER\nAUTH_TYPE = AUTH_REMOTE_USER",
    ] {
        expect(&checker, lines, Proven, "passed").await;
    }
}

#[tokio::test]
async fn the_syntax_level_needs_no_superset_and_runs_nothing() {
    let checker = Checker::new(Level::Syntax, &settings(&shared_folder()), environment());
    expect(&checker, "raise ValueError", Proven, "passed").await;
    expect(&checker, "raise (", Invalid, "syntax: SyntaxError").await;
}

#[tokio::test]
async fn supersets_python_is_found_on_the_path_and_its_environment_counts() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(&shared_folder());
    settings.check.python = None;
    let file = folder.path().join("env");
    fs::write(&file, "export NEEDED='canary here'\n").unwrap();
    settings.check.env_file = Some(file);
    let programs = python().parent().unwrap().to_owned();
    let path = std::env::join_paths([programs.as_path(), "/usr/bin".as_ref(), "/bin".as_ref()]).unwrap();
    let checker = Checker::new(Level::App, &settings, [("PATH".into(), path)]);
    expect(&checker, "import os; assert os.environ['NEEDED'] == 'canary here'", Proven, "passed").await;
    assert_eq!(checker.superset().await.unwrap().version, version());
}

#[tokio::test]
async fn file_of_the_candidate_is_the_live_one_although_another_lies_there() {
    let folder = tempfile::tempdir().unwrap();
    let live = folder.path().join("superset_config.py");
    fs::write(&live, format!("{BASE}raise ValueError('the live file was loaded')\n")).unwrap();
    fs::write(folder.path().join("beside_the_config.py"), "HERE = True\n").unwrap();
    let lines = "import os, sys\nsys.path.insert(0, os.path.dirname(__file__))\nimport beside_the_config";
    let mut candidate = candidate(lines);
    candidate.path = live;
    let report = check(&checker(PATIENT), &candidate).await;
    assert_eq!(report.outcome, Proven, "{report:#?}");
}

#[tokio::test]
async fn two_first_checks_make_one_database_and_leave_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let checker = Checker::new(Level::App, &settings(folder.path()), environment());
    let (key, good) = (key(), candidate(""));
    let (one, two) = (Revision::new("one"), Revision::new("two"));
    let (first, second) = tokio::join!(checker.check(&key, &good), checker.check(&key, &good));
    assert_eq!((first.outcome, second.outcome), (Proven, Proven), "{first:#?} {second:#?}");
    let names = |path: &str| -> Vec<_> {
        let mut names: Vec<_> = fs::read_dir(folder.path().join(path)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names("check/templates").len(), 2, "the database and the lock");
    assert_eq!(names("check/scratch").len(), 0);
    assert_ne!(checker.attempt_key(&key, &one).await.unwrap(), checker.attempt_key(&key, &two).await.unwrap());
}
