//! `datasource test`: are its secrets there, does its server answer, and does Superset get in?
//!
//! What the agent does before a push, and Superset's own test of a connection instead of the push. Nothing is changed.

use std::process::ExitCode;

use serde::Serialize;
use tokio::sync::watch;

use super::super::tree;
use crate::cli::Shared;
use crate::live::superset::Superset;
use crate::model::datasource::Datasource;
use crate::model::digest::DigestKey;
use crate::model::secret::SecretText;
use crate::output;
use crate::plan::connections::Wanted;
use crate::secrets::{self, Secrets};
use crate::settings::Settings;
use crate::superset::client::Client;
use crate::world::{Connections, Fault};

/// How one part of the test ended.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Ok,
    Failed,
    Skipped,
}

/// One part of the test.
#[derive(Serialize)]
struct Part {
    #[serde(rename = "part")]
    name: &'static str,
    outcome: Outcome,
    message: String,
}

impl Part {
    fn of(name: &'static str, result: Result<String, String>) -> Self {
        match result {
            Ok(message) => Self { name, outcome: Outcome::Ok, message },
            Err(message) => Self { name, outcome: Outcome::Failed, message },
        }
    }

    fn skipped(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Skipped, message: message.into() }
    }
}

/// Tests a datasource and prints how each part ended.
pub(super) fn run(shared: &Shared, settings: &Settings, name: &str) -> anyhow::Result<ExitCode> {
    let parts = tree::block_on(async {
        let seen = tree::read(settings).await?;
        let (_, resolution) = seen.resolve(settings);
        let known = super::find(&resolution, name)?;
        parts(settings, &seen.key, super::valid(&resolution, &known)?).await
    })?;
    output::print(shared.output, parts.as_slice(), |parts| output::table(["PART", "OUTCOME", "MESSAGE"], parts.iter().map(row)))?;
    if parts.iter().any(|part| part.outcome == Outcome::Failed) {
        anyhow::bail!("{name} failed the test");
    }
    Ok(ExitCode::SUCCESS)
}

fn row(part: &Part) -> [String; 3] {
    let outcome = match part.outcome {
        Outcome::Ok => "ok",
        Outcome::Failed => "failed",
        Outcome::Skipped => "skipped",
    };
    [part.name.to_owned(), outcome.to_owned(), part.message.clone()]
}

async fn parts(settings: &Settings, key: &DigestKey, datasource: &Datasource) -> anyhow::Result<Vec<Part>> {
    let (password, unresolved) = match secrets::reference(&settings.superset.password).await {
        Ok(password) => (password, None),
        Err(error) => (SecretText::new(""), Some(error.to_string())),
    };
    let superset = superset(settings, watch::channel(password).1)?;
    let wanted = match superset.wanted(key, datasource).await {
        Ok(wanted) => wanted,
        Err(fault) => return Ok(vec![Part::of("secrets", Err(fault.to_string()))]),
    };
    let secrets = match wanted.request.secrets.len() {
        0 => Part::skipped("secrets", "it has none"),
        count => Part::of("secrets", Ok(format!("{count} resolved"))),
    };
    let (server, answers) = server(&superset, &wanted).await;
    let connection = match (unresolved, answers) {
        (Some(why), _) => Part::skipped("superset", format!("failed to resolve superset.password: {why}")),
        // Superset would hold a worker for as long as its driver is patient.
        (None, false) => Part::skipped("superset", "its server does not answer"),
        (None, true) => {
            let tested = superset.client.test(&wanted.request).await;
            Part::of("superset", tested.map(|()| "connects".to_owned()).map_err(|error| error.to_string()))
        }
    };
    Ok(vec![secrets, server, connection])
}

/// Probes the server; the second is whether it is worth asking Superset.
async fn server(superset: &Superset, wanted: &Wanted) -> (Part, bool) {
    let Some(server) = &wanted.server else { return (Part::skipped("server", "a probe from here would prove nothing"), true) };
    let probed = superset.probe(server).await;
    let answers = probed.is_ok();
    let said = probed.map(|()| format!("{}:{} answers", server.host, server.port)).map_err(|fault: Fault| fault.to_string());
    (Part::of("server", said), answers)
}

fn superset(settings: &Settings, password: watch::Receiver<SecretText>) -> anyhow::Result<Superset> {
    let superset = &settings.superset;
    Ok(Superset {
        client: Client::new(&superset.url, &superset.username, password, superset.timeout)?,
        secrets: Secrets::new(settings.secrets.clone()),
        preflight: true,
        version: superset.version.clone(),
    })
}
