//! `once`: a command that runs once in the cluster for a key; whoever comes later waits, and ends as it did.
//!
//! The lock and the processes are those of all that runs under a lock ([`locked`]); here is what is recorded, and what that means.
//! Nothing is recorded of a command that did not come to an end of its own: its lock was lost, or we were asked to stop, or it
//! could not be started; whoever is next runs it.

use std::process::ExitCode;

use jiff::Timestamp;

use super::locked::keeper::{self, End, Errand, Finished, chain, whole};
use super::{given, locked, tree};
use crate::cli::Shared;
use crate::cli::once::Once;
use crate::model::once::{Mark, Outcome, Verdict};
use crate::output::{self, Advice};
use crate::zookeeper::cluster::Cluster;
use crate::zookeeper::error::Error;
use crate::zookeeper::lock::Line;

/// Runs the supervisor, or the keeper that it starts.
pub(super) fn run(shared: &Shared, once: &Once) -> anyhow::Result<ExitCode> {
    let settings = given::settings(shared)?;
    locked::needs_zookeeper(&settings)?;
    let limit = once.wait.map(locked::limit).transpose()?;
    if once.keeper {
        return keeper::run(&settings, &once.name, limit, Keyed { once, retried: None, has_looked: false });
    }
    locked::supervise(&settings, &once.program)
}

/// What runs once for a key.
struct Keyed<'a> {
    once: &'a Once,
    /// The failure that was there when we came, where that is to be tried again.
    retried: Option<Mark>,
    has_looked: bool,
}

impl Errand for Keyed<'_> {
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
                output::say(&shared(self.once, &outcome));
                Err(End::Over(outcome.code))
            }
            Verdict::Unknown => Err(End::Failed(unreadable(self.once, &cluster.paths().outcome(name, key)))),
        })
    }

    async fn has_run(&self, cluster: &Cluster, line: &Line<'_>, finished: Finished) -> End {
        let Finished { code, holder, asked } = finished;
        if asked && code != 0 {
            output::say("nothing is recorded, since it was asked to stop: whoever is next runs it again");
            return End::Over(code);
        }
        let (ended_at, at) = (Timestamp::now(), holder.at.unwrap_or_default());
        let outcome = Outcome { by: holder.by.unwrap_or_default(), host: holder.host.unwrap_or_default(), at, ended_at, code };
        let Once { name, key, .. } = self.once;
        if let Err(error) = cluster.record(line, name, key, &outcome).await {
            return End::Failed(unrecorded(self.once, code, &error));
        }
        if let Err(error) = cluster.forget_outcomes(name).await {
            output::say(&format!("warning: failed to forget old outcomes: {}", chain(&error)));
        }
        if code != 0 {
            let message = format!("{name} failed with exit code {code}, which is recorded for {key}");
            output::say(&output::failure(&Advice { message, hint: retry(&outcome.host) }.into()));
        }
        End::Over(code)
    }
}

/// How it ended when somebody else ran it.
fn shared(once: &Once, outcome: &Outcome) -> String {
    let Once { name, key, .. } = once;
    let (who, at, ended) = (outcome.who(), whole(outcome.at), whole(outcome.ended_at));
    if outcome.code == 0 {
        return format!("{name} was done for {key} by {who} at {ended}");
    }
    let message = format!("{name} failed for {key} with exit code {}: {who} ran it from {at} to {ended}", outcome.code);
    output::failure(&Advice { message, hint: retry(&outcome.host) }.into())
}

fn retry(host: &str) -> String {
    format!("see what it said on {host}; once that is mended, the same command with --retry-failed runs it again")
}

fn unreadable(once: &Once, path: &str) -> anyhow::Error {
    let message = format!("{path} is no outcome, so whether {} ran for {} is not known", once.name, once.key);
    Advice { message, hint: "with --retry-failed it is run, in whatever state things are".to_owned() }.into()
}

fn unrecorded(once: &Once, code: u8, error: &Error) -> anyhow::Error {
    let message =
        format!("{} ended with exit code {code}, which could not be recorded: whoever is next runs it again", once.name);
    tree::failed(error).context(message)
}
