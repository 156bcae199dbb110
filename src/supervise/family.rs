//! The command and whatever it leaves to us: whom signals go to, who has ended, and with what.
//!
//! As a child subreaper (or as PID 1) the supervisor becomes the parent of every orphan below it. Of those only gunicorn's successors
//! count: a new master is the child of the old one and bears its number (`GUNICORN_PID`), so it is known without anybody's word, even
//! where an entry script stood between. Each master has one heir: orphaned workers, which bear the number of their
//! master's predecessor, are none, and end by themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};
use tracing::{info, warn};

use crate::processes::{Table, gunicorn};

/// The command's processes.
#[derive(Debug, Default)]
pub(super) struct Family {
    /// The command itself, while it runs.
    child: Option<i32>,
    /// Who succeeded whom: the old master's number, and the new one's.
    heirs: BTreeMap<i32, i32>,
    /// Those of them that run.
    living: BTreeSet<i32>,
    /// How the one that counted last has ended.
    ended: Option<WaitStatus>,
}

impl Family {
    /// The command was started.
    pub(super) fn born(&mut self, pid: i32) {
        *self = Self { child: Some(pid), ..Self::default() };
    }

    /// Notes that a child of ours has ended, if it is one of these.
    pub(super) fn has_ended(&mut self, pid: i32, status: WaitStatus) {
        if self.child == Some(pid) {
            self.child = None;
        } else if !self.living.remove(&pid) {
            return;
        }
        self.ended = Some(status);
        info!(pid, status = word(status), "a process of superset has ended");
    }

    /// Takes in the successors that have become our own children.
    pub(super) fn adopt(&mut self, table: &Table) {
        let own = std::process::id().cast_signed();
        for process in table.iter().filter(|process| process.parent == own && gunicorn::is(process)) {
            let Some(old) = gunicorn::predecessor(process).filter(|_| self.child != Some(process.pid)) else { continue };
            // While the old master lives its successor is its child: what is ours then has lost a failed successor.
            if table.get(old).is_none() && !self.heirs.contains_key(&old) {
                info!(pid = process.pid, predecessor = old, "a new gunicorn has taken over");
                self.heirs.insert(old, process.pid);
                self.living.insert(process.pid);
            }
        }
    }

    /// Whether nobody is left.
    pub(super) fn is_over(&self) -> bool {
        self.child.is_none() && self.living.is_empty()
    }

    /// How we end, now that nobody is left: as the last one that counted, by the shell's rule where a signal ended it.
    pub(super) fn code(&self) -> ExitCode {
        self.ended.map_or(ExitCode::SUCCESS, |status| ExitCode::from(code(status)))
    }

    /// Whom a signal is for: every master of gunicorn below us but the agent's; where there is none, the command itself.
    pub(super) fn heads(&self, table: &Table, agent: Option<i32>) -> BTreeSet<i32> {
        let own = std::process::id().cast_signed();
        let ours = |pid: i32| table.descends(pid, own) && agent.is_none_or(|agent| !table.descends(pid, agent));
        let masters = gunicorn::masters(table).map(|master| master.pid).filter(|pid| ours(*pid));
        let masters: BTreeSet<_> =
            masters.flat_map(|pid| [Some(pid), gunicorn::successor(table, pid).map(|one| one.pid)]).flatten().collect();
        if masters.is_empty() { self.known() } else { masters }
    }

    /// The processes that are known without a look at `/proc`.
    pub(super) fn known(&self) -> BTreeSet<i32> {
        self.child.into_iter().chain(self.living.iter().copied()).collect()
    }
}

/// Every child that has ended, so that none stays a zombie.
pub(super) fn reap() -> Vec<(i32, WaitStatus)> {
    std::iter::from_fn(|| wait(WaitOptions::NOHANG).ok().flatten())
        .map(|(pid, status)| (pid.as_raw_nonzero().get(), status))
        .collect()
}

/// Signals a process. Our children cannot be somebody else before we have waited for them; a master below an entry script could
/// end in just this moment, which is what `kill` always risks.
pub(super) fn signal(pid: i32, signal: Signal) {
    let Some(target) = Pid::from_raw(pid) else { return };
    match kill_process(target, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => warn!(pid, %error, "failed to pass a signal on"),
    }
}

/// An exit code by the shell's rule.
pub(super) fn code(status: WaitStatus) -> u8 {
    let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

fn word(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "nothing known".to_owned(),
    }
}
