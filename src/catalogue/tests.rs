//! The table is in order, and says what is asked of it.

use super::types::Kind;
use super::*;

fn edition(version: &str) -> Edition {
    Edition::of(Some(version))
}

fn types(name: &str, version: &str) -> Types {
    match setting(name, edition(version)) {
        Entry::Known(types) => types,
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn the_table_is_ascii_sorted_and_every_line_is_understood() {
    assert!(TABLE.is_ascii());
    assert!(SECTIONS.versions.is_sorted_by_key(|version| numbers(version)));
    for section in [SECTIONS.flags, SECTIONS.settings, SECTIONS.families] {
        assert!(section.lines().map(name_of).is_sorted_by(|one, other| one < other));
    }
    for line in SECTIONS.settings.lines() {
        let words: Vec<_> = columns(line).collect();
        assert_eq!(words.len(), SECTIONS.versions.len(), "{line}");
        assert!(words.iter().all(|word| *word == "-" || Types::parse(word).is_some()), "{line}");
        assert_eq!(find(SECTIONS.settings, name_of(line)), Some(line));
    }
    for line in SECTIONS.flags.lines() {
        assert_eq!(find(SECTIONS.flags, name_of(line)), Some(line));
        assert!(line.split(' ').skip(1).all(|version| index_of(version).is_some()), "{line}");
    }
    assert!(SECTIONS.settings.lines().count() > 600 && SECTIONS.flags.lines().count() > 60);
    for absent in ["", "A", "ROW_LIMI", "ROW_LIMIT_", "ZZZ"] {
        assert_eq!(find(SECTIONS.settings, absent), None, "{absent}");
    }
}

#[test]
fn a_version_is_the_nearest_older_one_that_is_known() {
    for (version, known) in [
        ("6.1.0", Some("6.1.0")),
        ("6.1.0rc2", Some("6.1.0")),
        ("7.0", Some("6.1.0")),
        ("6.0.1", Some("5.0.0")),
        ("4.1.10", Some("4.1.4")),
        ("4.1.3", Some("4.1.4")),
        ("3.1.0", Some("4.1.4")),
        ("0.0.0-dev", None),
        ("latest", None),
        ("", None),
    ] {
        assert_eq!(edition(version).version(), known, "{version}");
    }
    assert_eq!(Edition::of(None), Edition::default());
}

#[test]
fn settings_have_the_types_of_their_version() {
    assert!(types("ROW_LIMIT", "6.1.0").accept(Kind::Int) && !types("ROW_LIMIT", "6.1.0").accept(Kind::Text));
    for version in &SECTIONS.versions {
        for name in ["FEATURE_FLAGS", "OVERRIDE_HTTP_HEADERS"] {
            assert_eq!(types(name, version), Types::parse("dict").unwrap(), "{name} in {version}");
        }
    }
    assert!(types("CELERY_CONFIG", "5.0.0").accept(Kind::Mapping) && !types("CELERY_CONFIG", "5.0.0").is_literal());
    // 4.1.4 calls a set's method on it.
    assert!(!types("ALLOWED_EXTENSIONS", "4.1.4").accept(Kind::List));
    assert!(types("ALLOWED_EXTENSIONS", "6.1.0").accept(Kind::List));
}

#[test]
fn where_the_version_is_not_known_a_name_counts_if_any_has_it_and_a_type_if_it_is_right_in_any() {
    let Entry::Known(types) = setting("ALLOWED_EXTENSIONS", Edition::default()) else { panic!() };
    assert!(types.accept(Kind::List) && types.accept(Kind::Set) && !types.accept(Kind::Text));
    assert!(matches!(setting("THEME_DEFAULT", Edition::default()), Entry::Known(_)));
    assert_eq!(setting("THEME_DEFAULT", edition("4.1.4")), Entry::Elsewhere { versions: ("6.1.0", "6.1.0") });
    assert_eq!(setting("THEME_OVERRIDES", edition("6.1.0")), Entry::Elsewhere { versions: ("4.1.4", "5.0.0") });
}

#[test]
fn what_the_packages_read_is_known_and_of_any_type() {
    for name in [
        "AUTH_LDAP_SERVER",
        "AUTH_USER_REGISTRATION_ROLE",
        "BABEL_DOMAIN",
        "CACHE_REDIS_URL",
        "CORS_ORIGINS",
        "FAB_PASSWORD_COMPLEXITY_ENABLED",
        "JWT_ACCESS_TOKEN_EXPIRES",
        "JWT_OF_THE_FUTURE",
        "MAIL_USE_TLS",
        "MAX_CONTENT_LENGTH",
        "OAUTH_PROVIDERS",
        "OPENID_PROVIDERS",
        "PERMANENT_SESSION_LIFETIME",
        "PREVIOUS_SECRET_KEY",
        "RECAPTCHA_PUBLIC_KEY",
        "REMEMBER_COOKIE_NAME",
        "SECRET_KEY_FALLBACKS",
        "SESSION_REDIS",
        "SQLALCHEMY_ECHO",
        "WTF_CSRF_HEADERS",
    ] {
        assert_eq!(setting(name, Edition::default()), Entry::Known(Types::ANY), "{name}");
    }
}

#[test]
fn a_slip_is_told_and_an_own_name_is_like_nothing() {
    for (name, meant) in [
        ("ROW_LIMTI", Some("ROW_LIMIT")),
        ("FEATURE_FLAG", Some("FEATURE_FLAGS")),
        ("AUTH_LDAP_SEVER", Some("AUTH_LDAP_SERVER")),
        ("SQLALCHEMY_DATABSE_URL", Some("SQLALCHEMY_DATABASE_URI")),
        ("ACME_BANNER", None),
        ("SETTING_00001", None),
    ] {
        assert_eq!(setting(name, Edition::default()), Entry::Unknown { near: meant }, "{name}");
    }
    // What only another version has is not what was meant.
    assert_eq!(setting("THEME_DEFAUL", edition("4.1.4")), Entry::Unknown { near: None });
}

#[test]
fn flags_are_known_by_version() {
    assert_eq!(flag("ALERT_REPORTS", edition("6.1.0")), Entry::Known(Types::BOOL));
    assert_eq!(flag("ALERT_REPORT", Edition::default()), Entry::Unknown { near: Some("ALERT_REPORTS") });
    assert_eq!(flag("KV_STORE", edition("5.0.0")), Entry::Elsewhere { versions: ("4.1.4", "4.1.4") });
    assert_eq!(flag("HORIZONTAL_FILTER_BAR", edition("6.1.0")), Entry::Elsewhere { versions: ("4.1.4", "5.0.0") });
    assert_eq!(flag("ACME", Edition::default()), Entry::Unknown { near: None });
}
