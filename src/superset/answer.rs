//! What an answer of Superset means.
//!
//! In: the status and body of an answer, and what was asked. Out: the JSON that was asked for, or the [`CallError`] that the
//! refusal amounts to. Superset 4.1, 5.0 and 6.1 say the same thing with different statuses and in the language of the
//! server, so error types and shapes are read first and words last. Pure.

use std::fmt;

use reqwest::{Method, StatusCode};
use serde_json::Value as Json;

use super::error::CallError;
use super::scrub::Scrub;

/// An answer as it came.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: StatusCode,
    pub body: Vec<u8>,
}

/// What was asked, as far as it bears on what the answer means.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub method: &'a Method,
    pub path: &'a str,
    /// Whether it changes something.
    pub is_write: bool,
    /// Who asked.
    pub username: &'a str,
    /// What to take out of messages.
    pub scrub: &'a Scrub,
}

impl fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

impl Answer {
    fn json(&self) -> Option<Json> {
        serde_json::from_slice(&self.body).ok()
    }

    /// Whether it was the token that was refused: expired (401), or signed with another key (422).
    pub fn refuses_token(&self) -> bool {
        match self.status {
            StatusCode::UNAUTHORIZED => true,
            // Flask-JWT alone calls it `msg`.
            StatusCode::UNPROCESSABLE_ENTITY => self.json().is_some_and(|body| body.get("msg").is_some()),
            _ => false,
        }
    }

    /// Whether it was the CSRF token or its cookie that was refused.
    pub fn refuses_csrf(&self) -> bool {
        self.status == StatusCode::BAD_REQUEST && self.json().is_some_and(|body| said(&body).contains("CSRF"))
    }

    /// The JSON of a success, or what the refusal means.
    pub fn read(self, asked: Asked<'_>) -> Result<Json, CallError> {
        if self.status.is_success() {
            let not_json = |_| CallError::Unexpected(format!("status {} without JSON to {}", self.status.as_u16(), asked));
            return serde_json::from_slice(&self.body).map_err(not_json);
        }
        let body = self.json().unwrap_or(Json::Null);
        let message = match said(&body) {
            text if text.is_empty() => self.status.canonical_reason().unwrap_or("no reason given").to_lowercase(),
            text => asked.scrub.clean(&text),
        };
        Err(refusal(self.status, &body, message, asked))
    }
}

fn refusal(status: StatusCode, body: &Json, message: String, asked: Asked<'_>) -> CallError {
    let username = asked.username.to_owned();
    match status.as_u16() {
        401 => CallError::LoginRefused { username, message },
        403 => CallError::Forbidden { username, what: asked.to_string(), message },
        404 => CallError::Gone,
        429 => CallError::RateLimited { after: None },
        300..=399 => CallError::Unexpected(format!("status {}, a redirect, to {}", status.as_u16(), asked)),
        502..=504 if asked.is_write => CallError::Gateway(status.as_u16()),
        _ => match meaning(body, &message) {
            Some(Meaning::Unreachable) => CallError::Unreachable(message),
            Some(Meaning::WrongCredentials) => CallError::WrongCredentials(message),
            Some(Meaning::NoDriver) => CallError::NoDriver(message),
            None if status.is_server_error() => CallError::Server { status: status.as_u16(), message },
            None => CallError::Refused(message),
        },
    }
}

enum Meaning {
    Unreachable,
    WrongCredentials,
    NoDriver,
}

/// What is wrong with the database behind a connection, where that is what the answer is about.
fn meaning(body: &Json, message: &str) -> Option<Meaning> {
    let types = body.get("errors").and_then(Json::as_array).into_iter().flatten();
    let types: Vec<_> = types.filter_map(|error| error.get("error_type")?.as_str()).collect();
    let is = |names: &[&str]| types.iter().any(|kind| names.contains(kind));
    let says = |words: &[&str]| {
        let message = message.to_lowercase();
        words.iter().any(|word| message.contains(word))
    };
    if is(&["CONNECTION_INVALID_PASSWORD_ERROR", "CONNECTION_INVALID_USERNAME_ERROR", "CONNECTION_ACCESS_DENIED_ERROR"]) {
        return Some(Meaning::WrongCredentials);
    }
    if is(&[
        "CONNECTION_HOST_DOWN_ERROR",
        "CONNECTION_PORT_CLOSED_ERROR",
        "CONNECTION_INVALID_HOSTNAME_ERROR",
        "CONNECTION_INVALID_PORT_ERROR",
        "CONNECTION_DATABASE_TIMEOUT",
    ]) {
        return Some(Meaning::Unreachable);
    }
    if says(&["could not load database driver", "can't load plugin: sqlalchemy.dialects", "no module named"]) {
        return Some(Meaning::NoDriver);
    }
    if says(&["authentication failed", "access denied for user", "login failed for user", "invalid username/password"]) {
        return Some(Meaning::WrongCredentials);
    }
    // Whatever a driver raises while it connects; the last is all that a PUT says.
    let unreachable = is(&["GENERIC_DB_ENGINE_ERROR"]) || says(&["connection failed, please check your connection settings"]);
    unreachable.then_some(Meaning::Unreachable)
}

/// Every message in a body, in whichever of Superset's and Flask's shapes it comes; empty where there is none.
fn said(body: &Json) -> String {
    if let Some(errors) = body.get("errors").and_then(Json::as_array) {
        let messages: Vec<_> = errors.iter().filter_map(|error| error.get("message")?.as_str()).collect();
        return messages.join("; ");
    }
    match ["message", "msg", "error"].into_iter().find_map(|key| body.get(key)) {
        Some(Json::String(text)) => text.clone(),
        Some(Json::Object(fields)) => {
            let fields: Vec<_> = fields.iter().map(|(field, why)| format!("{field}: {}", joined(why))).collect();
            fields.join("; ")
        }
        Some(other) => joined(other),
        None => String::new(),
    }
}

fn joined(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Array(items) => items.iter().map(joined).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
