//! The rendered file of a rich tree: as it reads, as it may be shown, and as Python loads it.

use std::process::Command;
use std::sync::Arc;

use setkeeper::desired::explain::explain;
use setkeeper::desired::lens::{Allowed, Lens};
use setkeeper::desired::redact;
use setkeeper::desired::resolver::{Resolution, Resolver};
use setkeeper::desired::written;
use setkeeper::model::digest::DigestKey;
use setkeeper::model::instance::Labels;
use setkeeper::model::snapshot::{Branch, Node, Origin, Snapshot};
use setkeeper::render::renderer::{Rendered, Renderer, Source, Sources, Target};

const BASE: &str = "\
# -*- coding: utf-8 -*-
\"\"\"What this host brings.\"\"\"
from __future__ import annotations

FEATURE_FLAGS = {\"BASE\": True, \"NESTED\": {\"base\": 1, \"both\": 1}}
OVERRIDE_HTTP_HEADERS = {\"X-Base\": \"1\"}
SECRET_KEY = \"canary-base\"
ROW_LIMIT = 1";

const FRAGMENTS: [(&str, &str); 6] = [
    (
        "10-base",
        "APP_NAME: \"Sales \\\"BI\\\"\"\nROW_LIMIT: 5000\nFEATURE_FLAGS: {$merge: {ALERT_REPORTS: true, NESTED: {both: 2}}}\nLANGUAGES:\n  en: {flag: us, name: English}\n  de: {flag: de, name: Deutsch}\n",
    ),
    (
        "20-cache",
        "RESULTS_BACKEND:\n  $object:\n    class: cachelib.redis.RedisCache\n    kwargs: {host: redis, password: {$env: SUPERSET_REDIS}, key_prefix: results}\n\
         CACHE_CONFIG: {CACHE_TYPE: RedisCache, CACHE_REDIS_URL: \"redis://:canary-redis@redis:6379/0\", CACHE_DEFAULT_TIMEOUT: 300}\n",
    ),
    (
        "30-celery",
        "CELERY_CONFIG:\n  $class:\n    broker_url: redis://redis:6379/1\n    imports: {$tuple: [superset.sql_lab, superset.tasks.scheduler]}\n    beat_schedule:\n      reports.scheduler: {task: reports.scheduler, schedule: {$crontab: \"*/5 * * * *\"}}\n",
    ),
    (
        "40-rest",
        "SECRET_KEY: {$secret: canary-secret}\nSQLALCHEMY_DATABASE_URI: {$file: /run/secrets/uri}\nPERMANENT_SESSION_LIFETIME: {$timedelta: 1h30m}\n\
         ALLOWED_EXTENSIONS: {$set: [csv, xlsx]}\nCUSTOM_SECURITY_MANAGER: {$ref: acme.security.Manager}\nLIMIT: .inf\nNOTHING: null\nTRUTH: false\nBIG: 170141183460469231731687303715884105727\n\
         MUTATOR: {$python: \"lambda x: x  # as it is\"}\nTEXT: \"a\\nb\\u2028\\u202e{%s}\"\nKEYS: {2: two, true: truth, null: none}\n",
    ),
    ("50-headers", "OVERRIDE_HTTP_HEADERS: {$merge: {X-Frame-Options: DENY}}\n"),
    ("60-worker", "when: {role: worker}\nconfig: {ROW_LIMIT: 1}\n"),
];

fn key() -> DigestKey {
    DigestKey::from_bytes(&[7; 32]).unwrap()
}

fn lens() -> Lens {
    let render = Allowed {
        env: vec!["SUPERSET_*".into()],
        files: vec!["/run/secrets".into()],
        objects: vec!["cachelib.*".into(), "acme.*".into()],
        python: true,
    };
    Lens { labels: Labels::from([("role".to_owned(), "web".to_owned())]), render, ..Lens::default() }
}

fn resolved(resolver: &mut Resolver) -> Resolution {
    let child =
        |(name, text): &(&str, &str)| (Arc::from(*name), Node::new(Origin::new(format!("/superset/config/{name}")), text, 1));
    let config = Branch { root: None, children: FRAGMENTS.iter().map(child).collect() };
    resolver.resolve(&key(), &Snapshot { config, ..Snapshot::default() })
}

fn sources() -> Sources {
    let source = |path: &str, text: &str| Source { origin: Origin::new(path), text: text.into() };
    let template =
        source("/etc/setkeeper/nginx.j2", "limit {{ config.ROW_LIMIT }}; # {{ labels.role }}\nkey {{ config.SECRET_KEY }};\n");
    Sources {
        base: Some(source("/etc/superset/base.py", BASE)),
        templates: vec![(template, Target { path: "/etc/nginx/limit.conf".into(), mode: 0o644 })],
    }
}

fn renderer() -> Renderer {
    Renderer::new(Target { path: "/etc/superset/superset_config.py".into(), mode: 0o640 }, lens().labels)
}

fn rendered() -> Rendered {
    let config = resolved(&mut Resolver::new(lens())).config.unwrap();
    renderer().render(&key(), &config, &sources()).unwrap()
}

#[test]
fn the_file_reads_as_a_person_would_write_it() {
    let rendered = rendered();
    assert_eq!(&*rendered.files[1].text, "limit 5000; # web\nkey canary-secret;\n");
    insta::assert_snapshot!("superset_config", rendered.files[0].text);
}

#[test]
fn law_9_the_file_as_it_is_shown_holds_no_secret() {
    let config = resolved(&mut Resolver::new(lens())).config.unwrap();
    let revision = rendered().revision;
    let shown = renderer().shown(&revision, &config, &sources()).unwrap();
    let all: String = shown.files.iter().map(|file| &*file.text).collect();
    assert!(!all.contains("canary"), "{all}");
    assert!(all.contains(revision.as_str()) && all.contains("redis://:***@redis:6379/0"), "{all}");
    insta::assert_snapshot!("superset_config_shown", shown.files[0].text);
}

#[test]
fn explaining_names_the_fragment_of_each_leaf() {
    let mut resolver = Resolver::new(lens());
    resolved(&mut resolver);
    let said = |path: &str| {
        let leaves = explain(resolver.fragments(), path);
        let lines = leaves.iter().map(|leaf| {
            let shown = written::json(&redact::at(leaf.path.iter(), &leaf.value));
            format!("{} = {shown} from {}:{}", leaf.dotted(), leaf.origin, leaf.line)
        });
        lines.collect::<Vec<_>>()
    };
    assert_eq!(said("ROW_LIMIT"), ["ROW_LIMIT = 5000 from /superset/config/10-base:2"]);
    assert_eq!(
        said("FEATURE_FLAGS"),
        [
            "FEATURE_FLAGS.ALERT_REPORTS = true from /superset/config/10-base:3",
            "FEATURE_FLAGS.NESTED.both = 2 from /superset/config/10-base:3"
        ]
    );
    assert_eq!(said("LANGUAGES.de.name"), ["LANGUAGES.de.name = \"Deutsch\" from /superset/config/10-base:6"]);
    assert_eq!(said("SECRET_KEY"), ["SECRET_KEY = {\"$secret\":\"***\"} from /superset/config/40-rest:1"]);
    assert_eq!(said("MISSING"), Vec::<String>::new());
}

/// What Python finds in the file, beside modules that stand for those it imports.
const LOAD: &str = r#"
import builtins, datetime, importlib, io, json, os, sys, types

def stand_in(name, **members):
    for part in range(1, name.count(".") + 2):
        parent = ".".join(name.split(".")[:part])
        sys.modules.setdefault(parent, types.ModuleType(parent))
    vars(sys.modules[name]).update(members)

class Recorded:
    def __init__(self, *args, **kwargs): self.seen = [args, kwargs]

stand_in("celery.schedules", crontab=Recorded)
stand_in("cachelib.redis", RedisCache=Recorded)
stand_in("acme.security", Manager=int)
os.environ["SUPERSET_REDIS"] = "pw"
files = {"/run/secrets/uri": "sqlite://\r\n"}
real = builtins.open
builtins.open = lambda path, **kw: io.StringIO(files[path], newline=kw["newline"]) if path in files else real(path, **kw)
names = {"__name__": "superset_config"}
exec(compile(sys.stdin.read(), "superset_config.py", "exec", dont_inherit=True), names)
upper = {name: value for name, value in names.items() if name.isupper()}
assert set(upper) == set(EXPECTED.split()), set(upper) ^ set(EXPECTED.split())
globals().update(upper)
assert APP_NAME == 'Sales "BI"' and ROW_LIMIT == 5000
assert FEATURE_FLAGS == {"BASE": True, "ALERT_REPORTS": True, "NESTED": {"base": 1, "both": 2}}, FEATURE_FLAGS
assert RESULTS_BACKEND.seen == [(), {"host": "redis", "password": "pw", "key_prefix": "results"}]
assert CELERY_CONFIG.imports == ("superset.sql_lab", "superset.tasks.scheduler") and isinstance(CELERY_CONFIG, type)
schedule = CELERY_CONFIG.beat_schedule["reports.scheduler"]["schedule"]
assert schedule.seen == [(), {"minute": "*/5"}]
assert SECRET_KEY == "canary-secret" and SQLALCHEMY_DATABASE_URI == "sqlite://"
assert PERMANENT_SESSION_LIFETIME == datetime.timedelta(hours=1, minutes=30)
assert ALLOWED_EXTENSIONS == {"csv", "xlsx"} and CUSTOM_SECURITY_MANAGER is int
assert LIMIT == float("inf") and NOTHING is None and TRUTH is False and BIG == 2**127 - 1
assert MUTATOR(3) == 3 and TEXT == "a\nb\u2028\u202e{%s}" and KEYS == {2: "two", True: "truth", None: "none"}
assert OVERRIDE_HTTP_HEADERS == {"X-Base": "1", "X-Frame-Options": "DENY", "X-Setkeeper-Revision": REVISION}, OVERRIDE_HTTP_HEADERS
print("loaded")
"#;

fn python(script: &str, file: &str) -> String {
    use std::io::Write;
    let mut command = Command::new("python3");
    command.args(["-I", "-c", script]).stdin(std::process::Stdio::piped());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().expect("these tests need python3");
    child.stdin.take().unwrap().write_all(file.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

#[test]
fn python_loads_the_file_and_finds_what_the_tree_says() {
    let rendered = rendered();
    let names = "APP_NAME ROW_LIMIT FEATURE_FLAGS LANGUAGES RESULTS_BACKEND CACHE_CONFIG CELERY_CONFIG SECRET_KEY SQLALCHEMY_DATABASE_URI \
        PERMANENT_SESSION_LIFETIME ALLOWED_EXTENSIONS CUSTOM_SECURITY_MANAGER LIMIT NOTHING TRUTH BIG MUTATOR TEXT KEYS OVERRIDE_HTTP_HEADERS";
    let script = format!("EXPECTED = {names:?}\nREVISION = {:?}\n{LOAD}", rendered.revision.as_str());
    assert_eq!(python(&script, &rendered.files[0].text), "loaded\n");
}

#[test]
fn the_revision_is_on_every_response_whatever_base_and_fragments_set() {
    let header = |base: Option<&str>, fragment: &str| {
        let node = Node::new(Origin::new("/c"), fragment, 1);
        let config = Branch { root: Some(node), ..Branch::default() };
        let resolution = Resolver::new(lens()).resolve(&key(), &Snapshot { config, ..Snapshot::default() });
        let base = base.map(|text| Source { origin: Origin::new("/base.py"), text: text.into() });
        let rendered = renderer().render(&key(), &resolution.config.unwrap(), &Sources { base, templates: Vec::new() }).unwrap();
        let script =
            "import sys\nnames = {}\nexec(sys.stdin.read(), names)\nprint(sorted(names['OVERRIDE_HTTP_HEADERS'].items()))";
        let found = python(script, &rendered.files[0].text);
        found.trim().replace(rendered.revision.as_str(), "REVISION")
    };
    let ours = "[('X-Setkeeper-Revision', 'REVISION')]";
    assert_eq!(header(None, ""), ours);
    assert_eq!(header(Some("OVERRIDE_HTTP_HEADERS = None"), ""), ours);
    assert_eq!(header(None, "OVERRIDE_HTTP_HEADERS: null"), ours);
    let both = "[('X-A', '1'), ('X-Setkeeper-Revision', 'REVISION')]";
    assert_eq!(header(Some("OVERRIDE_HTTP_HEADERS = {'X-A': '1'}"), ""), both);
    assert_eq!(header(Some("if True:\n    OVERRIDE_HTTP_HEADERS = {'X-A': '1'}\n    x = 1"), ""), both);
    assert_eq!(header(Some("OVERRIDE_HTTP_HEADERS = {'X-B': '1'}"), "OVERRIDE_HTTP_HEADERS: {X-A: '1'}"), both);
    assert_eq!(header(None, "OVERRIDE_HTTP_HEADERS: {X-A: '1', X-Setkeeper-Revision: mine}"), both);
}
