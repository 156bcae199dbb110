//! What the agent tells over HTTP: `/livez`, `/readyz`, `/status`, `/metrics`, and a page for people at `/`.
//!
//! In: the newest [`Report`], the reconcile loop's heartbeat, the metrics. Out: answers, and nothing else: no request changes
//! anything. `/livez` says whether the loop turns; `/readyz` whether a revision is applied, which losing ZooKeeper does not
//! undo. These and the metrics are made from what was reported last and wait for nobody; `/status` and the page ask for a fresh
//! report and show the last one where none comes in time. No answer holds a secret (law 9), since a report holds none. It does not decide what is reported, nor does it know TLS or passwords: it listens on loopback.

mod page;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::metrics;
use crate::model::instance::Instance;
use crate::model::status::ClusterStatus;

/// How long requests under way may take to end once the server is asked to stop.
const DRAIN: Duration = Duration::from_secs(2);
/// How often the metrics fold what was recorded, whether or not anybody fetches them.
const UPKEEP: Duration = Duration::from_secs(5);
/// How long the cluster may take to be looked at before the last report is shown instead.
const ASK_LIMIT: Duration = Duration::from_secs(3);
/// The Prometheus text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address could not be had.
    #[error("failed to listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

impl HttpError {
    /// What a person can do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let Self::Bind { address, source } = self;
        match source.kind() {
            io::ErrorKind::AddrInUse => {
                Some(format!("another program listens on port {}: set http.listen to a free one", address.port()))
            }
            io::ErrorKind::AddrNotAvailable => Some(format!("this host has no address {}: set http.listen", address.ip())),
            io::ErrorKind::PermissionDenied => Some("ports below 1024 need rights: set http.listen to a higher one".to_owned()),
            _ => None,
        }
    }
}

/// What is known now: the cluster, and this instance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The cluster as last read.
    #[serde(flatten)]
    pub cluster: ClusterStatus,
    /// This instance's own record.
    pub instance: Instance,
    /// Whether a revision is applied; `/readyz`.
    #[serde(skip)]
    pub applied: bool,
    /// The last question that this answers.
    #[serde(skip)]
    pub answers: u64,
}

/// What the server reads.
#[derive(Clone)]
pub struct Inputs {
    /// The newest report.
    pub report: watch::Receiver<Arc<Report>>,
    /// Counts the questions: the cluster is looked at when somebody asks and not otherwise.
    pub asked: watch::Sender<u64>,
    /// When the reconcile loop last turned.
    pub heartbeat: watch::Receiver<Instant>,
    /// How old that may be.
    pub heartbeat_limit: Duration,
    /// The metrics.
    pub metrics: PrometheusHandle,
}

/// Takes the address, so that a program that cannot have it says so before anything else starts.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, HttpError> {
    TcpListener::bind(address).await.map_err(|source| HttpError::Bind { address, source })
}

/// Answers until `cancel`; requests under way then get a moment to end.
pub async fn serve(listener: TcpListener, inputs: Inputs, cancel: CancellationToken) {
    let handle = inputs.metrics.clone();
    let server = axum::serve(listener, router(inputs)).with_graceful_shutdown(cancel.clone().cancelled_owned());
    let drained = async {
        cancel.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        // Never an error: the server goes on after a failed accept.
        _ = server.into_future() => {}
        () = drained => {}
        () = keep_up(handle) => {}
    }
}

async fn keep_up(handle: PrometheusHandle) {
    loop {
        tokio::time::sleep(UPKEEP).await;
        handle.run_upkeep();
    }
}

fn router(inputs: Inputs) -> Router {
    Router::new()
        .route("/", get(show_page))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/status", get(show_status))
        .route("/metrics", get(show_metrics))
        .fallback(async || (StatusCode::NOT_FOUND, "not found\n"))
        .layer(middleware::map_response(guard))
        .with_state(inputs)
}

/// Headers for every answer: what was true a moment ago must not be cached, nor be taken for another kind of content.
async fn guard(mut response: Response) -> Response {
    const HEADERS: [(HeaderName, &str); 5] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    ];
    response.headers_mut().extend(HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}

async fn livez(State(inputs): State<Inputs>) -> Response {
    let age = inputs.heartbeat.borrow().elapsed();
    if age <= inputs.heartbeat_limit {
        return "ok\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("the reconcile loop has stood still for {} s\n", age.as_secs())).into_response()
}

async fn readyz(State(inputs): State<Inputs>) -> Response {
    if inputs.report.borrow().applied {
        return "ok\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, "no revision is applied yet\n").into_response()
}

/// The report as of now; the last one where nobody makes a new one in time.
async fn fresh_report(mut inputs: Inputs) -> Arc<Report> {
    let mut question = 0;
    inputs.asked.send_modify(|asked| {
        *asked += 1;
        question = *asked;
    });
    let answer = inputs.report.wait_for(|report| report.answers >= question);
    if let Ok(Ok(report)) = tokio::time::timeout(ASK_LIMIT, answer).await {
        return Arc::clone(&report);
    }
    let last = inputs.report.borrow();
    Arc::clone(&last)
}

async fn show_status(State(inputs): State<Inputs>) -> Response {
    let report = fresh_report(inputs).await;
    Json(&*report).into_response()
}

async fn show_metrics(State(inputs): State<Inputs>) -> Response {
    let applied = inputs.report.borrow().instance.applied.clone();
    ([(header::CONTENT_TYPE, METRICS_TYPE)], metrics::render(&inputs.metrics, &applied)).into_response()
}

async fn show_page(State(inputs): State<Inputs>) -> Response {
    let report = fresh_report(inputs).await;
    match page::render(&report) {
        Ok(text) => Html(text).into_response(),
        Err(error) => {
            tracing::error!(%error, "failed to render the status page");
            (StatusCode::INTERNAL_SERVER_ERROR, "failed to render the page; see /status\n").into_response()
        }
    }
}

#[cfg(test)]
mod tests;
