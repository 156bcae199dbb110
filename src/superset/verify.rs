//! The proof that Superset runs a revision, for each role.
//!
//! A web server: the new revision and no other in `X-Setkeeper-Revision`, several times in a row, each time on a new connection, so that
//! every worker may be the one that answers; then, with our login, whole connections, which a changed `SECRET_KEY` breaks
//! while everything else answers. A worker of Celery: its own `inspect ping`. Its beat: alive, and not the process that it was. In: a
//! revision. Out: proved, or what was seen instead.

use std::time::Duration;

use reqwest::redirect;
use rustix::process::Signal;
use thiserror::Error;
use tokio::time::{Instant, sleep};
use tracing::warn;
use url::Url;

use super::client::Client;
use super::command::{CommandError, run_in};
use super::error::CallError;
use super::gunicorn::{GunicornError, Target, worker};
use super::handoff::{Answers, BROKEN_FOR};
use crate::model::digest::Revision;
use crate::processes::awake::{self, TooLate};
use crate::processes::celery::{Kind, mains, ping};
use crate::processes::{Process, Table};
use crate::settings::release::Verify;

/// What every rendered config adds to each response.
const HEADER: &str = "X-Setkeeper-Revision";
/// The path that a worker answers without asking anything else.
const HEALTH: &str = "/health";
/// How long one answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// How long until a wrong answer is asked for again.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// How long a process must live to count as one that lives.
const LIVES_FOR: Duration = Duration::from_secs(2);

/// Why a revision is not proved.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// There can be no client.
    #[error("failed to make the HTTP client")]
    Setup(#[source] reqwest::Error),
    /// It was not seen often enough in a row.
    #[error("superset did not answer well with revision {wanted} {times} times in a row within {limit:?}: {seen}")]
    NotSeen {
        /// What was wanted.
        wanted: Revision,
        /// How often in a row.
        times: u32,
        /// Within what time.
        limit: Duration,
        /// What was seen last.
        seen: Seen,
    },
    /// It answers, and cannot read its connections.
    #[error("superset answers, and cannot list its connections")]
    Databases(#[source] CallError),
    /// The worker, or the beat, was not found.
    #[error(transparent)]
    Process(#[from] GunicornError),
    /// How the worker was started does not tell how to ask it.
    #[error("failed to learn from its arguments how to ask celery worker {0}")]
    Unknown(i32),
    /// The worker is another user's, whose programs we do not run.
    #[error("celery worker {0} is another user's, and is not asked by its own program")]
    Stranger(i32),
    /// The worker did not answer.
    #[error("celery's worker does not answer")]
    Ping(#[source] CommandError),
    /// The worker was asked and said nothing.
    #[error("celery's worker does not answer within {0:?}")]
    Worker(Duration),
    /// No new beat lives.
    #[error("no new celery beat lives within {0:?}")]
    Beat(Duration),
}

/// What one question brought.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Seen {
    /// Nothing yet.
    #[error("nothing was answered")]
    Nothing,
    /// The revision that was wanted.
    #[error("the last answer was right")]
    Right,
    /// It as often as was wanted, and then nothing of its connections.
    #[error("it did, and did not list its connections in that time")]
    Unlisted,
    /// Another one.
    #[error("the last answer came from revision {0}")]
    Other(String),
    /// An answer without one.
    #[error("the last answer, with status {0}, named no revision")]
    Unnamed(u16),
    /// A failure of the revision that was wanted.
    #[error("the last answer came from it and had status {0}")]
    Broken(u16),
    /// A failure, whoever it came from.
    #[error("the last answer had status {0}")]
    Failed(u16),
    /// No answer.
    #[error("the last question had no answer")]
    Silent,
}

/// Asks a Superset which revision it runs.
#[derive(Clone, Debug)]
pub struct Verifier {
    http: reqwest::Client,
    url: Url,
    successes: u32,
    limit: Duration,
}

impl Verifier {
    /// By these settings, for the Superset at `superset`.
    pub fn new(settings: &Verify, superset: &Url) -> Result<Self, VerifyError> {
        let own = settings.url.as_deref().and_then(|url| Url::parse(url).ok());
        let url = own.unwrap_or_else(|| {
            let mut url = superset.clone();
            url.set_path(&format!("{}{HEALTH}", superset.path().trim_end_matches('/')));
            url
        });
        let mut http = reqwest::Client::builder();
        if url.scheme() == "http" {
            http = http.tls_certs_only([]);
        }
        let http = http
            .user_agent(concat!("setkeeper/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .redirect(redirect::Policy::none())
            .timeout(ANSWER_LIMIT)
            // A connection that is kept would be answered by one worker for ever.
            .pool_max_idle_per_host(0)
            .build()
            .map_err(VerifyError::Setup)?;
        Ok(Self { http, url, successes: settings.successes, limit: settings.timeout })
    }

    /// How long a proof may take.
    #[must_use]
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// Whether nothing is asked at all: what was told to reload is believed to have done so.
    #[must_use]
    pub fn asks_nothing(&self) -> bool {
        self.successes == 0
    }

    /// Asks once, on a connection of its own. Files that are not ours name no revision.
    pub async fn ask(&self, wanted: &Revision) -> Seen {
        let Ok(answer) = self.http.get(self.url.clone()).send().await else { return Seen::Silent };
        let status = answer.status();
        let named = answer.headers().get(HEADER).and_then(|value| value.to_str().ok());
        match named {
            Some(named) if wanted.is_unnamed() || named != wanted.as_str() => Seen::Other(named.to_owned()),
            // Whatever is asked for may answer with a redirect; only a failure is one.
            Some(_) if status.is_client_error() || status.is_server_error() => Seen::Broken(status.as_u16()),
            _ if status.is_client_error() || status.is_server_error() => Seen::Failed(status.as_u16()),
            None if !wanted.is_unnamed() => Seen::Unnamed(status.as_u16()),
            _ => Seen::Right,
        }
    }

    /// Whether the revision answers already, from one worker at least.
    pub async fn answers(&self, wanted: &Revision) -> Answers {
        match self.ask(wanted).await {
            Seen::Right => Answers::Well,
            Seen::Broken(_) => Answers::Badly,
            _ => Answers::NotYet,
        }
    }

    /// Proves that a web server runs the revision; with `client`, that it can also read its connections.
    pub async fn web(&self, wanted: &Revision, client: Option<&Client>) -> Result<(), VerifyError> {
        let (mut seen, mut unlisted) = (Seen::Nothing, None);
        let proof = async {
            if !self.is_seen(wanted, &mut seen).await {
                return Ok(false);
            }
            seen = Seen::Unlisted;
            match client {
                Some(client) => can_list(client, &mut unlisted).await.map(|()| true).map_err(VerifyError::Databases),
                None => Ok(true),
            }
        };
        match (awake::timeout(self.limit, proof).await, unlisted) {
            (Ok(Ok(true)), _) => Ok(()),
            (Ok(Err(error)), _) => Err(error),
            (Err(TooLate), Some(error)) => Err(VerifyError::Databases(error)),
            (Ok(Ok(false)) | Err(TooLate), _) => {
                let (times, limit) = (self.successes, self.limit);
                Err(VerifyError::NotSeen { wanted: wanted.clone(), times, limit, seen })
            }
        }
    }

    /// Asks until the revision answered often enough in a row; `false` where it answers with failures.
    async fn is_seen(&self, wanted: &Revision, seen: &mut Seen) -> bool {
        let (mut in_a_row, mut broken_since) = (0, None::<Instant>);
        while in_a_row < self.successes {
            *seen = self.ask(wanted).await;
            broken_since = matches!(seen, Seen::Broken(_)).then(|| broken_since.unwrap_or_else(Instant::now));
            if *seen == Seen::Right {
                in_a_row += 1;
            } else if broken_since.is_some_and(|since| since.elapsed() >= BROKEN_FOR) {
                return false;
            } else {
                in_a_row = 0;
                sleep(ASK_EVERY).await;
            }
        }
        true
    }

    /// Proves that the worker answers; one that has just been started may not be there yet.
    pub async fn worker(&self, target: &Target) -> Result<(), VerifyError> {
        let mut last = None;
        let proof = async {
            let worker = loop {
                match worker(target) {
                    Err(error) if error.finds_nobody() => last = Some(error.into()),
                    found => break found?,
                }
                sleep(ASK_EVERY).await;
            };
            let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
            let question = ping(worker.process(), &host).ok_or(VerifyError::Unknown(worker.process().pid))?;
            if !worker.process().is_ours() {
                return Err(VerifyError::Stranger(worker.process().pid));
            }
            let environment = worker.process().environment();
            loop {
                match run_in(&question, Some(&environment), self.limit).await {
                    Err(error @ (CommandError::Failed { .. } | CommandError::TooSlow { .. })) => {
                        last = Some(VerifyError::Ping(error));
                    }
                    answered => return answered.map_err(VerifyError::Ping),
                }
                sleep(ASK_EVERY).await;
            }
        };
        match awake::timeout(self.limit, proof).await {
            Ok(proved) => proved,
            Err(TooLate) => Err(last.unwrap_or(VerifyError::Worker(self.limit))),
        }
    }

    /// Proves that a beat lives that is not this one.
    pub async fn beat(&self, below: Option<i32>, before: Option<i32>) -> Result<(), VerifyError> {
        let proof = async {
            loop {
                let table = Table::read().map_err(|source| GunicornError::Look("celery beat", source))?;
                let is_ours = |process: &&Process| below.is_none_or(|ancestor| table.descends(process.pid, ancestor));
                // It arranges for its own end only once its config is loaded.
                let is_new = |process: &&Process| Some(process.pid) != before && process.catches(Signal::TERM);
                let new = mains(&table, Kind::Beat).filter(is_ours).find(is_new).cloned();
                sleep(LIVES_FOR).await;
                if new.is_some_and(|new| new.is_alive()) {
                    return Ok(());
                }
            }
        };
        awake::timeout(self.limit, proof).await.unwrap_or(Err(VerifyError::Beat(self.limit)))
    }
}

/// Asks for the list of connections until it is answered, for good or bad; `last` is why it was not.
async fn can_list(client: &Client, last: &mut Option<CallError>) -> Result<(), CallError> {
    loop {
        match client.read_stored().await {
            Ok(()) => return Ok(()),
            // Our own login tells nothing of the config: it may be wrong, or not made yet.
            Err(error @ (CallError::LoginRefused { .. } | CallError::Forbidden { .. })) => {
                warn!(%error, "whether superset can read its connections is not known");
                return Ok(());
            }
            // A host that is busy tells nothing either, as long as there is time.
            Err(
                error @ (CallError::Down(_) | CallError::TimedOut(_) | CallError::BrokenOff(_) | CallError::RateLimited { .. }),
            ) => *last = Some(error),
            Err(error) => return Err(error),
        }
        sleep(ASK_EVERY).await;
    }
}

/// The beat that runs, below this process where it is ours.
#[must_use]
pub fn beat_below(below: Option<i32>) -> Option<i32> {
    let table = Table::read().ok()?;
    mains(&table, Kind::Beat)
        .find(|process| below.is_none_or(|ancestor| table.descends(process.pid, ancestor)))
        .map(|beat| beat.pid)
}
