//! What the parts are built from, and every channel between them.
//!
//! In: the settings, the state directory and what was applied last. Out: started parts. It reads as the picture of the agent
//! drawn as code: each `watch` here has one writer.

mod config;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

pub(super) use self::config::way;
use super::archivist::Archivist;
use super::credentials::{Credentials, Passwords};
use super::herald::Herald;
use super::report::{Reporter, SourceSeen};
use super::stages::{Parts, Stages, part};
use crate::desired::guard::Inventory;
use crate::desired::lens::Lens;
use crate::desired::resolver::Resolver;
use crate::files::state::{LastGood, StateDir};
use crate::http::{self, Report};
use crate::live::keeper::Keeper;
use crate::live::superset::Superset;
use crate::model::digest::DigestKey;
use crate::model::instance::{Instance, Role, Standing, State, SupersetSeen, Version};
use crate::model::snapshot::Tree;
use crate::model::status::ClusterStatus;
use crate::plan::connections::Pruning;
use crate::processes::clock::Moment;
use crate::reconcile::config::Account;
use crate::reconcile::connections::{self, ConnectionsLoop, Statuses};
use crate::reconcile::health::HealthLoop;
use crate::reconcile::ledger::job::Rules;
use crate::reconcile::resolve::{ResolveLoop, Resolved};
use crate::reconcile::wants::Wants;
use crate::secrets::{self, Secrets};
use crate::settings::{self, Settings, Source};
use crate::superset::client::Client;
use crate::supervise::asking::Asking;
use crate::zookeeper::access::Access;
use crate::zookeeper::cluster::Cluster;
use crate::zookeeper::link::Link;
use crate::zookeeper::releases::trim::Bounds;
use crate::{directory, metrics, zookeeper};

/// How often secret files are looked at although the kernel told nothing.
const SECRETS_EVERY: Duration = Duration::from_secs(60);
/// How old the config loop's last turn may be before the agent counts as stuck: a handoff may take more than four minutes.
const HEARTBEAT_LIMIT: Duration = Duration::from_secs(300);
/// With a directory source an instance that pushes leads for as long as it runs.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Every channel between the parts, and what they are built from.
pub(super) struct Wiring<'a> {
    settings: &'a Settings,
    supervisor: Option<Asking>,
    state: Arc<StateDir>,
    passwords: Passwords,
    tree: watch::Sender<Option<Tree>>,
    accepted: watch::Sender<Option<Inventory>>,
    resolved: watch::Sender<Option<Arc<Resolved>>>,
    account: watch::Sender<Account>,
    heartbeat: watch::Sender<Instant>,
    standing: watch::Sender<Standing>,
    superset: watch::Sender<SupersetSeen>,
    entitled: watch::Sender<bool>,
    statuses: watch::Sender<Option<Statuses>>,
    trouble: watch::Sender<Option<String>>,
    secret_files: watch::Sender<BTreeSet<PathBuf>>,
    secrets: watch::Sender<u64>,
    memory: watch::Sender<LastGood>,
    record: watch::Sender<Option<Instance>>,
    memory_trouble: watch::Sender<Option<String>>,
    link: watch::Sender<Link>,
    cluster: watch::Sender<Option<Cluster>>,
}

impl<'a> Wiring<'a> {
    pub(super) fn new(
        settings: &'a Settings,
        supervisor: Option<Asking>,
        state: Arc<StateDir>,
        passwords: Passwords,
        last_good: LastGood,
    ) -> Self {
        let account = Account { applied: last_good.applied.version.clone(), ..Account::default() };
        let superset =
            SupersetSeen { url: settings.superset.url.to_string(), healthy: false, version: settings.superset.version.clone() };
        Self {
            settings,
            supervisor,
            state,
            passwords,
            tree: watch::Sender::default(),
            accepted: watch::Sender::new(serde_json::from_value(last_good.inventory.clone()).ok()),
            resolved: watch::Sender::default(),
            account: watch::Sender::new(account),
            heartbeat: watch::Sender::new(Instant::now()),
            standing: watch::Sender::default(),
            superset: watch::Sender::new(superset),
            entitled: watch::Sender::default(),
            statuses: watch::Sender::default(),
            trouble: watch::Sender::default(),
            secret_files: watch::Sender::default(),
            secrets: watch::Sender::default(),
            memory: watch::Sender::new(last_good),
            record: watch::Sender::default(),
            memory_trouble: watch::Sender::default(),
            link: watch::Sender::new(Link::default()),
            cluster: watch::Sender::new(None),
        }
    }

    /// Starts every part: readers before writers, so that nobody misses a value.
    pub(super) fn start(self, parts: &mut Parts, stages: &Stages, listener: TcpListener) -> anyhow::Result<()> {
        self.start_loops(parts, &stages.loops)?;
        let key = match &self.settings.source {
            Source::Zookeeper(_) => None,
            Source::Directory { .. } => Some(self.own_key()?),
        };
        let keeper = Keeper {
            state: Arc::clone(&self.state),
            memory: self.memory.subscribe(),
            accepted: self.accepted.subscribe(),
            key,
            trouble: self.memory_trouble.clone(),
        };
        parts.spawn(part("keeper", keeper.run(stages.source.clone())));
        self.start_source(parts, stages, listener)
    }

    /// The digest key of a directory source; ZooKeeper has its own.
    fn own_key(&self) -> anyhow::Result<Arc<DigestKey>> {
        let key = self.state.digest_key().context("failed to read the digest key")?;
        if let Some(problem) = key.problem {
            warn!(%problem, "a new digest key was made: every digest is another now");
        }
        Ok(Arc::new(key.value.context("failed to make a digest key")?))
    }

    fn start_loops(&self, parts: &mut Parts, cancel: &CancellationToken) -> anyhow::Result<()> {
        let settings = self.settings;
        let (superset, password) = (&settings.superset, self.passwords.superset.subscribe());
        let client = Client::new(&superset.url, &superset.username, password, superset.timeout)?;
        let superset = Arc::new(Superset {
            client,
            secrets: Secrets::new(settings.secrets.clone()),
            preflight: settings.datasources.preflight,
            version: settings.superset.version.clone(),
        });
        let resolve = ResolveLoop {
            tree: self.tree.subscribe(),
            superset: self.superset.subscribe(),
            resolver: Resolver::new(Lens::new(settings)),
            max_loss: settings.layout.max_loss,
            accepted: self.accepted.clone(),
            resolved: self.resolved.clone(),
        };
        parts.spawn(part("config loop", self.config_loop(Arc::clone(&superset))?.run(cancel.clone())));
        parts.spawn(part("connections loop", self.connections_loop(Arc::clone(&superset)).run(cancel.clone())));
        parts.spawn(part("resolve loop", resolve.run(cancel.clone())));
        let health = HealthLoop {
            superset,
            pushes: settings.datasources.push,
            seen: self.superset.clone(),
            entitled: self.entitled.clone(),
        };
        parts.spawn(part("health loop", health.run(cancel.clone())));
        let watch = secrets::watch::run(self.secret_files.subscribe(), self.secrets.clone(), SECRETS_EVERY, cancel.clone());
        parts.spawn(part("secrets watch", watch));
        Ok(())
    }

    fn connections_loop(&self, superset: Arc<Superset>) -> ConnectionsLoop<Superset> {
        let settings = &self.settings.datasources;
        ConnectionsLoop {
            world: superset,
            rules: Rules {
                cluster: self.settings.cluster.clone(),
                pruning: Pruning { prune: settings.prune, max_delete: settings.max_delete },
                resync: settings.resync,
                call_deadline: self.settings.superset.timeout,
            },
            concurrency: settings.concurrency,
            instance: self.settings.instance.id.clone(),
            inputs: connections::Inputs {
                resolved: self.resolved.subscribe(),
                standing: self.standing.subscribe(),
                secrets: self.secrets.subscribe(),
            },
            statuses: self.statuses.clone(),
            trouble: self.trouble.clone(),
            wants: Wants::default(),
        }
    }

    fn start_source(self, parts: &mut Parts, stages: &Stages, listener: TcpListener) -> anyhow::Result<()> {
        let seen = match &self.settings.source {
            Source::Zookeeper(zookeeper) => self.start_zookeeper(zookeeper, parts, stages)?,
            Source::Directory { path } => {
                // A folder has no place for releases; who stops the parts waits for each by its name.
                parts.spawn(part("archivist", stages.loops.clone().cancelled_owned()));
                self.start_directory(path.clone(), parts, &stages.source)?
            }
        };
        self.start_reporter(seen, parts, stages, listener)
    }

    fn start_zookeeper(&self, zookeeper: &settings::Zookeeper, parts: &mut Parts, stages: &Stages) -> anyhow::Result<SourceSeen> {
        let access = Access::new(zookeeper, &self.settings.layout, self.passwords.zookeeper.subscribe())?;
        let (link, cluster) = (self.link.clone(), self.cluster.clone());
        let seen = SourceSeen::Zookeeper { link: link.subscribe(), cluster: cluster.subscribe() };
        let inputs = zookeeper::channels::Inputs {
            record: self.record.subscribe(),
            entitled: self.entitled.subscribe(),
            statuses: self.statuses.subscribe(),
            resync: self.settings.datasources.resync,
        };
        let archivist = Archivist {
            resolved: self.resolved.subscribe(),
            standing: self.standing.subscribe(),
            record: self.record.subscribe(),
            cluster: cluster.subscribe(),
            settle: self.settings.rollout.settle,
            bounds: self.bounds(),
        };
        parts.spawn(part("archivist", archivist.run(stages.loops.clone())));
        let outputs = zookeeper::channels::Outputs { tree: self.tree.clone(), link, standing: self.standing.clone(), cluster };
        let id = self.settings.instance.id.clone();
        let cancel = stages.source.clone();
        parts.spawn(async move {
            let ended = zookeeper::run::run(access, id, inputs, outputs, cancel).await;
            ("source", ended.map_err(anyhow::Error::from))
        });
        Ok(seen)
    }

    /// How many releases are kept.
    fn bounds(&self) -> Bounds {
        let releases = &self.settings.releases;
        Bounds { count: usize::try_from(releases.count).unwrap_or(usize::MAX), bytes: releases.bytes }
    }

    fn start_directory(&self, path: PathBuf, parts: &mut Parts, cancel: &CancellationToken) -> anyhow::Result<SourceSeen> {
        let key = self.own_key()?;
        let status = watch::Sender::new(directory::Status::default());
        let seen = SourceSeen::Directory { status: status.subscribe() };
        if self.settings.datasources.push {
            self.standing.send_replace(Standing::Leader { until: Moment::now() + FOR_EVER, term: 1 });
        }
        let (layout, tree, cancel) = (self.settings.layout.clone(), self.tree.clone(), cancel.clone());
        let standing = self.standing.clone();
        parts.spawn(async move {
            let ended = directory::run(&path, &layout, key, tree, status, cancel).await;
            // Its one writer must outlive its readers: to them a writer that is gone means that the agent stops.
            drop(standing);
            ("source", ended.map_err(anyhow::Error::from))
        });
        Ok(seen)
    }

    fn start_reporter(self, source: SourceSeen, parts: &mut Parts, stages: &Stages, listener: TcpListener) -> anyhow::Result<()> {
        let instance = self.first_record();
        let first =
            Report { cluster: ClusterStatus::default(), applied: instance.applied.revision.is_some(), answers: 0, instance };
        let report = watch::Sender::new(Arc::new(first));
        let herald = Herald {
            heartbeat: self.heartbeat.subscribe(),
            report: report.subscribe(),
            is_supervised: self.supervisor.is_some(),
        };
        parts.spawn(part("herald", herald.run(stages.source.clone())));
        let asked = watch::Sender::default();
        let server = http::Inputs {
            report: report.subscribe(),
            asked: asked.clone(),
            heartbeat: self.heartbeat.subscribe(),
            heartbeat_limit: HEARTBEAT_LIMIT,
            metrics: metrics::install()?,
        };
        let inputs = super::report::Inputs {
            account: self.account.subscribe(),
            resolved: self.resolved.subscribe(),
            standing: self.standing.subscribe(),
            superset: self.superset.subscribe(),
            statuses: self.statuses.subscribe(),
            trouble: self.trouble.subscribe(),
            memory_trouble: self.memory_trouble.subscribe(),
            source,
        };
        let reporter =
            Reporter { inputs, cluster: self.settings.cluster.clone(), asked: asked.subscribe(), record: self.record, report };
        let credentials = Credentials {
            settings: self.settings.clone(),
            passwords: self.passwords,
            generation: self.secrets.subscribe(),
            resolved: self.resolved.subscribe(),
            files: self.secret_files,
        };
        parts.spawn(part("credentials", credentials.run(stages.source.clone())));
        parts.spawn(part("reporter", reporter.run(stages.source.clone())));
        parts.spawn(part("http server", http::serve(listener, server, stages.http.clone())));
        Ok(())
    }

    fn first_record(&self) -> Instance {
        let now = jiff::Timestamp::now().to_string();
        let identity = &self.settings.instance;
        Instance {
            id: identity.id.clone(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            labels: identity.labels.clone(),
            started_at: now.clone(),
            role: Role::Follower,
            state: State::Starting,
            since: now,
            desired: Version::default(),
            applied: self.account.borrow().applied.clone(),
            superset: self.superset.borrow().clone(),
            error: None,
        }
    }
}
