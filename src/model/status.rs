//! Status: what `/status`, `setkeeper status` and the datasources' status znodes show.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::datasource::DatasourceName;
use super::instance::{Instance, InstanceId};
use super::problem::Problem;
use super::rollout::Rollout;

/// How a datasource fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DatasourceState {
    /// Superset has it as the tree wants it.
    InSync,
    /// Not tried yet.
    Pending,
    /// Its server does not answer.
    Unreachable,
    /// Its znode is not valid.
    Invalid,
    /// Superset has a connection of that name which is not ours.
    Conflict,
    /// Superset refused it.
    Failed,
    /// Superset has it, the tree no longer does.
    Orphaned,
}

/// The last outcome for one datasource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasourceStatus {
    /// Its znode's name.
    pub name: DatasourceName,
    /// How it fares.
    pub state: DatasourceState,
    /// Its UUID in Superset.
    pub uuid: Uuid,
    /// Superset's number for it, once it has one.
    pub database_id: Option<i64>,
    /// Why it is not in sync, without secrets.
    pub error: Option<String>,
    /// When this came to be, RFC 3339 in UTC; null while pending.
    pub at: Option<String>,
    /// The instance that says so; null while pending.
    pub by: Option<InstanceId>,
}

/// The cluster as `setkeeper status -o json` and `/status` show it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// Every live instance.
    pub instances: Vec<Instance>,
    /// Who leads.
    pub leader: Option<InstanceId>,
    /// Every datasource.
    pub datasources: Vec<DatasourceStatus>,
    /// Everything wrong in the tree.
    pub problems: Vec<Problem>,
    /// The rollout record.
    pub rollout: Rollout,
}

impl ClusterStatus {
    /// Lists as pending those of these datasources of which nobody has said anything yet.
    pub fn add_pending<'a>(&mut self, names: impl Iterator<Item = &'a DatasourceName>, cluster: &str) {
        let known: BTreeSet<_> = self.datasources.iter().map(|known| known.name.clone()).collect();
        let pending = names.filter(|name| !known.contains(*name)).map(|name| DatasourceStatus {
            name: name.clone(),
            state: DatasourceState::Pending,
            uuid: name.uuid(cluster),
            database_id: None,
            error: None,
            at: None,
            by: None,
        });
        self.datasources.extend(pending);
        self.datasources.sort_by(|one, other| one.name.cmp(&other.name));
    }
}
