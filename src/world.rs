//! The world as the reconcile loops see it, as traits: Superset's connections, this machine, the cluster, and whether Superset
//! answers.
//! The live ones are in [`live`](crate::live).
//!
//! A trait's methods observe, or apply one step; none of them chooses (law 3). What goes wrong comes back as a [`Fault`] that
//! says what is known afterwards, never what to do about it, and never holds a secret.

use std::future::Future;
use std::time::Instant;

use crate::check::report::Report;
use crate::files::state::LastGood;
use crate::model::connection::{Connection, Stored};
use crate::model::datasource::Datasource;
use crate::model::digest::{DigestKey, Release, Revision};
use crate::model::problem::Problem;
use crate::model::secret::SecretText;
use crate::model::snapshot::Branch;
use crate::model::status::DatasourceState;
use crate::plan::connections::{Server, Step, Wanted};
use crate::plan::files::{FileSeen, FileWanted};
use crate::render::renderer::Sources;
use crate::rollout::job::{Bad, Canaries, Leave, ReloadFailed, Target};
use crate::rollout::target::Goal;

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

    /// Whom a reload concerns now.
    fn target(&mut self) -> impl Future<Output = Target> + Send;

    /// Writes down, durably, what must survive a crash before what comes next begins.
    fn save(&self, memory: LastGood) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Proves that Superset loads these files; what is known of a revision already is not found out again.
    fn check(&self, key: &DigestKey, revision: &Revision, files: &Proof<'_>) -> impl Future<Output = Report> + Send;

    /// The same, whatever is known.
    fn check_anew(&self, key: &DigestKey, files: &Proof<'_>) -> impl Future<Output = Report> + Send;

    /// Forgets what is known of a revision, so that it is checked again.
    fn forget(&self, revision: &Revision) -> impl Future<Output = ()> + Send;

    /// Makes these files as they should be: all or none.
    fn install(&mut self, files: &[FileWanted]) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Starts the Superset that is ours to start and does not run yet.
    fn start(&mut self) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Makes Superset load what is installed.
    fn reload(&mut self, revision: &Revision) -> impl Future<Output = Result<(), ReloadFailed>> + Send;

    /// Proves that Superset runs a revision.
    fn verify(&mut self, revision: &Revision) -> impl Future<Output = Result<(), Fault>> + Send;
}

/// What a check is made of.
#[derive(Clone, Copy)]
pub struct Proof<'a> {
    /// Superset's config first.
    pub files: &'a [FileWanted],
    /// The secrets that are known to stand in them.
    pub secrets: &'a [SecretText],
}

/// The cluster as one instance's rollout sees it.
pub trait Board: Send + 'static {
    /// Whether there are others at all: without a cluster there are no slots, no canaries and no record.
    fn is_shared(&self) -> bool;

    /// Whether the cluster answers; always, where there is none.
    fn connected(&self) -> bool;

    /// Waits until [`Board::connected`] or [`Board::lease`] may be another.
    fn changed(&mut self) -> impl Future<Output = ()> + Send;

    /// The tree of a release that was kept; `None` where it is kept no more.
    fn kept(&self, release: &Release) -> impl Future<Output = Result<Option<Branch>, Fault>> + Send;

    /// How the instances fare with a release that go first.
    fn canaries(&mut self, release: &Release) -> impl Future<Output = Result<Canaries, Fault>> + Send;

    /// Finds the slot that an earlier run of this agent held, and keeps it.
    fn recall(&mut self) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Takes a slot for a revision, and keeps it.
    fn take(&mut self, goal: &Goal) -> impl Future<Output = Result<Leave, Fault>> + Send;

    /// Until when nobody else can have our slot; `None` where we have none.
    fn lease(&self) -> Option<Instant>;

    /// Gives the slot back.
    fn free(&mut self) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Tells the cluster that a release proved bad.
    fn quarantine(&self, bad: &Bad) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Notes that a release is completed, if it is; says whether. `published` is its config, which is kept first: what is
    /// completed is what instances go back to.
    fn complete(&self, release: &Release, published: &Branch) -> impl Future<Output = Result<bool, Fault>> + Send;
}

/// Whether Superset answers.
pub trait Health: Send + Sync + 'static {
    /// Its version as far as it tells one, or `None` if it does not answer.
    fn ask(&self) -> impl Future<Output = Option<SupersetVersion>> + Send;
}

/// What a healthy Superset tells of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SupersetVersion(pub Option<String>);
