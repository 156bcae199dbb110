//! HUP: Superset truly loads the new config; where it never would, it is refused.

use std::fs;
use std::time::{Duration, Instant};

use setkeeper::superset::gunicorn::{GunicornError, Target, hup};

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
    hup(&Target::PidFile(superset.pid_file.clone())).await.unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    while header(&superset.url).await.as_deref() != Some("two") {
        assert!(Instant::now() < until, "the new config was never loaded");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

#[tokio::test]
async fn hup_is_refused_where_gunicorn_preloads() {
    let superset = superset("", &[("GUNICORN_CMD_ARGS", "--preload")]).await;
    let error = hup(&Target::PidFile(superset.pid_file.clone())).await.unwrap_err();
    assert!(matches!(error, GunicornError::Preload { .. }) && error.hint().is_some(), "{error}");
}

#[tokio::test]
async fn hup_is_refused_where_gunicorn_preloads_and_nothing_that_can_be_read_says_so() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "import os\npreload_app = bool(os.getpid())\n").unwrap();
    let superset = superset("", &[("GUNICORN_CMD_ARGS", &format!("--config {}", file.path().display()))]).await;
    let error = hup(&Target::PidFile(superset.pid_file.clone())).await.unwrap_err();
    assert!(matches!(error, GunicornError::Preload { .. }), "{error}");
}
