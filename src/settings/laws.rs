//! Laws that join several settings, each broken one with the key to change.
//!
//! In: sections that are right in themselves. Out: what does not fit together, and what is allowed but deserves a warning.

use std::time::Duration;

use super::release::Fallback;
use super::scalars::{Wrong, is_znode_path};
use super::{Acl, Layout, Reload, ReloadStrategy, Render, Settings, Source, Tls, Zookeeper};
use crate::model::problem::Problem;
use crate::model::snapshot::Origin;

/// Broken laws, by the key they are about.
type Broken = Vec<(&'static str, Wrong)>;

/// ZooKeeper's servers cap a session at 20 ticks of 2 s by default; far beyond that a dead leader would hold its role.
const SESSION: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);

pub(super) fn zookeeper(zookeeper: &Zookeeper) -> Broken {
    let mut broken = Vec::new();
    if !SESSION.contains(&zookeeper.session_timeout) {
        broken.push(("session_timeout", Wrong::new("must be from 1s to 10m")));
    }
    let has_certificate = zookeeper.tls.as_ref().is_some_and(|tls| tls.cert.is_some());
    if zookeeper.acl == Acl::Creator && zookeeper.auth.is_none() && !has_certificate {
        let wrong = Wrong::new("`creator` needs somebody to be the creator");
        broken.push(("acl", wrong.hint("give source.zookeeper.auth, or source.zookeeper.tls with cert and key")));
    }
    broken
}

pub(super) fn tls(tls: &Tls) -> Broken {
    let mut broken = match (&tls.cert, &tls.key) {
        (Some(_), None) => vec![("cert", Wrong::new("needs `key` as well"))],
        (None, Some(_)) => vec![("key", Wrong::new("needs `cert` as well"))],
        _ => Vec::new(),
    };
    if !tls.verify_hostname {
        let wrong = Wrong::new("`false` is not supported");
        broken.push(("verify_hostname", wrong.hint("give the servers certificates that bear their names")));
    }
    broken
}

pub(super) fn layout(source: &Source, layout: &Layout) -> Broken {
    let fits = |path: &str| match source {
        Source::Zookeeper(_) => is_znode_path(path),
        Source::Directory { .. } => !path.starts_with('/') && !path.split('/').any(|part| part == ".."),
    };
    let expected = match source {
        Source::Zookeeper(_) => "expected an absolute znode path",
        Source::Directory { .. } => "expected a path within source.directory.path",
    };
    let parts = [("layout.config", &layout.config), ("layout.datasources", &layout.datasources)];
    let mut broken: Broken = parts
        .into_iter()
        .filter(|(_, path)| path.as_deref().is_some_and(|path| !fits(path)))
        .map(|(key, _)| (key, Wrong::new(expected)))
        .collect();
    if layout.config.is_some() && layout.config == layout.datasources {
        broken.push(("layout.datasources", Wrong::new("must not be the same as layout.config")));
    }
    broken
}

pub(super) fn render(render: &Render) -> Broken {
    let mut paths = vec![&render.superset_config.path];
    let mut is_taken = false;
    for template in &render.templates {
        is_taken |= paths.contains(&&template.path);
        paths.push(&template.path);
    }
    if is_taken { vec![("templates", Wrong::new("two files would be written to one path"))] } else { Vec::new() }
}

pub(super) fn reload(reload: &Reload) -> Broken {
    let named = [reload.pid_file.is_some(), reload.unit.is_some(), reload.command.is_some()];
    let needs = |key: &str| vec![("strategy", Wrong::new(format!("needs reload.{key} as well")))];
    let mut broken = match reload.strategy {
        ReloadStrategy::Command if reload.command.is_none() => needs("command"),
        ReloadStrategy::Auto if named.into_iter().filter(|is_named| *is_named).count() > 1 => {
            vec![("strategy", Wrong::new("`auto` cannot choose between the ways that are named").hint("say which"))]
        }
        _ => Vec::new(),
    };
    if reload.command.as_ref().is_some_and(Vec::is_empty) {
        broken.push(("command", Wrong::new("expected a program and its arguments, got nothing")));
    }
    broken
}

pub(super) fn boot(fallback: &Fallback, render: &Render) -> Broken {
    if *fallback == Fallback::Base && render.superset_config.base.is_none() {
        return vec![("boot.fallback", Wrong::new("`base` needs render.superset_config.base as well"))];
    }
    Vec::new()
}

impl Settings {
    /// What is allowed but should be said when the agent starts.
    #[must_use]
    pub fn warnings(&self) -> Vec<Problem> {
        let origin = Origin::new("settings");
        let mut warnings = Vec::new();
        if matches!(&self.source, Source::Zookeeper(zookeeper) if zookeeper.acl == Acl::Open) {
            let warning = Problem::warning(&origin, "everybody who reaches ZooKeeper can change what the agent creates there");
            warnings.push(warning.field("source.zookeeper.acl").hint("give source.zookeeper.auth and set acl to creator"));
        }
        if self.verify.successes == 0 {
            let message = "`0` believes every reload: a superset that does not come back is not noticed";
            warnings.push(Problem::warning(&origin, message).field("verify.successes"));
        }
        warnings
    }
}
