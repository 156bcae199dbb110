//! From texts to settings: flags over environment over file over defaults.
//!
//! In: the file's text, the environment, the flags, the host's name. Out: [`Settings`], or every problem found at once. Reads
//! nothing itself but what `$file` names, through the function it is given. The defaults are `config.example.yaml`, compiled
//! in: the example that people read cannot differ from what the program does.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::environment::{self, Meaning};
use super::section::Reading;
use super::tree::{Layer, Node, Value};
use super::{Flags, Settings, read, yaml};
use crate::model::problem::Problem;

/// The settings file that shows every key with its default.
pub(super) const DEFAULTS: &str = include_str!("../../config.example.yaml");

/// Where settings come from.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// The settings file: its path as people know it, and its text.
    pub file: Option<(&'a str, &'a str)>,
    /// The whole environment: settings among it, and what `$env` may name.
    pub env: &'a BTreeMap<String, String>,
    /// Settings given on the command line.
    pub flags: &'a Flags,
    /// The host's name.
    pub host: &'a str,
    /// Reads a file that `$file` names.
    pub read_file: &'a dyn Fn(&Path) -> io::Result<String>,
}

impl std::fmt::Debug for Sources<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources").field("file", &self.file.map(|(path, _)| path)).finish_non_exhaustive()
    }
}

/// Loads the settings, or says everything that is wrong with them.
pub fn load(sources: &Sources<'_>) -> Result<Settings, Vec<Problem>> {
    let defaults = yaml::defaults(DEFAULTS).map_err(|problem| vec![problem])?;
    let given = given(sources, &defaults)?;
    let mut reading = Reading { env: sources.env, read_file: sources.read_file, problems: Vec::new() };
    let meant = reading.top(&given, &defaults, |top| read::settings(top, sources.host));
    match meant {
        Ok(settings) if reading.problems.is_empty() => Ok(settings),
        _ => Err(sorted(reading.problems)),
    }
}

impl Settings {
    /// The defaults, as an agent on `host` has them.
    pub fn defaults(host: &str) -> Result<Self, Vec<Problem>> {
        let none = |_: &Path| Err(io::ErrorKind::NotFound.into());
        load(&Sources { file: None, env: &BTreeMap::new(), flags: &Flags::new(), host, read_file: &none })
    }
}

/// Everything that was given, one layer over the other. What does not parse stops here: the layers together would look as
/// if its keys were missing.
fn given(sources: &Sources<'_>, defaults: &Node) -> Result<Node, Vec<Problem>> {
    let mut tree = Node::empty(Layer::Defaults);
    let mut problems = Vec::new();
    let parts = file(sources).into_iter().chain(variables(sources, defaults)).chain(flags(sources));
    for part in parts {
        match part {
            Ok(node) => tree.overlay(node),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(tree) } else { Err(sorted(problems)) }
}

fn file(sources: &Sources<'_>) -> Option<Result<Node, Problem>> {
    let (path, text) = sources.file?;
    match yaml::file(path, text) {
        Ok(node) if node.is_null() => Some(Ok(Node::empty(Layer::File(Arc::from(path))))),
        Ok(node) if !matches!(node.value, Value::Map(_)) => {
            Some(Err(node.place.problem("", format!("expected a mapping, got {}", node.kind()))))
        }
        read => Some(read),
    }
}

fn variables(sources: &Sources<'_>, defaults: &Node) -> impl Iterator<Item = Result<Node, Problem>> {
    sources.env.iter().filter_map(|(name, text)| match environment::meaning(name, defaults) {
        Meaning::Foreign => None,
        Meaning::Slip(problem) => Some(Err(problem)),
        Meaning::Setting(path) => {
            let path: Vec<_> = path.iter().map(String::as_str).collect();
            Some(yaml::value(text, &environment::layer(name)).map(|node| node.at(&path)))
        }
    })
}

fn flags(sources: &Sources<'_>) -> impl Iterator<Item = Result<Node, Problem>> {
    sources.flags.iter().map(|(key, text)| {
        let path: Vec<_> = key.split('.').collect();
        yaml::value(text, &Layer::Flags).map(|node| node.at(&path)).map_err(|problem| problem.field(key))
    })
}

fn sorted(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort();
    problems.dedup();
    problems
}
