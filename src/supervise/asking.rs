//! The agent's side of the socket: asks its supervisor, one question at a time.
//!
//! The socket is standard input. When the supervisor has gone there is nothing left to keep in line: `gone` is cancelled.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as Inherited;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::wire::{Reply, Request};
use crate::processes::awake;

/// How long an answer may take: the supervisor does nothing else.
const LIMIT: Duration = Duration::from_secs(10);
/// How long a restart may take; the supervisor kills what has not ended after a minute.
const RESTART_LIMIT: Duration = Duration::from_secs(75);
/// How often is asked whether a restart is done.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Why the supervisor could not be asked, or did not do it.
#[derive(Debug, Error)]
pub enum AskError {
    /// Standard input is no such socket.
    #[error("failed to take over the supervisor's socket")]
    Connect(#[source] io::Error),
    /// No answer came.
    #[error("the supervisor does not answer")]
    Silent,
    /// It has been told to stop.
    #[error("the supervisor is stopping")]
    Stopping,
    /// The command was not started again in time.
    #[error("the supervisor did not restart superset within {0:?}")]
    TooSlow(Duration),
}

type Question = (Request, oneshot::Sender<Reply>);

/// The supervisor, to be asked.
#[derive(Clone, Debug)]
pub struct Asking {
    questions: mpsc::Sender<Question>,
    /// The supervisor's process.
    pub pid: i32,
}

impl Asking {
    /// The supervisor at standard input; `gone` is cancelled when it has ended.
    pub fn at_stdin(gone: CancellationToken) -> Result<Self, AskError> {
        let socket = io::stdin().as_fd().try_clone_to_owned().map(Inherited::from);
        Self::at(socket.map_err(AskError::Connect)?, gone)
    }

    /// The supervisor at the other end of this socket.
    pub fn at(socket: Inherited, gone: CancellationToken) -> Result<Self, AskError> {
        let pid = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
        socket.set_nonblocking(true).and_then(|()| UnixStream::from_std(socket)).map_err(AskError::Connect).map(|socket| {
            let (questions, receiver) = mpsc::channel(8);
            tokio::spawn(async move {
                if let Err(error) = converse(socket, receiver).await {
                    error!(%error, "the supervisor has gone");
                }
                gone.cancel();
            });
            Self { questions, pid }
        })
    }

    /// Whether the command was started just now; `false` where it runs already.
    pub async fn start(&self) -> Result<bool, AskError> {
        match self.ask(Request::Start).await? {
            Reply::Started { .. } => Ok(true),
            Reply::Runs { .. } | Reply::Waiting => Ok(false),
            Reply::Stopping => Err(AskError::Stopping),
        }
    }

    /// Ends the command and starts it again.
    pub async fn restart(&self) -> Result<(), AskError> {
        let before = match self.ask(Request::Restart).await? {
            Reply::Started { .. } | Reply::Waiting => return Ok(()),
            Reply::Runs { pids } => pids,
            Reply::Stopping => return Err(AskError::Stopping),
        };
        let done = async {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                let now = self.running().await?;
                if !now.is_empty() && !now.iter().any(|pid| before.contains(pid)) {
                    return Ok(());
                }
            }
        };
        awake::timeout(RESTART_LIMIT, done).await.map_err(|_| AskError::TooSlow(RESTART_LIMIT))?
    }

    /// The processes that signals to the command go to; none where it was not started yet.
    pub async fn running(&self) -> Result<Vec<i32>, AskError> {
        match self.ask(Request::Status).await? {
            Reply::Runs { pids } => Ok(pids),
            Reply::Started { pid } => Ok(vec![pid]),
            Reply::Waiting => Ok(Vec::new()),
            Reply::Stopping => Err(AskError::Stopping),
        }
    }

    async fn ask(&self, request: Request) -> Result<Reply, AskError> {
        let (sender, answer) = oneshot::channel();
        self.questions.send((request, sender)).await.map_err(|_| AskError::Silent)?;
        tokio::time::timeout(LIMIT, answer).await.map_err(|_| AskError::Silent)?.map_err(|_| AskError::Silent)
    }
}

/// Asks question after question until nobody asks any more, or the socket ends.
async fn converse(socket: UnixStream, mut questions: mpsc::Receiver<Question>) -> io::Result<()> {
    let (reader, mut writer) = socket.into_split();
    let mut lines = BufReader::new(reader).lines();
    loop {
        let (request, answer) = tokio::select! {
            question = questions.recv() => match question {
                Some(question) => question,
                None => return Ok(()),
            },
            // Nothing is said unasked: what comes now is the end.
            _ = lines.next_line() => return Err(io::ErrorKind::UnexpectedEof.into()),
        };
        let mut line = serde_json::to_vec(&request)?;
        line.push(b'\n');
        writer.write_all(&line).await?;
        let reply = lines.next_line().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        // Whoever asked may have lost patience.
        let _ = answer.send(serde_json::from_str(&reply)?);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};

    use super::*;

    /// A supervisor that answers with these lines, one after another, and then goes.
    fn supervisor(answers: &'static [&'static str]) -> Inherited {
        let (ours, theirs) = Inherited::pair().unwrap();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(theirs.try_clone().unwrap()).lines();
            for answer in answers {
                lines.next().unwrap().unwrap();
                writeln!(&theirs, "{answer}").unwrap();
            }
        });
        ours
    }

    #[tokio::test]
    async fn a_start_says_whether_it_was_one() {
        let answers = &[r#"{"started":{"pid":7}}"#, r#"{"runs":{"pids":[7]}}"#, r#""stopping""#];
        let asking = Asking::at(supervisor(answers), CancellationToken::new()).unwrap();
        assert!(asking.start().await.unwrap());
        assert!(!asking.start().await.unwrap());
        assert!(matches!(asking.start().await, Err(AskError::Stopping)));
    }

    #[tokio::test]
    async fn a_restart_is_done_when_other_processes_run() {
        let answers =
            &[r#"{"runs":{"pids":[7]}}"#, r#"{"runs":{"pids":[7]}}"#, r#"{"runs":{"pids":[]}}"#, r#"{"runs":{"pids":[9]}}"#];
        Asking::at(supervisor(answers), CancellationToken::new()).unwrap().restart().await.unwrap();
    }

    #[tokio::test]
    async fn a_supervisor_that_has_gone_is_noticed() {
        let gone = CancellationToken::new();
        let asking = Asking::at(supervisor(&[]), gone.clone()).unwrap();
        tokio::time::timeout(LIMIT, gone.cancelled()).await.unwrap();
        assert!(matches!(asking.start().await, Err(AskError::Silent)));
    }
}
