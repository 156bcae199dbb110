//! A command and everything it has started, as far as that can be found, to be signalled and to be seen to be gone.
//!
//! Found by the process group, by descent, and by a mark in the environment, which forks and daemons keep. Only what begins a session of its
//! own with an emptied environment, after its parents have ended and the supervisor too, is not found. Whoever has ended and was
//! not waited for counts as gone.

use rustix::process::{Pid, Signal, kill_process_group};

use crate::processes::Table;
use crate::processes::pinned::Pinned;
use crate::supervise::table;

/// The variable that marks every process of a command.
pub(super) const MARK: &str = "SETKEEPER_FAMILY";

/// The signals that ask a command to end.
pub(super) const ENDING: [Signal; 4] = [Signal::TERM, Signal::INT, Signal::QUIT, Signal::HUP];

/// A mark that nobody else has.
pub(super) fn new_mark() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// A command's processes.
#[derive(Clone, Debug)]
pub(super) struct Brood {
    /// The command's number, and that of its group, once it is known.
    pub pid: Option<i32>,
    /// Its mark.
    pub mark: String,
    /// The supervisor's number, while that is certain.
    pub supervisor: Option<i32>,
    /// The keeper's number.
    pub keeper: i32,
}

impl Brood {
    /// Signals the process group, as a terminal would.
    pub fn signal_group(&self, signal: Signal) {
        if let Some(group) = self.pid.and_then(Pid::from_raw) {
            // Nobody may be left.
            let _ = kill_process_group(group, signal);
            // Who was stopped (for reading from a terminal, say) hears of nothing else before it goes on.
            if ENDING.contains(&signal) {
                let _ = kill_process_group(group, Signal::CONT);
            }
        }
    }

    /// Signals everybody; says whether anybody was left.
    pub fn signal_all(&self, signal: Signal) -> bool {
        let before = table();
        let pinned: Vec<_> = self.among(&before).filter_map(|pid| Pinned::new(pid).ok()).collect();
        // A number may be another's since the look, but not since it was pinned.
        let table = table();
        if self.among(&table).any(|pid| table.get(pid).is_some_and(|process| Some(process.group) == self.pid)) || is_blind(&table)
        {
            self.signal_group(signal);
        }
        for one in pinned.iter().filter(|one| self.is_ours(&table, one.process().pid)) {
            let _ = one.signal(signal);
        }
        !pinned.is_empty()
    }

    /// Who of them runs.
    pub fn living(&self) -> Vec<i32> {
        self.among(&table()).collect()
    }

    fn among(&self, table: &Table) -> impl Iterator<Item = i32> {
        table.iter().map(|process| process.pid).filter(|pid| self.is_ours(table, *pid))
    }

    fn is_ours(&self, table: &Table, pid: i32) -> bool {
        let Some(process) = table.get(pid).filter(|_| pid != self.keeper && Some(pid) != self.supervisor) else { return false };
        let descends = || self.supervisor.is_some_and(|root| table.descends(pid, root)) && !table.descends(pid, self.keeper);
        Some(process.group) == self.pid || descends() || process.variable(MARK).as_deref() == Some(&*self.mark)
    }
}

/// Whether nobody can be seen, not even we.
fn is_blind(table: &Table) -> bool {
    table.iter().next().is_none()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;
    use std::time::Duration;

    use super::*;

    fn brood(pid: Option<i32>) -> Brood {
        Brood { pid, mark: new_mark(), supervisor: None, keeper: -1 }
    }

    #[test]
    fn who_began_a_session_of_its_own_is_found_by_its_mark_and_a_stranger_is_not() {
        let mut stranger = Command::new("sleep").arg("60").spawn().unwrap();
        let mut marked = brood(None);
        let script = "setsid sleep 60 & sleep 60";
        let mut child = Command::new("sh").args(["-c", script]).env(MARK, &marked.mark).process_group(0).spawn().unwrap();
        marked.pid = Some(child.id().cast_signed());
        let began = std::time::Instant::now();
        while marked.living().len() < 3 && began.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(marked.living().len(), 3, "a shell and two that sleep");
        assert!(marked.signal_all(Signal::KILL));
        child.wait().unwrap();
        while !marked.living().is_empty() && began.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(marked.living(), [0; 0]);
        assert!(stranger.try_wait().unwrap().is_none());
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }
}
