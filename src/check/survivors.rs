//! Ends what a check started and what left its process group: every process that bears the check's mark in its environment.
//!
//! A process keeps the environment that it was started with, and so do its forks, whatever session they begin. Only one that
//! starts another program with an emptied environment, in a session of its own, is not found. Each is pinned by a pidfd before it
//! is looked at again and signalled, so that no stranger is.

use std::fs;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

/// The variable that marks every process of a check.
pub(super) const MARK: &str = "SETKEEPER_CHECK";

/// How often the processes are looked through: one that forks while we look is met in the next round.
const ROUNDS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(10);

/// Ends every process with the mark `id`; says how many there were. Blocks for as long as there are any, half a second at most.
pub(super) fn end(id: &str) -> usize {
    let mut ended = 0;
    for _ in 0..ROUNDS {
        let found: Vec<_> = pids().filter(|pid| is_marked(*pid, id)).collect();
        if found.is_empty() {
            break;
        }
        ended += found.into_iter().filter(|pid| end_one(*pid, id)).count();
        std::thread::sleep(PAUSE);
    }
    ended
}

fn pids() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let own = rustix::process::getpid();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw)).filter(move |pid| *pid != own)
}

/// Whether the process bears the mark. One that has ended, and one of another user, shows no environment.
fn is_marked(pid: Pid, id: &str) -> bool {
    let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).unwrap_or_default();
    let mark = format!("{MARK}={id}");
    environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes())
}

fn end_one(pid: Pid, id: &str) -> bool {
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pinned) => is_marked(pid, id) && pidfd_send_signal(pinned, Signal::KILL).is_ok(),
        // Linux before 5.3 cannot pin; what is left is the moment between looking and signalling.
        Err(Errno::NOSYS) => kill_process(pid, Signal::KILL).is_ok(),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn what_left_its_session_is_found_by_its_mark_and_a_stranger_is_left_alone() {
        let start = |id: &str| Command::new("setsid").args(["sleep", "60"]).env(MARK, id).spawn().unwrap();
        let id = format!("{:016x}", rand::random::<u64>());
        let (mut marked, mut stranger) = (start(&id), start("another"));
        std::thread::sleep(Duration::from_millis(100));
        assert!(end(&id) >= 1);
        assert!(!marked.wait().unwrap().success());
        assert!(stranger.try_wait().unwrap().is_none(), "the stranger has ended");
        stranger.kill().unwrap();
        stranger.wait().unwrap();
        assert_eq!(end(&id), 0);
    }
}
