//! Every key of the settings, section by section, and what it means.
//!
//! Each function reads all keys of its section before it gives anything back, so that all problems are found at once. Laws
//! that join several keys are in [`laws`].

use tracing_subscriber::filter::EnvFilter;

use super::release::{Boot, Check, CheckRequired, Fallback, Releases, RolloutRules, Verify};
use super::scalars::{
    Read, Wrong, address, boolean, count, count_or_none, duration, hosts, http_url, mode, path, protected, share, size, span,
    text, word, znode_path,
};
use super::section::{Meant, Noted, Section};
use super::tree::{Node, Value};
use super::{
    Acl, AclEntry, Datasources, DigestAuth, Identity, Layout, Log, LogFormat, Reload, ReloadStrategy, Render, SecretsAllowed,
    Settings, Source, Superset, SupersetConfig, Template, Tls, Zookeeper, laws,
};
use crate::model::instance::{InstanceId, USUAL_ROLE};

/// The permissions of a rendered file where nothing is said.
const MODE: u32 = 0o640;

/// Reads all settings of an agent on `host`.
pub(super) fn settings(top: &mut Section<'_, '_>, host: &str) -> Meant<Settings> {
    let cluster = top.value("cluster", text);
    let instance = top.section("instance", |s| identity(s, host));
    let source = top.section("source", source);
    let layout = top.section("layout", layout);
    let state_dir = top.value("state_dir", path);
    let boot = top.section("boot", boot);
    let secrets = top.section("secrets", secrets);
    let render = top.section("render", render);
    let check = top.section("check", check);
    let reload = top.section("reload", reload);
    let verify = top.section("verify", verify);
    let rollout = top.section("rollout", rollout);
    let releases = top.section("releases", releases);
    let superset = top.section("superset", superset);
    let datasources = top.section("datasources", datasources);
    let http = top.section("http", |s| s.value("listen", address));
    let log = top.section("log", log);
    if let (Ok(source), Ok(layout)) = (&source, &layout) {
        top.obey(laws::layout(source, layout));
    }
    if let (Ok(boot), Ok(render)) = (&boot, &render) {
        top.obey(laws::boot(&boot.fallback, render));
    }
    Ok(Settings {
        cluster: cluster?,
        instance: instance?,
        source: source?,
        layout: layout?,
        state_dir: state_dir?,
        boot: boot?,
        secrets: secrets?,
        render: render?,
        check: check?,
        reload: reload?,
        verify: verify?,
        rollout: rollout?,
        releases: releases?,
        superset: superset?,
        datasources: datasources?,
        http: http?,
        log: log?,
    })
}

fn identity(s: &mut Section<'_, '_>, host: &str) -> Meant<Identity> {
    let given = s.optional("id", |node| text(node).and_then(|id| instance_id(&id)));
    let labels = s.texts("labels");
    let id = match given? {
        Some(id) => id,
        None => match instance_id(host) {
            Ok(id) => id,
            Err(wrong) => {
                s.refuse("id", wrong.hint("the host's name cannot be used: set instance.id"));
                return Err(Noted);
            }
        },
    };
    let mut labels = labels?;
    labels.entry("role".to_owned()).or_insert_with(|| USUAL_ROLE.to_owned());
    Ok(Identity { id, labels })
}

fn instance_id(text: &str) -> Read<InstanceId> {
    InstanceId::parse(text).ok_or_else(|| Wrong::new("cannot name a znode: expected text without a slash"))
}

fn source(s: &mut Section<'_, '_>) -> Meant<Source> {
    let given = s.given_at("zookeeper");
    let zookeeper = s.section("zookeeper", zookeeper);
    let directory = s.optional_section("directory", |d| d.value("path", path))?;
    match (given, directory) {
        (None, Some(path)) => Ok(Source::Directory { path }),
        (Some(node), Some(path)) if node.is_null() => Ok(Source::Directory { path }),
        (Some(_), Some(_)) => {
            let both = Wrong::new("source.zookeeper is given too, and exactly one source can be");
            s.refuse("directory", both.hint("take one of the two out, or set it to null"));
            Err(Noted)
        }
        (Some(node), None) if node.is_null() => {
            s.refuse("zookeeper", Wrong::new("no source is left").hint("give source.zookeeper or source.directory"));
            Err(Noted)
        }
        (_, None) => zookeeper.map(Source::Zookeeper),
    }
}

fn zookeeper(s: &mut Section<'_, '_>) -> Meant<Zookeeper> {
    let connect = s.value("connect", hosts);
    let root = s.value("root", znode_path);
    let session_timeout = s.value("session_timeout", duration);
    let auth = s.optional_section("auth", digest_auth);
    let tls = s.optional_section("tls", tls);
    let acl = acl(s);
    let zookeeper =
        Zookeeper { connect: connect?, root: root?, session_timeout: session_timeout?, auth: auth?, tls: tls?, acl: acl? };
    s.obey(laws::zookeeper(&zookeeper));
    Ok(zookeeper)
}

fn digest_auth(s: &mut Section<'_, '_>) -> Meant<DigestAuth> {
    let username = s.value("username", text);
    let password = s.secret("password");
    Ok(DigestAuth { username: username?, password: password? })
}

fn tls(s: &mut Section<'_, '_>) -> Meant<Tls> {
    let ca = s.optional("ca", path);
    let cert = s.optional("cert", path);
    let key = s.optional("key", path);
    let verify_hostname = s.value_or("verify_hostname", boolean, true);
    let tls = Tls { ca: ca?, cert: cert?, key: key?, verify_hostname: verify_hostname? };
    s.obey(laws::tls(&tls));
    Ok(tls)
}

fn acl(s: &mut Section<'_, '_>) -> Meant<Acl> {
    if matches!(s.find("acl"), Some(Node { value: Value::List(_), .. })) {
        return s.sections("acl", acl_entry).map(Acl::Entries);
    }
    s.value("acl", |node| match node.value {
        Value::Map(_) => Err(Wrong::kind("open, creator or a list", node)),
        _ => word(node, &[("open", false), ("creator", true)]).map(|creator| if creator { Acl::Creator } else { Acl::Open }),
    })
}

fn acl_entry(s: &mut Section<'_, '_>) -> Meant<AclEntry> {
    const SCHEMES: [&str; 6] = ["world", "auth", "digest", "ip", "x509", "sasl"];
    let scheme = s.value("scheme", |node| word(node, &SCHEMES.map(|scheme| (scheme, scheme))));
    let id = s.value("id", text);
    let perms = s.value("perms", |node| {
        let perms = text(node)?;
        if perms.chars().any(|letter| !"cdrwa".contains(letter)) {
            return Err(Wrong::new("expected letters of cdrwa: create, delete, read, write, admin"));
        }
        Ok(perms)
    });
    Ok(AclEntry { scheme: scheme?.to_owned(), id: id?, perms: perms? })
}

fn layout(s: &mut Section<'_, '_>) -> Meant<Layout> {
    let config = s.optional("config", text);
    let datasources = s.optional("datasources", text);
    let max_loss = s.value("max_loss", share);
    Ok(Layout { config: config?, datasources: datasources?, max_loss: max_loss? })
}

fn boot(s: &mut Section<'_, '_>) -> Meant<Boot> {
    let wait = s.value("wait", duration);
    let fallback = s.value("fallback", |node| {
        text(node).map(|text| match text.as_str() {
            "none" => Fallback::None,
            "base" => Fallback::Base,
            file => Fallback::File(file.into()),
        })
    });
    Ok(Boot { wait: wait?, fallback: fallback? })
}

fn secrets(s: &mut Section<'_, '_>) -> Meant<SecretsAllowed> {
    let files = s.list("files", path);
    let env = s.list("env", text);
    Ok(SecretsAllowed { files: files?, env: env? })
}

fn render(s: &mut Section<'_, '_>) -> Meant<Render> {
    let superset_config = s.section("superset_config", |s| {
        let path = s.value("path", path);
        let base = s.optional("base", self::path);
        let mode = s.value("mode", mode);
        Ok(SupersetConfig { path: path?, base: base?, mode: mode? })
    });
    let templates = s.sections("templates", |s| {
        let source = s.value("source", path);
        let path = s.value("path", path);
        let mode = s.value_or("mode", mode, MODE);
        Ok(Template { source: source?, path: path?, mode: mode? })
    });
    let allow_env = s.list("allow_env", text);
    let allow_files = s.list("allow_files", path);
    let allow_objects = s.list("allow_objects", text);
    let allow_python = s.value("allow_python", boolean);
    let render = Render {
        superset_config: superset_config?,
        templates: templates?,
        allow_env: allow_env?,
        allow_files: allow_files?,
        allow_objects: allow_objects?,
        allow_python: allow_python?,
    };
    s.obey(laws::render(&render));
    Ok(render)
}

fn check(s: &mut Section<'_, '_>) -> Meant<Check> {
    const REQUIRE: [(&str, CheckRequired); 4] = [
        ("auto", CheckRequired::Auto),
        ("app", CheckRequired::App),
        ("syntax", CheckRequired::Syntax),
        ("none", CheckRequired::None),
    ];
    let require = s.value("require", |node| word(node, &REQUIRE));
    let python = s.optional("python", path);
    let env_file = s.optional("env_file", path);
    let timeout = s.value("timeout", span);
    let memory = s.value("memory", size);
    Ok(Check { require: require?, python: python?, env_file: env_file?, timeout: timeout?, memory: memory? })
}

fn reload(s: &mut Section<'_, '_>) -> Meant<Reload> {
    const STRATEGIES: [(&str, ReloadStrategy); 6] = [
        ("auto", ReloadStrategy::Auto),
        ("hup", ReloadStrategy::Hup),
        ("handoff", ReloadStrategy::Handoff),
        ("restart", ReloadStrategy::Restart),
        ("command", ReloadStrategy::Command),
        ("none", ReloadStrategy::None),
    ];
    let strategy = s.value("strategy", |node| word(node, &STRATEGIES));
    let pid_file = s.optional("pid_file", path);
    let unit = s.optional("unit", text);
    let command = s.optional_list("command", text);
    let reload = Reload { strategy: strategy?, pid_file: pid_file?, unit: unit?, command: command? };
    s.obey(laws::reload(&reload));
    Ok(reload)
}

fn verify(s: &mut Section<'_, '_>) -> Meant<Verify> {
    let url = s.optional("url", |node| http_url(node).map(String::from));
    let successes = s.value("successes", count_or_none);
    let timeout = s.value("timeout", span);
    Ok(Verify { url: url?, successes: successes?, timeout: timeout? })
}

fn rollout(s: &mut Section<'_, '_>) -> Meant<RolloutRules> {
    let slots = s.value("slots", count);
    let settle = s.value("settle", duration);
    let soak = s.value("soak", duration);
    let canary_wait = s.value("canary_wait", duration);
    let allow_protected = s.list("allow_protected", protected);
    Ok(RolloutRules { slots: slots?, settle: settle?, soak: soak?, canary_wait: canary_wait?, allow_protected: allow_protected? })
}

fn releases(s: &mut Section<'_, '_>) -> Meant<Releases> {
    let count = s.value("count", count);
    let bytes = s.value("bytes", size);
    Ok(Releases { count: count?, bytes: bytes? })
}

fn superset(s: &mut Section<'_, '_>) -> Meant<Superset> {
    let url = s.value("url", |node| {
        http_url(node).map(|mut url| {
            let path = url.path().trim_end_matches('/').to_owned();
            url.set_path(&path);
            url
        })
    });
    let username = s.value("username", text);
    let password = s.secret("password");
    let timeout = s.value("timeout", span);
    let version = s.optional("version", text);
    Ok(Superset { url: url?, username: username?, password: password?, timeout: timeout?, version: version? })
}

fn datasources(s: &mut Section<'_, '_>) -> Meant<Datasources> {
    let push = s.value("push", boolean);
    let prune = s.value("prune", boolean);
    let max_delete = s.value("max_delete", share);
    let resync = s.value("resync", span);
    let concurrency = s.value("concurrency", count);
    let preflight = s.value("preflight", boolean);
    Ok(Datasources {
        push: push?,
        prune: prune?,
        max_delete: max_delete?,
        resync: resync?,
        concurrency: usize::try_from(concurrency?).unwrap_or(usize::MAX),
        preflight: preflight?,
    })
}

fn log(s: &mut Section<'_, '_>) -> Meant<Log> {
    let format = s.value("format", |node| word(node, &[("text", LogFormat::Text), ("json", LogFormat::Json)]));
    let level = s.value("level", level);
    Ok(Log { format: format?, level: level? })
}

/// A level, or filter directives. A lone word that is no level would be taken for a target by the filter's own grammar.
fn level(node: &Node) -> Read<String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let text = text(node)?;
    if LEVELS.contains(&text.as_str()) || text.contains('=') && EnvFilter::builder().parse(&text).is_ok() {
        return Ok(text);
    }
    Err(Wrong::new(format!("expected one of {}, or directives", LEVELS.join(", ")))
        .hint("write it like debug or setkeeper=debug,info"))
}
