//! What goes into the ledger and what comes out of it: rules, jobs, outcomes, and how each datasource fares.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::model::connection::{Connection, Stored};
use crate::model::datasource::DatasourceName;
use crate::model::status::DatasourceState;
use crate::plan::connections::{Pruning, Step, Wanted};
use crate::world::Fault;

/// The rules by which it keeps its books.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The cluster's name.
    pub cluster: String,
    /// What may be deleted.
    pub pruning: Pruning,
    /// How often Superset is compared although nothing changed.
    pub resync: Duration,
    /// The deadline of one call: how long an earlier leader's last write may still be under way.
    pub call_deadline: Duration,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Job {
    /// List all connections.
    List,
    /// Ask for one connection.
    Look {
        /// Whose it is.
        name: DatasourceName,
        /// Superset's number for it.
        id: i64,
    },
    /// Write one connection.
    Push {
        /// Whose it is.
        name: DatasourceName,
        /// What to write.
        step: Step,
        /// What was wanted when the step was planned.
        wanted: Option<Arc<Wanted>>,
        /// Whether the last attempt failed: then it must not take the place of those that work.
        suspect: bool,
    },
}

impl Job {
    /// Whose it is; a list is everybody's.
    #[must_use]
    pub fn name(&self) -> Option<&DatasourceName> {
        match self {
            Self::List => None,
            Self::Look { name, .. } | Self::Push { name, .. } => Some(name),
        }
    }

    /// What came of it where it failed like this.
    #[must_use]
    pub fn failed(self, fault: &Fault) -> Outcome {
        match self {
            Self::List => Outcome::Listed(Err(fault.clone())),
            Self::Look { name, id } => Outcome::Looked { name, id, result: Err(fault.clone()) },
            Self::Push { name, step, wanted, .. } => Outcome::Pushed { name, step, wanted, result: Err(fault.clone()) },
        }
    }
}

/// What came of a [`Job`].
#[derive(Debug)]
pub enum Outcome {
    /// Of [`Job::List`].
    Listed(Result<Vec<Connection>, Fault>),
    /// Of [`Job::Look`].
    Looked {
        /// Whose it is.
        name: DatasourceName,
        /// Superset's number for it.
        id: i64,
        /// What it told.
        result: Result<Stored, Fault>,
    },
    /// Of [`Job::Push`]: Superset's number for the connection.
    Pushed {
        /// Whose it is.
        name: DatasourceName,
        /// What was written.
        step: Step,
        /// What was wanted when the step was planned.
        wanted: Option<Arc<Wanted>>,
        /// What Superset said.
        result: Result<i64, Fault>,
    },
}

/// What is known of one datasource's fate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fate {
    /// How it fares.
    pub state: DatasourceState,
    /// Its UUID.
    pub uuid: Uuid,
    /// Superset's number for it.
    pub database_id: Option<i64>,
    /// Why it is not in sync.
    pub error: Option<String>,
}

/// A datasource that cannot be pushed as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// Invalid, or failed where only its secrets cannot be had now.
    pub state: DatasourceState,
    /// Its UUID.
    pub uuid: Uuid,
    /// Why.
    pub error: String,
}
