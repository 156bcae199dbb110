//! The keeper of a lock under which something runs: waits its turn, has the command run under leases, gives the lock on.
//!
//! ```text
//!   connect ─▶ is it to run? ─▶ stand in line ─▶ first ─▶ is it to run? ─▶ hold and run ─▶ what becomes of it ─▶ leave
//! ```
//!
//! In: a lock's name, an [`Errand`] that says what differs between the commands, and what the supervisor says. Out: the exit code, told to the
//! supervisor; talk on stderr. Until the command runs, whatever fails for a while is waited for; what a person has to mend is an end.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::super::{given, tree};
use crate::model::lock::{Holder, LockName};
use crate::output::{self, Advice};
use crate::processes::clock::Moment;
use crate::settings::Settings;
use crate::supervise::leased::keeping::{Keeping, Ran};
use crate::supervise::leased::wire::{Lease, Why};
use crate::zookeeper::access::Access;
use crate::zookeeper::cluster::{Cluster, LIMIT};
use crate::zookeeper::error::{Error, Retry};
use crate::zookeeper::lock::Line;

/// How long after a failure the next try comes.
const AGAIN: Duration = Duration::from_secs(1);
/// How often the same trouble is told again.
const TOLD_EVERY: Duration = Duration::from_secs(60);
/// How long leaving may take; the session's end does the same.
const LEAVING: Duration = Duration::from_secs(1);

/// What differs between the commands that run something under a lock.
pub(in crate::commands) trait Errand {
    /// Whether the command is to be run, asked before there is a place in the line and again in the first one; else the end.
    async fn is_to_run(&mut self, cluster: &Cluster) -> Result<Result<(), End>, Error>;

    /// What becomes of a command that has ended while the lock was certain. The place is still ours.
    async fn has_run(&self, cluster: &Cluster, line: &Line<'_>, finished: Finished) -> End;
}

/// How a command has ended.
pub(in crate::commands) struct Finished {
    /// Who ran it, and since when.
    pub holder: Holder,
    /// Its exit code.
    pub code: u8,
    /// Whether we were asked to end it.
    pub asked: bool,
}

/// How a session's work ended.
pub(in crate::commands) enum End {
    /// All is done, and said.
    Over(u8),
    /// Something failed, and is to be said.
    Failed(anyhow::Error),
    /// Nothing was started; it may work in another session.
    Again(Error),
}

/// Keeps the lock until all is done.
pub(in crate::commands) fn run(
    settings: &Settings,
    name: &LockName,
    limit: Option<Duration>,
    errand: impl Errand,
) -> anyhow::Result<ExitCode> {
    tree::block_on(async {
        let mut supervisor = Keeping::at_stdin().context("failed to take over the supervisor's socket")?;
        let stop = supervisor.stop.clone();
        let code = match tree::access(settings).await {
            Ok(access) => Keeper::new(name, limit, access, errand).run(&mut supervisor).await,
            Err(error) => {
                output::say(&output::failure(&error));
                Some(1)
            }
        };
        // Who told us to stop, or is gone, waits for no word.
        if let Some(code) = code.filter(|_| !stop.is_cancelled()) {
            supervisor.over(code).await;
        }
        Ok(ExitCode::SUCCESS)
    })
}

struct Keeper<'a, E> {
    name: &'a LockName,
    errand: E,
    access: Access,
    by: String,
    host: String,
    /// When waiting ends, and how long that was.
    deadline: Option<(Instant, Duration)>,
    /// What was said last of why we wait, and when.
    told: Option<(String, Instant)>,
}

impl<'a, E: Errand> Keeper<'a, E> {
    fn new(name: &'a LockName, limit: Option<Duration>, access: Access, errand: E) -> Self {
        let deadline = limit.and_then(|limit| Some((Instant::now().checked_add(limit)?, limit)));
        Self { name, errand, access, by: given::user(), host: given::host_name(), deadline, told: None }
    }

    /// The exit code; `None` where we were told to stop before the command ran.
    async fn run(&mut self, supervisor: &mut Keeping) -> Option<u8> {
        let stop = supervisor.stop.clone();
        loop {
            let opened = tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                opened = in_time(self.deadline, Cluster::open(&self.access, LIMIT)) => opened,
            };
            let end = match opened {
                None => End::Failed(self.gave_up()),
                Some(Err(error)) => failed(error),
                Some(Ok(cluster)) => {
                    let end = self.work(&cluster, supervisor).await;
                    cluster.close().await;
                    end
                }
            };
            match end {
                End::Over(code) => return Some(code),
                End::Failed(error) => {
                    output::say(&output::failure(&error));
                    return Some(1);
                }
                End::Again(error) => self.waits(&format!("waiting for ZooKeeper: {}", chain(&error))),
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                () = sleep(AGAIN) => {}
            }
        }
    }

    async fn work(&mut self, cluster: &Cluster, supervisor: &mut Keeping) -> End {
        let stop = supervisor.stop.clone();
        let turn = tokio::select! {
            biased;
            () = stop.cancelled() => return End::Over(1),
            turn = self.in_turn(cluster) => turn,
        };
        match turn {
            Ok(Ok(line)) => self.hold_and_run(cluster, &line, supervisor).await,
            Ok(Err(end)) => end,
            Err(error) => failed(error),
        }
    }

    /// The first place in the line, where there is something to run; else the end.
    async fn in_turn<'c>(&mut self, cluster: &'c Cluster) -> Result<Result<Line<'c>, End>, Error> {
        if let Err(end) = self.errand.is_to_run(cluster).await? {
            return Ok(Err(end));
        }
        let (name, deadline) = (self.name, self.deadline);
        let line = cluster.stand_in_line(name, &self.holder()).await?;
        match in_time(deadline, line.become_first(|holder| self.waits(&occupied(name, holder)))).await {
            Some(first) => first?,
            None => return Ok(Err(End::Failed(self.gave_up()))),
        }
        Ok(self.errand.is_to_run(cluster).await?.map(|()| line))
    }

    async fn hold_and_run(&self, cluster: &Cluster, line: &Line<'_>, supervisor: &mut Keeping) -> End {
        let holder = self.holder();
        if let Err(error) = line.announce(&holder).await {
            return failed(error);
        }
        let session = cluster.session_timeout();
        let (ran, lost) = under_leases(line, supervisor, session / 2).await;
        let end = match (ran, lost) {
            (Ran::Ended { why: Why::Lease, .. }, lost) => End::Failed(lost_lock(self.name, lost, session)),
            (Ran::Ended { code, why }, _) => {
                self.errand.has_run(cluster, line, Finished { holder, code, asked: why == Why::Asked }).await
            }
            (Ran::Never, Some(lost)) => failed(lost),
            // The supervisor knows why.
            (Ran::Never, None) => End::Over(1),
            (Ran::Orphaned, _) => {
                End::Failed(anyhow::Error::msg("the supervisor of the command does not answer; the command was ended"))
            }
        };
        // The session's end does it too, where this fails.
        let _ = timeout(LEAVING, line.leave()).await;
        end
    }

    fn holder(&self) -> Holder {
        Holder { by: Some(self.by.clone()), host: Some(self.host.clone()), at: Some(Timestamp::now()) }
    }

    fn gave_up(&self) -> anyhow::Error {
        let limit = self.deadline.map(|(_, limit)| limit).unwrap_or_default();
        let told = self.told.as_ref().map_or("waiting for ZooKeeper", |(told, _)| told);
        let message = format!("gave up after {limit:?}: {told}");
        Advice { message, hint: "wait longer with --wait, or without end by leaving it out".to_owned() }.into()
    }

    /// Says why we wait; the same thing only now and then.
    fn waits(&mut self, why: &str) {
        let is_known = |(told, at): &(String, Instant)| told == why && at.elapsed() < TOLD_EVERY;
        if !self.told.as_ref().is_some_and(is_known) {
            output::say(why);
            self.told = Some((why.to_owned(), Instant::now()));
        }
    }
}

/// Holds the place and has the command run meanwhile; says how that ended, and how the place was lost where it was.
async fn under_leases(line: &Line<'_>, supervisor: &mut Keeping, patience: Duration) -> (Ran, Option<Error>) {
    let (sender, mut leases) = watch::channel(None);
    let run = supervisor.run(&mut leases, patience);
    tokio::pin!(run);
    tokio::select! {
        ran = &mut run => (ran, None),
        lost = line.hold(&sender) => {
            let now = Moment::now();
            sender.send_replace(Some(Lease { term: now, kill: now }));
            (run.await, Some(lost))
        }
    }
}

/// What comes of `work` by the deadline, if there is one.
async fn in_time<T>(deadline: Option<(Instant, Duration)>, work: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some((at, _)) => timeout_at(at, work).await.ok(),
        None => Some(work.await),
    }
}

/// What a failure before the command's start means: only what a person has to mend is an end.
fn failed(error: Error) -> End {
    match error.retry() {
        Retry::Soon => End::Again(error),
        Retry::AfterChange => End::Failed(tree::failed(&error)),
    }
}

fn occupied(name: &LockName, holder: &Holder) -> String {
    let since = holder.at.map(|at| format!(" since {}", whole(at))).unwrap_or_default();
    format!("waiting for {name}, which {} runs{since}", holder.who())
}

fn lost_lock(name: &LockName, lost: Option<Error>, session: Duration) -> anyhow::Error {
    let message = format!("lost the lock {name}: the command was ended, and whoever is next runs it");
    let hint = format!("it is lost when ZooKeeper is away for half of source.zookeeper.session_timeout (granted: {session:?})");
    let advice = Advice { message, hint };
    match lost {
        Some(error) => tree::failed(&error).context(advice),
        None => anyhow::Error::msg(format!("ZooKeeper was away for {:?}", session / 2)).context(advice),
    }
}

/// A time for people: to the second.
pub(in crate::commands) fn whole(at: Timestamp) -> Timestamp {
    at.round(jiff::Unit::Second).unwrap_or(at)
}

/// An error with its causes in one line.
pub(in crate::commands) fn chain(error: &Error) -> String {
    format!("{:#}", anyhow::Error::new(error.clone()))
}
