//! The part of a plan that is Superset's connections: every datasource resolved, judged, looked at where need be, judged again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Context;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::plan::Shown;
use crate::desired::resolver::Resolution;
use crate::live::superset::Superset;
use crate::model::connection::Request;
use crate::model::datasource::DatasourceName;
use crate::model::digest::DigestKey;
use crate::model::secret::REDACTED;
use crate::output::{self, Advice, advised};
use crate::plan::connections::{self, Observed, Plan, Pruning, Seen, Settled, Step, Wanted};
use crate::secrets::{self, Secrets};
use crate::settings::Settings;
use crate::superset::client::Client;
use crate::world::{Connections, Fault};

/// The steps that would bring Superset's connections in line. Superset is not asked where nothing could come of it.
pub(super) async fn steps(
    settings: &Settings,
    key: &DigestKey,
    resolution: &Resolution,
    reveal: bool,
) -> anyhow::Result<Vec<Shown>> {
    if resolution.datasources.is_empty() && !settings.datasources.prune {
        return Ok(Vec::new());
    }
    let superset = Arc::new(superset(settings).await?);
    let (wanted, unresolved) = resolve(&superset, key, resolution).await;
    let list = superset.list().await.map_err(|fault| unasked(&fault))?;
    let mut observed = Observed::from_list(list);
    let kept: BTreeSet<_> = resolution.invalid.keys().chain(unresolved.keys()).cloned().collect();
    let judge = |observed: &Observed| {
        let pruning = Pruning { prune: settings.datasources.prune, max_delete: settings.datasources.max_delete };
        connections::plan(&settings.cluster, &wanted, &kept, observed, &Seen::new(), pruning)
    };
    look(&superset, judge(&observed), settings.datasources.concurrency, &mut observed).await?;
    let plan = judge(&observed);
    say_what_stays(&plan, &unresolved);
    Ok(plan.pushes.iter().chain(&plan.deletions).map(|(name, step)| shown(name, step, reveal)).collect())
}

async fn superset(settings: &Settings) -> anyhow::Result<Superset> {
    let superset = &settings.superset;
    let password = secrets::reference(&superset.password).await.map_err(|error| advised(&error, error.hint()));
    let password = password.context("failed to resolve superset.password")?;
    Ok(Superset {
        client: Client::new(&superset.url, &superset.username, watch::channel(password).1, superset.timeout)?,
        secrets: Secrets::new(settings.secrets.clone()),
        preflight: false,
        version: superset.version.clone(),
    })
}

fn unasked(fault: &Fault) -> anyhow::Error {
    let hint = "check superset.url, superset.username and superset.password, and that Superset runs".to_owned();
    Advice { message: format!("failed to look at Superset's connections: {fault}"), hint }.into()
}

async fn resolve(
    superset: &Superset,
    key: &DigestKey,
    resolution: &Resolution,
) -> (BTreeMap<DatasourceName, Wanted>, BTreeMap<DatasourceName, Fault>) {
    let (mut wanted, mut unresolved) = (BTreeMap::new(), BTreeMap::new());
    for (name, datasource) in &resolution.datasources {
        match superset.wanted(key, datasource).await {
            Ok(found) => drop(wanted.insert(name.clone(), found)),
            Err(fault) => drop(unresolved.insert(name.clone(), fault)),
        }
    }
    (wanted, unresolved)
}

/// Looks at the connections that a list does not tell enough about.
async fn look(superset: &Arc<Superset>, plan: Plan, concurrency: usize, observed: &mut Observed) -> anyhow::Result<()> {
    let (slots, mut looks) = (Arc::new(Semaphore::new(concurrency)), JoinSet::new());
    let bar = output::progress("looking at connections", plan.looks.len());
    for id in plan.looks.into_values() {
        let (superset, slots) = (Arc::clone(superset), Arc::clone(&slots));
        looks.spawn(async move {
            let _slot = slots.acquire_owned().await;
            (id, superset.look(id).await)
        });
    }
    while let Some(looked) = looks.join_next().await {
        let (id, stored) = looked.context("failed to look at a connection")?;
        observed.store(id, stored.map_err(|fault| unasked(&fault))?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

fn say_what_stays(plan: &Plan, unresolved: &BTreeMap<DatasourceName, Fault>) {
    for (name, fault) in unresolved {
        output::say(&format!("{name} stays as it is: {fault}"));
    }
    for (name, settled) in &plan.settled {
        match settled {
            Settled::InSync { .. } => {}
            Settled::Conflict { id } => {
                output::say(&format!("{name} stays as it is: Superset has another connection of that name (id {id})"));
            }
            Settled::Orphaned { id, why, .. } => {
                output::say(&format!("{name} (id {id}) is no longer in the tree and stays: {why}"));
            }
        }
    }
}

fn shown(name: &DatasourceName, step: &Step, reveal: bool) -> Shown {
    let diff = match step {
        Step::Create { request } | Step::Adopt { request, .. } => {
            // What is nothing by default would only hide the rest.
            let is_said = |name: &&str| request.open.get(*name).is_none_or(|value| !value.is_null());
            fields('+', request, &request.names().into_iter().filter(is_said).collect::<Vec<_>>(), reveal)
        }
        Step::Update { differs, .. } if differs.is_empty() => "~ a secret, or a field that Superset does not show\n".to_owned(),
        Step::Update { request, differs, .. } => {
            fields('~', request, &differs.iter().map(String::as_str).collect::<Vec<_>>(), reveal)
        }
        Step::Delete { id, database_name, .. } => format!("- database_name: {database_name}\n- id: {id}\n"),
    };
    Shown { step: step.verb(), target: name.to_string(), diff }
}

/// The named fields with what they would hold, a sealed one only where it is to be revealed.
fn fields(sign: char, request: &Request, names: &[&str], reveal: bool) -> String {
    let value = |name: &str| match (request.open.get(name), request.sealed.get(name)) {
        (Some(open), _) => open.to_string(),
        (None, Some(sealed)) if reveal => sealed.expose().to_owned(),
        _ => REDACTED.to_owned(),
    };
    names.iter().map(|name| format!("{sign} {name}: {}\n", value(name))).collect()
}
