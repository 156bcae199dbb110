//! The keeper of a lock under which something runs once: waits its turn, looks what is recorded, has the command run, records.
//!
//! ```text
//!   connect ─▶ recorded? ─▶ stand in line ─▶ first ─▶ recorded? ─▶ hold and run ─▶ record ─▶ leave
//! ```
//!
//! In: a name, a key, what the supervisor says. Out: the exit code, told to the supervisor; talk on stderr. Until the command runs, whatever
//! fails for a while is waited for. Nothing is recorded of a command that did not come to an end of its own: its lock was lost, or
//! we were asked to stop; whoever is next runs it.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::super::{given, tree};
use super::talk;
use crate::cli::once::Once;
use crate::model::lock::Holder;
use crate::model::once::{Mark, Outcome, Verdict};
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

/// Keeps the lock until all is done.
pub(super) fn run(settings: &Settings, once: &Once, limit: Option<Duration>) -> anyhow::Result<ExitCode> {
    tree::block_on(async {
        let mut supervisor = Keeping::at_stdin().context("failed to take over the supervisor's socket")?;
        let stop = supervisor.stop.clone();
        let access = tree::access(settings).await;
        let mut errand = access.map(|access| Errand::new(once, limit, access));
        let code = match &mut errand {
            Ok(errand) => errand.run(&mut supervisor).await,
            Err(_) => None,
        };
        if let Err(error) = errand {
            output::say(&output::failure(&error));
        }
        // Who was told to stop, or has lost its supervisor, has nobody to tell.
        if !stop.is_cancelled() {
            supervisor.over(code.unwrap_or(1)).await;
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// What is to be done once.
struct Errand<'a> {
    once: &'a Once,
    access: Access,
    by: String,
    host: String,
    /// When waiting ends.
    deadline: Option<(Instant, Duration)>,
    /// The failure that was there when we came, where that is to be tried again.
    retried: Option<Mark>,
    has_looked: bool,
    /// What was said last of why we wait, and when.
    told: Option<(String, Instant)>,
}

/// How a session's work ended.
enum End {
    /// All is done.
    Over(u8),
    /// Something failed, and is said.
    Failed(anyhow::Error),
    /// Nothing was started; it may work in another session.
    Again(Error),
}

impl<'a> Errand<'a> {
    fn new(once: &'a Once, limit: Option<Duration>, access: Access) -> Self {
        let deadline = limit.and_then(|limit| Some((Instant::now().checked_add(limit)?, limit)));
        let (by, host) = (given::user(), given::host_name());
        Self { once, access, by, host, deadline, retried: None, has_looked: false, told: None }
    }

    /// The exit code; `None` where we were told to stop before the command ran.
    async fn run(&mut self, supervisor: &mut Keeping) -> Option<u8> {
        let stop = supervisor.stop.clone();
        loop {
            let opened = tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                opened = self.in_time(Cluster::open(&self.access, LIMIT)) => opened,
            };
            let end = match opened {
                Err(late) => End::Failed(late),
                Ok(Err(error)) => failed(error),
                Ok(Ok(cluster)) => {
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
        let turn = async {
            match self.in_turn(cluster).await {
                Ok(turn) => turn,
                Err(error) => Err(failed(error)),
            }
        };
        let line = tokio::select! {
            biased;
            () = stop.cancelled() => return End::Over(1),
            line = turn => line,
        };
        match line {
            Ok(line) => self.hold_and_run(cluster, &line, supervisor).await,
            Err(end) => end,
        }
    }

    /// The first place in the line, where there is something to run; else the end.
    async fn in_turn<'c>(&mut self, cluster: &'c Cluster) -> Result<Result<Line<'c>, End>, Error> {
        if let Err(end) = self.is_to_run(cluster).await? {
            return Ok(Err(end));
        }
        let line = cluster.stand_in_line(&self.once.name, &self.holder()).await?;
        let deadline = self.deadline;
        let first = line.become_first(|holder| self.waits(&talk::occupied(self.once, holder)));
        let late = match deadline {
            Some((at, _)) => tokio::time::timeout_at(at, first).await,
            None => Ok(first.await),
        };
        match late {
            Ok(first) => first?,
            Err(_) => return Ok(Err(End::Failed(self.gave_up()))),
        }
        Ok(self.is_to_run(cluster).await?.map(|()| line))
    }

    /// Whether the command is to be run, by what is recorded; else the end.
    async fn is_to_run(&mut self, cluster: &Cluster) -> Result<Result<(), End>, Error> {
        let Once { name, key, retry_failed, .. } = self.once;
        let recorded = cluster.recorded(name, key).await?;
        if *retry_failed && !self.has_looked {
            self.retried = recorded.failure();
        }
        self.has_looked = true;
        Ok(match recorded.verdict(self.retried) {
            Verdict::Run => Ok(()),
            Verdict::Share(outcome) => {
                output::say(&talk::shared(self.once, &outcome));
                Err(End::Over(outcome.code))
            }
            Verdict::Unknown => Err(End::Failed(talk::unreadable(self.once, &cluster.paths().outcome(name, key)))),
        })
    }

    async fn hold_and_run(&self, cluster: &Cluster, line: &Line<'_>, supervisor: &mut Keeping) -> End {
        let (sender, mut leases) = watch::channel(None);
        let me = self.holder();
        let at = me.at.unwrap_or_default();
        if let Err(error) = line.announce(&me).await {
            return failed(error);
        }
        let patience = cluster.session_timeout() / 2;
        let (ran, lost) = {
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
        };
        let end = match ran {
            Ran::Ended { code, why: Why::Itself } => self.record(cluster, line, self.outcome(at, code)).await,
            Ran::Ended { code: 0, why: Why::Asked } => self.record(cluster, line, self.outcome(at, 0)).await,
            Ran::Ended { code, why: Why::Asked } => {
                output::say("nothing is recorded, since it was asked to stop: whoever is next runs it again");
                End::Over(code)
            }
            Ran::Ended { why: Why::Lease, .. } => End::Failed(talk::lost_lock(self.once, lost, cluster.session_timeout())),
            Ran::Never => match lost {
                Some(lost) => failed(lost),
                None => End::Over(1),
            },
            Ran::Orphaned => {
                output::say("error: the supervisor of the command does not answer; the command was ended");
                End::Over(1)
            }
        };
        // The session's end does it too, where this fails.
        let _ = timeout(LEAVING, line.leave()).await;
        end
    }

    async fn record(&self, cluster: &Cluster, line: &Line<'_>, outcome: Outcome) -> End {
        let Once { name, key, .. } = self.once;
        if let Err(error) = cluster.record(line, name, key, &outcome).await {
            return End::Failed(talk::unrecorded(self.once, outcome.code, &error));
        }
        if let Err(error) = cluster.forget_outcomes(name).await {
            output::say(&format!("warning: failed to forget old outcomes: {}", chain(&error)));
        }
        if outcome.code != 0 {
            output::say(&talk::failed(self.once, &outcome));
        }
        End::Over(outcome.code)
    }

    fn holder(&self) -> Holder {
        Holder { by: Some(self.by.clone()), host: Some(self.host.clone()), at: Some(Timestamp::now()) }
    }

    fn outcome(&self, at: Timestamp, code: u8) -> Outcome {
        Outcome { by: self.by.clone(), host: self.host.clone(), at, ended_at: Timestamp::now(), code }
    }

    /// Work within the time that there is to wait.
    async fn in_time<T>(&self, work: impl Future<Output = T>) -> anyhow::Result<T> {
        match self.deadline {
            Some((at, _)) => tokio::time::timeout_at(at, work).await.map_err(|_| self.gave_up()),
            None => Ok(work.await),
        }
    }

    fn gave_up(&self) -> anyhow::Error {
        let limit = self.deadline.map(|(_, limit)| limit).unwrap_or_default();
        let told = self.told.as_ref().map_or_else(|| "waiting for ZooKeeper".to_owned(), |(told, _)| told.clone());
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

/// What a failure before the command's start means: only what a person has to mend is an end.
fn failed(error: Error) -> End {
    match error.retry() {
        Retry::Soon => End::Again(error),
        Retry::AfterChange => End::Failed(tree::failed(&error)),
    }
}

/// An error with its causes in one line.
fn chain(error: &Error) -> String {
    format!("{:#}", anyhow::Error::new(error.clone()))
}
