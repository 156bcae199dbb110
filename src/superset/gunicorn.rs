//! The gunicorn that runs Superset: found, and made to load a new config by HUP.
//!
//! It is found by its pid file, below a supervisor, or among all processes. A pid file may be older than the process that has its pid now,
//! and moves during a handoff (`.2`). So the process is pinned first, then looked at, and only that pinned process is
//! signalled: a stranger never is. A master with `--preload` is refused, because it would restart its workers from the config it
//! loaded long ago (0 of 364 requests saw the new one).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use thiserror::Error;

use crate::processes::celery::Kind;
use crate::processes::gunicorn::{self, Options};
use crate::processes::pinned::Pinned;
use crate::processes::{Process, Table, celery};

/// The variable that names Superset's config.
const CONFIG: &str = "SUPERSET_CONFIG_PATH";

/// How long a process that has just been started may take until a signal no longer ends it.
const STARTS_WITHIN: Duration = Duration::from_secs(10);

/// Where to look for the process that is told to reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// This file names it.
    PidFile(PathBuf),
    /// It is the one below this process, which supervises it.
    Below(i32),
    /// It is the only one that we see, or the only one that loads this file.
    Only(PathBuf),
    /// It is the one that loads this file, as its environment says.
    Loads(PathBuf),
}

/// Why gunicorn, or a process of Celery, cannot be made to reload.
#[derive(Debug, Error)]
pub enum GunicornError {
    /// The pid file is not there or cannot be read; gunicorn writes one only with `--pid`.
    #[error("failed to read the pid file {}", .path.display())]
    PidFile {
        /// The pid file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The pid file holds something else.
    #[error("the pid file {} holds no pid", .path.display())]
    NoPid {
        /// The pid file.
        path: PathBuf,
    },
    /// The pid file names a process that is gone, or another one that has its pid by now.
    #[error("the pid file {} is stale: process {pid} is {what}", .path.display())]
    Stale {
        /// The pid file.
        path: PathBuf,
        /// The pid in it.
        pid: i32,
        /// What is there instead.
        what: String,
    },
    /// The processes cannot be looked at.
    #[error("failed to look for {0} among the processes")]
    Look(&'static str, #[source] io::Error),
    /// There is none.
    #[error("no {0} runs here")]
    Nobody(&'static str),
    /// There are several, and nothing says which.
    #[error("more than one {what} runs here: {}", .pids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Several {
        /// What was looked for.
        what: &'static str,
        /// All of them.
        pids: Vec<i32>,
    },
    /// The master has loaded the app before it forked, so that HUP never loads a new config.
    #[error("gunicorn {pid} runs with preload, so a HUP would not load the new config")]
    Preload {
        /// The master's pid.
        pid: i32,
    },
    /// It makes no arrangements for the signal, which would end it.
    #[error("process {pid} is not ready to be signalled")]
    NotReady {
        /// Its pid.
        pid: i32,
    },
    /// The signal was not allowed.
    #[error("failed to signal process {pid}")]
    Signal {
        /// Its pid.
        pid: i32,
        /// Why.
        source: io::Error,
    },
}

impl GunicornError {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::PidFile { .. } => Some("start gunicorn with `--pid FILE` and name the same file in `reload.pid_file`"),
            Self::Several { .. } => Some("say which: give it a pid file and name that in `reload.pid_file`"),
            Self::Nobody(_) => Some("share the process namespace with it, or name `reload.pid_file`"),
            Self::Look(..) => Some("mount a /proc of the agent's own process namespace"),
            Self::Preload { .. } => Some("start gunicorn without preload, or set `reload.command` to what restarts it"),
            Self::Signal { .. } => Some("run the agent as the same user as gunicorn, in the same process namespace"),
            Self::NoPid { .. } | Self::Stale { .. } | Self::NotReady { .. } => None,
        }
    }

    /// Whether there is no process to be told: gunicorn writes its pid file before a worker loads the config.
    #[must_use]
    pub fn finds_nobody(&self) -> bool {
        match self {
            Self::PidFile { source, .. } => source.kind() == io::ErrorKind::NotFound,
            Self::Stale { .. } | Self::Nobody(_) => true,
            _ => false,
        }
    }
}

/// The master that this names, held fast.
pub fn master(target: &Target) -> Result<Pinned, GunicornError> {
    find(target, "gunicorn", gunicorn::is, |table| gunicorn::masters(table).cloned().collect())
}

/// Sends HUP to the master that this names, and answers with its pid.
pub async fn hup(target: &Target) -> Result<i32, GunicornError> {
    let master = master(target)?;
    // Where a title hides what it was told, or a program decides, what it holds in memory tells.
    if Options::of(master.process()).preloads() || gunicorn::has_loaded_superset(master.process()) {
        return Err(GunicornError::Preload { pid: master.process().pid });
    }
    signal(&master, Signal::HUP).await
}

/// Sends HUP to the main process of Celery's worker: it executes itself anew, under the same pid, once its tasks are done.
pub async fn hup_worker(target: &Target) -> Result<i32, GunicornError> {
    signal(&worker(target)?, Signal::HUP).await
}

/// The main process of Celery's worker, held fast.
pub fn worker(target: &Target) -> Result<Pinned, GunicornError> {
    let is_worker = |process: &Process| celery::is(process, Kind::Worker);
    find(target, "celery worker", is_worker, |table| celery::mains(table, Kind::Worker).cloned().collect())
}

/// Signals it once it is ready for that, and answers with its pid.
pub(super) async fn signal(pinned: &Pinned, signal: Signal) -> Result<i32, GunicornError> {
    let pid = pinned.process().pid;
    if !pinned.catches_within(signal, STARTS_WITHIN).await {
        return Err(GunicornError::NotReady { pid });
    }
    pinned.signal(signal).map(|()| pid).map_err(|source| GunicornError::Signal { pid, source })
}

fn find(
    target: &Target,
    what: &'static str,
    is: impl Fn(&Process) -> bool,
    candidates: impl Fn(&Table) -> Vec<Process>,
) -> Result<Pinned, GunicornError> {
    if let Target::PidFile(path) = target {
        return by_pid_file(path, &is);
    }
    let table = Table::read().map_err(|source| GunicornError::Look(what, source))?;
    let loads = |process: &Process, file: &Path| process.variable(CONFIG).is_some_and(|path| Path::new(&path) == file);
    let mut found = candidates(&table);
    match target {
        Target::Below(ancestor) => found.retain(|process| table.descends(process.pid, *ancestor)),
        Target::Loads(file) => found.retain(|process| loads(process, file)),
        Target::Only(file) if found.len() > 1 && found.iter().filter(|process| loads(process, file)).count() == 1 => {
            found.retain(|process| loads(process, file));
        }
        Target::Only(_) | Target::PidFile(_) => {}
    }
    let pids: Vec<_> = found.iter().map(|process| process.pid).collect();
    match pids.as_slice() {
        [] => Err(GunicornError::Nobody(what)),
        [pid] => pin(*pid, &is).map_err(|_| GunicornError::Nobody(what)),
        _ => Err(GunicornError::Several { what, pids }),
    }
}

fn by_pid_file(path: &Path, is: &impl Fn(&Process) -> bool) -> Result<Pinned, GunicornError> {
    let named = in_pid_file(path, is);
    match &named {
        Err(error) if error.finds_nobody() => {
            // The old master takes its file away as it ends; for up to a second the new one has its own beside it.
            let mut second = path.as_os_str().to_owned();
            second.push(".2");
            in_pid_file(Path::new(&second), is).or(named)
        }
        _ => named,
    }
}

fn in_pid_file(path: &Path, is: &impl Fn(&Process) -> bool) -> Result<Pinned, GunicornError> {
    let own = || path.to_owned();
    let text = fs::read_to_string(path).map_err(|source| GunicornError::PidFile { path: own(), source })?;
    let pid = text.trim().parse::<i32>().ok().filter(|pid| *pid > 0).ok_or_else(|| GunicornError::NoPid { path: own() })?;
    pin(pid, is).map_err(|what| GunicornError::Stale { path: own(), pid, what })
}

/// The process of this pid, if it is what is looked for; else what is there instead.
fn pin(pid: i32, is: &impl Fn(&Process) -> bool) -> Result<Pinned, String> {
    match Pinned::new(pid) {
        Ok(pinned) if is(pinned.process()) => Ok(pinned),
        Ok(pinned) => Err(format!("{:?}", pinned.process().name)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err("gone".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn a_stranger_with_the_pid_of_a_stale_file_is_not_signalled() {
        let mut stranger = Command::new("sleep").arg("60").spawn().unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), format!("{}\n", stranger.id())).unwrap();
        let target = Target::PidFile(file.path().to_owned());
        let error = hup(&target).await.unwrap_err();
        assert!(error.to_string().contains(&format!("is stale: process {} is ", stranger.id())), "{error}");
        assert!(stranger.try_wait().unwrap().is_none(), "the stranger has ended");
        stranger.kill().unwrap();
        stranger.wait().unwrap();
        assert!(hup(&target).await.unwrap_err().finds_nobody());
    }

    #[tokio::test]
    async fn a_file_without_a_pid_says_so() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for text in ["", "x", "0", "-7"] {
            fs::write(file.path(), text).unwrap();
            let error = hup(&Target::PidFile(file.path().to_owned())).await.unwrap_err();
            assert!(matches!(error, GunicornError::NoPid { .. }), "{text:?}");
        }
        let error = hup(&Target::PidFile("/nowhere/pid".into())).await.unwrap_err();
        assert_eq!(error.to_string(), "failed to read the pid file /nowhere/pid");
        assert!(error.hint().is_some() && error.finds_nobody());
    }

    #[test]
    fn several_are_listed() {
        let error = GunicornError::Several { what: "gunicorn", pids: vec![7, 9] };
        assert_eq!(error.to_string(), "more than one gunicorn runs here: 7, 9");
        assert!(error.hint().unwrap().contains("reload.pid_file"));
    }

    #[tokio::test]
    async fn nobody_is_below_a_process_without_children() {
        let mut alone = Command::new("sleep").arg("60").spawn().unwrap();
        let error = hup(&Target::Below(alone.id().cast_signed())).await.unwrap_err();
        assert!(matches!(error, GunicornError::Nobody("gunicorn")), "{error}");
        alone.kill().unwrap();
        alone.wait().unwrap();
    }
}
