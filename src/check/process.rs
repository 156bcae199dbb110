//! Runs one program of a check with Superset's Python: bounded, apart, and ended with all that it started.
//!
//! In: the program, its job, Superset's environment, a limit. Out: what it answered on its standard output, the end of what was
//! said besides, and how it ended. The process group is ended with KILL while its leader is not reaped yet, so that the group cannot
//! be another's; then whatever bears the check's mark. A dropped future ends them too. What was answered may hold secrets: it is
//! wiped once it is read.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use secrecy::zeroize::Zeroizing;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::error::CheckError;
use super::interpret::Answers;
use super::scratch::Scratch;
use super::survivors::{self, MARK};

/// How much of what is said is kept, in bytes: its end, where the reason stands.
const TAIL: usize = 8 * 1024;
/// How much is answered at most: a candidate holds no more secrets than that.
const ANSWER: usize = 1024 * 1024;
/// How long the end of the output is waited for once everything was ended.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The environment of a process. It holds secrets, so it has no debug print.
pub(super) type Environment = BTreeMap<OsString, OsString>;

/// What is to be run.
pub(super) struct Job<'a> {
    pub(super) python: &'a Path,
    pub(super) program: &'static str,
    pub(super) scratch: &'a Scratch,
    pub(super) environment: Environment,
    /// How long it may take.
    pub(super) limit: Duration,
    /// How much memory it may take, in bytes.
    pub(super) memory: u64,
    /// What it is told, besides its bounds.
    pub(super) told: Json,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Exited(i32),
    Signalled(i32),
    TooSlow,
    /// Somebody else has reaped it.
    Unknown,
}

/// What came of it.
pub(super) struct Ended {
    pub(super) answers: Answers,
    pub(super) said: Zeroizing<String>,
    pub(super) how: How,
}

/// Runs it to its end, or to the limit.
pub(super) async fn run(mut job: Job<'_>) -> Result<Ended, CheckError> {
    let seconds = job.limit.as_secs().saturating_mul(2).saturating_add(10);
    job.told["memory"] = json!(job.memory);
    job.told["cpu"] = json!(seconds);
    let told = format!("{}.json", job.program);
    job.scratch.write(&told, job.told.to_string().as_bytes())?;
    let failed = |source| CheckError::Run { python: job.python.to_owned(), source };

    let child = command(&job, &job.scratch.path(&told)).spawn().map_err(failed)?;
    let mut group = Group { child, mark: job.scratch.id().to_owned() };
    let enough = CancellationToken::new();
    let answers = group.child.stdout.take().map(|from| keep(from, &enough, Keep::First(ANSWER)));
    let said = group.child.stderr.take().map(|from| keep(from, &enough, Keep::Last(TAIL)));
    let ended = timeout(job.limit, exited(&group.child)).await;
    group.end().await;
    let status = group.child.wait().await;
    let how = match (ended, status) {
        (Err(_), _) => How::TooSlow,
        (Ok(Err(source)), _) => return Err(failed(source)),
        (Ok(Ok(())), Ok(status)) => {
            status.code().map(How::Exited).or(status.signal().map(How::Signalled)).unwrap_or(How::Unknown)
        }
        (Ok(Ok(())), Err(_)) => How::Unknown,
    };
    let (answers, said) = (whole(answers, &enough).await, whole(said, &enough).await);
    let said = Zeroizing::new(String::from_utf8_lossy(&said).into_owned());
    Ok(Ended { answers: Answers::read(&answers), said, how })
}

fn command(job: &Job<'_>, told: &Path) -> Command {
    let home = job.scratch.path("home");
    let mut command = Command::new(job.python);
    command.arg(job.scratch.path("programs").join(job.program)).arg(told).current_dir(&home);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    command.env_clear().envs(&job.environment);
    command.env("SUPERSET_HOME", home).env("TMPDIR", job.scratch.path("tmp")).env(MARK, job.scratch.id());
    // Each thread of the linear algebra that pandas loads would reserve some 40 MB.
    command.env("OPENBLAS_NUM_THREADS", "1").env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONUNBUFFERED", "1");
    // Our programs import one another from their own folder, and end when they end.
    command.env_remove("PYTHONSAFEPATH").env_remove("PYTHONINSPECT");
    command
}

/// A process that leads a group, and the mark of all that it starts.
struct Group {
    child: Child,
    mark: String,
}

impl Group {
    fn kill(&self) {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It fails where the group has just ended by itself.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }

    async fn end(&self) {
        self.kill();
        let mark = self.mark.clone();
        // It cannot fail but by a panic of the thread; the drop looks once more.
        let _ = tokio::task::spawn_blocking(move || survivors::end(&mark)).await;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.child.id().is_some() {
            self.kill();
            survivors::end(&self.mark);
        }
    }
}

/// Waits until the process has ended, without reaping it: until then nobody else can have its number.
async fn exited(child: &Child) -> io::Result<()> {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let Some(pid) = pid else { return Ok(()) };
    let wait = move || loop {
        match waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
            Err(Errno::INTR) => {}
            // Somebody has reaped it for us.
            Ok(_) | Err(Errno::CHILD) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    };
    tokio::task::spawn_blocking(wait).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

#[derive(Clone, Copy)]
enum Keep {
    First(usize),
    Last(usize),
}

type Kept = Zeroizing<Vec<u8>>;

/// Reads to the end, or until it is enough, and keeps a part.
fn keep(mut from: impl AsyncRead + Unpin + Send + 'static, enough: &CancellationToken, keep: Keep) -> JoinHandle<Kept> {
    let enough = enough.clone();
    tokio::spawn(async move {
        let (mut kept, mut chunk) = (Zeroizing::new(Vec::with_capacity(64 * 1024)), Zeroizing::new([0; 8192]));
        while let Some(Ok(length @ 1..)) = enough.run_until_cancelled(from.read(&mut chunk[..])).await {
            kept.extend_from_slice(&chunk[..length]);
            match keep {
                Keep::First(most) => kept.truncate(most),
                Keep::Last(most) => {
                    let surplus = kept.len().saturating_sub(most);
                    if surplus > 0 {
                        // From the start of a line: half a line could hold half a secret, which nobody would know.
                        let line =
                            kept[surplus..].iter().position(|byte| *byte == b'\n').map_or(kept.len(), |at| surplus + at + 1);
                        kept.drain(..line);
                    }
                }
            }
        }
        kept
    })
}

async fn whole(reading: Option<JoinHandle<Kept>>, enough: &CancellationToken) -> Kept {
    let Some(mut reading) = reading else { return Kept::default() };
    let read = if let Ok(read) = timeout(LAST_WORDS, &mut reading).await {
        read
    } else {
        enough.cancel();
        reading.await
    };
    read.unwrap_or_default()
}

/// A path as the programs are told it; a path that is not text shows up as one that is not there.
pub(super) fn told(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Instant;

    use super::*;

    /// Runs a shell script in a Python's place.
    async fn shell(room: &Path, script: &str, limit: Duration) -> Ended {
        let scratch = Scratch::make(room).unwrap();
        let python = scratch.path("python");
        fs::write(&python, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&python, fs::Permissions::from_mode(0o700)).unwrap();
        let environment = Environment::from([("PATH".into(), std::env::var_os("PATH").unwrap())]);
        let job = Job { python: &python, program: "p", scratch: &scratch, environment, limit, memory: 1 << 30, told: json!({}) };
        run(job).await.unwrap()
    }

    fn runs(pid: &str) -> bool {
        let stat = fs::read_to_string(Path::new("/proc").join(pid.trim()).join("stat")).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
    }

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn answers_and_talk_are_kept_apart_and_the_environment_is_what_was_given() {
        let room = tempfile::tempdir().unwrap();
        let script = "echo '{\"begun\": true}'; env >&2; [ -z \"$HOME\" ] || echo leaked >&2; exit 3";
        let ended = shell(room.path(), script, LONG).await;
        assert!(ended.answers.begun);
        assert_eq!(ended.how, How::Exited(3));
        assert!(ended.said.contains("SETKEEPER_CHECK=") && !ended.said.contains("leaked"), "{}", *ended.said);
        assert_eq!(fs::read_dir(room.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn at_the_limit_everything_ends_also_what_ignores_term_and_what_left_the_group() {
        let room = tempfile::tempdir().unwrap();
        let pids = room.path().join("pids");
        let script = format!(
            "trap '' TERM; (trap '' TERM; sleep 61) & echo $! >>{pids}; setsid sleep 62 & echo $! >>{pids}; echo $$ >>{pids}; wait",
            pids = pids.display()
        );
        let began = Instant::now();
        let ended = shell(room.path(), &script, Duration::from_secs(1)).await;
        assert_eq!(ended.how, How::TooSlow);
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        let pids = fs::read_to_string(pids).unwrap();
        assert_eq!(pids.lines().count(), 3);
        for pid in pids.lines() {
            assert!(!runs(pid), "{pid} runs on");
        }
    }

    #[tokio::test]
    async fn what_a_program_leaves_behind_ends_with_it() {
        let room = tempfile::tempdir().unwrap();
        let pids = room.path().join("pids");
        let ended = shell(room.path(), &format!("sleep 63 & echo $! >{}", pids.display()), LONG).await;
        assert_eq!(ended.how, How::Exited(0));
        assert!(!runs(&fs::read_to_string(pids).unwrap()));
    }

    #[tokio::test]
    async fn everything_ends_with_a_caller_that_gives_up() {
        let room = tempfile::tempdir().unwrap();
        let pids = room.path().join("pids");
        let script = format!("setsid sleep 64 & echo $! >>{0}; echo $$ >>{0}; wait", pids.display());
        timeout(Duration::from_secs(1), shell(room.path(), &script, LONG)).await.map(drop).unwrap_err();
        tokio::time::sleep(Duration::from_millis(200)).await;
        for pid in fs::read_to_string(&pids).unwrap().lines() {
            assert!(!runs(pid), "{pid} runs on");
        }
        assert_eq!(fs::read_dir(room.path()).unwrap().count(), 1, "only the pids are left");
    }

    #[tokio::test]
    async fn much_talk_is_kept_from_the_start_of_a_line() {
        let room = tempfile::tempdir().unwrap();
        let ended = shell(room.path(), "seq 100000 199999 >&2; kill -9 $$", LONG).await;
        assert_eq!(ended.how, How::Signalled(9));
        assert!(ended.said.ends_with("199998\n199999\n") && ended.said.len() <= TAIL);
        assert_eq!(ended.said.lines().next().unwrap().len(), 6);
    }
}
