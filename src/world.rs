//! The world as the reconcile loops see it, as traits: Superset's connections, this machine, and whether Superset answers.
//! The live ones are in [`live`](crate::live).
//!
//! A trait's methods observe, or apply one step; none of them chooses (law 3). What goes wrong comes back as a [`Fault`] that
//! says what is known afterwards, never what to do about it, and never holds a secret.

use std::future::Future;

use crate::model::connection::{Connection, Stored};
use crate::model::datasource::Datasource;
use crate::model::digest::DigestKey;
use crate::model::instance::Version;
use crate::model::problem::Problem;
use crate::model::status::DatasourceState;
use crate::plan::connections::{Server, Step, Wanted};
use crate::plan::files::{FileSeen, FileStep, FileWanted};
use crate::render::renderer::Sources;

/// What went wrong outside.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// What is known afterwards.
    pub kind: FaultKind,
    /// One line for people.
    pub message: String,
}

/// What is known after a [`Fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The datasource's own server does not answer; Superset is as it was.
    Unreachable,
    /// Superset refused; it is as it was.
    Refused,
    /// Superset refused because something of that name or UUID is already there.
    Conflict,
    /// The request went out and its outcome never came back.
    Unknown,
    /// The same, because the time was up: Superset may hold a worker on it for as long as the target's driver is patient.
    Silent,
    /// Superset itself does not answer, or not to us; it is as it was.
    Superset,
}

impl FaultKind {
    /// How a datasource fares to which this happened.
    #[must_use]
    pub fn state(self) -> DatasourceState {
        match self {
            Self::Unreachable => DatasourceState::Unreachable,
            Self::Conflict => DatasourceState::Conflict,
            Self::Refused | Self::Unknown | Self::Silent | Self::Superset => DatasourceState::Failed,
        }
    }
}

/// Superset's connections.
pub trait Connections: Send + Sync + 'static {
    /// Resolves a datasource's secrets and says what its connection should hold.
    fn wanted(&self, key: &DigestKey, datasource: &Datasource) -> impl Future<Output = Result<Wanted, Fault>> + Send;

    /// Lists all connections, in one call.
    fn list(&self) -> impl Future<Output = Result<Vec<Connection>, Fault>> + Send;

    /// Asks for one connection.
    fn look(&self, id: i64) -> impl Future<Output = Result<Stored, Fault>> + Send;

    /// Tries whether a server accepts TCP connections.
    fn probe(&self, server: &Server) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Applies one step and tells Superset's number for the connection.
    fn apply(&self, step: &Step) -> impl Future<Output = Result<i64, Fault>> + Send;
}

/// This machine: the rendered files, and the Superset that loads them.
pub trait Host: Send + 'static {
    /// Reads what is rendered besides the tree: the base and the templates.
    fn sources(&self) -> Result<Sources, Vec<Problem>>;

    /// Looks at the files that `wanted` names.
    fn observe(&self, wanted: &[FileWanted]) -> Result<Vec<Option<FileSeen>>, Fault>;

    /// Whether Superset is told to reload at all.
    fn reloads(&self) -> bool;

    /// Remembers, durably, that a reload is about to be due: nobody knows what Superset runs until it is done.
    fn intend(&mut self) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Applies one step.
    fn apply(&mut self, step: &FileStep) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Lets Superset be started, where that is ours to do: its files are there.
    fn serve(&mut self) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Remembers what was applied, soon and durably.
    fn remember(&mut self, version: &Version, files: &[FileWanted]);
}

/// Whether Superset answers.
pub trait Health: Send + Sync + 'static {
    /// Its version as far as it tells one, or `None` if it does not answer.
    fn ask(&self) -> impl Future<Output = Option<SupersetVersion>> + Send;
}

/// What a healthy Superset tells of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SupersetVersion(pub Option<String>);
