//! `datasource`: the database connections in the tree.

mod apply;
mod test;

use std::process::ExitCode;

use serde_json::Value as Json;

use super::change::{self, Change};
use super::tree::Seen;
use super::{given, status, tree};
use crate::cli::{DatasourceCommand, Shared};
use crate::desired::resolver::Resolution;
use crate::desired::written;
use crate::model::datasource::DatasourceName;
use crate::model::problem::nearest;
use crate::model::snapshot::Node;
use crate::output::{self, Advice, Problems};
use crate::settings::Settings;

/// Runs the command that was given.
pub(super) fn run(shared: &Shared, command: &DatasourceCommand) -> anyhow::Result<ExitCode> {
    let settings = given::settings(shared)?;
    match command {
        DatasourceCommand::List => list(shared, &settings),
        DatasourceCommand::Get { name, reveal } => get(shared, &settings, name, reveal.reveal),
        DatasourceCommand::Apply { name, file } => apply::run(&settings, name.as_deref(), file),
        DatasourceCommand::Delete { name } => delete(&settings, name),
        DatasourceCommand::Test { name } => test::run(shared, &settings, name),
    }
}

fn list(shared: &Shared, settings: &Settings) -> anyhow::Result<ExitCode> {
    let status = tree::block_on(status::status(settings))?;
    output::print(shared.output, status.datasources.as_slice(), status::datasources)?;
    Ok(ExitCode::SUCCESS)
}

fn get(shared: &Shared, settings: &Settings, name: &str, reveal: bool) -> anyhow::Result<ExitCode> {
    let seen = tree::block_on(tree::read(settings))?;
    let (_, resolution) = seen.resolve(settings);
    let known = find(&resolution, name)?;
    if reveal {
        let bytes = node_of(&seen, name).and_then(change::bytes).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let value = || serde_yaml::from_str::<Json>(&text).unwrap_or_else(|_| Json::String(text.clone().into_owned()));
        return match shared.output {
            output::Format::Table => shown(output::write(text.as_bytes()).map_err(Into::into)),
            format => shown(output::print(format, &value(), |_| String::new())),
        };
    }
    let datasource = valid(&resolution, &known)?;
    shown(output::print(shared.output, &written::datasource(datasource), |value| {
        serde_yaml::to_string(value).unwrap_or_else(|_| value.to_string())
    }))
}

fn shown(printed: anyhow::Result<()>) -> anyhow::Result<ExitCode> {
    printed.map(|()| ExitCode::SUCCESS)
}

fn delete(settings: &Settings, name: &str) -> anyhow::Result<ExitCode> {
    tree::block_on(async {
        let cluster = tree::cluster(settings).await?;
        let seen = Seen::of(&cluster).await?;
        find(&seen.resolve(settings).1, name)?;
        let child = child(&seen, name);
        let node = change::node(&seen.snapshot.datasources, child);
        let change = Change {
            path: change::path(cluster.paths().datasources(), child),
            before: node.and_then(change::bytes),
            // The branch's own node has to stay.
            after: if child.is_some() { None } else { Some((&[][..]).into()) },
        };
        change::commit(&cluster, &[change]).await?;
        cluster.close().await;
        let of_connection = if settings.datasources.prune {
            "the leader deletes its connection"
        } else {
            "its connection in Superset stays, because datasources.prune is off"
        };
        output::say(&format!("deleted {name}; {of_connection}"));
        Ok(ExitCode::SUCCESS)
    })
}

/// The name under which the tree has it, valid or not.
fn find(resolution: &Resolution, name: &str) -> anyhow::Result<DatasourceName> {
    let wanted = DatasourceName::new(name);
    if resolution.datasources.contains_key(&wanted) || resolution.invalid.contains_key(&wanted) {
        return Ok(wanted);
    }
    let known = resolution.datasources.keys().chain(resolution.invalid.keys()).map(DatasourceName::as_str);
    let hint = match nearest(name, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`setkeeper datasource list` shows all".to_owned(),
    };
    Err(Advice { message: format!("the tree has no datasource {name}"), hint }.into())
}

fn valid<'r>(resolution: &'r Resolution, name: &DatasourceName) -> anyhow::Result<&'r crate::model::datasource::Datasource> {
    match resolution.datasources.get(name) {
        Some(datasource) => Ok(datasource),
        None => {
            let problems = resolution.invalid.get(name).map(|problems| problems.to_vec()).unwrap_or_default();
            Err(Problems { subject: "datasource", problems }.into())
        }
    }
}

/// The child that holds the datasource of this name; `None` where the branch's own node does.
fn child<'n>(seen: &Seen, name: &'n str) -> Option<&'n str> {
    let branch = &seen.snapshot.datasources;
    let root_is_one = branch.root.as_ref().is_some_and(Node::is_filled);
    (!root_is_one || branch.children.contains_key(name)).then_some(name)
}

fn node_of<'s>(seen: &'s Seen, name: &str) -> Option<&'s Node> {
    change::node(&seen.snapshot.datasources, child(seen, name))
}
