//! The way to Superset's REST API: login, CSRF, deadlines, repeats.
//!
//! Every call ends within the client's timeout, whatever they need for it: a login, a
//! repeat, a pause that a rate limit asks for. A leader that has lost its role can therefore do nothing after that
//! time, even if its machine slept meanwhile (law 7). Reads are repeated after failures that pass by; a write is repeated only where
//! it is certain that nothing was done: Superset could not be reached, refused the token, or was asked too often. Redirects are never followed: to a
//! write without CSRF Superset answers with one to its login page. One client is shared by concurrent calls.

use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use reqwest::header::{ACCEPT, CONTENT_TYPE, COOKIE, HeaderMap, HeaderValue, REFERER, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, redirect};
use serde_json::{Value as Json, json};
use tokio::sync::{RwLock, watch};
use url::Url;

use super::answer::{Answer, Asked};
use super::error::CallError;
use super::scrub::Scrub;
use super::session::{Csrf, Session};
use crate::model::secret::SecretText;
use crate::processes::clock::Moment;

/// How long it may take to reach Superset, which lies beside us.
const CONNECT: Duration = Duration::from_secs(5);

/// Gunicorn closes an idle connection after 2 s; a write on one that it is just closing would be lost without a trace.
const IDLE: Duration = Duration::from_secs(1);

/// How long an answer may be: a list of tens of thousands of connections. What answers more is not Superset, and could go on
/// until there is no memory left.
const LONGEST: usize = 32 * 1024 * 1024;

/// One Superset, and our login there.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    http: reqwest::Client,
    base: String,
    username: String,
    /// May change while the client lives: secret files are rotated.
    password: watch::Receiver<SecretText>,
    timeout: Duration,
    /// Whoever holds it for writing logs in; the others wait for the outcome instead of logging in as well.
    session: RwLock<Option<Arc<Session>>>,
}

/// One call.
pub(super) struct Call<'a> {
    pub method: Method,
    pub path: &'a str,
    /// What follows the question mark, encoded.
    pub query: &'a str,
    pub body: Option<&'a SecretText>,
    /// Knows the secrets in `body`.
    pub scrub: &'a Scrub,
    /// Whether it changes a connection, so that it must not be repeated blindly.
    pub is_write: bool,
    pub deadline: Moment,
}

/// An answer with its headers.
struct Received {
    answer: Answer,
    headers: HeaderMap,
}

impl Client {
    /// For the Superset at `base`, as `username` with whatever `password` holds then; no public call lasts longer than `timeout`.
    pub fn new(base: &Url, username: &str, password: watch::Receiver<SecretText>, timeout: Duration) -> Result<Self, CallError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let mut http = reqwest::Client::builder();
        if base.scheme() == "http" {
            // Beside its Superset the agent speaks plain HTTP, and must not fail to start in an image without authorities.
            http = http.tls_certs_only([]);
        }
        let http = http
            .default_headers(headers)
            .user_agent(concat!("setkeeper/", env!("CARGO_PKG_VERSION")))
            // Superset lies beside us: a proxy that the environment names is for elsewhere, and would see the password.
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT.min(timeout))
            .pool_idle_timeout(IDLE)
            .build()
            .map_err(CallError::Setup)?;
        Ok(Self(Arc::new(Inner {
            http,
            base: base.as_str().trim_end_matches('/').to_owned(),
            username: username.to_owned(),
            password,
            timeout,
            session: RwLock::new(None),
        })))
    }

    /// The longest that a call takes.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.0.timeout
    }

    /// A GET of `path`; what else a call needs is for the caller to set. Its time runs from here.
    pub(super) fn get<'a>(&'a self, path: &'a str) -> Call<'a> {
        let deadline = self.deadline();
        Call { method: Method::GET, path, query: "", body: None, scrub: Scrub::patterns(), is_write: false, deadline }
    }

    /// When a call that begins now must have ended.
    pub(super) fn deadline(&self) -> Moment {
        Moment::now() + self.0.timeout
    }

    /// A call that changes a connection.
    pub(super) fn write<'a>(&'a self, method: Method, path: &'a str) -> Call<'a> {
        Call { method, is_write: true, ..self.get(path) }
    }

    /// What Superset answers, with our login.
    pub(super) async fn call(&self, call: Call<'_>) -> Result<Json, CallError> {
        // A login changes no connection: it is repeated as a read is, even if it is for a write.
        repeated(call.deadline, false, || self.session(call.deadline, None)).await?;
        repeated(call.deadline, call.is_write, || self.attempt(&call)).await
    }

    /// The text that Superset answers to anybody, asked for once.
    pub(super) async fn public(&self, path: &str) -> Result<String, CallError> {
        let call = self.get(path);
        let received = self.exchange(&call, self.request(&call)).await?;
        if received.answer.status.is_success() {
            return Ok(String::from_utf8_lossy(&received.answer.body).into_owned());
        }
        Err(self.refused(&call, received))
    }

    /// The call once; twice where it is only our login that had run out.
    async fn attempt(&self, call: &Call<'_>) -> Result<Json, CallError> {
        let session = self.session(call.deadline, None).await?;
        let mut received = self.send(call, &session).await?;
        if received.answer.refuses_token() || received.answer.refuses_csrf() {
            let session = self.session(call.deadline, Some(&session)).await?;
            received = self.send(call, &session).await?;
        }
        if received.answer.status.is_success() {
            return received.answer.read(self.asked(call));
        }
        Err(self.refused(call, received))
    }

    async fn send(&self, call: &Call<'_>, session: &Session) -> Result<Received, CallError> {
        let mut request = self.request(call).bearer_auth(session.token.expose());
        if call.is_write {
            let csrf = session.csrf.get_or_try_init(|| self.csrf(call.deadline, &session.token));
            let csrf = self.within(call.deadline, csrf).await??;
            request = request.header("X-CSRFToken", sensitive(&csrf.token)?).header(COOKIE, sensitive(&csrf.cookies)?);
            // Over HTTPS, Flask's CSRF check wants to see where the call comes from.
            request = request.header(REFERER, format!("{}/", self.0.base));
        }
        self.exchange(call, request).await
    }

    fn request(&self, call: &Call<'_>) -> RequestBuilder {
        // Flask-AppBuilder's own switch: whatever language the server speaks, its messages to us are English.
        let url = format!("{}{}?_l_=en&{}", self.0.base, call.path, call.query);
        let request = self.0.http.request(call.method.clone(), url.trim_end_matches('&'));
        match call.body {
            Some(body) => request.header(CONTENT_TYPE, "application/json").body(body.expose().to_owned()),
            None => request,
        }
    }

    /// Sends and reads the whole answer, before the call's deadline.
    async fn exchange(&self, call: &Call<'_>, request: RequestBuilder) -> Result<Received, CallError> {
        let left = call.deadline.from_now();
        if left.is_zero() {
            return Err(CallError::TimedOut(self.0.timeout));
        }
        let lost = |error| self.lost(error, call.is_write);
        let mut response = request.timeout(left).send().await.map_err(lost)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(lost)? {
            if body.len() + chunk.len() > LONGEST {
                return Err(CallError::Unexpected(format!("more than {LONGEST} bytes to {}", self.asked(call))));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Received { answer: Answer { status, body }, headers })
    }

    fn lost(&self, error: reqwest::Error, is_write: bool) -> CallError {
        let error = error.without_url();
        if error.is_builder() {
            return CallError::Setup(error);
        }
        if error.is_connect() {
            return CallError::Down(error);
        }
        let waited = self.0.timeout;
        match (is_write, error.is_timeout()) {
            (true, true) => CallError::Unanswered { waited, source: None },
            (true, false) => CallError::Unanswered { waited, source: Some(error) },
            (false, true) => CallError::TimedOut(waited),
            (false, false) => CallError::BrokenOff(error),
        }
    }

    fn asked<'a>(&'a self, call: &'a Call<'_>) -> Asked<'a> {
        Asked { method: &call.method, path: call.path, is_write: call.is_write, username: &self.0.username, scrub: call.scrub }
    }

    fn refused(&self, call: &Call<'_>, received: Received) -> CallError {
        let after = retry_after(&received.headers);
        match received.answer.read(self.asked(call)) {
            Err(CallError::RateLimited { .. }) => CallError::RateLimited { after },
            Err(error) => error,
            Ok(_) => CallError::Unexpected(format!("a refusal that is none to {} {}", call.method, call.path)),
        }
    }

    /// A session to use; a new one if there is none, if it is about to end, or if it is `refused`.
    async fn session(&self, deadline: Moment, refused: Option<&Arc<Session>>) -> Result<Arc<Session>, CallError> {
        let usable = |session: &Option<Arc<Session>>| {
            let session = session.as_ref()?;
            (session.is_fresh() && !refused.is_some_and(|refused| Arc::ptr_eq(refused, session))).then(|| Arc::clone(session))
        };
        if let Some(session) = usable(&*self.within(deadline, self.0.session.read()).await?) {
            return Ok(session);
        }
        let mut kept = self.within(deadline, self.0.session.write()).await?;
        if let Some(session) = usable(&kept) {
            return Ok(session);
        }
        let by_refresh = if refused.is_none() { kept.as_ref().and_then(|session| session.refresh.clone()) } else { None };
        let session = Arc::new(self.new_session(deadline, by_refresh).await?);
        *kept = Some(Arc::clone(&session));
        Ok(session)
    }

    /// What `waiting` comes to, unless the deadline comes first: another call may be logging in, and may be slow.
    async fn within<T>(&self, deadline: Moment, waiting: impl Future<Output = T>) -> Result<T, CallError> {
        tokio::time::timeout(deadline.from_now(), waiting).await.map_err(|_| CallError::TimedOut(self.0.timeout))
    }

    async fn new_session(&self, deadline: Moment, refresh: Option<SecretText>) -> Result<Session, CallError> {
        if let Some(refresh) = refresh {
            let call = Call { method: Method::POST, deadline, ..self.get("/api/v1/security/refresh") };
            let answer = self.ask(&call, Some(&refresh)).await;
            if let Ok(session) = answer.and_then(|(answer, _)| Session::from_answer(&answer, Some(refresh))) {
                return Ok(session);
            }
        }
        let password = self.0.password.borrow().clone();
        let scrub = Scrub::new([&password]);
        let credentials = json!({
            "username": self.0.username, "password": password.expose(), "provider": "db", "refresh": true
        });
        let credentials = SecretText::new(credentials.to_string());
        let login = self.get("/api/v1/security/login");
        let call = Call { method: Method::POST, body: Some(&credentials), scrub: &scrub, deadline, ..login };
        Session::from_answer(&self.ask(&call, None).await?.0, None)
    }

    async fn csrf(&self, deadline: Moment, token: &SecretText) -> Result<Csrf, CallError> {
        let call = Call { deadline, ..self.get("/api/v1/security/csrf_token/") };
        let (answer, headers) = self.ask(&call, Some(token)).await?;
        Csrf::from_answer(&answer, &headers)
    }

    /// One of the calls by which we log in.
    async fn ask(&self, call: &Call<'_>, token: Option<&SecretText>) -> Result<(Json, HeaderMap), CallError> {
        let request = self.request(call);
        let request = match token {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        };
        let received = self.exchange(call, request).await?;
        if !received.answer.status.is_success() {
            return Err(self.refused(call, received));
        }
        Ok((received.answer.read(self.asked(call))?, received.headers))
    }
}

/// `attempt`, again and again while its failure is one that passes and a pause still fits before the deadline.
async fn repeated<T, F: Future<Output = Result<T, CallError>>>(
    deadline: Moment,
    is_write: bool,
    attempt: impl FnMut() -> F,
) -> Result<T, CallError> {
    let pauses = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(2))
        .with_max_times(4)
        .with_jitter();
    attempt
        .retry(pauses)
        .when(|error| may_repeat(error, is_write))
        .adjust(|error, pause| {
            let wanted = match error {
                CallError::RateLimited { after: Some(after) } => pause.map(|pause| pause.max(*after)),
                _ => pause,
            };
            wanted.filter(|pause| *pause < deadline.from_now())
        })
        .await
}

/// Whether a call may simply be made again: always safe for a read, and for a write where nothing can have been done.
fn may_repeat(error: &CallError, is_write: bool) -> bool {
    match error {
        CallError::Down(_) | CallError::RateLimited { .. } => true,
        CallError::BrokenOff(_) | CallError::Server { .. } => !is_write,
        _ => false,
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    until.duration_since(jiff::Timestamp::now()).try_into().ok()
}

fn sensitive(text: &SecretText) -> Result<HeaderValue, CallError> {
    let refused = |_| CallError::Unexpected("a token that no header can carry".to_owned());
    let mut value = HeaderValue::from_str(text.expose()).map_err(refused)?;
    value.set_sensitive(true);
    Ok(value)
}
