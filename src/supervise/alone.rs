//! An agent with nobody beside it to supervise: started again whenever it dies, until we are told to stop.
//!
//! In: how the agent is started, and signals. Out: the exit code 0, once the agent has ended on our word. For a sidecar, whose
//! container's end would make its pod unready: so the agent's death is not the container's. It reads and decides nothing.

use std::io;
use std::process::ExitCode;

use rustix::process::{Signal, getpid, set_child_subreaper};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::info;

use super::agent::Agent;
use super::family::reap;
use super::{AGENT_LIMIT, Program, SuperviseError, signals};

/// Keeps the agent alive; a second signal to stop ends it at once.
pub async fn run((program, arguments): Program) -> Result<ExitCode, SuperviseError> {
    set_child_subreaper(Some(getpid())).map_err(|error| SuperviseError::Prepare(error.into()))?;
    let mut heard = signals::listen().map_err(SuperviseError::Prepare)?;
    let mut agent = Agent::new(program, arguments);
    let mut ending = None;
    loop {
        if ending.is_none() && agent.again().is_some_and(|again| again <= Instant::now()) {
            agent.start();
        }
        let next = ending.or(agent.again());
        tokio::select! {
            received = next_of(&mut heard) => {
                let signal = received.map_err(SuperviseError::Prepare)?;
                if matches!(signal, Signal::TERM | Signal::INT | Signal::QUIT | Signal::HUP) {
                    info!(signal = signals::name(signal), "asked to stop");
                    agent.end(if ending.is_some() { Signal::KILL } else { Signal::TERM });
                    ending = ending.or(Some(Instant::now() + AGENT_LIMIT));
                }
            }
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                if ending.is_some() {
                    agent.end(Signal::KILL);
                    ending = Some(Instant::now() + AGENT_LIMIT);
                }
            }
        }
        for (pid, _) in reap() {
            agent.has_ended(pid, ending.is_none());
        }
        if ending.is_some() && agent.pid().is_none() {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

async fn next_of(heard: &mut mpsc::UnboundedReceiver<Signal>) -> io::Result<Signal> {
    heard.recv().await.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}
