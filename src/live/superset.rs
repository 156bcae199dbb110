//! Superset: its connections through the REST API, and its health.

use std::collections::HashMap;

use super::line;
use crate::model::connection::{Connection, Stored};
use crate::model::datasource::Datasource;
use crate::model::digest::DigestKey;
use crate::model::secret::SecretText;
use crate::model::value::Directive;
use crate::plan::connections::{Server, Step, Wanted};
use crate::plan::request::request;
use crate::secrets::{SecretError, Secrets};
use crate::superset::client::Client;
use crate::superset::error::CallError;
use crate::superset::preflight;
use crate::world::{Connections, Fault, FaultKind, Health, SupersetVersion};

/// A live Superset.
pub struct Superset {
    /// Its API.
    pub client: Client,
    /// What datasources may ask for.
    pub secrets: Secrets,
    /// Whether servers are probed first.
    pub preflight: bool,
    /// Its version, where the settings state it.
    pub version: Option<String>,
}

impl Connections for Superset {
    async fn wanted(&self, key: &DigestKey, datasource: &Datasource) -> Result<Wanted, Fault> {
        let resolved = self.resolve(datasource).await.map_err(|error| refused(&error, error.hint()))?;
        let lookup = |directive: &Directive| resolved.get(&name(directive)).cloned().ok_or(SecretError::NotASecret);
        let request = request(datasource, key, &lookup).map_err(|error| refused(&error, None))?;
        Ok(Wanted {
            uuid: datasource.uuid,
            database_name: datasource.database_name.to_string(),
            adopt: datasource.adopt,
            server: if self.preflight { preflight::server(datasource) } else { None },
            request,
        })
    }

    async fn list(&self) -> Result<Vec<Connection>, Fault> {
        self.client.list().await.map_err(|error| Fault { kind: FaultKind::Superset, message: line(&error) })
    }

    async fn look(&self, id: i64) -> Result<Stored, Fault> {
        self.client.stored(id).await.map_err(|error| fault(&error))
    }

    async fn probe(&self, server: &Server) -> Result<(), Fault> {
        preflight::probe(server).await.map_err(|error| Fault { kind: FaultKind::Unreachable, message: line(&error) })
    }

    async fn apply(&self, step: &Step) -> Result<i64, Fault> {
        let result = match step {
            Step::Create { request } => self.client.create(request).await,
            Step::Update { id, request, .. } | Step::Adopt { id, request } => {
                self.client.update(*id, request).await.map(|()| *id)
            }
            Step::Delete { id, uuid, .. } => self.client.delete(*id, *uuid).await.map(|()| *id),
        };
        match result {
            // Somebody else deleted it first, which is what was wanted.
            Err(CallError::Gone) if matches!(step, Step::Delete { .. }) => Ok(0),
            other => other.map_err(|error| fault(&error)),
        }
    }
}

impl Superset {
    async fn resolve(&self, datasource: &Datasource) -> Result<HashMap<String, SecretText>, SecretError> {
        let mut directives = Vec::new();
        for value in datasource.password.iter().chain(datasource.fields.values()) {
            value.visit_directives(&mut |directive| directives.push(directive));
        }
        let mut resolved = HashMap::new();
        for directive in directives {
            resolved.insert(name(directive), self.secrets.directive(directive).await?);
        }
        Ok(resolved)
    }
}

impl Health for std::sync::Arc<Superset> {
    async fn ask(&self) -> Option<SupersetVersion> {
        self.client.health().await.ok()?;
        let version = match &self.version {
            Some(version) => Some(version.clone()),
            None => self.client.version().await.ok().flatten(),
        };
        Some(SupersetVersion(version))
    }
}

/// What a directive asks for, as a key to look it up by.
fn name(directive: &Directive) -> String {
    match directive {
        Directive::Env(name) => format!("$env {name}"),
        Directive::File(path) => format!("$file {path}"),
        Directive::Secret(text) => format!("$secret {}", text.expose()),
        _ => String::new(),
    }
}

fn refused(error: &(dyn std::error::Error + 'static), hint: Option<String>) -> Fault {
    let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
    Fault { kind: FaultKind::Refused, message: format!("{}{hint}", line(error)) }
}

fn fault(error: &CallError) -> Fault {
    let kind = match error {
        CallError::Unreachable(_) => FaultKind::Unreachable,
        CallError::NameTaken { .. } | CallError::UuidTaken { .. } => FaultKind::Conflict,
        CallError::Unanswered { source: None, .. } => FaultKind::Silent,
        error if error.must_observe() => FaultKind::Unknown,
        error if error.is_about_superset() => FaultKind::Superset,
        _ => FaultKind::Refused,
    };
    Fault { kind, message: line(error) }
}
