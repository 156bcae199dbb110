//! The loop that keeps this machine's rendered files as the tree wants them, and Superset loaded with them.
//!
//! ```text
//! resolved ─▶ look: which release is meant, and its files ─▶ course: one job ─▶ perform ─▶ outcome back into the course
//!                    ▲ completed tree, quarantine, pause, slots ◀─ board                        └─▶ report
//! ```
//!
//! The [`Course`] decides, step by step, how a release gets here; this loop shows it the world and carries out what it asks
//! for, one job at a time. A tree or a template that is not valid leaves the last good revision where it is (law 2). At each
//! resync the files are looked at even if nothing changed, so that an edit by hand does not stay.

mod boot;
mod candidate;
mod look;
mod memory;
mod perform;
mod presence;
mod prove;
mod report;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

pub use self::boot::Boot;
use self::look::Seen;
pub use self::report::Account;
use super::resolve::Resolved;
use super::sleep_to;
use crate::desired::lens::Lens;
use crate::files::state::LastGood;
use crate::metrics;
use crate::model::digest::{Release, Revision};
use crate::model::protected::Protected;
use crate::render::renderer::Renderer;
use crate::rollout::course::Course;
use crate::rollout::job::{Job, Rules};
use crate::world::{Board, Host};

/// How often it is looked whether all have what this instance has.
const COMPLETE_AGAIN: Duration = Duration::from_secs(30);
/// How often the loop shows that it turns.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// The loop and what it needs.
pub struct ConfigLoop<H, B> {
    /// This machine.
    pub host: H,
    /// The cluster.
    pub board: B,
    /// Turns a resolved config into file texts.
    pub renderer: Renderer,
    /// How a kept tree is seen from here.
    pub lens: Lens,
    /// How a release gets here.
    pub rules: Rules,
    /// What Superset is started from, where that is ours to do.
    pub boot: Option<Boot>,
    /// Which protected settings may change.
    pub allow_protected: Vec<String>,
    /// How often the files are looked at although nothing changed.
    pub resync: Duration,
    /// What the tree wants.
    pub resolved: watch::Receiver<Option<Arc<Resolved>>>,
    /// What it reports.
    pub account: watch::Sender<Account>,
    /// What survives a restart.
    pub memory: watch::Sender<LastGood>,
    /// When the loop last turned.
    pub heartbeat: watch::Sender<Instant>,
}

/// The loop while it runs.
struct Running<H, B> {
    given: ConfigLoop<H, B>,
    course: Course,
    seen: Seen,
    /// What must not change unnoticed, in the candidates that were proven.
    proven: BTreeMap<Revision, Protected>,
    resync_at: Instant,
}

impl<H: Host, B: Board> ConfigLoop<H, B> {
    /// Runs until cancelled; a job under way is finished first, unless it changes nothing.
    pub async fn run(self, cancel: CancellationToken) {
        let course = Course::resume(self.rules.clone(), self.memory.borrow().journal.clone());
        let resync_at = Instant::now() + self.resync;
        let running = Running { given: self, course, seen: Seen::default(), proven: BTreeMap::new(), resync_at };
        running.run(&cancel).await;
    }
}

impl<H: Host, B: Board> Running<H, B> {
    async fn run(mut self, cancel: &CancellationToken) {
        while !cancel.is_cancelled() {
            let began = Instant::now();
            self.given.heartbeat.send_replace(began);
            self.look().await;
            let view = self.view();
            match self.course.next(Instant::now(), view) {
                Some(job) => {
                    // The record's write would meet the file's on the disk, and the file is what people wait for.
                    if !matches!(job, Job::Install(_)) {
                        self.report(view);
                    }
                    let done = self.carry_out(job, cancel).await;
                    metrics::reconciled(began.elapsed());
                    if !done {
                        return;
                    }
                }
                None => {
                    self.conclude().await;
                    self.report(view);
                    if !self.rest(cancel).await {
                        return;
                    }
                }
            }
        }
    }

    /// Carries out one job, while the loop goes on showing that it turns. `false` where it was given up.
    async fn carry_out(&mut self, job: Job, cancel: &CancellationToken) -> bool {
        let heartbeat = self.given.heartbeat.clone();
        let turn = async {
            loop {
                tokio::time::sleep(HEARTBEAT).await;
                // Each job ends by itself in its own time.
                heartbeat.send_replace(Instant::now());
            }
        };
        let outcome = tokio::select! {
            outcome = self.perform(job, cancel) => outcome,
            () = turn => return false,
        };
        let Some(outcome) = outcome else { return false };
        self.course.record(outcome, Instant::now());
        self.remember_good();
        self.note_journal();
        true
    }

    /// Hands the journal to whoever writes it down soon.
    fn note_journal(&mut self) {
        let journal = self.course.journal();
        self.given.memory.send_if_modified(|memory| {
            let is_new = memory.journal != *journal;
            memory.journal.clone_from(journal);
            is_new
        });
    }

    /// Waits until something may be left to do; `false` where nobody is left who would say so.
    async fn rest(&mut self, cancel: &CancellationToken) -> bool {
        let until = self.wake_at();
        loop {
            tokio::select! {
                () = cancel.cancelled() => return false,
                changed = self.given.resolved.changed() => {
                    self.seen.is_stale = true;
                    return changed.is_ok();
                }
                () = self.given.board.changed() => return true,
                () = sleep_to(Some(until)) => return true,
                () = tokio::time::sleep(HEARTBEAT) => drop(self.given.heartbeat.send_replace(Instant::now())),
            }
        }
    }

    fn wake_at(&self) -> Instant {
        let boot = self.given.boot.as_ref().and_then(Boot::wakes_at);
        let now = Instant::now();
        let others = [self.course.wake_after(now), self.seen.look_at, self.seen.complete_at, boot];
        others.into_iter().flatten().filter(|at| *at > now).fold(self.resync_at, Instant::min)
    }

    /// Whether everybody knows already that a release is completed.
    fn is_completed(&self, release: &Release) -> bool {
        let resolved = self.given.resolved.borrow();
        resolved.as_ref().is_some_and(|resolved| resolved.resolution.rollout.completed.as_ref() == Some(release))
    }

    /// What follows from having arrived: what is applied is remembered, and the cluster learns of a completed release.
    async fn conclude(&mut self) {
        self.remember_release();
        if self.seen.complete_at.is_some_and(|at| at <= Instant::now()) {
            self.seen.complete_at = None;
            let Some(goal) = self.seen.running_goal(&self.course).filter(|goal| !self.is_completed(&goal.release)) else {
                return;
            };
            let Some(resolved) = self.given.resolved.borrow().clone().filter(|tree| tree.resolution.release == goal.release)
            else {
                return;
            };
            match self.given.board.complete(&goal.release, &resolved.published).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(fault) => warn!(error = %fault, "failed to note a completed release"),
            }
            self.seen.complete_at = Some(Instant::now() + COMPLETE_AGAIN);
        }
    }
}
