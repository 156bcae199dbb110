//! `status`: every instance, the leader, every datasource, and what is wrong in the tree.
//!
//! In ZooKeeper it is all there to read. A folder holds only the tree, so the agent beside it is asked over HTTP. A datasource
//! of which nobody has said anything yet is pending.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;

use anyhow::Context;
use jiff::Timestamp;

use super::given;
use super::tree::{self, Place, Seen};
use crate::cli::Shared;
use crate::model::digest::Release;
use crate::model::instance::{Instance, Version};
use crate::model::status::{ClusterStatus, DatasourceStatus};
use crate::output::{self, Advice};
use crate::settings::Settings;
use crate::zookeeper::cluster::{Cluster, LIMIT};

/// Prints the status.
pub(super) fn run(shared: &Shared) -> anyhow::Result<ExitCode> {
    let settings = given::settings(shared)?;
    let status = tree::block_on(status(&settings))?;
    output::print(shared.output, &status, shown)?;
    Ok(ExitCode::SUCCESS)
}

/// The cluster as it is now.
pub(super) async fn status(settings: &Settings) -> anyhow::Result<ClusterStatus> {
    match Place::open(settings).await? {
        Place::Zookeeper(cluster) => {
            let status = of_cluster(settings, &cluster).await?;
            cluster.close().await;
            Ok(status)
        }
        place @ Place::Directory(_) => {
            let mut status = of_agent(settings).await?;
            // Whoever reads the status may not be allowed to read the tree.
            if let Ok(seen) = place.seen(settings).await {
                status.add_pending(seen.resolve(settings).1.names(), &settings.cluster);
            }
            Ok(status)
        }
    }
}

async fn of_cluster(settings: &Settings, cluster: &Cluster) -> anyhow::Result<ClusterStatus> {
    let asked = async {
        tokio::try_join!(cluster.instances(), cluster.leader(), cluster.datasource_statuses())
            .map_err(|error| tree::failed(&error))
    };
    let (seen, (instances, leader, statuses)) = tokio::try_join!(Seen::of(cluster), asked)?;
    let (_, resolution) = seen.resolve(settings);
    let problems = resolution.problems.iter().cloned().chain(instances.problems).chain(statuses.problems).collect();
    let mut status = ClusterStatus {
        instances: instances.records,
        leader,
        datasources: statuses.records,
        problems,
        rollout: resolution.rollout.clone(),
    };
    status.add_pending(resolution.names(), &settings.cluster);
    Ok(status)
}

/// What the agent of this host says over HTTP.
pub(super) async fn of_agent(settings: &Settings) -> anyhow::Result<ClusterStatus> {
    let url = format!("http://{}/status", reachable(settings.http));
    let unreached = || Advice {
        message: format!("failed to ask the agent at {url}"),
        hint: "with a folder as its source, only the running agent knows: start `setkeeper run`, or correct http.listen"
            .to_owned(),
    };
    // Loopback: a proxy of the environment has no business there.
    let client = reqwest::Client::builder().no_proxy().timeout(LIMIT).build().with_context(unreached)?;
    let answer = async { client.get(&url).send().await?.error_for_status()?.bytes().await };
    let answer = answer.await.map_err(reqwest::Error::without_url).with_context(unreached)?;
    serde_json::from_slice(&answer).context("failed to understand the agent's answer: is another program at http.listen?")
}

/// Where an agent that listens at `listen` is reached from its own host.
pub(super) fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn shown(status: &ClusterStatus) -> String {
    let now = Timestamp::now();
    let mut parts = vec![instances(&status.instances, now)];
    let leader = status.leader.as_ref().map_or("nobody", |leader| leader.as_str());
    parts.push(format!("Leader: {leader}\n"));
    parts.push(datasources(&status.datasources));
    if !status.problems.is_empty() {
        parts.push(output::problems(&status.problems));
    }
    let rollout = &status.rollout;
    let digests = [
        ("Completed release", rollout.completed.as_ref().map(Release::as_str)),
        ("Confirmed tree", rollout.confirmed.as_deref()),
    ];
    let digests: String = digests.iter().filter_map(|(what, digest)| Some(format!("{what}: {}\n", (*digest)?))).collect();
    if !digests.is_empty() {
        parts.push(digests);
    }
    parts.join("\n")
}

fn instances(instances: &[Instance], now: Timestamp) -> String {
    if instances.is_empty() {
        return "No instance is alive.\n".to_owned();
    }
    let headings = ["INSTANCE", "ROLE", "STATE", "SINCE", "RELEASE", "REVISION", "SUPERSET", "ERROR"];
    let row = |instance: &Instance| {
        let (desired, applied) = (&instance.desired, &instance.applied);
        let release = |version: &Version| version.release.as_ref().map(ToString::to_string);
        let revision = |version: &Version| version.revision.as_ref().map(ToString::to_string);
        [
            instance.id.to_string(),
            word(&instance.role),
            word(&instance.state),
            age(&instance.since, now),
            change(release(applied), release(desired)),
            change(revision(applied), revision(desired)),
            superset(instance),
            or_dash(instance.error.clone()),
        ]
    };
    output::table(headings, instances.iter().map(row))
}

/// The datasources as people see them.
pub(super) fn datasources(datasources: &[DatasourceStatus]) -> String {
    if datasources.is_empty() {
        return "No datasource.\n".to_owned();
    }
    let now = Timestamp::now();
    let row = |status: &DatasourceStatus| {
        [
            status.name.to_string(),
            word(&status.state),
            or_dash(status.database_id.map(|id| id.to_string())),
            or_dash(status.at.as_deref().map(|at| age(at, now))),
            or_dash(status.by.as_ref().map(ToString::to_string)),
            or_dash(status.error.clone()),
        ]
    };
    output::table(["DATASOURCE", "STATE", "DATABASE", "SINCE", "BY", "ERROR"], datasources.iter().map(row))
}

fn superset(instance: &Instance) -> String {
    let health = if instance.superset.healthy { "healthy" } else { "no answer" };
    match &instance.superset.version {
        Some(version) if instance.superset.healthy => format!("{version} {health}"),
        _ => health.to_owned(),
    }
}

/// What is applied, and what it should become.
pub(super) fn change(applied: Option<String>, desired: Option<String>) -> String {
    match (applied, desired) {
        (Some(applied), Some(desired)) if applied != desired => format!("{applied} -> {desired}"),
        (None, Some(desired)) => format!("- -> {desired}"),
        (applied, _) => or_dash(applied),
    }
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

/// A state as it is written in JSON.
pub(super) fn word<T: serde::Serialize>(state: &T) -> String {
    match serde_json::to_value(state) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

/// How long ago, in its largest unit; a time that is none, or lies ahead, as it was written.
fn age(at: &str, now: Timestamp) -> String {
    const UNITS: [(&str, i64); 3] = [("d", 86_400), ("h", 3_600), ("m", 60)];
    let Some(seconds) = at.parse().ok().map(|at: Timestamp| now.as_second() - at.as_second()).filter(|age| *age >= 0) else {
        return at.to_owned();
    };
    match UNITS.iter().find(|(_, length)| seconds >= *length) {
        Some((unit, length)) => format!("{}{unit} ago", seconds / length),
        None => format!("{seconds}s ago"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_in_its_largest_unit() {
        let now: Timestamp = "2026-01-03T12:00:00Z".parse().unwrap();
        for (at, expected) in [
            ("2026-01-03T11:59:58.9Z", "2s ago"),
            ("2026-01-03T11:00:01Z", "59m ago"),
            ("2026-01-02T11:00:00Z", "1d ago"),
            ("2026-01-03T12:00:09Z", "2026-01-03T12:00:09Z"),
            ("rubbish", "rubbish"),
        ] {
            assert_eq!(age(at, now), expected);
        }
    }

    #[test]
    fn an_agent_that_listens_everywhere_is_asked_on_loopback() {
        assert_eq!(reachable("0.0.0.0:9180".parse().unwrap()).to_string(), "127.0.0.1:9180");
        assert_eq!(reachable("[::]:1".parse().unwrap()).to_string(), "[::1]:1");
        assert_eq!(reachable("10.0.0.1:1".parse().unwrap()).to_string(), "10.0.0.1:1");
    }

    #[test]
    fn a_version_on_its_way_shows_where_it_comes_from() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(change(text("a"), text("b")), "a -> b");
        assert_eq!(change(text("a"), text("a")), "a");
        assert_eq!(change(None, text("b")), "- -> b");
        assert_eq!(change(None, None), "-");
    }
}
