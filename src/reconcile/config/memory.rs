//! What the loop remembers of files: those that ran well last, and those that were there before the first release.
//!
//! Remembered is what the course calls good, as soon as it does: a way back that begins a moment later needs its files.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::RngExt;
use tracing::info;

use super::Running;
use super::candidate::{Candidate, version, wanted};
use crate::files::state::{Applied, FileCopy};
use crate::metrics;
use crate::model::digest::Revision;
use crate::plan::files::FileWanted;
use crate::rollout::job::Target;
use crate::rollout::target::Goal;
use crate::world::{Board, Host};

/// How long until what this instance has done shows in its record, on which a release's completion is judged.
const SHOWN_AFTER: Duration = Duration::from_secs(2);

impl<H: Host, B: Board> Running<H, B> {
    /// Remembers what has just proved good.
    pub(super) fn remember_good(&mut self) {
        let good = self.course.journal().good.clone().filter(|good| !good.is_unnamed());
        let is_known = good == self.given.memory.borrow().applied.version.revision;
        if let Some(candidate) = good.filter(|_| !is_known).and_then(|good| self.seen.known.get(&good).cloned()) {
            self.remember(&candidate, &candidate.goal);
        }
    }

    /// Remembers that what runs here is what another release comes to, too.
    pub(super) fn remember_release(&mut self) {
        let Some(goal) = self.seen.running_goal(&self.course) else { return };
        let is_known = self.given.memory.borrow().applied.version == version(&goal);
        if let Some(candidate) = self.seen.known.get(&goal.revision).filter(|_| !is_known).cloned() {
            self.remember(&candidate, &goal);
        }
    }

    fn remember(&mut self, candidate: &Arc<Candidate>, goal: &Goal) {
        let protected = self.proven.get(&goal.revision).cloned();
        let journal = self.course.journal().clone();
        self.given.memory.send_modify(|memory| {
            if memory.applied.version.revision.as_ref() != Some(&goal.revision) {
                memory.protected = protected;
            }
            memory.applied = Applied { version: version(goal), ..candidate.applied() };
            memory.journal = journal;
        });
        self.proven.retain(|revision, _| *revision == goal.revision);
        let jitter = rand::rng().random_range(1.0..2.0);
        self.seen.complete_at = Some(Instant::now() + SHOWN_AFTER.mul_f64(jitter));
        metrics::applied(true);
        info!(release = %goal.release, revision = %goal.revision, "applied a revision");
    }

    /// The files of a revision: of a candidate, or those that ran well last.
    pub(super) fn files_of(&self, revision: &Revision) -> Option<Vec<FileWanted>> {
        if let Some(candidate) = self.seen.candidate(revision) {
            return Some(candidate.files.clone());
        }
        let memory = self.given.memory.borrow();
        (self.course.journal().good.as_ref() == Some(revision)).then(|| wanted(&memory.applied))
    }

    /// Sees, once, whether an earlier run died between the files and the reload. What is meant may take a moment to be known, and may be
    /// what lies there; where it stays unknown (ZooKeeper is away, the tree is held), an unproven file must not lie there for long.
    fn compare(&mut self, now: Instant) {
        if self.seen.once.has_compared {
            return;
        }
        let at = *self.seen.once.compare_at.get_or_insert(now + self.given.rules.alone_after);
        if self.seen.choice.goal().is_none() && at > now {
            self.look_again(at - now);
            return;
        }
        self.seen.once.has_compared = true;
        if self.course.journal().live.is_some() && !self.is_installed(&wanted(&self.given.memory.borrow().applied)) {
            self.course.doubt_files();
        }
    }

    /// Sees, before the first release of all, what lies where its files are to lie: ours from a state that was lost, or somebody's
    /// own, which is kept to go back to.
    pub(super) fn find(&mut self, now: Instant) {
        self.compare(now);
        let Some(goal) = self.seen.choice.goal().filter(|_| !self.seen.once.has_found) else { return };
        self.seen.once.has_found = true;
        let journal = self.course.journal();
        let Some(candidate) = self.seen.known.get(&goal.revision).filter(|_| journal.live.is_none() && journal.good.is_none())
        else {
            return;
        };
        let candidate = Arc::clone(candidate);
        if self.seen.target != Target::Unstarted && self.is_installed(&candidate.files) {
            self.course.found(&candidate.goal.revision, false);
        } else if self.seen.target == Target::Running
            && let Ok(seen) = self.given.host.observe(&candidate.files)
        {
            let there = candidate.files.iter().zip(seen).filter_map(|(wanted, seen)| {
                let seen = seen?;
                Some(FileWanted { path: wanted.path.clone(), mode: seen.mode, bytes: seen.bytes.into() })
            });
            let files: Vec<_> = there.collect();
            if files.is_empty() {
                return;
            }
            self.take_as_found(&files);
            self.course.found(&Revision::unnamed(), true);
        }
        self.note_journal();
    }

    /// Takes files that are not ours for what ran well last: whatever comes after them can be taken back.
    pub(super) fn take_as_found(&mut self, files: &[FileWanted]) {
        let copies = files.iter().map(|file| FileCopy::new(&file.path, file.mode, file.bytes.to_vec())).collect();
        self.given.memory.send_modify(|memory| {
            memory.applied = Applied { files: copies, ..Applied::default() };
            memory.protected = None;
        });
    }
}
