//! The keeper's side of the socket: has the command run under leases, and ends it where the supervisor cannot.
//!
//! In: leases, as they come. Out: how the command ended. Where the supervisor has died, or does not answer (it may have been
//! frozen), the command and all that it started are ended from here, before the lease is over; and killed when it is, whatever the
//! supervisor does.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as Inherited;
use std::time::Duration;

use rustix::process::{Signal, getpid, getppid};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::brood::{Brood, MARK};
use super::course::GRACE;
use super::wire::{Lease, Reply, Why, Word};
use crate::processes::clock::Moment;

/// How often is looked, at the least.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often is killed who should be gone.
const KILL_EVERY: Duration = Duration::from_millis(20);
/// How long a word to the supervisor may take.
const SAYING: Duration = Duration::from_secs(1);
/// How long after a lease's end the supervisor may take to say that the command has ended.
const TELLING: Duration = Duration::from_secs(5);

/// The supervisor, as its keeper sees it.
#[derive(Debug)]
pub struct Keeping {
    replies: mpsc::UnboundedReceiver<Reply>,
    writer: OwnedWriteHalf,
    supervisor: Option<i32>,
    /// Cancelled when nothing is to be started any more: we were told so, or the supervisor is gone.
    pub stop: CancellationToken,
}

/// How a command came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ran {
    /// It has ended.
    Ended {
        /// Its exit code.
        code: u8,
        /// What made it end.
        why: Why,
    },
    /// It could not be started, or there was no more time for it.
    Never,
    /// The supervisor is gone or frozen; the command was ended from here.
    Orphaned,
}

impl Keeping {
    /// The supervisor at standard input.
    pub fn at_stdin() -> io::Result<Self> {
        let socket = Inherited::from(io::stdin().as_fd().try_clone_to_owned()?);
        socket.set_nonblocking(true)?;
        let (reader, writer) = UnixStream::from_std(socket)?.into_split();
        let (sender, replies) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        tokio::spawn(listen(reader, sender, stop.clone()));
        let supervisor = getppid().map(|pid| pid.as_raw_nonzero().get());
        Ok(Self { replies, writer, supervisor, stop })
    }

    /// Says that there is no more to do.
    pub async fn over(&mut self, code: u8) {
        self.say(Word::Over { code }).await;
    }

    /// Has the command run as long as leases come. The supervisor may leave them unanswered for so long.
    pub async fn run(&mut self, leases: &mut watch::Receiver<Option<Lease>>, patience: Duration) -> Ran {
        let mut brood = self.brood();
        let mut lease: Option<Lease> = None;
        // How many leases are unanswered, and by when they must be.
        let mut unanswered: (u32, Option<Moment>) = (0, None);
        loop {
            tokio::select! {
                biased;
                reply = self.replies.recv() => match reply {
                    Some(Reply::Alive) => unanswered = (unanswered.0.saturating_sub(1), None),
                    Some(Reply::Started { pid }) => brood.pid = Some(pid),
                    Some(Reply::Ended { code, why }) => return Ran::Ended { code, why },
                    Some(Reply::NotStarted | Reply::Stop) => return Ran::Never,
                    None => return orphaned(brood, lease).await,
                },
                Ok(()) = leases.changed() => {
                    lease = *leases.borrow_and_update();
                    // One that nobody reads for a while must not start the command when all are read at once: by then we have given up.
                    let waits = unanswered.0 > 0 && brood.pid.is_none();
                    if let Some(lease) = lease.filter(|lease| !waits || lease.term.has_come()) {
                        unanswered = (unanswered.0 + 1, unanswered.1.or(Some(Moment::now() + patience)));
                        self.say(Word::Lease(lease)).await;
                    }
                }
                () = sleep(lease.map_or(LOOK_EVERY, |lease| pause(lease.kill))) => {}
            }
            let is_over = lease.is_some_and(|lease| lease.kill.has_come());
            if is_over && unanswered.0 == 0 && brood.pid.is_none() {
                return Ran::Never;
            }
            if is_over {
                brood.signal_all(Signal::KILL);
            }
            let is_late = is_over && lease.is_some_and(|lease| (lease.kill + TELLING).has_come());
            if is_late || unanswered.1.is_some_and(Moment::has_come) {
                return orphaned(brood, lease).await;
            }
        }
    }

    /// What the command will be known by. The mark is ours too: so it is known even if nobody can say any more which number it has.
    fn brood(&self) -> Brood {
        let (mark, keeper) = (std::env::var(MARK).unwrap_or_default(), getpid().as_raw_nonzero().get());
        Brood { pid: None, mark, supervisor: self.supervisor, keeper }
    }

    async fn say(&mut self, word: Word) {
        let Ok(mut line) = serde_json::to_vec(&word) else { return };
        line.push(b'\n');
        // Who is gone or frozen hears nothing, and that is noticed elsewhere.
        let _ = timeout(SAYING, self.writer.write_all(&line)).await;
    }
}

fn pause(kill: Moment) -> Duration {
    if kill.has_come() { KILL_EVERY } else { kill.from_now().min(LOOK_EVERY) }
}

/// Ends what nobody else ends, and returns once it is gone.
async fn orphaned(mut brood: Brood, lease: Option<Lease>) -> Ran {
    if getppid().map(|pid| pid.as_raw_nonzero().get()) != brood.supervisor {
        brood.supervisor = None;
    }
    let patient = Moment::now() + GRACE;
    let kill = lease.map_or(patient, |lease| lease.kill.min(patient));
    brood.signal_all(Signal::TERM);
    while !brood.living().is_empty() {
        if kill.has_come() {
            brood.signal_all(Signal::KILL);
        }
        sleep(KILL_EVERY).await;
    }
    Ran::Orphaned
}

/// Passes on what the supervisor says, until it says no more.
async fn listen(reader: OwnedReadHalf, replies: mpsc::UnboundedSender<Reply>, stop: CancellationToken) {
    let mut lines = BufReader::new(reader).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(reply) = serde_json::from_str(&line) else { continue };
        if reply == Reply::Stop {
            stop.cancel();
        }
        if replies.send(reply).is_err() {
            break;
        }
    }
    stop.cancel();
}
