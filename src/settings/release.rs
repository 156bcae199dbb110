//! The settings of a release on its way into Superset: boot, check, verify, rollout, and what is kept.
//!
//! Types only, as they are meant; their keys are read in `read`, their laws in `laws`. What a release is rendered to
//! ([`super::Render`]) and how Superset is made to load it ([`super::Reload`]) stand with the other sections.

use std::path::PathBuf;
use std::time::Duration;

/// `boot`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// How long to wait for a release.
    pub wait: Duration,
    /// What to start from after that.
    pub fallback: Fallback,
}

/// `boot.fallback`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// Nothing: wait on.
    None,
    /// The base file alone.
    Base,
    /// This file.
    File(PathBuf),
}

/// `check`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// How much must be proved.
    pub require: CheckRequired,
    /// Superset's own Python.
    pub python: Option<PathBuf>,
    /// Superset's environment, one `NAME=value` a line.
    pub env_file: Option<PathBuf>,
    /// How long one check may take.
    pub timeout: Duration,
    /// How much memory it may use, in bytes.
    pub memory: u64,
}

/// `check.require`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckRequired {
    /// `app` where there is a Superset to be told of a release, else `none`.
    Auto,
    /// Superset's app must be built and answer.
    App,
    /// The file must parse.
    Syntax,
    /// Nothing.
    None,
}

/// `verify`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verify {
    /// The full URL fetched.
    pub url: Option<String>,
    /// How many answers in a row.
    pub successes: u32,
    /// Within what time.
    pub timeout: Duration,
}

/// `rollout`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutRules {
    /// How many instances may reload at once.
    pub slots: u32,
    /// How long a tree must stand still first.
    pub settle: Duration,
    /// How long a verified instance is watched before the next.
    pub soak: Duration,
    /// How long others wait for canaries.
    pub canary_wait: Duration,
    /// Protected settings that may change.
    pub allow_protected: Vec<String>,
}

/// `releases`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Releases {
    /// How many.
    pub count: u32,
    /// How many bytes.
    pub bytes: u64,
}
