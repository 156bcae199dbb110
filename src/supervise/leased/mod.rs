//! A command that runs only while a lease holds: the supervisor of whatever runs under a lock.
//!
//! ```text
//!   supervisor ── starts ──▶ keeper of the lock ──▶ ZooKeeper
//!       │  ▲──── leases ────────┘ (socket: the keeper's standard input)
//!       └── starts, signals, ends ──▶ command and all that it starts
//! ```
//!
//! In: the command, how the keeper is started, signals. Out: the exit code that the keeper says, or the error that there is none. Two processes,
//! each of which ends the command when the other has died or stands still, so that one frozen alone does no harm: the supervisor
//! when the lease runs out, the keeper ([`keeping`]) when the supervisor does not answer. Works as process 1, knows nothing of
//! ZooKeeper, and decides nothing but the end.

mod brood;
mod course;
pub mod keeping;
pub mod wire;

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as Pair;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Signal, getpid, set_child_subreaper};
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::sleep;

use self::brood::{Brood, ENDING, MARK, new_mark};
use self::course::{Course, Due};
use self::wire::{Reply, Word};
use super::family::{code, reap, signal};
use super::{SuperviseError, signals};

/// How often is looked, at the least: our timers stand still while the machine sleeps, and the lease does not.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a word to the keeper may take: it reads at once or never.
const SAYING: Duration = Duration::from_secs(1);

/// Why a command under a lock came to no exit code.
#[derive(Debug, Error)]
pub enum LeasedError {
    /// It could not be started at all.
    #[error(transparent)]
    Supervise(#[from] SuperviseError),
    /// The keeper has ended before its time.
    #[error("the process that keeps the lock has ended{}", if *.ran { ", and the command was ended" } else { "" })]
    KeeperGone {
        /// Whether the command ran then.
        ran: bool,
    },
}

impl LeasedError {
    /// How a shell ends in this case.
    #[must_use]
    pub fn code(&self) -> std::process::ExitCode {
        match self {
            Self::Supervise(error) => error.code(),
            Self::KeeperGone { .. } => std::process::ExitCode::FAILURE,
        }
    }
}

/// What is supervised.
#[derive(Debug)]
pub struct Leased {
    /// The command and its arguments.
    pub command: Vec<OsString>,
    /// Variables of ours that it is not given.
    pub without: Vec<OsString>,
    /// The program that keeps the lock, and its arguments.
    pub keeper: (PathBuf, Vec<OsString>),
}

struct Supervisor {
    leased: Leased,
    mark: String,
    course: Course,
    brood: Option<Brood>,
    keeper: i32,
    /// Whether the keeper has been waited for.
    keeper_ended: bool,
    lines: Option<Lines<BufReader<OwnedReadHalf>>>,
    writer: OwnedWriteHalf,
    /// Why the command could not be started.
    failure: Option<SuperviseError>,
}

/// Supervises until the keeper says that it is over, and gives the exit code.
pub async fn run(leased: Leased) -> Result<u8, LeasedError> {
    let prepare = |error: io::Error| LeasedError::Supervise(SuperviseError::Prepare(error));
    set_child_subreaper(Some(getpid())).map_err(|error| prepare(error.into()))?;
    let mut signals = signals::listen().map_err(prepare)?;
    let mut supervisor = Supervisor::start(leased).map_err(prepare)?;
    while !supervisor.is_over() {
        supervisor.turn(&mut signals).await;
    }
    supervisor.outcome()
}

impl Supervisor {
    fn start(leased: Leased) -> io::Result<Self> {
        let (ours, theirs) = Pair::pair()?;
        ours.set_nonblocking(true)?;
        let (reader, writer) = UnixStream::from_std(ours)?.into_split();
        let (program, arguments) = &leased.keeper;
        let mark = new_mark();
        let mut command = Command::new(program);
        // In a group of its own, a terminal's Ctrl-C and Ctrl-Z reach it through us or not at all.
        command.args(arguments).env(MARK, &mark);
        command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null()).process_group(0);
        let keeper = command.spawn()?.id().cast_signed();
        let lines = Some(BufReader::new(reader).lines());
        let course = Course::default();
        Ok(Self { leased, mark, course, brood: None, keeper, keeper_ended: false, lines, writer, failure: None })
    }

    /// Waits for one thing to happen, and acts on it.
    async fn turn(&mut self, signals: &mut mpsc::UnboundedReceiver<Signal>) {
        let pause = self.course.next().min(LOOK_EVERY);
        tokio::select! {
            // A lease that has come already counts before the end of the one before it; its own end is a moment, not a length.
            biased;
            word = hears(&mut self.lines) => match word {
                Some(word) => self.told(word).await,
                None => self.lines = None,
            },
            Some(received) = signals.recv() => self.received(received).await,
            () = sleep(pause) => {}
        }
        self.look().await;
    }

    async fn received(&mut self, received: Signal) {
        if received == Signal::CHILD {
            return;
        }
        let stops = ENDING.contains(&received);
        match &self.brood {
            Some(brood) if self.course.runs() => {
                brood.signal_group(received);
                if stops {
                    self.course.was_asked();
                }
            }
            Some(_) if stops => self.course.hurry(),
            None if stops => {
                self.course.stopped_before(received);
                self.say(&Reply::Stop).await;
            }
            Some(_) | None => {}
        }
    }

    async fn told(&mut self, word: Word) {
        match word {
            Word::Over { code } => self.course.over(code),
            Word::Lease(lease) => {
                if self.course.lease(lease) {
                    self.start_command().await;
                }
                self.say(&Reply::Alive).await;
            }
        }
    }

    async fn start_command(&mut self) {
        let (program, arguments) = match self.leased.command.split_first() {
            Some((program, arguments)) => (program.clone(), arguments),
            None => (OsString::new(), [].as_slice()),
        };
        let mut command = Command::new(&program);
        for name in &self.leased.without {
            command.env_remove(name);
        }
        // A process group of its own may not read from our terminal: it would be stopped, with the lock in its hands.
        if io::stdin().is_terminal() {
            command.stdin(Stdio::null());
        }
        match command.args(arguments).env(MARK, &self.mark).process_group(0).spawn() {
            Ok(child) => {
                let pid = child.id().cast_signed();
                self.course.started();
                let mark = self.mark.clone();
                self.brood = Some(Brood { pid: Some(pid), mark, supervisor: Some(own()), keeper: self.keeper });
                self.say(&Reply::Started { pid }).await;
            }
            Err(source) => {
                let program = program.to_string_lossy().into_owned();
                self.failure = Some(SuperviseError::Spawn { program, source });
                self.course.not_started();
                self.say(&Reply::NotStarted).await;
            }
        }
    }

    /// Reaps, and takes whatever step is due.
    async fn look(&mut self) {
        for (pid, status) in reap() {
            if pid == self.keeper {
                self.keeper_ended = true;
            } else if self.brood.as_ref().is_some_and(|brood| brood.pid == Some(pid)) {
                self.course.has_ended(code(status));
            }
        }
        if self.keeper_ended || self.lines.is_none() {
            self.course.keeper_gone();
        }
        if self.course.is_keeper_late() && !self.keeper_ended {
            signal(self.keeper, Signal::KILL);
        }
        let Some(brood) = &self.brood else { return };
        match self.course.due() {
            Due::Nothing => {}
            Due::Term => brood.signal_group(Signal::TERM),
            Due::TermLeftovers => drop(brood.signal_all(Signal::TERM)),
            Due::Kill => drop(brood.signal_all(Signal::KILL)),
        }
        let is_gone = self.course.has_child_ended() && brood.living().is_empty();
        if let Some((code, why)) = is_gone.then(|| self.course.gone()).flatten() {
            self.say(&Reply::Ended { code, why }).await;
        }
    }

    async fn say(&mut self, reply: &Reply) {
        let Ok(mut line) = serde_json::to_vec(reply) else { return };
        line.push(b'\n');
        // Who has just died hears nothing, and that is noticed elsewhere.
        let _ = tokio::time::timeout(SAYING, self.writer.write_all(&line)).await;
    }

    fn is_over(&self) -> bool {
        self.keeper_ended && (self.brood.is_none() || self.course.is_gone())
    }

    fn outcome(self) -> Result<u8, LeasedError> {
        match (self.failure, self.course.verdict()) {
            (Some(failure), _) => Err(failure.into()),
            (None, Some(code)) => Ok(code),
            (None, None) => Err(LeasedError::KeeperGone { ran: self.brood.is_some() }),
        }
    }
}

fn own() -> i32 {
    getpid().as_raw_nonzero().get()
}

/// What the keeper says next; `None` once it says no more. Safe to drop at any moment.
async fn hears(lines: &mut Option<Lines<BufReader<OwnedReadHalf>>>) -> Option<Word> {
    match lines {
        Some(lines) => lines.next_line().await.ok().flatten().and_then(|line| serde_json::from_str(&line).ok()),
        None => std::future::pending().await,
    }
}
