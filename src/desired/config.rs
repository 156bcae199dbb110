//! The config: what the fragments that count for this instance merge into, kept up to date at the cost of what changed.
//!
//! In go changed nodes; out comes a [`Config`] that shares everything unchanged with the one before. Each setting remembers
//! which fragments speak of it, in byte order of their names and the base fragment first, and is merged again only when one of
//! these changed (law 12). An erroneous fragment counts for nothing, and [`Fragments::config`] says so.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use imbl::OrdMap;

use super::fragment::{self, Fragment};
use super::lens::Lens;
use super::problems::Problems;
use super::{Held, NodeName};
use crate::model::digest::{Digest, DigestKey, DigestSum};
use crate::model::problem::Problem;
use crate::model::snapshot::{Content, Node, Origin};
use crate::model::value::Value;

/// One setting's value, shared between configs until it changes.
#[derive(Clone)]
pub struct Setting(Arc<Value>);

impl Setting {
    /// Its value.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.0
    }
}

/// Of what kind it is: the value may be a secret (law 9).
impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.kind())
    }
}

impl From<Value> for Setting {
    fn from(value: Value) -> Self {
        Self(Arc::new(value))
    }
}

/// The same, without a look at the value where both share it: what a comparison of two configs costs depends on that.
impl PartialEq for Setting {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

/// All settings of one instance, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// The settings.
    pub settings: OrdMap<Arc<str>, Setting>,
}

impl Config {
    /// A setting's value.
    #[must_use]
    pub fn get(&self, setting: &str) -> Option<&Value> {
        self.settings.get(setting).map(Setting::value)
    }
}

impl<N: Into<Arc<str>>> FromIterator<(N, Value)> for Config {
    fn from_iter<I: IntoIterator<Item = (N, Value)>>(settings: I) -> Self {
        Self { settings: settings.into_iter().map(|(name, value)| (name.into(), Setting::from(value))).collect() }
    }
}

/// How many nodes that are warned about, and not in error, an agent tells one by one: a tree may hold ten thousand names that
/// are nobody's but its owner's, and each would be held in memory, logged, and shown at every look.
const TOLD: usize = 256;

/// What one node came to.
struct Kept {
    origin: Origin,
    fragment: Arc<Fragment>,
    digest: DigestSum,
    errors: usize,
    warned: Warned,
    filled: bool,
}

/// Whether there are warnings about a node without an error, and whether they are told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Warned {
    No,
    Told,
    Counted(usize),
}

/// All fragments, and what they merge into.
#[derive(Default)]
pub struct Fragments {
    nodes: BTreeMap<NodeName, Kept>,
    speakers: BTreeMap<Arc<str>, Vec<(NodeName, Arc<Fragment>)>>,
    config: Arc<Config>,
    digest: DigestSum,
    problems: Problems,
    errors: usize,
    /// How many nodes are warned about one by one, and how many may be; all, where that is none.
    told: usize,
    limit: Option<usize>,
    /// How many warnings are only counted, and of a node beside which others.
    counted: usize,
    beside: Option<Origin>,
    filled: usize,
    touched: BTreeSet<Arc<str>>,
}

/// How many there are and what is wrong with them, and nothing of what they say (law 9).
impl fmt::Debug for Fragments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fragments").field("nodes", &self.nodes.len()).field("problems", &self.problems).finish_non_exhaustive()
    }
}

impl Fragments {
    /// None yet; of those to come, no more are told one by one than suits an agent.
    #[must_use]
    pub fn bounded() -> Self {
        Self { limit: Some(TOLD), ..Self::default() }
    }

    /// None again, to be told in the same way.
    #[must_use]
    pub fn emptied(&self) -> Self {
        Self { limit: self.limit, ..Self::default() }
    }

    /// Takes a node that is new or changed.
    pub fn put(&mut self, name: &NodeName, node: &Node, key: &DigestKey, lens: &Lens) {
        self.gone(name);
        let (fragment, problems) = fragment::read(node, lens);
        let errors = problems.iter().filter(|problem| problem.is_error()).count();
        let kept = Kept {
            origin: node.origin.clone(),
            fragment: Arc::new(fragment),
            digest: DigestSum::of(digest_node(key, "config", name, node)),
            errors,
            warned: self.warn(&problems, errors, &node.origin),
            filled: node.is_filled(),
        };
        self.digest.add(kept.digest);
        self.errors += errors;
        self.filled += usize::from(kept.filled);
        self.problems.set(&node.origin, if matches!(kept.warned, Warned::Counted(_)) { Vec::new() } else { problems });
        for (setting, _) in &kept.fragment.settings {
            let speaker = (name.clone(), kept.fragment.clone());
            match self.speakers.entry(setting.clone()) {
                // Most settings have one speaker, and a tree may have ten thousand settings.
                Entry::Vacant(vacant) => drop(vacant.insert(vec![speaker])),
                Entry::Occupied(mut speakers) => {
                    let at = speakers.get().partition_point(|(other, _)| other < name);
                    speakers.get_mut().insert(at, speaker);
                }
            }
            self.touched.insert(setting.clone());
        }
        self.nodes.insert(name.clone(), kept);
    }

    fn warn(&mut self, problems: &[Problem], errors: usize, origin: &Origin) -> Warned {
        if errors > 0 || problems.is_empty() {
            Warned::No
        } else if self.limit.is_none_or(|limit| self.told < limit) {
            self.told += 1;
            Warned::Told
        } else {
            self.counted += problems.len();
            self.beside = Some(origin.clone());
            Warned::Counted(problems.len())
        }
    }

    /// Forgets a node.
    pub fn gone(&mut self, name: &NodeName) {
        let Some(kept) = self.nodes.remove(name) else { return };
        self.digest.take(kept.digest);
        self.errors -= kept.errors;
        self.filled -= usize::from(kept.filled);
        match kept.warned {
            Warned::No => {}
            Warned::Told => self.told -= 1,
            Warned::Counted(count) => self.counted -= count,
        }
        self.problems.set(&kept.origin, Vec::new());
        for (setting, _) in &kept.fragment.settings {
            if let Some(speakers) = self.speakers.get_mut(setting)
                && let Ok(at) = speakers.binary_search_by(|(other, _)| other.cmp(name))
            {
                speakers.remove(at);
            }
            self.touched.insert(setting.clone());
        }
    }

    /// Merges again what changed since the last call.
    pub fn merge(&mut self) {
        let touched = std::mem::take(&mut self.touched);
        if touched.is_empty() {
            return;
        }
        let mut settings = self.config.settings.clone();
        for setting in touched {
            if self.speakers.get(&setting).is_some_and(Vec::is_empty) {
                self.speakers.remove(&setting);
            }
            let Some(value) = self.merged(&setting) else {
                settings.remove(&setting);
                continue;
            };
            if settings.get(&setting).is_none_or(|old| *old.value() != value) {
                settings.insert(setting, value.into());
            }
        }
        self.config = Arc::new(Config { settings });
    }

    fn merged(&self, setting: &str) -> Option<Value> {
        let patches = self.speakers(setting).iter().filter_map(|(_, fragment)| fragment.get(setting));
        patches.fold(None, |value, patch| patch.edit.apply(value))
    }

    fn speakers(&self, setting: &str) -> &[(NodeName, Arc<Fragment>)] {
        self.speakers.get(setting).map(Vec::as_slice).unwrap_or_default()
    }

    /// Who speaks of a setting, and what they say, in the order in which that merges.
    pub fn spoken<'a>(&'a self, setting: &'a str) -> impl Iterator<Item = (&'a Origin, &'a super::patch::Patch)> {
        self.speakers(setting)
            .iter()
            .filter_map(move |(name, fragment)| Some((&self.nodes.get(name)?.origin, fragment.get(setting)?)))
    }

    /// The config, or why the last good one stays.
    pub fn config(&self) -> Result<Arc<Config>, Held> {
        if self.errors == 0 {
            return Ok(self.config.clone());
        }
        let first = self.problems.iter().find(|problem| problem.is_error()).map(Problem::to_string).unwrap_or_default();
        let count = if self.errors == 1 { "a problem".to_owned() } else { format!("{} problems, first", self.errors) };
        Err(Held::new(format!("the config tree has {count}: {first}")))
    }

    /// What the fragments that count merge into, whether or not others are in error.
    #[must_use]
    pub fn partial(&self) -> &Arc<Config> {
        &self.config
    }

    /// The digest of all nodes.
    #[must_use]
    pub fn digest(&self) -> DigestSum {
        self.digest
    }

    /// The problems of all nodes, and in one sentence the warnings that are only counted.
    #[must_use]
    pub fn problems(&self) -> Problems {
        let Some(beside) = self.beside.as_ref().filter(|_| self.counted > 0) else { return self.problems.clone() };
        let branch = Origin::new(beside.as_str().rsplit_once('/').map_or("", |(branch, _)| branch));
        let more = Problem::warning(&branch, format!("{} more warnings are not told one by one", self.counted));
        let mut counted = Problems::default();
        counted.set(&branch, vec![more.hint("`setkeeper check` tells all of them")]);
        self.problems.and(&counted)
    }

    /// How many nodes hold something.
    #[must_use]
    pub fn filled(&self) -> usize {
        self.filled
    }
}

/// The digest of a node's place and bytes.
#[must_use]
pub fn digest_node(key: &DigestKey, branch: &str, name: &NodeName, node: &Node) -> Digest {
    let mut digest = key.digest("node");
    digest.field(branch.as_bytes());
    digest.field(if name.is_some() { b"child" } else { b"root" });
    digest.field(name.as_deref().unwrap_or_default().as_bytes());
    match &node.content {
        Content::Bytes(bytes) => {
            digest.field(b"bytes");
            digest.field(bytes);
        }
        Content::Unreadable(_) => digest.field(b"unreadable"),
    }
    digest
}
