//! `config set` and `config unset`: one key of one fragment, the rest of it as its author wrote it.
//!
//! Nothing is written that would not be true afterwards: not where the fragment would be in error, and not where a later
//! fragment has the last word about the key.

use std::process::ExitCode;
use std::sync::Arc;

use super::super::change::{self, Change};
use super::super::publish;
use super::super::tree::{self, Seen};
use crate::desired::edit::{self, EditError, Given};
use crate::desired::explain::explain;
use crate::desired::lens::Lens;
use crate::desired::resolver::{Resolution, Resolver};
use crate::model::problem::Problem;
use crate::model::snapshot::{Branch, Node, Origin, Snapshot};
use crate::output::{self, Advice, Problems};
use crate::settings::Settings;
use crate::zookeeper::cluster::Cluster;

/// The fragment for what no other fragment holds.
const OWN: &str = "50-cli";

/// What somebody wants changed.
struct Wish<'a> {
    /// Where, if they say so.
    fragment: Option<&'a str>,
    /// What.
    key: &'a str,
    /// Its new value; none takes it out.
    given: Option<Given>,
}

/// Sets a key.
pub(super) fn set(settings: &Settings, fragment: Option<&str>, key: &str, yaml: &str) -> anyhow::Result<ExitCode> {
    let given = Given::parse(yaml).map_err(|problems| Problems { subject: "value", problems })?;
    tree::block_on(Wish { fragment, key, given: Some(given) }.run(settings))
}

/// Takes a key out.
pub(super) fn unset(settings: &Settings, fragment: Option<&str>, key: &str) -> anyhow::Result<ExitCode> {
    tree::block_on(Wish { fragment, key, given: None }.run(settings))
}

impl Wish<'_> {
    async fn run(&self, settings: &Settings) -> anyhow::Result<ExitCode> {
        let cluster = tree::cluster(settings).await?;
        let seen = Seen::of(&cluster).await?;
        let change = self.change(settings, &cluster, &seen)?;
        if change.before == change.after {
            output::say(&format!("{} is as it was", change.path));
        } else {
            change::commit(&cluster, std::slice::from_ref(&change)).await?;
            publish::announce(settings, &cluster, &seen, None).await;
            output::say(&format!("{}d {}", change.verb(), change.path));
        }
        cluster.close().await;
        Ok(ExitCode::SUCCESS)
    }

    fn change(&self, settings: &Settings, cluster: &Cluster, seen: &Seen) -> anyhow::Result<Change> {
        let root = cluster.paths().config();
        let name = self.choose(seen, root)?;
        let path = change::path(root, name.as_deref());
        let before = change::node(&seen.snapshot.config, name.as_deref());
        let text = before.map(|node| text(node, &path)).transpose()?.unwrap_or_default();
        let edited = match &self.given {
            Some(given) => edit::set(&text, self.key, given),
            None => edit::unset(&text, self.key),
        };
        let edited = edited.map_err(|error| refused(&error, &path, self.given.is_some()))?;
        // A fragment of our own that holds nothing any more has done its work.
        let is_done = name.as_deref() == Some(OWN) && edited.trim().is_empty();
        let after: Option<Arc<[u8]>> = (!is_done).then(|| edited.as_bytes().into());
        let config = change::with(&seen.snapshot.config, root, name.as_deref(), after.as_ref());
        let mut lens = Lens::new(settings);
        // As an instance sees it for which the fragment counts.
        lens.labels.extend(edit::when(&edited));
        let mut resolver = Resolver::new(lens);
        let resolution = resolver.resolve(&seen.key, &Snapshot { config, ..seen.snapshot.clone() });
        self.check(&resolver, &resolution, &path)?;
        Ok(Change { before: before.and_then(change::bytes), after, path })
    }

    /// Which fragment is edited: the one that is named, the one that holds the key, or our own.
    fn choose(&self, seen: &Seen, root: &str) -> anyhow::Result<Option<String>> {
        if let Some(fragment) = self.fragment {
            if fragment == root {
                return Ok(None);
            }
            let name = fragment.strip_prefix(root).and_then(|name| name.strip_prefix('/')).unwrap_or(fragment);
            change::check_name(name)?;
            return Ok(Some(name.to_owned()));
        }
        let mut holders = holders(&seen.snapshot.config, self.key);
        match (holders.len(), &self.given) {
            (1, _) => Ok(holders.remove(0)),
            (0, Some(_)) => Ok(Some(OWN.to_owned())),
            (0, None) => {
                let message = format!("no fragment says anything of {}", self.key);
                Err(Advice { message, hint: "`setkeeper config get` shows what they set".to_owned() }.into())
            }
            _ => {
                let paths: Vec<_> = holders.iter().map(|name| change::path(root, name.as_deref())).collect();
                let message = format!("{} is in several fragments: {}", self.key, paths.join(", "));
                let last = holders.pop().flatten().unwrap_or_else(|| root.to_owned());
                Err(Advice { message, hint: format!("name one, such as the last: --in {last}") }.into())
            }
        }
    }

    /// Refuses an edit that would put the fragment in error, or that would change nothing because a later fragment wins.
    fn check(&self, resolver: &Resolver, resolution: &Resolution, path: &str) -> anyhow::Result<()> {
        let of_it: Vec<_> = resolution.problems.iter().filter(|problem| problem.znode == path).cloned().collect();
        if of_it.iter().any(Problem::is_error) {
            return Err(Problems { subject: "fragment as it would be", problems: of_it }.into());
        }
        output::say(&output::problems(&of_it));
        if let Some(later) = self.given.as_ref().and_then(|_| winner(resolver, path, self.key)) {
            let name = later.as_str().rsplit('/').next().unwrap_or_default();
            let message = format!("{later} comes after {path} and has the last word about {}", self.key);
            return Err(Advice { message, hint: format!("set it there: --in {name}") }.into());
        }
        if let Err(held) = &resolution.config {
            output::say(&format!("warning: it takes effect once other fragments are mended: {held}"));
        }
        Ok(())
    }
}

/// The fragments that say anything of a key, in the order in which they merge.
fn holders(branch: &Branch, key: &str) -> Vec<Option<String>> {
    let children = branch.children.iter().filter(|(name, _)| !name.contains('/'));
    let all = branch.root.iter().map(|node| (None, node)).chain(children.map(|(name, node)| (Some(name.to_string()), node)));
    all.filter(|(_, node)| says(node, key)).map(|(name, _)| name).collect()
}

/// The fragment after this one that has the last word about a key.
fn winner<'r>(resolver: &'r Resolver, path: &str, key: &'r str) -> Option<&'r Origin> {
    let setting = key.split('.').next().unwrap_or(key);
    let order: Vec<&Origin> = resolver.fragments().spoken(setting).map(|(origin, _)| origin).collect();
    let own = order.iter().position(|known| known.as_str() == path)?;
    let leaves = explain(resolver.fragments(), key);
    let mut later = order[own + 1..].iter().copied();
    // A later one that takes the key back leaves no leaf to be seen.
    let takes_back = leaves.is_empty();
    later.rfind(|later| takes_back || leaves.iter().any(|leaf| leaf.origin == **later))
}

/// A fragment's text.
pub(super) fn text(node: &Node, path: &str) -> anyhow::Result<String> {
    let bytes = change::bytes(node).unwrap_or_default();
    let text = std::str::from_utf8(&bytes).map_err(|_| anyhow::anyhow!("{path} is not UTF-8 text"))?;
    Ok(text.to_owned())
}

fn says(node: &Node, key: &str) -> bool {
    change::bytes(node).is_some_and(|bytes| std::str::from_utf8(&bytes).is_ok_and(|text| edit::says(text, key)))
}

fn refused(error: &EditError, path: &str, is_set: bool) -> anyhow::Error {
    let hint = match error {
        EditError::Invalid(problems) => {
            let problems = problems.iter().map(|problem| Problem { znode: path.to_owned(), ..problem.clone() }).collect();
            return Problems { subject: "fragment", problems }.into();
        }
        EditError::InTheWay { key, .. } => format!("set {key} as a whole, or choose another fragment with --in"),
        EditError::Absent { .. } => "`setkeeper config explain` shows which fragment sets a key".to_owned(),
        EditError::Comments if is_set => {
            "change the keys below it one by one, or edit the fragment: `setkeeper export`, then `apply`".to_owned()
        }
        EditError::Comments | EditError::Form => "edit the fragment itself: `setkeeper export`, then `apply`".to_owned(),
    };
    Advice { message: format!("failed to edit {path}: {error}"), hint }.into()
}
