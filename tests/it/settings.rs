//! The agent's settings, from texts to meaning, and what is said about wrong ones.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use setkeeper::model::problem::Problem;
use setkeeper::settings::load::{Sources, load};
use setkeeper::settings::release::Fallback;
use setkeeper::settings::{Acl, Flags, Reference, Settings, Source};

const EXAMPLE: &str = include_str!("../../config.example.yaml");

#[derive(Default)]
struct Given<'a> {
    file: &'a str,
    env: &'a [(&'a str, &'a str)],
    flags: &'a [(&'a str, &'a str)],
}

impl Given<'_> {
    fn load(&self) -> Result<Settings, Vec<Problem>> {
        let owned = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let (env, flags): (BTreeMap<_, _>, Flags) = (owned(self.env), owned(self.flags));
        let read_file = |path: &Path| match path.to_str() {
            Some("/etc/name") => Ok("from-file\n".to_owned()),
            _ => Err(io::ErrorKind::NotFound.into()),
        };
        let file = Some(("config.yaml", self.file));
        load(&Sources { file, env: &env, flags: &flags, host: "host-1", read_file: &read_file })
    }

    fn problems(&self) -> String {
        let line = |problem: Problem| match &problem.hint {
            Some(hint) => format!("{problem}\n    hint: {hint}\n"),
            None => format!("{problem}\n"),
        };
        self.load().unwrap_err().into_iter().map(line).collect()
    }
}

fn file(text: &str) -> Settings {
    Given { file: text, ..Given::default() }.load().unwrap()
}

fn problems(text: &str) -> String {
    Given { file: text, ..Given::default() }.problems()
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    insta::assert_debug_snapshot!(Settings::defaults("host-1").unwrap());
}

#[test]
fn the_example_parses_to_exactly_the_defaults() {
    assert_eq!(file(EXAMPLE), Settings::defaults("host-1").unwrap());
}

#[test]
fn an_empty_file_and_empty_sections_are_the_defaults() {
    for text in ["", "# nothing\n", "superset:\nlog: {}\n"] {
        assert_eq!(file(text), Settings::defaults("host-1").unwrap(), "{text:?}");
    }
}

#[test]
fn the_example_shows_the_keys_of_every_section_that_is_null_or_empty() {
    let all = "source:\n  zookeeper:\n    auth: {}\n    tls: {nonsense: 1}\n    acl: [{}]\n  directory: {}\nrender: {templates: [{}]}\n";
    let said = problems(all);
    for (section, keys) in [
        ("source.zookeeper.auth", &["username", "password"][..]),
        ("source.zookeeper.acl.0", &["scheme", "id", "perms"]),
        ("source.directory", &["path"]),
        ("render.templates.0", &["source", "path"]),
    ] {
        for key in keys {
            assert!(said.contains(&format!("{section}.{key}: missing")), "{section}.{key} in\n{said}");
            assert!(EXAMPLE.contains(&format!("{key}: ")), "{section}.{key} in the example");
        }
    }
    let tls = said.split_once("known here: ").unwrap().1.lines().next().unwrap();
    assert_eq!(tls, "ca, cert, key, verify_hostname");
    for key in tls.split(", ").chain(["mode"]) {
        assert!(EXAMPLE.contains(&format!("#     {key}: ")) || EXAMPLE.contains(&format!("#       {key}: ")), "{key}");
    }
}

#[test]
fn flags_beat_environment_beats_file_beats_defaults() {
    let file = "cluster: file\nstate_dir: /file\nsuperset: {username: file, timeout: 1s}\n";
    let env = [("SETKEEPER_STATE_DIR", "/env"), ("SETKEEPER_SUPERSET__USERNAME", "env")];
    let flags = [("superset.username", "flag")];
    let settings = Given { file, env: &env, flags: &flags }.load().unwrap();
    assert_eq!(settings.cluster, "file");
    assert_eq!(settings.state_dir, Path::new("/env"));
    assert_eq!(settings.superset.username, "flag");
    assert_eq!(settings.superset.timeout.as_secs(), 1);
    assert_eq!(settings.datasources.concurrency, 4);
}

#[test]
fn variables_and_flags_take_what_the_key_wants() {
    let env = [
        ("SETKEEPER_CLUSTER", "12"),
        ("SETKEEPER_DATASOURCES__PRUNE", "true"),
        ("SETKEEPER_DATASOURCES__CONCURRENCY", "8"),
        ("SETKEEPER_RENDER__ALLOW_ENV", "[PGHOST, \"PG*\"]"),
        ("SETKEEPER_INSTANCE__LABELS__ROLE", "worker"),
        ("SETKEEPER_SUPERSET__PASSWORD", "@canary: # 1"),
        ("SETKEEPER_SOURCE", "{zookeeper: {root: /bi}}"),
        ("SETKEEPER_SOURCE__ZOOKEEPER__SESSION_TIMEOUT", "6s"),
        ("SETKEEPER_SECRET_X", "never a setting"),
        ("SETKEEPER_CACHE", "/tmp"),
    ];
    let settings = Given { env: &env, flags: &[("reload.command", "[true]")], ..Given::default() };
    let said = settings.problems();
    assert_eq!(said, "command line: reload.command.0: expected text, got a boolean\n    hint: quote it\n");
    let settings = Given { env: &env, ..Given::default() }.load().unwrap();
    assert_eq!(settings.cluster, "12");
    assert!(settings.datasources.prune);
    assert_eq!(settings.datasources.concurrency, 8);
    assert_eq!(settings.render.allow_env, ["PGHOST", "PG*"]);
    assert_eq!(settings.instance.labels["role"], "worker");
    assert_eq!(settings.superset.password, Reference::Plain(setkeeper::model::secret::SecretText::new("@canary: # 1")));
    let Source::Zookeeper(zookeeper) = settings.source else { panic!("not ZooKeeper") };
    assert_eq!((zookeeper.root.as_str(), zookeeper.session_timeout.as_secs()), ("/bi", 6));
}

#[test]
fn any_value_may_come_from_the_environment_or_a_file_and_secrets_stay_references() {
    let text =
        "cluster: {$file: /etc/name}\ndatasources: {concurrency: {$env: CALLS}}\nsuperset: {password: {$file: /nowhere}}\n";
    let settings = Given { file: text, env: &[("CALLS", "7")], ..Given::default() }.load().unwrap();
    assert_eq!(settings.cluster, "from-file");
    assert_eq!(settings.datasources.concurrency, 7);
    assert_eq!(settings.superset.password, Reference::File("/nowhere".into()));
    insta::assert_snapshot!(problems("cluster: {$file: /nowhere}\nstate_dir: {$env: NOTHING}\nlog: {level: {$evn: X}}\n"));
}

#[test]
fn every_problem_is_said_at_once_with_its_place_and_the_nearest_key() {
    let text = "\
clustr: a
instance: {id: a/b, labels: {canary: true, zone: 1}}
source:
  zookeeper:
    conect: zk1:2181
    root: superset
    session_timeout: 15
    auth: {username: a}
layout: {max_loss: 0.5}
render:
  superset_config: {mode: 0640}
  templates: [{source: a, path: b, mode: \"0644\"}, nonsense]
superset: {url: \"http://admin:canary@h\", timeout: soon}
datasources: {push: yes, concurrency: 0, max_delete: 150%, resync: 0s}
http: 127.0.0.1:9180
log: {format: jsn, level: inof}
";
    let env = [("SETKEEPER_LOG__LEVL", "canary"), ("SETKEEPER_SUPERSET__PASSWORD", "canary")];
    let said = Given { file: text, env: &env, flags: &[("verify.success", "3")] }.problems();
    assert!(!said.contains("canary: ") || said.contains("instance.labels.canary"), "{said}");
    insta::assert_snapshot!(said);
}

#[test]
fn law_9_a_problem_never_repeats_a_value() {
    let env = [("SETKEEPER_HTTP__LISTEN", "canary-1"), ("SETKEEPER_SOURCE__ZOOKEEPER__CONNECT", "canary-2 x")];
    let text = "superset: {url: canary-3}\nlog: canary-4\nstate_dir: [canary-5]\nrender: {superset_config: {mode: canary-6}}\n";
    let said = Given { file: text, env: &env, ..Given::default() }.problems();
    assert!(said.lines().count() >= 6 && !said.contains("canary"), "{said}");
    for broken in ["a: [canary\n", "a: 'canary\n", "a: 1\n  canary: 2\n", "a: {b: canary, b: canary}\n", "%canary\n"] {
        let said = problems(broken);
        assert!(said.contains("not valid YAML") && !said.contains("canary"), "{said}");
    }
}

#[test]
fn sections_that_do_not_fit_together_are_refused() {
    insta::assert_snapshot!(problems(
        "\
source:
  zookeeper: {acl: creator, session_timeout: 1ms, tls: {cert: a.pem}}
layout: {config: /a, datasources: a//b}
reload: {strategy: command}
render:
  superset_config: {path: /a}
  templates: [{source: b, path: /a}]
"
    ));
    assert!(problems("reload: {strategy: command}").contains("needs reload.command"));
    assert!(problems("reload: {pid_file: a, command: [b]}").contains("cannot choose"));
    assert!(problems("source: {zookeeper: {connect: a}, directory: {path: b}}").contains("exactly one source"));
    assert!(problems("source: {zookeeper: null}").contains("no source is left"));
    assert!(problems("source: {directory: {path: a}}\nlayout: {config: /a}").contains("within source.directory.path"));
}

#[test]
fn exactly_one_source_and_a_later_layer_may_take_the_other_back() {
    let directory = |settings: Settings| matches!(settings.source, Source::Directory { path } if path == Path::new("tree"));
    assert!(directory(file("source: {directory: {path: tree}}")));
    let flags = [("source.zookeeper", "null"), ("source.directory.path", "tree")];
    let settings = Given { file: "source: {zookeeper: {connect: a}}", flags: &flags, ..Given::default() }.load().unwrap();
    assert!(directory(settings));
}

#[test]
fn creator_is_fine_with_digest_credentials_or_a_client_certificate() {
    for with in ["auth: {username: a, password: {$env: A}}", "tls: {cert: a, key: b}"] {
        let settings = file(&format!("source: {{zookeeper: {{acl: creator, {with}}}}}"));
        assert!(matches!(settings.source, Source::Zookeeper(zookeeper) if zookeeper.acl == Acl::Creator));
    }
}

#[test]
fn what_a_release_goes_through_is_read() {
    let settings = file(
        "\
render: {superset_config: {path: /c.py, base: /b.py}}
boot: {wait: 1s, fallback: base}
check: {require: app, python: /usr/bin/python3, env_file: a, timeout: 61s, memory: 401M}
verify: {url: \"http://h/health\", successes: 0, timeout: 91s}
rollout: {slots: 2, settle: 1s, soak: 1s, canary_wait: 1s, allow_protected: [SECRET_KEY]}
releases: {count: 1, bytes: 1M}
",
    );
    assert_eq!((settings.boot.fallback, settings.check.memory), (Fallback::Base, 401 << 20));
    assert_eq!((settings.verify.successes, settings.rollout.slots), (0, 2));
    assert_eq!((settings.releases.count, settings.releases.bytes), (1, 1 << 20));
    insta::assert_snapshot!(problems(
        "\
boot: {fallback: base}
rollout: {slots: 0, allow_protected: [SECRET_KEY, ROW_LIMIT]}
verify: {successes: -1}
"
    ));
}

#[test]
fn an_open_acl_is_warned_about() {
    assert_eq!(warned(&file("")), ["source.zookeeper.acl"]);
    assert!(warned(&file("source: {directory: {path: a}}")).is_empty());
}

#[test]
fn a_reload_that_nobody_verifies_is_warned_about() {
    let directory = "source: {directory: {path: a}}\n";
    assert_eq!(warned(&file(&format!("{directory}verify: {{successes: 0}}"))), ["verify.successes"]);
}

fn warned(settings: &Settings) -> Vec<String> {
    settings.warnings().into_iter().filter_map(|warning| warning.field).collect()
}

#[test]
fn a_host_whose_name_cannot_be_an_id_needs_one() {
    let none = |_: &Path| Err(io::ErrorKind::NotFound.into());
    let (env, flags) = (BTreeMap::new(), Flags::new());
    let problems = load(&Sources { file: None, env: &env, flags: &flags, host: "", read_file: &none }).unwrap_err();
    assert_eq!(problems[0].hint.as_deref(), Some("the host's name cannot be used: set instance.id"));
}
