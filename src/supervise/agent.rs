//! The agent as the supervisor's child: started, listened to, and started again after a pause that grows when it dies.
//!
//! It leads a process group of its own, so that a terminal's Ctrl-C reaches it only through us, after Superset.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as Pair;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::family::signal;
use super::wire::{Reply, Request};

/// The first pause before it is started again, and the longest.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Who has lived for this long begins anew with the first pause.
const HEALTHY: Duration = Duration::from_secs(120);

/// The agent.
#[derive(Debug)]
pub(super) struct Agent {
    program: PathBuf,
    arguments: Vec<OsString>,
    pid: Option<i32>,
    started: Instant,
    again: Option<Instant>,
    pause: Duration,
    lines: Option<Lines<BufReader<OwnedReadHalf>>>,
    writer: Option<OwnedWriteHalf>,
}

impl Agent {
    /// What is started as the agent. It does not run yet.
    pub(super) fn new(program: PathBuf, arguments: Vec<OsString>) -> Self {
        let now = Instant::now();
        Self { program, arguments, pid: None, started: now, again: Some(now), pause: PAUSE, lines: None, writer: None }
    }

    /// Its number, while it runs.
    pub(super) fn pid(&self) -> Option<i32> {
        self.pid
    }

    /// When it is to be started next.
    pub(super) fn again(&self) -> Option<Instant> {
        self.again
    }

    /// Starts it; if that fails it is tried again later.
    pub(super) fn start(&mut self) {
        self.again = None;
        self.started = Instant::now();
        match self.spawn() {
            Ok(pid) => self.pid = Some(pid),
            Err(error) => {
                error!(%error, "failed to start the agent; superset is not touched");
                self.later();
            }
        }
    }

    fn spawn(&mut self) -> io::Result<i32> {
        let (ours, theirs) = Pair::pair()?;
        ours.set_nonblocking(true)?;
        let (reader, writer) = UnixStream::from_std(ours)?.into_split();
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::from(OwnedFd::from(theirs))).process_group(0);
        let child = command.spawn()?;
        (self.lines, self.writer) = (Some(BufReader::new(reader).lines()), Some(writer));
        Ok(child.id().cast_signed())
    }

    /// Notes that a child has ended, if it was this one; `starts` says whether it is to be started again.
    pub(super) fn has_ended(&mut self, pid: i32, starts: bool) {
        if self.pid != Some(pid) {
            return;
        }
        (self.pid, self.lines, self.writer) = (None, None, None);
        if starts {
            if self.started.elapsed() > HEALTHY {
                self.pause = PAUSE;
            }
            warn!(pause = ?self.pause, "the agent has ended and is started again; superset is not touched");
            self.later();
        }
    }

    fn later(&mut self) {
        self.again = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// What it asks next; for ever where it asks nothing. Safe to drop at any moment.
    pub(super) async fn asks(&mut self) -> Request {
        while let Some(lines) = &mut self.lines {
            match lines.next_line().await {
                Ok(Some(line)) => match serde_json::from_str(&line) {
                    Ok(request) => return request,
                    Err(error) => warn!(%error, "failed to understand the agent"),
                },
                Ok(None) | Err(_) => self.lines = None,
            }
        }
        std::future::pending().await
    }

    /// Answers it, if it is still there.
    pub(super) async fn answer(&mut self, reply: &Reply) {
        let (Some(writer), Ok(mut line)) = (&mut self.writer, serde_json::to_vec(reply)) else { return };
        line.push(b'\n');
        // Who has just died hears nothing, and that is noticed elsewhere.
        let _ = tokio::time::timeout(PAUSE, writer.write_all(&line)).await;
    }

    /// Ends it with this signal, and does not start it again.
    pub(super) fn end(&mut self, by: Signal) {
        self.again = None;
        if let Some(pid) = self.pid {
            info!(pid, "ending the agent");
            signal(pid, by);
        }
    }
}
