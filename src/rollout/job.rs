//! What the course asks for, and what may come of it.

use std::time::{Duration, Instant};

use super::target::Goal;
use crate::model::digest::Revision;

/// The rules of one instance's course.
#[derive(Clone, Debug)]
pub struct Rules {
    /// When a candidate must be proven before it is installed (law 4).
    pub proof: Due,
    /// Its place among the others.
    pub place: Place,
    /// How long the tree must stand still.
    pub settle: Duration,
    /// How long a verified instance keeps its slot.
    pub soak: Duration,
    /// How long canaries are waited for.
    pub canary_wait: Duration,
    /// The longest that a reload may take.
    pub reload_limit: Duration,
    /// The longest that proving a reload may take.
    pub verify_limit: Duration,
    /// How long ZooKeeper is waited for until a way that a crash has cut off is gone back without it.
    pub alone_after: Duration,
    /// How often what cannot be had now is asked for again.
    pub ask_every: Duration,
    /// Between 0.8 and 1.2, another on each instance: what failed together does not come back together.
    pub jitter: f64,
}

/// An instance's place among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// There are no others: with a folder as the source there are no slots either.
    Alone,
    /// It goes first.
    Canary,
    /// It goes once the canaries have gone.
    InTurn,
}

/// When a candidate must be proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Each one.
    Always,
    /// Where there is a Superset to be told of it.
    WhereTold,
    /// None.
    Never,
}

/// The Superset of this instance, as far as a release concerns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Nobody is told: with the files everything is done.
    Nobody,
    /// It does not run: it loads what lies there when it starts, which is not our doing.
    Absent,
    /// Our supervisor has not started it yet: it loads what lies there when it is, and disturbs nobody.
    Unstarted,
    /// It runs, and is told to reload.
    Running,
    /// Nobody can say now whether it was started: nothing is begun until somebody can.
    Unknown,
}

/// What the course sees of the cluster and of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// Whom a reload concerns.
    pub target: Target,
    /// Whether ZooKeeper answers; always, where there is no cluster.
    pub connected: bool,
    /// Whether a person paused the cluster.
    pub paused: bool,
    /// How the canaries fare with the goal.
    pub canaries: Canaries,
}

/// How the instances fare that go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canaries {
    /// There are none, or each has applied the release or is held.
    Done,
    /// One has still to begin.
    Awaited,
    /// One is at work: the wait for them stands still.
    Working,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// Prove that this candidate loads.
    Check(Goal),
    /// Ask for leave to reload; the release is unnamed where it is the way back.
    TakeSlot(Goal),
    /// Make the files those of this revision.
    Install(Revision),
    /// Make Superset load them.
    Reload(Revision),
    /// Prove that Superset answers with this revision.
    Verify(Revision),
    /// Give the leave back.
    FreeSlot,
    /// Tell the cluster that a release proved bad.
    Quarantine(Bad),
}

/// A release that proved bad here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// Which.
    pub goal: Goal,
    /// How it showed, without secrets: the first line says it, more are the last ones of a check's output.
    pub why: String,
}

/// What came of a [`Job`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Of [`Job::Check`].
    Checked(Verdict),
    /// Of [`Job::TakeSlot`].
    Slot(Leave),
    /// Of [`Job::Install`]: why it failed; which files lie there then is to be seen.
    Installed(Result<(), String>),
    /// Of [`Job::Reload`].
    Reloaded(Result<(), ReloadFailed>),
    /// Of [`Job::Verify`].
    Verified(Result<(), String>),
    /// Of [`Job::FreeSlot`]: whether the cluster knows.
    Freed(bool),
    /// Of [`Job::Quarantine`]: whether the cluster knows.
    Told(bool),
}

/// What a check says of a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It loads.
    Proven,
    /// It does not.
    Invalid(String),
    /// That could not be found out here and now.
    Inconclusive(String),
    /// Nobody wants to know any more.
    GivenUp,
}

/// Whether this instance may reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// It may: until then nobody else can have taken the slot.
    Until(Instant),
    /// Others have all the slots, or nobody answers.
    NotNow,
}

/// Why a reload failed, and what that means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadFailed {
    /// One line, without secrets.
    pub why: String,
    /// Whether Superset serves on with what it had.
    pub unaffected: bool,
    /// What that says of the release.
    pub suspect: Suspect,
}

/// What may be wrong where a reload failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspect {
    /// This host: the release is tried again.
    Host,
    /// This host, which may be too slow for it, or the release: that it is if it fails here so once more.
    Either,
    /// The release, if what ran well before still does.
    Release,
}
