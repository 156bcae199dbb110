//! Every kind of value against what Superset takes, and the names that it does not know.

use super::super::fragment;
use super::super::lens::{Allowed, Lens};
use super::*;
use crate::model::problem::Severity;
use crate::model::snapshot::{Node, Origin};

fn lens(superset: Option<&str>) -> Lens {
    let render = Allowed { env: vec!["*".into()], files: vec!["/run".into()], objects: vec!["*".into()], python: true };
    Lens { render, superset: Edition::of(superset), ..Lens::default() }
}

fn judged(text: &str, superset: Option<&str>) -> Vec<String> {
    let (_, problems) = fragment::read(&Node::new(Origin::new("/c"), text, 1), &lens(superset));
    let shown = problems.into_iter().map(|problem| {
        let severity = if problem.severity == Severity::Error { "error" } else { "warning" };
        let hint = problem.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{severity} {problem}{hint}")
    });
    shown.collect()
}

#[test]
fn a_wrong_type_is_an_error_that_says_what_is_expected() {
    for (text, expected) in [
        ("FEATURE_FLAGS: [ALERT_REPORTS]", "error /c:1: FEATURE_FLAGS: expected a mapping, found a list"),
        ("\nROW_LIMIT: many", "error /c:2: ROW_LIMIT: expected a whole number, found text"),
        ("ROW_LIMIT: '5000'", "error /c:1: ROW_LIMIT: expected a whole number, found text (without quotes it is a number)"),
        ("ROW_LIMIT: true", "error /c:1: ROW_LIMIT: expected a whole number, found a boolean"),
        ("ROW_LIMIT: 1.5", "error /c:1: ROW_LIMIT: expected a whole number, found a number"),
        // Every rendered file merges a header into it.
        ("OVERRIDE_HTTP_HEADERS: [1]", "error /c:1: OVERRIDE_HTTP_HEADERS: expected a mapping, found a list"),
        ("HTTP_HEADERS: 3", "error /c:1: HTTP_HEADERS: expected a mapping, found a whole number"),
        ("TALISMAN_ENABLED: 1", "error /c:1: TALISMAN_ENABLED: expected true or false, found a whole number"),
        (
            "TALISMAN_ENABLED: 'true'",
            "error /c:1: TALISMAN_ENABLED: expected true or false, found text (without quotes it is a boolean)",
        ),
        (
            "AUTH_TYPE: AUTH_DB",
            "error /c:1: AUTH_TYPE: expected a whole number, found text (1 is the database, 2 LDAP, 3 the remote user, 4 OAuth)",
        ),
        ("APP_NAME: {a: 1}", "error /c:1: APP_NAME: expected text, found a mapping"),
        ("APP_NAME: {$merge: {a: 1}}", "error /c:1: APP_NAME: expected text, found a mapping"),
        ("CURRENCIES: {$set: [USD]}", "error /c:1: CURRENCIES: expected a list, found a set"),
        (
            "TEST_DATABASE_CONNECTION_TIMEOUT: 30",
            "error /c:1: TEST_DATABASE_CONNECTION_TIMEOUT: expected a duration, found a whole number (write {$timedelta: \"1h30m\"})",
        ),
        ("ROW_LIMIT: {$timedelta: 1h}", "error /c:1: ROW_LIMIT: expected a whole number, found a duration"),
        ("APP_NAME: {$crontab: '0 3 * * *'}", "error /c:1: APP_NAME: expected text, found a crontab"),
        ("APP_NAME: {$class: {a: 1}}", "error /c:1: APP_NAME: expected text, found a class"),
        (
            "SQL_QUERY_MUTATOR: upper",
            "error /c:1: SQL_QUERY_MUTATOR: expected a function or a class, found text (name one with {$ref: package.name}, which `render.allow_objects` must allow)",
        ),
        (
            "STATS_LOGGER: statsd",
            "error /c:1: STATS_LOGGER: expected an object, found text (make one with {$object: {class: package.Name}}, which `render.allow_objects` must allow)",
        ),
        ("SECRET_KEY: null", "error /c:1: SECRET_KEY: expected text, found null"),
        ("ROW_LIMIT=many", "error /c:1: ROW_LIMIT: expected a whole number, found text"),
    ] {
        assert_eq!(judged(text, Some("6.1.0")), [expected], "{text}");
    }
}

#[test]
fn variables_and_files_are_text() {
    const HINT: &str = "(a variable or a file is text to Superset; the base file can make something else of it)";
    for (directive, said) in [("{$env: LIMIT}", "text, which `$env` is"), ("{$file: /run/limit}", "text, which `$file` is")] {
        let expected = format!("error /c:1: ROW_LIMIT: expected a whole number, found {said} {HINT}");
        assert_eq!(judged(&format!("ROW_LIMIT: {directive}"), None), [expected]);
        assert_eq!(judged(&format!("SECRET_KEY: {directive}"), None), [""; 0]);
    }
    assert_eq!(judged("SECRET_KEY: {$secret: x}", None), [""; 0]);
    assert_eq!(
        judged("ROW_LIMIT: {$secret: '1'}", None),
        ["error /c:1: ROW_LIMIT: expected a whole number, found text, which `$secret` is"]
    );
}

#[test]
fn what_superset_takes_is_right() {
    for text in [
        "ROW_LIMIT: 5",
        "ROW_LIMIT: {$unset: true}",
        "ROW_LIMIT: {$python: \"5 * 5\"}",
        "SSH_TUNNEL_TIMEOUT_SEC: 5",
        "CURRENCIES: {$tuple: [USD]}",
        "CSV_EXTENSIONS: {$set: [csv]}",
        "CSV_EXTENSIONS: [csv]",
        "FEATURE_FLAGS: {$merge: {ALERT_REPORTS: true}}",
        "FEATURE_FLAGS: {$replace: {ALERT_REPORTS: true}}",
        "FEATURE_FLAGS: {ALERT_REPORTS: {$unset: true}}",
        "TEST_DATABASE_CONNECTION_TIMEOUT: {$timedelta: 30s}",
        "SQL_QUERY_MUTATOR: {$ref: acme.mutate}",
        "SQL_QUERY_MUTATOR: {$python: \"lambda sql, **_: sql\"}",
        "STATS_LOGGER: {$object: {class: acme.Stats}}",
        "CELERY_CONFIG: {$class: {broker_url: redis://r}}",
        "CELERY_CONFIG: {broker_url: redis://r}",
        "CELERY_CONFIG: null",
        "SESSION_COOKIE_SAMESITE: null",
        "WTF_CSRF_TIME_LIMIT: null",
        "RESULTS_BACKEND: {$object: {class: cachelib.redis.RedisCache}}",
        "PUBLIC_ROLE_LIKE: Gamma",
        "LOGO_RIGHT_TEXT: {$ref: acme.logo}",
        "LOG_LEVEL: INFO",
        "JWT_ACCESS_TOKEN_EXPIRES: {$timedelta: 1h}",
        "AUTH_ROLES_MAPPING: {admins: [Admin]}",
    ] {
        for superset in [Some("6.1.0"), Some("5.0.0"), None] {
            assert_eq!(judged(text, superset), [""; 0], "{text}");
        }
    }
}

#[test]
fn null_where_nothing_says_that_it_may_be_is_a_warning() {
    let expected = "warning /c:1: SMTP_USER: expected text, found null (Superset does not say that this may be null; {$unset: true} leaves its default)";
    assert_eq!(judged("SMTP_USER: null", None), [expected]);
}

#[test]
fn a_name_that_nobody_knows_is_a_warning_with_the_nearest() {
    for (text, superset, expected) in [
        (
            "ROW_LIMTI: 5",
            None,
            "warning /c:1: ROW_LIMTI: Superset has no such setting, but one of nearly that name (did you mean `ROW_LIMIT`?)",
        ),
        ("ACME_BANNER: 5", None, "warning /c:1: ACME_BANNER: Superset has no such setting"),
        ("ACME_BANNER: 5", Some("6.1.0"), "warning /c:1: ACME_BANNER: Superset has no such setting"),
        ("THEME_DEFAULT: {}", Some("5.0.0"), "warning /c:1: THEME_DEFAULT: Superset 5.0.0 has no such setting, but 6.1.0 has"),
        (
            "THEME_OVERRIDES: {}",
            Some("6.1.0"),
            "warning /c:1: THEME_OVERRIDES: Superset 6.1.0 has no such setting, but 4.1.4 to 5.0.0 have",
        ),
        (
            "FEATURE_FLAGS:\n  ALERT_REPORT: true",
            None,
            "warning /c:2: FEATURE_FLAGS.ALERT_REPORT: Superset has no such feature flag, but one of nearly that name (did you mean `ALERT_REPORTS`?)",
        ),
        ("FEATURE_FLAGS: {$merge: {ACME: true}}", None, "warning /c:1: FEATURE_FLAGS.ACME: Superset has no such feature flag"),
        (
            "FEATURE_FLAGS: {ALERT_REPORTS: 'false'}",
            None,
            "warning /c:1: FEATURE_FLAGS.ALERT_REPORTS: expected true or false, found text",
        ),
    ] {
        assert_eq!(judged(text, superset), [expected], "{text}");
    }
}

#[test]
fn a_fragment_that_does_not_count_here_is_judged_too() {
    let found = judged("when: {role: beat}\nconfig:\n  ROW_LIMIT: many\n  ACME: 1\n", None);
    assert_eq!(
        found,
        [
            "error /c:3: config.ROW_LIMIT: expected a whole number, found text",
            "warning /c:4: config.ACME: Superset has no such setting",
        ]
    );
}

#[test]
fn what_could_not_be_read_is_not_judged_again() {
    let found = judged("ROW_LIMIT: {$tuple: 5}", None);
    assert_eq!(found, ["error /c:1: ROW_LIMIT: expected a list, found a whole number"]);
}
