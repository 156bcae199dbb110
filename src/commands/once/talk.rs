//! What `once` says to people: why it waits, how it ended elsewhere, what went wrong and what to do about it.
//!
//! In: what is known. Out: text and errors with advice. Times are rounded to seconds: they are for people, and of another host's clock.

use std::time::Duration;

use jiff::Timestamp;

use super::super::tree;
use crate::cli::once::Once;
use crate::model::lock::Holder;
use crate::model::once::Outcome;
use crate::output::{self, Advice};
use crate::zookeeper::error::Error;

/// Why we wait.
pub(super) fn occupied(once: &Once, holder: &Holder) -> String {
    let since = holder.at.map(|at| format!(" since {}", whole(at))).unwrap_or_default();
    format!("waiting for {}, which {} runs{since}", once.name, holder.who())
}

/// How it ended when somebody else ran it.
pub(super) fn shared(once: &Once, outcome: &Outcome) -> String {
    let Once { name, key, .. } = once;
    let (who, at, ended) = (outcome.who(), whole(outcome.at), whole(outcome.ended_at));
    if outcome.code == 0 {
        return format!("{name} was done for {key} by {who} at {ended}");
    }
    let message = format!("{name} failed for {key} with exit code {}: {who} ran it from {at} to {ended}", outcome.code);
    output::failure(&Advice { message, hint: retry(&outcome.host) }.into())
}

/// How it failed just now.
pub(super) fn failed(once: &Once, outcome: &Outcome) -> String {
    let message = format!("{} failed with exit code {}, which is recorded for {}", once.name, outcome.code, once.key);
    output::failure(&Advice { message, hint: retry(&outcome.host) }.into())
}

fn retry(host: &str) -> String {
    format!("see what it said on {host}; once that is mended, the same command with --retry-failed runs it again")
}

/// What lies there is no outcome.
pub(super) fn unreadable(once: &Once, path: &str) -> anyhow::Error {
    let message = format!("{path} is no outcome, so whether {} ran for {} is not known", once.name, once.key);
    Advice { message, hint: "with --retry-failed it is run, in whatever state things are".to_owned() }.into()
}

/// It ran, and nobody will know.
pub(super) fn unrecorded(once: &Once, code: u8, error: &Error) -> anyhow::Error {
    let message =
        format!("{} ended with exit code {code}, which could not be recorded: whoever is next runs it again", once.name);
    tree::failed(error).context(message)
}

/// It was ended, since the lock was no longer certain.
pub(super) fn lost_lock(once: &Once, lost: Option<Error>, session: Duration) -> anyhow::Error {
    let message = format!("lost the lock {}: the command was ended, and whoever is next runs it again", once.name);
    let hint = format!("it is lost when ZooKeeper is away for half of source.zookeeper.session_timeout (granted: {session:?})");
    let advice = Advice { message, hint };
    match lost {
        Some(error) => tree::failed(&error).context(advice),
        None => anyhow::Error::msg(format!("ZooKeeper was away for {:?}", session / 2)).context(advice),
    }
}

fn whole(at: Timestamp) -> Timestamp {
    at.round(jiff::Unit::Second).unwrap_or(at)
}
