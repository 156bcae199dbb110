//! The part that keeps what is published: each distinct tree as a release, and what came of it on this instance.
//!
//! Reads what should be true, who leads, this instance's record and the live session; writes `releases` and `trees`, which
//! nobody watches. The leader keeps a tree once it has stood still for a moment; everybody else looks a while later whether
//! that was done, and does it where nobody leads. (Who notes a release as completed has kept it before.) A tree that is held or in error is not kept. What fails is tried again,
//! and keeps nothing else from working.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::model::digest::Release;
use crate::model::instance::{Instance, Standing, State};
use crate::model::release::Fate;
use crate::processes::clock::Moment;
use crate::reconcile::resolve::Resolved;
use crate::reconcile::sleep_to;
use crate::zookeeper::cluster::Cluster;
use crate::zookeeper::error::Error;
use crate::zookeeper::releases::archive::Archived;
use crate::zookeeper::releases::trim::Bounds;

/// How much longer than the leader everybody else waits, at least; up to twice that.
const YIELD: Duration = Duration::from_secs(10);

/// How long to wait after a failure, and before an outcome is noted again whose release was not kept yet.
const AGAIN: Duration = Duration::from_secs(15);

/// Of how many releases the outcomes are kept in mind.
const FATES: usize = 8;

/// The archivist and what it reads.
pub(super) struct Archivist {
    /// What should be true.
    pub resolved: watch::Receiver<Option<Arc<Resolved>>>,
    /// Whether this instance leads.
    pub standing: watch::Receiver<Standing>,
    /// What this instance says of itself.
    pub record: watch::Receiver<Option<Instance>>,
    /// The live session.
    pub cluster: watch::Receiver<Option<Cluster>>,
    /// How long a tree must stand still first.
    pub settle: Duration,
    /// How much is kept.
    pub bounds: Bounds,
}

/// What is left to do, and what was done last.
#[derive(Default)]
struct Books {
    wanted: Option<Release>,
    kept: Option<Release>,
    keep_at: Option<Instant>,
    /// What came of the releases of late, the newest last, and which of it is written down: one may follow the other at once.
    fates: Vec<(Release, Fate)>,
    noted: Vec<(Release, Fate)>,
    note_at: Option<Instant>,
    failure: Option<String>,
}

impl Archivist {
    /// Runs until cancelled.
    pub(super) async fn run(mut self, cancel: CancellationToken) {
        let mut books = Books::default();
        loop {
            let changed = tokio::select! {
                () = cancel.cancelled() => return,
                changed = self.resolved.changed() => changed,
                changed = self.record.changed() => changed,
                changed = self.standing.changed() => changed,
                () = sleep_to(books.keep_at) => {
                    let kept = self.keep(&mut books);
                    if cancel.run_until_cancelled(kept).await.is_none() {
                        return;
                    }
                    continue;
                }
                () = sleep_to(books.note_at) => {
                    let noted = self.note(&mut books);
                    if cancel.run_until_cancelled(noted).await.is_none() {
                        return;
                    }
                    continue;
                }
            };
            if changed.is_err() {
                return;
            }
            self.look(&mut books);
        }
    }

    /// Sees what is to be done, and when.
    fn look(&mut self, books: &mut Books) {
        let now = Instant::now();
        let wanted =
            self.resolved.borrow_and_update().as_ref().filter(|tree| is_sound(tree)).map(|tree| tree.resolution.release.clone());
        let leads = self.standing.borrow_and_update().leads(Moment::now());
        if wanted != books.wanted {
            books.keep_at = None;
            books.wanted = wanted;
        }
        if books.wanted.is_some() && books.wanted != books.kept {
            let grace = if leads { Duration::ZERO } else { YIELD.mul_f64(rand::random_range(1.0..2.0)) };
            let at = now + self.settle + grace;
            books.keep_at = Some(books.keep_at.map_or(at, |earlier| earlier.min(at)));
        }
        if let Some(fate) = self.record.borrow_and_update().as_ref().and_then(fate)
            && books.fates.last().is_none_or(|last| differs(last, &fate))
        {
            // One that was meant before and is meant again has an entry of its own for this time.
            books.noted.retain(|(release, _)| *release != fate.0);
            put(&mut books.fates, fate);
            books.note_at = Some(now + self.settle);
        }
    }

    async fn keep(&self, books: &mut Books) {
        books.keep_at = None;
        let tree = self.resolved.borrow().clone().filter(|tree| is_sound(tree));
        let (Some(tree), Some(cluster)) = (tree, self.cluster.borrow().clone()) else {
            books.keep_at = Some(Instant::now() + AGAIN);
            return;
        };
        let release = &tree.resolution.release;
        let kept = async {
            let archived = cluster.keep_within(self.bounds, release, &tree.published).await?;
            // The command line keeps what it publishes, and knows no bounds.
            if matches!(archived, Archived::Known(_)) && self.standing.borrow().leads(Moment::now()) {
                cluster.trim_releases(self.bounds).await?;
            }
            Ok::<_, Error>(())
        };
        match kept.await {
            Ok(()) => {
                books.failure = None;
                books.kept = Some(release.clone());
            }
            Err(error) => {
                books.keep_at = Some(Instant::now() + AGAIN);
                tell(&mut books.failure, &error, "failed to keep a release");
            }
        }
    }

    async fn note(&self, books: &mut Books) {
        books.note_at = None;
        for fate in books.fates.clone() {
            if books.noted.iter().all(|noted| differs(noted, &fate)) {
                self.note_one(books, fate).await;
            }
        }
    }

    async fn note_one(&self, books: &mut Books, (release, fate): (Release, Fate)) {
        let (instance, cluster) = (self.record.borrow().as_ref().map(|record| record.id.clone()), self.cluster.borrow().clone());
        let noted = match (instance, cluster) {
            (Some(instance), Some(cluster)) => cluster.note_fate(&release, &instance, &fate).await,
            _ => Ok(false),
        };
        match noted {
            Ok(true) => put(&mut books.noted, (release, fate)),
            // Nobody has kept it yet.
            Ok(false) => books.note_at = Some(Instant::now() + AGAIN),
            Err(error) => {
                books.note_at = Some(Instant::now() + AGAIN);
                tell(&mut books.failure, &error, "failed to note what came of a release");
            }
        }
    }
}

/// Whether a tree may be gone back to.
fn is_sound(resolved: &Resolved) -> bool {
    resolved.config().is_ok()
}

/// What came of the release that this instance should run, once something came of it.
fn fate(record: &Instance) -> Option<(Release, Fate)> {
    let is_over = matches!(record.state, State::InSync | State::Held | State::Failed);
    let release = record.desired.release.clone().filter(|_| is_over)?;
    Some((release, Fate::of(record, Timestamp::now())))
}

/// Whether it is news; the time alone is none.
fn differs(known: &(Release, Fate), now: &(Release, Fate)) -> bool {
    known.0 != now.0 || Fate { at: now.1.at, ..known.1.clone() } != now.1
}

/// Puts the newest of a release in the place of what was known of it; of late ones alone.
fn put(fates: &mut Vec<(Release, Fate)>, fate: (Release, Fate)) {
    fates.retain(|(release, _)| *release != fate.0);
    fates.push(fate);
    let surplus = fates.len().saturating_sub(FATES);
    fates.drain(..surplus);
}

/// A loss heals by itself and is told elsewhere; what stays the same is told once.
fn tell(told: &mut Option<String>, error: &Error, what: &'static str) {
    let text = error.to_string();
    if error.is_loss() || told.as_ref() == Some(&text) {
        debug!(error = text, "{what}");
        return;
    }
    warn!(error = text, hint = error.hint().unwrap_or_default(), "{what}");
    *told = Some(text);
}
