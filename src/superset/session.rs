//! Being logged in: the token that every call carries, and what a write needs besides.
//!
//! In: what login, refresh and the CSRF call answer. Out: a [`Session`], whose parts belong together: Superset accepts a CSRF
//! token only with the session cookie that came with it, so the pair is kept here and sent by hand rather than through a
//! cookie jar, in which concurrent answers would replace one half of it. A session is never changed; a new one takes its place.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use reqwest::header::{HeaderMap, SET_COOKIE};
use serde_json::Value as Json;
use tokio::sync::OnceCell;

use super::error::CallError;
use crate::model::secret::SecretText;

/// How long a token is used that does not say how long it is good for.
const UNTOLD: Duration = Duration::from_secs(300);

/// A token is renewed this long before it ends, or after three quarters of its life where that comes first.
const MARGIN: Duration = Duration::from_secs(60);

/// One login.
#[derive(Debug)]
pub(super) struct Session {
    pub token: SecretText,
    pub refresh: Option<SecretText>,
    renew_at: Instant,
    /// Fetched with the first write: a user who may only read need not be able to have one.
    pub csrf: OnceCell<Csrf>,
}

/// A CSRF token and the cookies it is good with.
#[derive(Clone, Debug)]
pub(super) struct Csrf {
    pub token: SecretText,
    pub cookies: SecretText,
}

impl Session {
    /// From the answer to a login or a refresh; the refresh token of before stays good.
    pub fn from_answer(answer: &Json, refresh: Option<SecretText>) -> Result<Self, CallError> {
        let text = |key: &str| answer.get(key).and_then(Json::as_str).map(SecretText::new);
        let token = text("access_token").ok_or_else(|| CallError::Unexpected("a login without a token".to_owned()))?;
        let renew_at = Instant::now() + usable(life(token.expose()));
        Ok(Self { token, refresh: text("refresh_token").or(refresh), renew_at, csrf: OnceCell::new() })
    }

    pub fn is_fresh(&self) -> bool {
        Instant::now() < self.renew_at
    }
}

impl Csrf {
    pub fn from_answer(answer: &Json, headers: &HeaderMap) -> Result<Self, CallError> {
        let token = answer.get("result").and_then(Json::as_str).map(SecretText::new);
        let token = token.ok_or_else(|| CallError::Unexpected("a CSRF call without a token".to_owned()))?;
        let cookies = headers.get_all(SET_COOKIE).iter().filter_map(|cookie| cookie.to_str().ok()?.split(';').next());
        Ok(Self { token, cookies: SecretText::new(cookies.collect::<Vec<_>>().join("; ")) })
    }
}

/// How long a token lives by its own account. Only the difference of its two times is used, so that it does not matter
/// whether Superset's clock agrees with ours. Its signature is Superset's to verify.
fn life(token: &str) -> Option<Duration> {
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Json = serde_json::from_slice(&claims).ok()?;
    let seconds = |claim: &str| claims.get(claim)?.as_u64();
    Some(Duration::from_secs(seconds("exp")?.saturating_sub(seconds("iat")?)))
}

fn usable(life: Option<Duration>) -> Duration {
    life.map_or(UNTOLD, |life| life.saturating_sub(MARGIN).max(life * 3 / 4).min(life))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_token_is_renewed_before_it_ends() {
        assert_eq!(usable(life(&token(r#"{"iat": 100, "exp": 1000}"#))), Duration::from_secs(840));
        assert_eq!(usable(life(&token(r#"{"iat": 100, "exp": 104}"#))), Duration::from_secs(3));
    }

    #[test]
    fn a_token_that_does_not_tell_is_used_for_a_while() {
        for odd in ["", "a.b", "a.b.c", &token("[]"), &token(r#"{"iat": 5}"#)] {
            assert_eq!(usable(life(odd)), UNTOLD, "{odd}");
        }
    }

    #[test]
    fn the_csrf_token_keeps_the_cookies_it_came_with() {
        let mut headers = HeaderMap::new();
        headers.append(SET_COOKIE, "session=abc; HttpOnly; Path=/".parse().unwrap());
        headers.append(SET_COOKIE, "route=w1; Path=/".parse().unwrap());
        let csrf = Csrf::from_answer(&serde_json::json!({"result": "t"}), &headers).unwrap();
        assert_eq!((csrf.token.expose(), csrf.cookies.expose()), ("t", "session=abc; route=w1"));
    }
}
