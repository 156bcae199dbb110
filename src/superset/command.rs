//! A command with a limit: for the reload, for systemd, for a question to a worker.
//!
//! It gets its arguments as given, without a shell, in a process group of its own, which is ended as a whole at the deadline or when the
//! caller gives up. The end of what it said is kept as a secret: it may hold any secret of this host (law 9).

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::model::secret::SecretText;

/// How much of a command's output is kept, in bytes: its end, where the reason stands.
pub(super) const TAIL: usize = 2048;

/// How long the end of the output is waited for once the command has ended: a service that it started may hold it open.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Why a command failed.
#[derive(Debug, Error)]
pub enum CommandError {
    /// The command could not be run.
    #[error("failed to run {program}")]
    Spawn {
        /// The command's first word.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// The command failed.
    #[error("{program} ended with {status}")]
    Failed {
        /// The command's first word.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it said. It may hold any secret of this host, in any spelling, so it is one itself.
        output: SecretText,
    },
    /// The command took too long and was ended.
    #[error("{program} did not end within {limit:?}")]
    TooSlow {
        /// The command's first word.
        program: String,
        /// How long it had.
        limit: Duration,
        /// The end of what it said.
        output: SecretText,
    },
}

impl CommandError {
    /// The end of what a command said that failed, if it said anything.
    #[must_use]
    pub fn last_words(&self) -> Option<&SecretText> {
        match self {
            Self::Failed { output, .. } | Self::TooSlow { output, .. } if !output.expose().is_empty() => Some(output),
            _ => None,
        }
    }
}

/// Runs a program with its arguments, and ends it at the limit or when the caller gives up.
pub(super) async fn run(words: &[String], limit: Duration) -> Result<(), CommandError> {
    run_in(words, None, limit).await
}

/// The same in another environment than ours.
pub(super) async fn run_in(
    words: &[String],
    environment: Option<&[(String, String)]>,
    limit: Duration,
) -> Result<(), CommandError> {
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    let program = program.clone();
    let mut command = Command::new(&program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    if let Some(environment) = environment {
        command.env_clear().envs(environment.iter().map(|(name, value)| (name, value)));
    }
    let child = command.spawn().map_err(|source| CommandError::Spawn { program: program.clone(), source })?;
    let mut group = Group(child);
    let enough = CancellationToken::new();
    let outputs = [group.0.stdout.take().map(|from| tail(from, &enough)), group.0.stderr.take().map(|from| tail(from, &enough))];
    let ended = timeout(limit, group.0.wait()).await;
    if ended.is_err() {
        group.end();
    }
    let output = last_words(outputs, &enough).await;
    match ended {
        Err(_) => Err(CommandError::TooSlow { program, limit, output }),
        Ok(Err(source)) => Err(CommandError::Spawn { program, source }),
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(CommandError::Failed { program, status, output }),
    }
}

/// A command that leads a process group.
struct Group(Child);

impl Group {
    /// Ends the whole group, unless the command itself has ended: what it left running then is meant to stay, and its pid
    /// may be somebody else's by now.
    fn end(&mut self) {
        let pid = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It can only fail if the group has just ended by itself.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
    }
}

/// Reads to the end, or until it is enough, and keeps the last of it, from the start of a word.
fn tail(mut from: impl AsyncRead + Unpin + Send + 'static, enough: &CancellationToken) -> JoinHandle<String> {
    let enough = enough.clone();
    tokio::spawn(async move {
        let (mut kept, mut chunk, mut is_cut) = (Vec::new(), [0; 1024], false);
        while let Some(Ok(length @ 1..)) = enough.run_until_cancelled(from.read(&mut chunk)).await {
            kept.extend_from_slice(&chunk[..length]);
            let surplus = kept.len().saturating_sub(TAIL);
            kept.drain(..surplus);
            is_cut |= surplus > 0;
        }
        let text = String::from_utf8_lossy(&kept);
        let whole = if is_cut { text.split_once(char::is_whitespace).map_or("", |(_, whole)| whole) } else { &text };
        whole.to_owned()
    })
}

async fn last_words(outputs: [Option<JoinHandle<String>>; 2], enough: &CancellationToken) -> SecretText {
    let mut text = String::new();
    for mut output in outputs.into_iter().flatten() {
        let read = if let Ok(read) = timeout(LAST_WORDS, &mut output).await {
            read
        } else {
            enough.cancel();
            output.await
        };
        text.push_str(&read.unwrap_or_default());
    }
    SecretText::new(text)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::Instant;

    use super::*;

    struct Sh(Vec<String>);

    impl Sh {
        async fn within(&self, limit: Duration) -> Result<(), CommandError> {
            run(&self.0, limit).await
        }
    }

    fn sh(script: &str) -> Sh {
        Sh(["sh", "-c", script, "sh", "a b", "$HOME;*"].map(ToOwned::to_owned).to_vec())
    }

    /// Whether a process runs; one that has ended and waits for its parent does not.
    fn runs(pid: &str) -> bool {
        let stat = fs::read_to_string(Path::new("/proc").join(pid.trim()).join("stat")).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
    }

    #[tokio::test]
    async fn a_command_gets_its_arguments_as_given() {
        sh(r#"test "$1" = "a b" && test "$2" = '$HOME;*' && test $# = 2"#).within(Duration::from_secs(10)).await.unwrap();
    }

    #[tokio::test]
    async fn law_9_a_failed_command_does_not_show_what_it_said_and_the_end_of_it_is_kept() {
        let script = "seq 9999; echo canary >&2; exit 3";
        let error = sh(script).within(Duration::from_secs(10)).await.unwrap_err();
        assert_eq!(error.to_string(), "sh ended with exit status: 3");
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        let words = error.last_words().unwrap().expose();
        assert!(words.ends_with("9998\n9999\ncanary\n") && words.len() < 2 * TAIL, "{words}");
    }

    #[tokio::test]
    async fn a_command_that_cannot_be_started_is_named() {
        let error = Sh(vec!["/nowhere/restart".to_owned()]).within(Duration::from_secs(1)).await.unwrap_err();
        assert_eq!(error.to_string(), "failed to run /nowhere/restart");
    }

    #[tokio::test]
    async fn the_whole_group_ends_at_the_deadline() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let script = format!("sleep 60 & echo $! >{}; echo working; wait", file.display());
        let began = Instant::now();
        let error = sh(&script).within(Duration::from_secs(1)).await.unwrap_err();
        assert_eq!(error.to_string(), "sh did not end within 1s");
        assert_eq!(error.last_words().unwrap().expose(), "working\n");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!runs(&fs::read_to_string(file).unwrap()));
    }

    #[tokio::test]
    async fn the_group_ends_with_a_caller_that_gives_up() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let command = sh(&format!("sleep 60 & echo $! >{}; wait", file.display()));
        let _ = timeout(Duration::from_secs(1), command.within(Duration::from_secs(60))).await.unwrap_err();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!runs(&fs::read_to_string(file).unwrap()));
    }

    #[tokio::test]
    async fn a_service_that_the_command_leaves_behind_is_neither_waited_for_nor_ended() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let began = Instant::now();
        sh(&format!("sleep 60 & echo $! >{}", file.display())).within(Duration::from_secs(30)).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        let pid = fs::read_to_string(file).unwrap();
        assert!(runs(&pid));
        rustix::process::kill_process(Pid::from_raw(pid.trim().parse().unwrap()).unwrap(), Signal::KILL).unwrap();
    }
}
