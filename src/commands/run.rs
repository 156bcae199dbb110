//! `run`: the agent, until TERM or INT.
//!
//! Sets the log up first, so that everything after it is heard; a second signal while it stops ends it at once.

use std::process::ExitCode;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use super::given;
use crate::agent;
use crate::cli::Shared;
use crate::settings::{Log, LogFormat};

/// How many threads run the loops: they wait far more than they compute.
const THREADS: usize = 2;

/// Runs the agent.
pub(super) fn run(shared: &Shared) -> anyhow::Result<ExitCode> {
    let settings = given::settings(shared)?;
    start_log(&settings.log)?;
    for problem in settings.warnings() {
        warn!(field = problem.field, hint = problem.hint, "{}", problem.message);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
    runtime.context("failed to start the runtime")?.block_on(async {
        let stop = stop_on_signals()?;
        agent::run(settings, stop).await
    })?;
    Ok(ExitCode::SUCCESS)
}

fn start_log(log: &Log) -> anyhow::Result<()> {
    // The client warns at each attempt to reconnect, which we report once, with what it means for the cluster.
    let level = format!("zookeeper_client=error,{}", log.level);
    let filter = EnvFilter::try_new(level).context("failed to understand log.level")?;
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).with_target(false);
    match log.format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
}

fn stop_on_signals() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("failed to listen for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to listen for signals")?;
    let stopping = stop.clone();
    tokio::spawn(async move {
        for second in [false, true] {
            let name = tokio::select! {
                _ = terminate.recv() => "TERM",
                _ = interrupt.recv() => "INT",
            };
            if second {
                std::process::exit(1);
            }
            info!(signal = name, "asked to stop");
            stopping.cancel();
        }
    });
    Ok(stop)
}
