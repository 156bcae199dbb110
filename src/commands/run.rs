//! `run`: the agent, until TERM, INT or HUP; with a command, the supervisor of both.
//!
//! The supervisor is this program once more without its agent: it starts itself again as the agent, with the same words, and the
//! command as Superset; `--restart` is the same without a command. Sets the log up first, so that everything after it is heard; a
//! second signal while the agent stops ends it at once.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Context;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use super::given;
use crate::agent;
use crate::cli::Shared;
use crate::output;
use crate::output::plain::{self, Form};
use crate::settings::{Log, LogFormat, Settings};
use crate::supervise::asking::Asking;
use crate::supervise::{self, Supervised};
use crate::systemd;

/// How many threads run the loops: they wait far more than they compute.
const THREADS: usize = 2;
/// The flag by which the supervisor starts the agent.
const SUPERVISED: &str = "--supervised";
/// The flag that asks for restarts, and the one in its place by which what restarts the agent starts it.
const RESTART: &str = "--restart";
const KEPT: &str = "--kept";
/// The variable that names Superset's config.
const SUPERSET_CONFIG: &str = "SUPERSET_CONFIG_PATH";
/// What the variables with the agent's own secrets begin with.
const OWN: &str = "SETKEEPER_SECRET_";

/// Runs the agent, or what supervises it and `command`.
pub(super) fn run(shared: &Shared, is_supervised: bool, is_kept: bool, command: &[OsString]) -> anyhow::Result<ExitCode> {
    let settings = given::settings(shared)?;
    start_log(&settings.log)?;
    if !command.is_empty() {
        return supervise(&settings, command);
    }
    for problem in settings.warnings() {
        warn!(field = problem.field, hint = problem.hint, "{}", problem.message);
    }
    started(Builder::new_multi_thread().worker_threads(THREADS))?.block_on(async {
        let stop = stop_on_signals()?;
        // Held to the end: its socket tells when whoever started us has gone.
        let parent = (is_supervised || is_kept).then(|| Asking::at_stdin(stop.clone())).transpose()?;
        let supervisor = parent.clone().filter(|_| is_supervised);
        agent::run(settings, supervisor, stop).await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Runs what starts the agent again whenever it dies. The settings are looked at once here, so that wrong ones end it at once.
pub(super) fn restarting(shared: &Shared) -> anyhow::Result<ExitCode> {
    let settings = given::settings(shared)?;
    start_log(&settings.log)?;
    let program = std::env::current_exe().context("failed to find the agent's own program")?;
    let own = std::env::args_os().skip(1).map(|word| if word == RESTART { KEPT.into() } else { word });
    Ok(started(&mut Builder::new_current_thread())?.block_on(supervise::alone::run((program, own.collect())))?)
}

fn supervise(settings: &Settings, command: &[OsString]) -> anyhow::Result<ExitCode> {
    agent::can_reload(settings, std::process::id().cast_signed())?;
    let supervised = supervised(settings, command)?;
    let ended = started(&mut Builder::new_current_thread())?.block_on(supervise::run(supervised));
    ended.or_else(|error| {
        let code = error.code();
        output::say(&output::failure(&error.into()));
        Ok(code)
    })
}

fn supervised(settings: &Settings, command: &[OsString]) -> anyhow::Result<Supervised> {
    let program = std::env::current_exe().context("failed to find the agent's own program")?;
    let own = std::env::args_os().skip(1).take_while(|word| word != "--").chain([SUPERVISED.into()]);
    let config = settings.render.superset_config.path.clone().into_os_string();
    let needs_config = std::env::var_os(SUPERSET_CONFIG).is_none();
    let variables = needs_config.then(|| (SUPERSET_CONFIG.into(), config));
    Ok(Supervised {
        command: command.to_vec(),
        variables: variables.into_iter().collect(),
        without: own_secrets(settings).into_iter().chain(systemd::VARIABLES.map(Into::into)).collect(),
        agent: (program, own.collect()),
    })
}

/// The variables that are not Superset's to know: what its config may read stays.
pub(super) fn own_secrets(settings: &Settings) -> Vec<OsString> {
    let is_ours = |name: &OsString| {
        let name = name.to_string_lossy();
        name.starts_with(OWN) && !settings.render.allow_env.iter().any(|allowed| *allowed == name)
    };
    std::env::vars_os().map(|(name, _)| name).filter(is_ours).collect()
}

fn started(builder: &mut Builder) -> anyhow::Result<Runtime> {
    builder.enable_all().build().context("failed to start the runtime")
}

fn start_log(log: &Log) -> anyhow::Result<()> {
    // The client warns at each attempt to reconnect, which we report once, with what it means for the cluster.
    let level = format!("zookeeper_client=error,{}", log.level);
    let filter = EnvFilter::try_new(level).context("failed to understand log.level")?;
    let form = match log.format {
        LogFormat::Text => Form::People,
        LogFormat::Json => Form::Json,
    };
    let writer = move || plain::Log::on(std::io::stderr(), form);
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(false).with_target(false);
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
    // Whoever started us with `nohup` wants us to outlive the terminal.
    let mut hangup =
        if ignores_hangup() { None } else { Some(signal(SignalKind::hangup()).context("failed to listen for signals")?) };
    let stopping = stop.clone();
    tokio::spawn(async move {
        for second in [false, true] {
            let name = tokio::select! {
                _ = terminate.recv() => "TERM",
                _ = interrupt.recv() => "INT",
                () = heard(&mut hangup) => "HUP",
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

async fn heard(hangup: &mut Option<Signal>) {
    match hangup {
        Some(hangup) => drop(hangup.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether HUP, the first signal, is in the set that this process ignores.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).is_some_and(|set| set & 1 == 1)
}
