//! `health`: whether the agent of this host lives, or has a revision applied, as its HTTP says it.
//!
//! For probes and health checks: an image without a shell has nothing else to ask with, and the agent listens on loopback, where a
//! kubelet cannot reach it. Ends with 0 or 1 and says why.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use super::status::reachable;
use super::{given, tree};
use crate::cli::Shared;
use crate::output::{self, Advice};

/// How long the answer may take; both are made from what is known already.
const LIMIT: Duration = Duration::from_secs(3);

/// Asks `/livez`, or `/readyz`.
pub(super) fn run(shared: &Shared, ready: bool) -> anyhow::Result<ExitCode> {
    let settings = given::settings(shared)?;
    let path = if ready { "readyz" } else { "livez" };
    let url = format!("http://{}/{path}", reachable(settings.http));
    let said = tree::block_on(ask(&url))?;
    output::say(&said);
    Ok(ExitCode::SUCCESS)
}

async fn ask(url: &str) -> anyhow::Result<String> {
    let unreached = || Advice {
        message: format!("failed to ask the agent at {url}"),
        hint: "does it run with the same settings? http.listen is where it is asked".to_owned(),
    };
    // Loopback: a proxy of the environment has no business there.
    let client = reqwest::Client::builder().no_proxy().timeout(LIMIT).build().with_context(unreached)?;
    let answered = async {
        let answer = client.get(url).send().await?;
        Ok::<_, reqwest::Error>((answer.status(), answer.text().await?))
    };
    let (status, said) = answered.await.map_err(reqwest::Error::without_url).with_context(unreached)?;
    let said = said.trim().to_owned();
    if status.is_success() { Ok(said) } else { Err(anyhow::anyhow!("the agent answers {}: {said}", status.as_u16())) }
}
