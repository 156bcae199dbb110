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
        _ => match about_the_database(status, body, &message) {
            Some(about) => about(message),
            None if status.is_server_error() => CallError::Server { status: status.as_u16(), message },
            None => CallError::Refused(message),
        },
    }
}

/// What a POST says of a driver that is missing, and a PUT of whatever keeps it from connecting.
pub(super) const CONNECTION_FAILED: &str = "Connection failed, please check your connection settings";

/// What is wrong with the database behind a connection, where that is what the answer is about. 4.1 and 5.0 answer 500 to
/// what is 400 since 6.0.
fn about_the_database(status: StatusCode, body: &Json, message: &str) -> Option<fn(String) -> CallError> {
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    let mut types = body.get("errors").and_then(Json::as_array).into_iter().flatten();
    let kind = types.find_map(|error| error.get("error_type")?.as_str());
    match kind {
        Some("CONNECTION_INVALID_PASSWORD_ERROR" | "CONNECTION_INVALID_USERNAME_ERROR" | "CONNECTION_ACCESS_DENIED_ERROR") => {
            Some(CallError::WrongCredentials)
        }
        Some(
            "CONNECTION_HOST_DOWN_ERROR"
            | "CONNECTION_PORT_CLOSED_ERROR"
            | "CONNECTION_INVALID_HOSTNAME_ERROR"
            | "CONNECTION_DATABASE_TIMEOUT",
        ) => Some(CallError::Unreachable),
        // Whatever a driver raises while it connects, unless it finds fault with its arguments; 422 is what else was raised.
        Some("GENERIC_DB_ENGINE_ERROR") if says(&["authentication failed", "Login failed for user", "Authentication failed"]) => {
            Some(CallError::WrongCredentials)
        }
        Some("GENERIC_DB_ENGINE_ERROR")
            if status != StatusCode::UNPROCESSABLE_ENTITY
                && !says(&["unexpected keyword argument", "invalid connection option"]) =>
        {
            Some(CallError::Unreachable)
        }
        Some(kind) if kind.starts_with("CONNECTION_") || kind == "GENERIC_DB_ENGINE_ERROR" => Some(CallError::Refused),
        Some(_) => None,
        None => says(&[CONNECTION_FAILED]).then_some(CallError::Unreachable as fn(String) -> CallError),
    }
}

/// Every message in a body, in whichever of Superset's and Flask's shapes it comes; empty where there is none.
fn said(body: &Json) -> String {
    if let Some(errors) = body.get("errors").and_then(Json::as_array) {
        let messages: Vec<_> = errors.iter().filter_map(|error| error.get("message")?.as_str()).map(tidy).collect();
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

/// What the driver said, without the shell that Superset and SQLAlchemy put around it.
fn tidy(message: &str) -> String {
    let mut rest = message.strip_prefix("(builtins.NoneType) None\n[SQL: ").unwrap_or(message);
    let mut text = String::new();
    while let Some((before, after)) = rest.split_once("(Background on this error at:") {
        text.push_str(before);
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    text.push_str(rest);
    let is_shelled = message.starts_with("(builtins.NoneType)");
    text.trim().trim_end_matches(|c: char| is_shelled && (c == ']' || c.is_whitespace())).to_owned()
}

fn joined(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Array(items) => items.iter().map(joined).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(status: u16, body: &str, is_write: bool) -> CallError {
        let answer = Answer { status: StatusCode::from_u16(status).unwrap(), body: body.as_bytes().to_vec() };
        let scrub = Scrub::default();
        answer.read(Asked { method: &Method::POST, path: "/x", is_write, username: "bob", scrub: &scrub }).unwrap_err()
    }

    fn engine_error(kind: &str, message: &str) -> String {
        serde_json::json!({"errors": [{"message": message, "error_type": kind, "level": "error", "extra": {}}]}).to_string()
    }

    #[test]
    fn a_driver_s_complaint_is_read_through_its_shells() {
        let shelled = "(builtins.NoneType) None\n[SQL: (psycopg2.OperationalError) connection to server at \"h\", port 1 failed: Connection \
            refused\n\tIs the server running?\n\n(Background on this error at: https://sqlalche.me/e/14/e3q8)]\n(Background on this \
            error at: https://sqlalche.me/e/14/dbapi)";
        for status in [400, 500] {
            let error = meant(status, &engine_error("GENERIC_DB_ENGINE_ERROR", shelled), true);
            assert_eq!(
                error.to_string(),
                "the database cannot be reached: (psycopg2.OperationalError) connection to server at \"h\", port 1 failed: \
                 Connection refused Is the server running?"
            );
        }
    }

    #[test]
    fn faults_of_the_database_are_told_from_faults_of_its_settings() {
        let generic = |status, message| meant(status, &engine_error("GENERIC_DB_ENGINE_ERROR", message), true);
        assert!(matches!(generic(400, "timeout expired"), CallError::Unreachable(_)));
        assert!(matches!(generic(500, "[SQL: __init__() got an unexpected keyword argument 'x']"), CallError::Refused(_)));
        assert!(matches!(generic(422, "Invalid argument(s) 'x' sent to create_engine()"), CallError::Refused(_)));
        assert!(matches!(generic(400, "FATAL: password authentication failed"), CallError::WrongCredentials(_)));
        let typed = |kind| meant(500, &engine_error(kind, "x"), true);
        assert!(matches!(typed("CONNECTION_UNKNOWN_DATABASE_ERROR"), CallError::Refused(_)));
        assert!(matches!(typed("CONNECTION_HOST_DOWN_ERROR"), CallError::Unreachable(_)));
        assert!(matches!(typed("CONNECTION_ACCESS_DENIED_ERROR"), CallError::WrongCredentials(_)));
        assert!(matches!(typed("GENERIC_BACKEND_ERROR"), CallError::Server { status: 500, .. }));
    }

    #[test]
    fn messages_are_found_in_every_shape() {
        for (body, message) in [
            (
                r#"{"message": {"extra": ["Not JSON.", "x"], "uuid": "bad"}}"#,
                "superset refused it: extra: Not JSON., x; uuid: bad",
            ),
            (r#"{"message": "SSH Tunneling is not enabled"}"#, "superset refused it: SSH Tunneling is not enabled"),
            (r#"{"error": "Invalid decryption key"}"#, "superset refused it: Invalid decryption key"),
            ("<html>canary</html>", "superset refused it: bad request"),
            ("", "superset refused it: bad request"),
        ] {
            assert_eq!(meant(400, body, true).to_string(), message);
        }
    }

    #[test]
    fn a_proxy_s_answer_to_a_write_leaves_its_outcome_unknown() {
        for status in 502..=504 {
            assert!(meant(status, "", true).must_observe());
            assert!(matches!(meant(status, "", false), CallError::Server { .. }));
        }
    }
}
