//! HUP: Superset truly loads the new config; where it never would, it is refused.

use std::fs;
use std::time::{Duration, Instant};

use setkeeper::superset::gunicorn::GunicornError;
use setkeeper::superset::reload::{ReloadError, Way};

use crate::support::services::{layered, superset};

async fn header(url: &str) -> Option<String> {
    let answer = reqwest::get(format!("{url}/health")).await.ok()?;
    Some(answer.headers().get("X-Test-Revision")?.to_str().ok()?.to_owned())
}

#[tokio::test]
async fn hup_makes_superset_load_the_new_config() {
    let config = |revision: &str| format!("OVERRIDE_HTTP_HEADERS = {{'X-Test-Revision': '{revision}'}}");
    let superset = superset(&config("one"), &[]).await;
    assert_eq!(header(&superset.url).await.as_deref(), Some("one"));
    fs::write(&superset.config, layered(&superset.home, &config("two"))).unwrap();
    Way::Hup(superset.pid_file.clone()).reload(Duration::from_secs(5)).await.unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    while header(&superset.url).await.as_deref() != Some("two") {
        assert!(Instant::now() < until, "the new config was never loaded");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

#[tokio::test]
async fn hup_is_refused_where_gunicorn_preloads() {
    let superset = superset("", &[("GUNICORN_CMD_ARGS", "--preload")]).await;
    let error = Way::Hup(superset.pid_file.clone()).reload(Duration::from_secs(5)).await.unwrap_err();
    let ReloadError::Gunicorn(error @ GunicornError::Preload { .. }) = error else { panic!("{error}") };
    assert!(error.hint().is_some());
}
