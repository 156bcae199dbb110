//! The handoff: a new gunicorn takes over from the old one, and no request fails or waits.
//!
//! USR2 makes the old master start a new one on the same socket; when the new config answers, the old master is told to end. Whatever goes
//! wrong before that, the old one serves on: the new one is ended. What an earlier, interrupted handoff left is finished first, or undone
//! where the files are others by now: that successor may have loaded what is no longer wanted. Why a new master died
//! stands in gunicorn's log alone. Refused is what was measured to lose requests, or to die.

use std::time::Duration;

use rustix::process::Signal;
use thiserror::Error;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::gunicorn::{GunicornError, Target, master, signal};
use crate::processes::awake::{self, TooLate};
use crate::processes::clock::Moment;
use crate::processes::gunicorn::{self, Options, successor};
use crate::processes::pinned::Pinned;
use crate::processes::{Process, Table};

/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often the new config is asked for.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// How long a new master may take to be born, and how often gunicorn is asked for it: until it has noticed that its own
/// predecessor has ended, it ignores that.
const BIRTH_LIMIT: Duration = Duration::from_secs(15);
const BIRTH_AGAIN: Duration = Duration::from_secs(2);
/// How long a new master that was found may take to answer: an old one that was told to end has usually ended by then.
const RESUME_LIMIT: Duration = Duration::from_secs(45);
/// How long a new master that failed may take to end before it is killed.
const QUIT_LIMIT: Duration = Duration::from_secs(5);
/// How long an old master has at least to end: it waits for its requests, as long as its `--graceful-timeout`.
const END_AT_LEAST: Duration = Duration::from_secs(5);
/// How long the pid file may take to get its name back.
const RENAME_LIMIT: Duration = Duration::from_secs(5);
/// How long a new config may answer with failures alone: users meet them, so it is not given its whole time.
pub(super) const BROKEN_FOR: Duration = Duration::from_secs(2);
/// The first gunicorn whose threads lose no request in a handoff (23.0.0 lost 18 of 1804).
const SAFE_THREADS: u32 = 24;

/// What a handoff has to keep to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long the new config may take to answer.
    pub answers: Duration,
    /// When all of it is to be over.
    pub until: Instant,
    /// When the files were last changed: who started later has loaded them as they are.
    pub changed: Moment,
}

impl Terms {
    /// What is left of the time.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// What is left for the new config to answer.
    fn answers(&self) -> Duration {
        self.answers.min(self.left())
    }
}

/// Who took over from whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handed {
    /// The old master.
    pub old: i32,
    /// The new one.
    pub new: i32,
}

/// Why nothing was handed over.
#[derive(Debug, Error)]
pub enum HandoffError {
    /// Gunicorn was not found, or could not be signalled.
    #[error(transparent)]
    Gunicorn(#[from] GunicornError),
    /// A handoff cannot work with this gunicorn.
    #[error("gunicorn {pid} cannot be handed over: {why}")]
    Refused {
        /// The master.
        pid: i32,
        /// Why.
        why: &'static str,
        /// What to do about it.
        hint: &'static str,
    },
    /// No new master came.
    #[error("gunicorn {0} started no new master")]
    NotBorn(i32),
    /// The new master has ended by itself.
    #[error("the new gunicorn {0} ended before it answered; the old one serves on")]
    Died(i32),
    /// The new config did not answer in time; the new master was ended.
    #[error("the new gunicorn {pid} did not answer with the new config within {limit:?}; the old one serves on")]
    Silent {
        /// The new master.
        pid: i32,
        /// How long it had.
        limit: Duration,
    },
    /// The new config answers with failures; the new master was ended.
    #[error("the new gunicorn {0} answers with failures; the old one serves on")]
    Broken(i32),
    /// The old master has ended by itself, and the new one does not answer with the new config.
    #[error("the old gunicorn {0} has ended, and the new one does not answer with the new config")]
    Alone(i32),
    /// The new one serves, and the old one does not end.
    #[error("the old gunicorn {pid} did not end within {limit:?}; the new one serves")]
    Lingers {
        /// The old master.
        pid: i32,
        /// How long it had.
        limit: Duration,
    },
}

impl HandoffError {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Gunicorn(error) => error.hint(),
            Self::Refused { hint, .. } => Some(hint),
            Self::Died(_) | Self::NotBorn(_) | Self::Silent { .. } | Self::Broken(_) | Self::Alone(_) => {
                Some("the reason is in gunicorn's log")
            }
            Self::Lingers { .. } => Some("a request is slower than gunicorn's `--graceful-timeout`"),
        }
    }
}

/// How the new config answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// Well.
    Well,
    /// With a failure.
    Badly,
    /// Not yet, or somebody else does.
    NotYet,
}

/// How waiting for the new config came out.
enum Came {
    Answered,
    Broken,
    NewEnded,
    OldEnded,
    TooLate,
}

/// Hands over from the master that `target` names; `answers` says whether the new config answers already.
pub async fn hand_over<A: Future<Output = Answers>>(
    target: &Target,
    terms: Terms,
    answers: impl Fn() -> A,
) -> Result<Handed, HandoffError> {
    let mut old = master(target)?;
    refuse(old.process())?;
    if let Some(new) = child(&old)? {
        match resume(&old, &new, terms, &answers).await {
            Came::Answered => return take_over(&old, &new, terms).await,
            Came::OldEnded => old = new,
            Came::NewEnded => {}
            Came::TooLate | Came::Broken => dismiss(&new).await,
        }
    }
    let new = bear(&old).await?;
    let pid = new.process().pid;
    let limit = terms.answers();
    match wait(&old, &new, limit, &answers).await {
        Came::Answered => take_over(&old, &new, terms).await,
        Came::NewEnded => Err(HandoffError::Died(pid)),
        Came::Broken => {
            dismiss(&new).await;
            Err(HandoffError::Broken(pid))
        }
        Came::OldEnded => Err(HandoffError::Alone(old.process().pid)),
        Came::TooLate => {
            dismiss(&new).await;
            Err(HandoffError::Silent { pid, limit })
        }
    }
}

/// What comes of a successor that an interrupted handoff has left.
async fn resume<A: Future<Output = Answers>>(old: &Pinned, new: &Pinned, terms: Terms, answers: &impl Fn() -> A) -> Came {
    let (before, after) = (old.process(), new.process());
    warn!(old = before.pid, new = after.pid, "found a handoff that was interrupted");
    if after.started() >= terms.changed {
        return wait(old, new, terms.answers().min(RESUME_LIMIT), answers).await;
    }
    if gunicorn::listens_with(before, after) {
        warn!(new = after.pid, "it has loaded other files than those that are wanted; it is ended");
        return Came::TooLate;
    }
    // The old one was told to end already: the new one is what users meet, and hands over to one with the right files.
    old.ends_within(terms.left().min(RESUME_LIMIT)).await;
    Came::OldEnded
}

/// Whether a handoff from this master can work.
pub fn refuse(master: &Process) -> Result<(), HandoffError> {
    let refused = |why, hint| Err(HandoffError::Refused { pid: master.pid, why, hint });
    let options = Options::of(master);
    if master.pid == 1 {
        return refused("it is process 1, with which everything ends", "start it as `setkeeper run -- gunicorn …`");
    }
    if options.is_hidden() {
        return refused(
            "a title hides how it was started",
            "take setproctitle out of its environment, or set reload.strategy to hup",
        );
    }
    if options.reuses_port() {
        return refused("it reuses its port, so a new master dies at once", "start it without `--reuse-port`");
    }
    if options.is_module() {
        return refused(
            "it runs as a module of Python, so a new master dies",
            "start it as `gunicorn`, not `python -m gunicorn`",
        );
    }
    match options.major_version() {
        _ if !options.is_threaded() => Ok(()),
        Some(SAFE_THREADS..) => Ok(()),
        Some(_) => {
            refused("its threads lose requests in a handoff", "install gunicorn 24 or later, or set reload.strategy to hup")
        }
        None => refused("its version is not known, and old ones lose requests", "set reload.strategy to hup"),
    }
}

/// Makes the old master start a new one.
async fn bear(old: &Pinned) -> Result<Pinned, HandoffError> {
    let pid = old.process().pid;
    let (began, mut asked) = (Instant::now(), None::<Instant>);
    while began.elapsed() < BIRTH_LIMIT && old.is_alive() {
        if asked.is_none_or(|asked| asked.elapsed() > BIRTH_AGAIN) {
            signal(old, Signal::USR2).await?;
            asked = Some(Instant::now());
        }
        if let Some(new) = child(old)? {
            info!(old = pid, new = new.process().pid, "a new gunicorn starts");
            return Ok(new);
        }
        sleep(LOOK_EVERY).await;
    }
    Err(HandoffError::NotBorn(pid))
}

/// The new master beside this one.
fn child(old: &Pinned) -> Result<Option<Pinned>, HandoffError> {
    let table = Table::read().map_err(|source| GunicornError::Look("gunicorn", source))?;
    Ok(successor(&table, old.process().pid).and_then(|new| Pinned::new(new.pid).ok()))
}

async fn wait<A: Future<Output = Answers>>(old: &Pinned, new: &Pinned, limit: Duration, answers: &impl Fn() -> A) -> Came {
    let mut broken_since = None::<Instant>;
    let came = async {
        loop {
            if !new.is_alive() {
                return Came::NewEnded;
            }
            match answers().await {
                Answers::Well => return Came::Answered,
                // The old one answers in between, so that one that is not broken would have answered well by then.
                Answers::Badly => broken_since = Some(broken_since.unwrap_or_else(Instant::now)),
                Answers::NotYet => {}
            }
            if broken_since.is_some_and(|since| since.elapsed() >= BROKEN_FOR) && old.is_alive() {
                return Came::Broken;
            }
            sleep(ASK_EVERY).await;
        }
    };
    match awake::timeout(limit, came).await {
        Ok(came) => came,
        // Where only the new master is left, it must not be ended.
        Err(TooLate) if old.is_alive() => Came::TooLate,
        Err(TooLate) => Came::OldEnded,
    }
}

/// Ends the old master, and waits until the new one has its place.
async fn take_over(old: &Pinned, new: &Pinned, terms: Terms) -> Result<Handed, HandoffError> {
    let handed = Handed { old: old.process().pid, new: new.process().pid };
    if old.is_alive() {
        match old.signal(Signal::TERM) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(GunicornError::Signal { pid: handed.old, source }.into());
            }
            _ => {}
        }
    }
    let limit = terms.left().max(END_AT_LEAST);
    if !old.ends_within(limit).await {
        return Err(HandoffError::Lingers { pid: handed.old, limit });
    }
    if let Some(file) = Options::of(new.process()).pid_file().map(|file| new.process().file(file)) {
        let began = Instant::now();
        let is_named = || std::fs::read_to_string(&file).is_ok_and(|text| text.trim().parse() == Ok(handed.new));
        while !is_named() && began.elapsed() < RENAME_LIMIT {
            sleep(LOOK_EVERY).await;
        }
    }
    info!(old = handed.old, new = handed.new, "the new gunicorn has taken over");
    Ok(handed)
}

/// Ends a new master that failed: QUIT does not wait for its requests, which TERM would (30 s where its config hangs).
async fn dismiss(new: &Pinned) {
    for by in [Signal::QUIT, Signal::KILL] {
        // Who has just ended is what is wanted.
        let _ = new.signal(by);
        if new.ends_within(QUIT_LIMIT).await {
            return;
        }
    }
    warn!(pid = new.process().pid, "a new gunicorn that failed does not end");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processes::process;

    #[test]
    fn a_master_that_cannot_hand_over_is_refused_for_its_own_reason() {
        let why = |pid: i32, line: &str| match refuse(&process(pid, 1, line)) {
            Err(HandoffError::Refused { why, .. }) => why,
            other => panic!("{line}: {other:?}"),
        };
        // No process has this number: what else there is to read of one, nobody finds.
        let pid = i32::MAX;
        assert!(refuse(&process(pid, 1, "gunicorn app")).is_ok());
        assert!(why(1, "gunicorn app").contains("process 1"));
        assert!(why(pid, "gunicorn: master [app]").contains("title"));
        assert!(why(pid, "gunicorn --reuse-port app").contains("port"));
        assert!(why(pid, "python -m gunicorn app").contains("module"));
        assert!(why(pid, "gunicorn --threads 4 app").contains("version"));
    }
}
