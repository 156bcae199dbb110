//! The look before each decision: what is published, what is completed, what the cluster and Superset say.
//!
//! Reads and resolves; what is meant is chosen by [`target`](crate::rollout::target), what comes next by the course.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tracing::{debug, info};

use super::Running;
use super::candidate::Candidate;
use super::presence::Nobody;
use crate::desired::resolver::Resolver;
use crate::model::digest::{Release, Revision};
use crate::model::instance::State;
use crate::model::problem::Problem;
use crate::model::snapshot::{Branch, Snapshot};
use crate::plan::files::{FileWanted, lacking};
use crate::rollout::course::Course;
use crate::rollout::job::{Canaries, Place, Target, View};
use crate::rollout::target::{Choice, Goal, Stay, choose, choose_at_start};
use crate::world::{Board, Fault, Host};

/// How often canaries are asked for, and what could not be read is read again.
const LOOK: Duration = Duration::from_secs(2);
/// Why a release cannot be carried out here, and all problems of its files.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Held {
    pub why: String,
    pub problems: Vec<Problem>,
}

/// What was seen at the last look.
pub(super) struct Seen {
    /// Whether what is published is to be rendered again.
    pub is_stale: bool,
    /// Which release is published, and what it comes to here.
    pub published: Option<(Release, Result<Arc<Candidate>, Held>)>,
    /// The completed release, and what it comes to here, where it was asked for.
    completed: Option<(Release, Option<Arc<Candidate>>)>,
    /// The files of whatever may be under way.
    pub known: BTreeMap<Revision, Arc<Candidate>>,
    pub choice: Choice,
    pub target: Target,
    /// That nobody was found to be told, while that is believed.
    pub nobody: Option<Nobody>,
    is_paused: bool,
    canaries: (Option<Release>, Canaries),
    pub once: Once,
    /// When to look again although nothing happened.
    pub look_at: Option<Instant>,
    /// When to see whether the release is completed.
    pub complete_at: Option<Instant>,
    /// Until when what failed is not asked again.
    ask_at: Option<Instant>,
}

/// What is done once in the life of an agent.
#[derive(Default)]
pub(super) struct Once {
    /// The slot of an earlier run of this agent was looked for.
    pub has_recalled: bool,
    /// What lies on disk was compared with what ran well last.
    pub has_compared: bool,
    /// When that is done although nobody knows what is meant.
    pub compare_at: Option<Instant>,
    /// It was found out what lay on disk before the first release.
    pub has_found: bool,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            is_stale: true,
            published: None,
            completed: None,
            known: BTreeMap::new(),
            choice: Choice::Stay(Stay::NothingPublished),
            target: Target::Nobody,
            nobody: None,
            is_paused: false,
            canaries: (None, Canaries::Done),
            once: Once::default(),
            look_at: None,
            complete_at: None,
            ask_at: None,
        }
    }
}

impl Seen {
    /// The files of a revision.
    pub fn candidate(&self, revision: &Revision) -> Option<&Arc<Candidate>> {
        self.known.get(revision)
    }

    /// The goal, once it runs here.
    pub fn running_goal(&self, course: &Course) -> Option<Goal> {
        self.choice.goal().filter(|goal| course.runs(&goal.revision)).cloned()
    }

    fn know(&mut self, candidate: &Arc<Candidate>) {
        self.known.insert(candidate.goal.revision.clone(), Arc::clone(candidate));
    }

    fn published_goal(&self) -> Option<&Goal> {
        self.published.as_ref()?.1.as_ref().ok().map(|candidate| &candidate.goal)
    }

    fn completed_goal(&self) -> Option<&Goal> {
        self.completed.as_ref()?.1.as_ref().map(|candidate| &candidate.goal)
    }
}

impl<H: Host, B: Board> Running<H, B> {
    pub(super) async fn look(&mut self) {
        let now = Instant::now();
        self.seen.look_at = None;
        self.look_at_superset(now).await;
        if now >= self.resync_at {
            self.resync(now);
        }
        if !self.seen.once.has_recalled && self.given.board.connected() {
            let recalled = self.given.board.recall().await;
            self.seen.once.has_recalled = self.told(recalled, "failed to look for the slot of an earlier run").is_some();
        }
        // A check that was given up for something newer is followed by no rest in which that would be noticed.
        let is_newer = self.given.resolved.has_changed().unwrap_or(false);
        if std::mem::take(&mut self.seen.is_stale) || is_newer {
            self.render();
        }
        self.choose().await;
        self.find(now);
        self.course.lease(self.given.board.lease());
        self.course.aim(self.seen.choice.goal().cloned(), now);
        self.look_at_canaries().await;
    }

    pub(super) fn view(&self) -> View {
        let is_of_goal = self.seen.canaries.0.as_ref() == self.seen.choice.goal().map(|goal| &goal.release);
        // Until they were looked at, nobody waits for them.
        let canaries = if is_of_goal { self.seen.canaries.1 } else { Canaries::Working };
        let has_others = self.given.board.is_shared() && self.given.rules.place == Place::InTurn;
        View {
            target: self.seen.target,
            connected: self.given.board.connected(),
            paused: self.seen.is_paused,
            canaries: if has_others { canaries } else { Canaries::Done },
        }
    }

    /// Looks at everything as if it had changed.
    fn resync(&mut self, now: Instant) {
        self.resync_at = now + self.given.resync;
        self.seen.is_stale = true;
        self.seen.complete_at = Some(now);
        let live = self.course.journal().live.clone();
        if live.and_then(|live| self.files_of(&live)).is_some_and(|files| !self.is_installed(&files)) {
            info!("a rendered file was changed by hand");
            self.course.doubt_files();
        }
    }

    pub(super) fn is_installed(&self, files: &[FileWanted]) -> bool {
        self.given.host.observe(files).is_ok_and(|seen| lacking(files, &seen).is_empty())
    }

    /// Renders what is published.
    fn render(&mut self) {
        let Some(resolved) = self.given.resolved.borrow_and_update().clone() else { return };
        let release = resolved.resolution.release.clone();
        let held = |why: String, problems| Held { why, problems };
        let rendered = match resolved.config() {
            Err(why) => Err(held(why.to_string(), Vec::new())),
            Ok(config) => {
                let sources = self.given.host.sources();
                let rendered = sources
                    .and_then(|sources| Candidate::render(&mut self.given.renderer, &resolved.key, &release, config, &sources));
                rendered.map(Arc::new).map_err(|problems| held(files_held(&problems), problems))
            }
        };
        self.seen.published = Some((release, rendered));
        // What was completed is seen through the same base and templates.
        self.seen.completed = None;
    }

    /// Chooses what this instance should run.
    async fn choose(&mut self) {
        let Some(resolved) = self.given.resolved.borrow().clone() else { return };
        let rollout = &resolved.resolution.rollout;
        self.seen.is_paused = resolved.pause.as_ref().is_some_and(|pause| pause.holds(Timestamp::now()));
        if let Some(end) = resolved.pause.as_ref().and_then(|pause| pause.until).filter(|_| self.seen.is_paused) {
            let left = end.duration_since(Timestamp::now());
            self.look_again(Duration::try_from(left).unwrap_or_default() + Duration::from_millis(10));
        }
        if self.given.board.is_shared() && !resolved.resolution.rollout_is_unreadable {
            for revision in self.course.follow_quarantine(rollout) {
                info!(%revision, "a revision is in quarantine no more");
                self.given.host.forget(&revision).await;
            }
        }
        // With nothing to go back to, what the others have is safer than what is published.
        let is_start = self.seen.target == Target::Unstarted;
        let is_new = is_start || (self.given.board.is_shared() && self.course.journal().good.is_none());
        let published = self.seen.published_goal().cloned();
        let is_barred = published.as_ref().is_some_and(|goal| rollout.bars(&goal.release, Some(&goal.revision)).is_some());
        if let Some(completed) = rollout.completed.clone()
            && (is_barred || is_new)
            && published.as_ref().is_none_or(|goal| goal.release != completed)
        {
            self.read_completed(&completed).await;
        }
        let pick = if is_start || (is_new && self.seen.completed_goal().is_some()) { choose_at_start } else { choose };
        self.seen.choice = pick(published.as_ref(), self.seen.completed_goal(), rollout);
        self.note_known();
    }

    /// Keeps the files of what is meant, and of what may be under way.
    fn note_known(&mut self) {
        let Self { seen, course, .. } = self;
        if course.is_idle() {
            seen.known.clear();
        }
        let published = seen.published.as_ref().and_then(|(_, candidate)| candidate.as_ref().ok()).cloned();
        let completed = seen.completed.as_ref().and_then(|(_, candidate)| candidate.clone());
        for candidate in [published, completed].into_iter().flatten() {
            seen.know(&candidate);
        }
    }

    /// Reads the completed release's tree, once, and resolves it with this instance's own labels.
    async fn read_completed(&mut self, release: &Release) {
        let is_known = self.seen.completed.as_ref().is_some_and(|(known, _)| known == release);
        if is_known || !self.given.board.connected() || self.seen.ask_at.is_some_and(|at| at > Instant::now()) {
            return;
        }
        let kept = self.given.board.kept(release).await;
        let Some(tree) = self.told(kept, "failed to read the completed release") else { return };
        let candidate = tree.and_then(|tree| self.resolve_kept(release, tree));
        self.seen.completed = Some((release.clone(), candidate));
    }

    fn resolve_kept(&mut self, release: &Release, config: Branch) -> Option<Arc<Candidate>> {
        let key = Arc::clone(&self.given.resolved.borrow().as_ref()?.key);
        let snapshot = Snapshot { config, ..Snapshot::default() };
        let resolution = Resolver::new(self.given.lens.clone()).resolve(&key, &snapshot);
        let config = resolution.config.ok()?;
        let sources = self.given.host.sources().ok()?;
        Candidate::render(&mut self.given.renderer, &key, release, &config, &sources).ok().map(Arc::new)
    }

    /// Asks how the canaries fare, while this instance waits for its turn.
    async fn look_at_canaries(&mut self) {
        let view = self.view();
        let Some(goal) = self.seen.choice.goal().cloned() else { return };
        let waits = self.given.board.is_shared()
            && self.given.rules.place == Place::InTurn
            && view.connected
            && view.target == Target::Running
            && matches!(self.course.state(view).0, State::Waiting | State::Paused);
        let is_done = self.seen.canaries == (Some(goal.release.clone()), Canaries::Done);
        if !waits || is_done {
            return;
        }
        self.look_again(LOOK);
        if self.seen.ask_at.is_some_and(|at| at > Instant::now()) {
            return;
        }
        let asked = self.given.board.canaries(&goal.release).await;
        if let Some(canaries) = self.told(asked, "failed to look at the canaries") {
            self.seen.canaries = (Some(goal.release), canaries);
        }
    }

    pub(super) fn look_again(&mut self, after: Duration) {
        let at = Instant::now() + after;
        self.seen.look_at = Some(self.seen.look_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// What was answered; what failed is asked again a little later.
    fn told<T>(&mut self, answer: Result<T, Fault>, what: &'static str) -> Option<T> {
        match answer {
            Ok(answer) => {
                self.seen.ask_at = None;
                Some(answer)
            }
            Err(fault) => {
                debug!(error = %fault, "{what}");
                self.seen.ask_at = Some(Instant::now() + LOOK);
                self.look_again(LOOK);
                None
            }
        }
    }
}

fn files_held(problems: &[Problem]) -> String {
    let first = problems.first().map_or_else(String::new, ToString::to_string);
    let plural = if problems.len() == 1 { "" } else { "s" };
    format!("{} problem{plural} in files to render: {first}", problems.len())
}
