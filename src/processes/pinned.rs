//! One process held fast, so that a signal meets it and no later process of its number.
//!
//! It is pinned by a pidfd first and looked at afterwards: what was seen is then what will be signalled. Linux before 5.3
//! cannot pin; there the moment between looking and signalling is left.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

use super::Process;

/// How often a process that should end is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A process, held fast.
#[derive(Debug)]
pub struct Pinned {
    process: Process,
    pid: Pid,
    fd: Option<OwnedFd>,
}

impl Pinned {
    /// The process of this number; an error of the kind `NotFound` where there is none.
    pub fn new(pid: i32) -> io::Result<Self> {
        let pid = Pid::from_raw(pid).filter(|pid| pid.as_raw_nonzero().get() > 0).ok_or(io::ErrorKind::NotFound)?;
        let fd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => Some(fd),
            Err(Errno::NOSYS) => None,
            Err(Errno::SRCH) => return Err(io::ErrorKind::NotFound.into()),
            Err(errno) => return Err(errno.into()),
        };
        let process = Process::read(pid.as_raw_nonzero().get())?;
        if process.has_ended {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Self { process, pid, fd })
    }

    /// What it was when it was pinned.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Signals it; an error of the kind `NotFound` where it has ended.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let sent = match &self.fd {
            Some(fd) => pidfd_send_signal(fd, signal),
            None => kill_process(self.pid, signal),
        };
        sent.map_err(|errno| if errno == Errno::SRCH { io::ErrorKind::NotFound.into() } else { errno.into() })
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.process.is_alive()
    }

    /// Waits until it catches this signal, which would end it before; whether that came within `limit`.
    pub async fn catches_within(&self, signal: Signal, limit: Duration) -> bool {
        let ready = async {
            while !self.process.catches(signal) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(limit, ready).await.is_ok()
    }

    /// Waits for its end; whether that came within `limit`.
    pub async fn ends_within(&self, limit: Duration) -> bool {
        let end = async {
            while self.is_alive() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(limit, end).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn a_process_is_seen_to_end_although_nobody_has_waited_for_it() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pinned = Pinned::new(child.id().cast_signed()).unwrap();
        assert!(pinned.is_alive() && !pinned.ends_within(Duration::from_millis(120)).await);
        pinned.signal(Signal::TERM).unwrap();
        assert!(pinned.ends_within(Duration::from_secs(10)).await);
        assert_eq!(Pinned::new(child.id().cast_signed()).unwrap_err().kind(), io::ErrorKind::NotFound);
        child.wait().unwrap();
        assert_eq!(pinned.signal(Signal::TERM).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
