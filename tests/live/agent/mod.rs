//! The agent as people run it, as a process, between a real ZooKeeper and a real Superset.

mod articles;
mod canaries;
mod directory;
mod disk;
mod drift;
mod main_job;
mod releases;
mod replies;
mod restored;
mod secrets;
mod secure;
mod sessions;
mod silence;
mod superset_faults;
mod trees;
mod types;
mod zookeeper_away;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use crate::support::eventually;
use crate::support::http_proxy::Proxy;
use crate::support::person::Person;
use crate::support::program::Agent;
use crate::support::server::Server;
use crate::support::services::{Superset, shared};
use crate::support::tree::Tree;

/// What most tests need: a ZooKeeper of their own, and the Superset that all share behind a proxy that sees every call.
struct Scene {
    cluster: String,
    zookeeper: Server,
    tree: Tree,
    superset: &'static Superset,
    proxy: Proxy,
}

impl Scene {
    /// A cluster of this name; its datasources must begin with it, since all clusters share one Superset.
    async fn of(cluster: &str) -> Self {
        let (zookeeper, superset) = tokio::join!(Server::start(), shared());
        let (tree, proxy) = (Tree::at(&zookeeper.connect()).await, Proxy::before(&superset.url).await);
        Self { cluster: cluster.to_owned(), zookeeper, tree, superset, proxy }
    }

    /// An agent of this cluster.
    fn agent(&self, id: &str) -> Agent {
        Agent::new(&self.cluster, id, &self.zookeeper.connect(), &self.proxy.url)
    }

    async fn person(&self) -> Person {
        Person::admin(&self.superset.url).await
    }
}

/// A datasource that needs no server.
fn duck() -> Json {
    json!({"sqlalchemy_uri": "duckdb:///:memory:"})
}

/// A reload that leaves a line for each time, and where.
fn counted_reloads(agent: Agent) -> (Agent, PathBuf) {
    let told = agent.path("reloads");
    let script = format!("echo reloaded >> {}", told.display());
    // Nobody loads anything, so there is nothing to verify.
    let agent = agent.with("reload.command", json!(["sh", "-c", script])).with("verify.successes", json!(0));
    (agent, told)
}

fn count(told: &Path) -> usize {
    fs::read_to_string(told).unwrap_or_default().lines().count()
}

/// Waits until the last of so many reloads is done.
async fn reloaded(told: &Path, times: usize) {
    eventually(&format!("{times} reloads"), async || (count(told) == times).then_some(())).await;
}
