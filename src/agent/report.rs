//! The one writer of what this instance says about itself: its record, and the report that HTTP shows.
//!
//! Reads what every loop reports; writes the record for the cluster and, for whoever asks over HTTP, the whole cluster as it is
//! at that moment. Looking at others happens only when asked, so that what agents write about themselves wakes no other
//! agent (law 12).

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::http::Report;
use crate::metrics;
use crate::model::instance::{Instance, Role, Standing, State, SupersetSeen};
use crate::model::problem::Problem;
use crate::model::rollout::Rollout;
use crate::model::status::ClusterStatus;
use crate::processes::clock::Moment;
use crate::reconcile::config::Account;
use crate::reconcile::connections::Statuses;
use crate::reconcile::resolve::Resolved;
use crate::reconcile::sleep_to;
use crate::zookeeper::cluster::Cluster;
use crate::zookeeper::link::{Link, Taken};

/// How long looking at the cluster may take before only this instance's own view is shown.
const LOOK_LIMIT: Duration = Duration::from_secs(2);

/// How often metrics are taken of what announces no change.
const MEASURE_EVERY: Duration = Duration::from_secs(5);

/// What the source says of itself.
pub enum SourceSeen {
    /// ZooKeeper: the connection, and the live session.
    Zookeeper {
        /// How the connection fares.
        link: watch::Receiver<Link>,
        /// The live session.
        cluster: watch::Receiver<Option<Cluster>>,
    },
    /// A folder.
    Directory {
        /// How reading it fares.
        status: watch::Receiver<crate::directory::Status>,
    },
}

/// What the reporter reads.
pub struct Inputs {
    /// What this instance makes of the config tree.
    pub account: watch::Receiver<Account>,
    /// What should be true.
    pub resolved: watch::Receiver<Option<Arc<Resolved>>>,
    /// Whether it leads.
    pub standing: watch::Receiver<Standing>,
    /// The Superset beside it.
    pub superset: watch::Receiver<SupersetSeen>,
    /// What it knows of the datasources, while it leads.
    pub statuses: watch::Receiver<Option<Statuses>>,
    /// Why it cannot observe Superset's connections, while it leads.
    pub trouble: watch::Receiver<Option<String>>,
    /// Why what is applied cannot be remembered.
    pub memory_trouble: watch::Receiver<Option<String>>,
    /// The source.
    pub source: SourceSeen,
}

/// The reporter.
pub struct Reporter {
    /// What it reads.
    pub inputs: Inputs,
    /// The cluster's name.
    pub cluster: String,
    /// Counts how often somebody wanted the cluster looked at.
    pub asked: watch::Receiver<u64>,
    /// The record for the cluster.
    pub record: watch::Sender<Option<Instance>>,
    /// The report for HTTP.
    pub report: watch::Sender<Arc<Report>>,
}

impl Reporter {
    /// Runs until cancelled.
    pub async fn run(mut self, cancel: CancellationToken) {
        loop {
            self.write_record();
            let asked = tokio::select! {
                () = cancel.cancelled() => return,
                asked = self.asked.changed() => if asked.is_ok() { true } else { return },
                changed = self.inputs.changed() => if changed { false } else { return },
            };
            self.write_record();
            if asked {
                let question = *self.asked.borrow_and_update();
                let cluster = self.look().await;
                self.report.send_modify(|report| {
                    let report = Arc::make_mut(report);
                    (report.cluster, report.answers) = (cluster, question);
                });
            }
        }
    }

    fn write_record(&self) {
        let before = self.report.borrow().instance.clone();
        let next = self.inputs.record(before.clone());
        self.measure(&next);
        self.record.send_if_modified(|record| {
            let is_new = record.as_ref() != Some(&next);
            *record = Some(next.clone());
            is_new
        });
        let applied = next.applied.revision.is_some();
        self.report.send_if_modified(|report| {
            let is_new = next != before || report.applied != applied;
            if is_new {
                let report = Arc::make_mut(report);
                (report.instance, report.applied) = (next, applied);
            }
            is_new
        });
    }

    fn measure(&self, record: &Instance) {
        metrics::leader(record.role);
        metrics::state(record.state);
        let statuses = self.inputs.statuses.borrow().clone().unwrap_or_default();
        metrics::datasources(statuses.values());
        if let SourceSeen::Zookeeper { link, .. } = &self.inputs.source {
            let link = link.borrow();
            metrics::zookeeper_connected(link.connected);
            metrics::watches_rearmed(link.rearms);
            link.last_seen.into_iter().for_each(metrics::zookeeper_seen);
        }
    }

    /// The cluster as this instance knows it without asking anybody.
    fn own_view(&self) -> ClusterStatus {
        let instance = self.report.borrow().instance.clone();
        let leader = (instance.role == Role::Leader).then(|| instance.id.clone());
        let statuses = self.inputs.statuses.borrow().clone();
        let datasources = statuses.map(|statuses| statuses.values().cloned().collect()).unwrap_or_default();
        ClusterStatus {
            instances: vec![instance],
            leader,
            datasources,
            problems: self.inputs.problems(),
            rollout: self.inputs.rollout(),
        }
    }

    /// The cluster as it is now. What nobody has said anything of yet is pending.
    async fn look(&self) -> ClusterStatus {
        let mut cluster = self.look_around().await;
        if let Some(resolved) = self.inputs.resolved.borrow().as_ref() {
            cluster.add_pending(resolved.resolution.names(), &self.cluster);
        }
        cluster
    }

    async fn look_around(&self) -> ClusterStatus {
        let own = self.own_view();
        let SourceSeen::Zookeeper { cluster, .. } = &self.inputs.source else { return own };
        let Some(cluster) = cluster.borrow().clone() else { return own };
        let look = async {
            let (instances, leader, statuses, rollout) =
                tokio::join!(cluster.instances(), cluster.leader(), cluster.datasource_statuses(), cluster.rollout());
            let (instances, statuses) = (instances?, statuses?);
            let problems = [own.problems.clone(), instances.problems, statuses.problems].concat();
            Ok::<_, crate::zookeeper::error::Error>(ClusterStatus {
                instances: instances.records,
                leader: leader?,
                datasources: statuses.records,
                problems,
                rollout: rollout?,
            })
        };
        match tokio::time::timeout(LOOK_LIMIT, look).await {
            Ok(Ok(status)) => status,
            _ => own,
        }
    }
}

impl Inputs {
    /// Waits until anything changed; `false` once a writer is gone.
    async fn changed(&mut self) -> bool {
        let deadline = self.deadline();
        tokio::select! {
            changed = self.account.changed() => changed.is_ok(),
            changed = self.resolved.changed() => changed.is_ok(),
            changed = self.standing.changed() => changed.is_ok(),
            changed = self.superset.changed() => changed.is_ok(),
            changed = self.statuses.changed() => changed.is_ok(),
            changed = self.trouble.changed() => changed.is_ok(),
            changed = self.memory_trouble.changed() => changed.is_ok(),
            changed = self.source.changed() => changed,
            // A leader's deadline passes, and ZooKeeper answers, without a word.
            () = sleep_to(deadline) => true,
            () = tokio::time::sleep(MEASURE_EVERY) => true,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match *self.standing.borrow() {
            Standing::Leader { until, .. } if !until.has_come() => Some(until.instant()),
            _ => None,
        }
    }

    fn record(&self, before: Instance) -> Instance {
        let account = self.account.borrow();
        let standing = *self.standing.borrow();
        let role = if standing.leads(Moment::now()) { Role::Leader } else { Role::Follower };
        let since = if account.state == before.state { before.since } else { jiff::Timestamp::now().to_string() };
        let trouble = self.trouble.borrow().as_ref().map(|why| format!("failed to list superset's connections: {why}"));
        let mut errors: Vec<_> = account.error.clone().into_iter().chain(trouble).collect();
        if errors.is_empty() {
            errors.extend(self.source.error());
        }
        // Neither goes with what else is wrong, and none must hide behind another.
        errors.extend(self.memory_trouble.borrow().clone());
        let error = (!errors.is_empty()).then(|| errors.join("; "));
        let state = if account.state == State::InSync && account.error.is_some() { State::Held } else { account.state };
        Instance {
            role,
            state,
            since,
            desired: account.desired.clone(),
            applied: account.applied.clone(),
            superset: self.superset.borrow().clone(),
            error,
            ..before
        }
    }

    /// The rollout record as the tree holds it.
    fn rollout(&self) -> Rollout {
        self.resolved.borrow().as_ref().map(|resolved| resolved.resolution.rollout.clone()).unwrap_or_default()
    }

    fn problems(&self) -> Vec<Problem> {
        let resolved = self.resolved.borrow();
        let tree = resolved.iter().flat_map(|resolved| resolved.resolution.problems.iter());
        tree.chain(self.account.borrow().problems.iter()).cloned().collect()
    }
}

impl SourceSeen {
    async fn changed(&mut self) -> bool {
        match self {
            Self::Zookeeper { link, .. } => link.changed().await.is_ok(),
            Self::Directory { status } => status.changed().await.is_ok(),
        }
    }

    /// What is wrong with the source, one line.
    fn error(&self) -> Option<String> {
        match self {
            Self::Zookeeper { link, .. } => {
                let link = link.borrow();
                link.errors.values().next().cloned().or_else(|| link.taken.as_ref().map(taken))
            }
            Self::Directory { status } => status.borrow().error.clone(),
        }
    }
}

/// Somebody else has our id: after a kill it is our own ghost, which goes with its session.
fn taken(taken: &Taken) -> String {
    let host = taken.host.as_ref().map(|host| format!(" on {host}")).unwrap_or_default();
    let pid = taken.pid.map(|pid| format!(", process {pid}")).unwrap_or_default();
    format!("the instance id is taken by session {}{host}{pid}", taken.owner)
}
