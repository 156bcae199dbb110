//! The supervisor: a small process that starts Superset's command and the agent, and outlives any failure of the agent.
//!
//! In: the command, how the agent is started, and signals. Out: the command's exit code. The command is started once the agent says
//! that its config is there. What ends without being asked is treated apart: an agent is started again, and
//! Superset serves on; when Superset has ended, so do we. It becomes a child subreaper and reaps every process below it, so it works
//! as PID 1. It reads `/proc` but no file, talks to no network, and renders, reloads and decides nothing.
//! [`leased`] supervises another way: a command that runs under a lock; [`alone`] an agent with no command beside it.

mod agent;
pub mod alone;
pub mod asking;
mod family;
pub mod leased;
mod signals;
pub mod wire;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use rustix::process::{Signal, getpid, set_child_subreaper};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use self::agent::Agent;
use self::family::{Family, reap, signal};
use self::wire::{Reply, Request};
use crate::processes::Table;
use crate::systemd;

/// How often is looked for whom a signal to stop has not reached yet.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a command may take to end before it is started again.
const RESTART_LIMIT: Duration = Duration::from_secs(60);
/// How long the agent may take to end.
const AGENT_LIMIT: Duration = Duration::from_secs(15);

/// Why nothing can be supervised.
#[derive(Debug, Error)]
pub enum SuperviseError {
    /// The kernel refused what a supervisor needs.
    #[error("failed to prepare for children")]
    Prepare(#[source] io::Error),
    /// The command could not be started.
    #[error("failed to run {program}")]
    Spawn {
        /// The command's first word.
        program: String,
        /// Why.
        source: io::Error,
    },
}

impl SuperviseError {
    /// How a shell ends in this case.
    #[must_use]
    pub fn code(&self) -> ExitCode {
        match self {
            Self::Spawn { source, .. } if source.kind() == io::ErrorKind::NotFound => ExitCode::from(127),
            Self::Spawn { .. } => ExitCode::from(126),
            Self::Prepare(_) => ExitCode::FAILURE,
        }
    }
}

/// A program and its arguments.
pub type Program = (PathBuf, Vec<OsString>);

/// What is supervised.
#[derive(Debug)]
pub struct Supervised {
    /// Superset's command and its arguments.
    pub command: Vec<OsString>,
    /// Variables that it is given besides ours.
    pub variables: Vec<(OsString, OsString)>,
    /// Variables of ours that it is not given.
    pub without: Vec<OsString>,
    /// The program that is the agent, and its arguments.
    pub agent: Program,
}

/// Where things stand.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// Nothing was started yet.
    Waiting,
    /// The command runs.
    Running,
    /// It was asked to end, to be started again; it must have ended by then.
    Restarting(Instant),
    /// We were asked to stop, with this signal.
    Stopping(Signal),
    /// The command is over; the agent must have ended by then.
    Ending(Instant),
}

struct Supervisor {
    supervised: Supervised,
    phase: Phase,
    family: Family,
    agent: Agent,
    /// Whom the signal to stop has reached.
    told: BTreeSet<i32>,
}

/// Supervises until the command has ended; the exit code is the command's.
pub async fn run(supervised: Supervised) -> Result<ExitCode, SuperviseError> {
    set_child_subreaper(Some(getpid())).map_err(|error| SuperviseError::Prepare(error.into()))?;
    let mut signals = signals::listen().map_err(SuperviseError::Prepare)?;
    let (program, arguments) = supervised.agent.clone();
    let agent = Agent::new(program, arguments);
    let mut supervisor =
        Supervisor { supervised, phase: Phase::Waiting, family: Family::default(), agent, told: BTreeSet::new() };
    loop {
        supervisor.turn(&mut signals).await?;
        if matches!(supervisor.phase, Phase::Ending(_)) && supervisor.agent.pid().is_none() {
            supervisor.tell_all(Signal::KILL);
            return Ok(supervisor.family.code());
        }
    }
}

impl Supervisor {
    /// Waits for one thing to happen, and acts on it.
    async fn turn(&mut self, signals: &mut mpsc::UnboundedReceiver<Signal>) -> Result<(), SuperviseError> {
        let next = self.next_look();
        tokio::select! {
            Some(received) = signals.recv() => self.received(received),
            request = self.agent.asks() => {
                let reply = self.asked(request)?;
                self.agent.answer(&reply).await;
            }
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
        }
        self.look()
    }

    fn next_look(&self) -> Option<Instant> {
        match self.phase {
            Phase::Restarting(_) | Phase::Stopping(_) | Phase::Ending(_) => Some(Instant::now() + LOOK_EVERY),
            Phase::Waiting | Phase::Running => self.agent.again(),
        }
    }

    fn received(&mut self, received: Signal) {
        match received {
            Signal::CHILD => {}
            Signal::TERM | Signal::INT | Signal::QUIT => {
                info!(signal = signals::name(received), "asked to stop");
                systemd::stops();
                self.told.clear();
                self.phase = match self.phase {
                    Phase::Ending(by) => Phase::Ending(by),
                    _ => Phase::Stopping(received),
                };
            }
            other => self.heads().into_iter().for_each(|pid| signal(pid, other)),
        }
    }

    fn asked(&mut self, request: Request) -> Result<Reply, SuperviseError> {
        Ok(match (request, self.phase) {
            (_, Phase::Stopping(_) | Phase::Ending(_)) => Reply::Stopping,
            (Request::Status, Phase::Waiting) => Reply::Waiting,
            (Request::Start | Request::Restart, Phase::Waiting) => Reply::Started { pid: self.start()? },
            (Request::Restart, Phase::Running) => {
                self.told.clear();
                self.phase = Phase::Restarting(Instant::now() + RESTART_LIMIT);
                Reply::Runs { pids: self.heads().into_iter().collect() }
            }
            (_, Phase::Running | Phase::Restarting(_)) => Reply::Runs { pids: self.heads().into_iter().collect() },
        })
    }

    fn start(&mut self) -> Result<i32, SuperviseError> {
        let Supervised { command, variables, without, .. } = &self.supervised;
        let (program, arguments) =
            command.split_first().map_or((OsString::new(), [].as_slice()), |(first, rest)| (first.clone(), rest));
        let mut command = Command::new(&program);
        for name in without {
            command.env_remove(name);
        }
        command.args(arguments).envs(variables.iter().map(|(name, value)| (name, value)));
        let program = program.to_string_lossy().into_owned();
        let child = command.spawn().map_err(|source| {
            self.agent.end(Signal::TERM);
            SuperviseError::Spawn { program: program.clone(), source }
        })?;
        let pid = child.id().cast_signed();
        info!(pid, program, "started superset");
        self.family.born(pid);
        self.phase = Phase::Running;
        Ok(pid)
    }

    /// Reaps, and takes whatever step is due.
    fn look(&mut self) -> Result<(), SuperviseError> {
        let starts = matches!(self.phase, Phase::Waiting | Phase::Running | Phase::Restarting(_));
        for (pid, status) in reap() {
            self.family.has_ended(pid, status);
            self.agent.has_ended(pid, starts);
        }
        if self.agent.again().is_some_and(|again| again <= Instant::now()) {
            self.agent.start();
        }
        let is_on = !matches!(self.phase, Phase::Waiting | Phase::Ending(_));
        if is_on && (self.phase == Phase::Running || self.family.is_over()) {
            self.family.adopt(&table());
        }
        match self.phase {
            Phase::Restarting(_) if self.family.is_over() => drop(self.start()?),
            Phase::Restarting(by) if by < Instant::now() => self.tell_all(Signal::KILL),
            Phase::Restarting(_) => self.tell_new(Signal::TERM),
            Phase::Running | Phase::Stopping(_) if self.family.is_over() => self.end(),
            Phase::Stopping(by) => self.tell_new(by),
            Phase::Ending(by) if by < Instant::now() => self.agent.end(Signal::KILL),
            Phase::Waiting | Phase::Running | Phase::Ending(_) => {}
        }
        Ok(())
    }

    /// The command is over: what it left behind is told to end, and so is the agent.
    fn end(&mut self) {
        self.phase = Phase::Ending(Instant::now() + AGENT_LIMIT);
        self.tell_all(Signal::TERM);
        self.agent.end(Signal::TERM);
    }

    /// Signals everybody below us but the agent and what it started.
    fn tell_all(&self, by: Signal) {
        let (table, own) = (table(), std::process::id().cast_signed());
        let ours = |pid: i32| pid != own && table.descends(pid, own);
        let others = |pid: i32| self.agent.pid().is_none_or(|agent| !table.descends(pid, agent));
        table.iter().map(|process| process.pid).filter(|pid| ours(*pid) && others(*pid)).for_each(|pid| signal(pid, by));
    }

    /// Signals whoever has not been reached: a successor may have been born meanwhile.
    fn tell_new(&mut self, by: Signal) {
        for pid in self.heads() {
            if self.told.insert(pid) {
                signal(pid, by);
            }
        }
    }

    fn heads(&self) -> BTreeSet<i32> {
        self.family.heads(&table(), self.agent.pid())
    }
}

/// Without a `/proc` that is ours, only the command itself is known.
fn table() -> Table {
    Table::read().unwrap_or_else(|error| {
        warn!(%error, "failed to look at the processes");
        Table::default()
    })
}
