//! The loop that keeps this machine's rendered files as the tree wants them, and Superset loaded with them.
//!
//! Reads the newest resolution; one pass renders, observes, plans and applies; reports an [`Outcome`]. A tree or a template that
//! is not valid leaves the last good revision where it is (law 2). What fails is tried again with backoff, and at each
//! resync the files are looked at even if nothing changed, so that an edit by hand does not stay. Proving a candidate before and
//! verifying Superset after belong between the steps of one pass; nothing here knows what a file means.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::backoff::Backoff;
use super::resolve::Resolved;
use super::sleep_to;
use crate::metrics::{self, ReloadOutcome};
use crate::model::digest::Revision;
use crate::model::instance::{State, Version};
use crate::model::problem::Problem;
use crate::plan::files::{self, FileStep, FileWanted, Loaded};
use crate::render::renderer::Renderer;
use crate::world::{Fault, Host};

/// What this instance makes of the config tree.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// What it is doing.
    pub state: State,
    /// What the tree wants of it.
    pub desired: Version,
    /// What it runs.
    pub applied: Version,
    /// Why it is held or has failed.
    pub error: Option<String>,
    /// What is wrong with the base or a template; the tree's own problems are in the resolution.
    pub problems: Arc<[Problem]>,
}

/// The loop and what it needs.
pub struct ConfigLoop<H> {
    /// This machine.
    pub host: H,
    /// Turns a resolved config into file texts.
    pub renderer: Renderer,
    /// How often the files are looked at although nothing changed.
    pub resync: Duration,
    /// What the tree wants.
    pub resolved: watch::Receiver<Option<Arc<Resolved>>>,
    /// What it reports.
    pub outcome: watch::Sender<Outcome>,
    /// What Superset was last told to load.
    pub memory: Memory,
    /// When the loop last turned.
    pub heartbeat: watch::Sender<Instant>,
}

/// What Superset was last told to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Memory {
    /// This revision.
    Revision(Revision),
    /// A reload was begun, and nobody knows how it ended.
    Unknown,
    /// Nothing is remembered.
    Nothing,
}

impl Memory {
    fn loaded(&self) -> Loaded<'_> {
        match self {
            Self::Revision(revision) => Loaded::Revision(revision),
            Self::Unknown => Loaded::Unknown,
            Self::Nothing => Loaded::Nothing,
        }
    }
}

/// How one pass ended.
enum Pass {
    /// Nothing is left to do.
    Done,
    /// Something outside failed: try again later.
    Failed(Fault),
    /// What the tree or a file says cannot be applied: wait for a change.
    Held(String, Vec<Problem>),
}

/// How often the loop shows that it turns.
const HEARTBEAT: Duration = Duration::from_secs(5);

impl<H: Host> ConfigLoop<H> {
    /// Runs until cancelled; a pass under way is finished first.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut backoff = Backoff::default();
        let mut look_at = None;
        loop {
            self.heartbeat.send_replace(Instant::now());
            tokio::select! {
                () = cancel.cancelled() => break,
                changed = self.resolved.changed() => match changed {
                    Ok(()) => backoff = Backoff::default(),
                    Err(_) => break,
                },
                () = sleep_to(look_at) => {}
                () = tokio::time::sleep(HEARTBEAT) => continue,
            }
            let began = Instant::now();
            let pass = self.pass().await;
            metrics::reconciled(began.elapsed());
            look_at = match pass {
                Some(Pass::Failed(_)) => {
                    backoff = backoff.after_failure(Instant::now());
                    Some(backoff.until())
                }
                Some(_) => Some(Instant::now() + self.resync),
                None => None,
            };
        }
    }

    /// One pass: read, render, observe, plan, apply, report. `None` where there is no tree yet.
    async fn pass(&mut self) -> Option<Pass> {
        let resolved = self.resolved.borrow_and_update().clone()?;
        let mut desired = Version { release: Some(resolved.resolution.release.clone()), revision: None };
        let pass = match self.rendered(&resolved) {
            Ok((revision, wanted)) => {
                desired.revision = Some(revision.clone());
                self.converge(&desired, &revision, &wanted).await
            }
            Err(held) => held,
        };
        self.report(desired, &pass);
        Some(pass)
    }

    fn rendered(&mut self, resolved: &Resolved) -> Result<(Revision, Vec<FileWanted>), Pass> {
        let config = resolved.config().map_err(|held| Pass::Held(held.to_string(), Vec::new()))?;
        let rendered = self.host.sources().and_then(|sources| self.renderer.render(&resolved.key, config, &sources));
        let rendered = rendered.map_err(|problems| {
            let first = problems.first().map_or_else(String::new, ToString::to_string);
            Pass::Held(format!("{} in files to render: {first}", count(problems.len(), "problem")), problems)
        })?;
        let files = rendered.files.iter();
        let wanted = files.map(|file| FileWanted {
            path: file.target.path.clone(),
            mode: file.target.mode,
            bytes: Arc::from(Arc::clone(&file.text)),
        });
        Ok((rendered.revision, wanted.collect()))
    }

    async fn converge(&mut self, desired: &Version, revision: &Revision, wanted: &[FileWanted]) -> Pass {
        let steps = match self.host.observe(wanted) {
            Ok(seen) => files::plan(wanted, &seen, revision, self.memory.loaded(), self.host.reloads()),
            Err(fault) => return Pass::Failed(fault),
        };
        let changes = !steps.is_empty();
        if let Err(fault) = self.apply(&steps).await {
            return Pass::Failed(fault);
        }
        if let Err(fault) = self.host.serve().await {
            return Pass::Failed(fault);
        }
        if changes || self.memory != Memory::Revision(revision.clone()) {
            self.memory = Memory::Revision(revision.clone());
            self.host.remember(desired, wanted);
        }
        if changes {
            metrics::applied(true);
            let verbs: Vec<_> = steps.iter().map(verb).collect();
            info!(revision = %revision, steps = verbs.join(", "), "applied a revision");
        }
        Pass::Done
    }

    async fn apply(&mut self, steps: &[FileStep]) -> Result<(), Fault> {
        if steps.iter().any(is_reload) && self.memory != Memory::Unknown {
            self.host.intend().await?;
            self.memory = Memory::Unknown;
        }
        for step in steps {
            if is_reload(step) {
                self.outcome.send_modify(|outcome| outcome.state = State::Reloading);
            }
            let applied = self.host.apply(step).await;
            if is_reload(step) {
                metrics::reload(if applied.is_ok() { ReloadOutcome::Succeeded } else { ReloadOutcome::Failed });
            }
            applied?;
        }
        Ok(())
    }

    fn report(&self, desired: Version, pass: &Pass) {
        self.outcome.send_if_modified(|outcome| {
            let mut next = Outcome { desired, applied: outcome.applied.clone(), ..Outcome::default() };
            match pass {
                Pass::Done => {
                    next.state = State::InSync;
                    next.applied.clone_from(&next.desired);
                }
                Pass::Failed(fault) => {
                    metrics::applied(false);
                    next.state = State::Failed;
                    next.error = Some(fault.to_string());
                }
                Pass::Held(why, problems) => {
                    next.state = State::Held;
                    next.error = Some(why.clone());
                    next.problems = problems.clone().into();
                }
            }
            let is_new = *outcome != next;
            if is_new {
                if let Some(error) = &next.error {
                    warn!(state = ?next.state, error, "failed to apply the tree; the last good revision stays");
                }
                *outcome = next;
            }
            is_new
        });
    }
}

fn is_reload(step: &FileStep) -> bool {
    matches!(step, FileStep::Reload(_))
}

fn verb(step: &FileStep) -> &'static str {
    match step {
        FileStep::Install(_) => "install",
        FileStep::Reload(_) => "reload",
    }
}

fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}
