//! The renderer: config by config, the files of this instance and their revision.
//!
//! The revision is made of what the files say and of nothing else: every setting as it is written, the base, the templates'
//! results, and the number of the format. So neither time nor the agent's version changes it, and under the cluster's key
//! it tells nothing of a secret. It costs what changed: the settings' part is a sum.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use imbl::ordmap::DiffItem;

use super::python::{self, Needs};
use super::{superset_config, template};
use crate::desired::config::{Config, Setting};
use crate::desired::redact;
use crate::model::digest::{DigestKey, DigestSum, Revision};
use crate::model::instance::Labels;
use crate::model::problem::Problem;
use crate::model::snapshot::Origin;

/// Grows with every change of the files' form that a running Superset should load.
const FORMAT: u8 = 1;

/// Where a rendered file goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its path.
    pub path: PathBuf,
    /// Its permissions.
    pub mode: u32,
}

/// A text that the caller read, and where from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The file.
    pub origin: Origin,
    /// What it holds.
    pub text: Arc<str>,
}

/// What goes into the files besides the config.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// The Python file that goes before the settings.
    pub base: Option<Source>,
    /// The templates, and where their results go.
    pub templates: Vec<(Source, Target)>,
}

/// One file, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderedFile {
    /// Where it goes.
    pub target: Target,
    /// What it holds.
    pub text: Arc<str>,
}

/// All files of one revision, Superset's config first. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// What they say, in short.
    pub revision: Revision,
    /// The files.
    pub files: Arc<[RenderedFile]>,
}

/// One setting as it is written.
#[derive(Debug)]
struct Piece {
    text: Box<str>,
    needs: Needs,
    digest: DigestSum,
}

/// Renders configs, each at the cost of its difference from the one before.
#[derive(Debug)]
pub struct Renderer {
    target: Target,
    labels: Labels,
    key_mark: [u8; 32],
    before: Arc<Config>,
    pieces: BTreeMap<Arc<str>, Piece>,
    digest: DigestSum,
    size: usize,
}

impl Renderer {
    /// Renders Superset's config to `target`; templates see `labels`.
    #[must_use]
    pub fn new(target: Target, labels: Labels) -> Self {
        Self {
            target,
            labels,
            key_mark: [0; 32],
            before: Arc::default(),
            pieces: BTreeMap::new(),
            digest: DigestSum::default(),
            size: 0,
        }
    }

    /// Renders a config, or says everything that is wrong with base and templates.
    pub fn render(&mut self, key: &DigestKey, config: &Arc<Config>, sources: &Sources) -> Result<Rendered, Vec<Problem>> {
        self.take(key, config);
        let (base, templates) = self.check(config, sources)?;
        let revision = self.revision(key, base, &templates);
        let needs = self.pieces.values().fold(Needs::default(), |all, piece| all.and(piece.needs));
        let settings = self.pieces.values().map(|piece| &*piece.text);
        let text = superset_config::write(&revision, base, needs, self.size, settings);
        let first = RenderedFile { target: self.target.clone(), text: text.into() };
        Ok(Rendered { revision, files: std::iter::once(first).chain(templates).collect() })
    }

    /// The files of a revision as they may be shown: secrets are left out, and so is what the base says.
    pub fn shown(&self, revision: &Revision, config: &Arc<Config>, sources: &Sources) -> Result<Rendered, Vec<Problem>> {
        let config = Arc::new(redact::config(config));
        let (base, templates) = self.check(&config, sources)?;
        let base = base.map(|base| format!("# {} lines, shown by --reveal\n", base.lines().count()));
        let pieces: Vec<_> = config.settings.iter().map(|(name, setting)| python::assignment(name, setting.value())).collect();
        let needs = pieces.iter().fold(Needs::default(), |all, (_, needs)| all.and(*needs));
        let settings = pieces.iter().map(|(text, _)| text.as_str());
        let text = superset_config::write(revision, base.as_deref(), needs, 0, settings);
        let first = RenderedFile { target: self.target.clone(), text: text.into() };
        Ok(Rendered { revision: revision.clone(), files: std::iter::once(first).chain(templates).collect() })
    }

    fn take(&mut self, key: &DigestKey, config: &Arc<Config>) {
        let mark = key.digest("mark").full();
        if mark != self.key_mark {
            *self = Self { key_mark: mark, ..Self::new(self.target.clone(), std::mem::take(&mut self.labels)) };
        }
        let before = std::mem::replace(&mut self.before, config.clone());
        for item in before.settings.diff(&config.settings) {
            match item {
                DiffItem::Add(name, setting) | DiffItem::Update { new: (name, setting), .. } => self.put(key, name, setting),
                DiffItem::Remove(name, _) => self.gone(name),
            }
        }
    }

    fn put(&mut self, key: &DigestKey, name: &Arc<str>, setting: &Setting) {
        self.gone(name);
        let (text, needs) = python::assignment(name, setting.value());
        let mut digest = key.digest("setting");
        digest.field(text.as_bytes());
        let piece = Piece { text: text.into(), needs, digest: DigestSum::of(digest) };
        self.digest.add(piece.digest);
        self.size += piece.text.len();
        self.pieces.insert(name.clone(), piece);
    }

    fn gone(&mut self, name: &Arc<str>) {
        if let Some(piece) = self.pieces.remove(name) {
            self.digest.take(piece.digest);
            self.size -= piece.text.len();
        }
    }

    /// The base that can be inlined, and the templates' results.
    fn check<'s>(
        &self,
        config: &Arc<Config>,
        sources: &'s Sources,
    ) -> Result<(Option<&'s str>, Vec<RenderedFile>), Vec<Problem>> {
        let mut problems = Vec::new();
        if let Some(base) = &sources.base {
            problems.extend(superset_config::check_base(&base.origin, &base.text));
        }
        let mut files = Vec::with_capacity(sources.templates.len());
        for (source, target) in &sources.templates {
            match template::render(&source.origin, &source.text, config, &self.labels) {
                Ok(text) => files.push(RenderedFile { target: target.clone(), text: text.into() }),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok((sources.base.as_ref().map(|base| &*base.text), files)) } else { Err(problems) }
    }

    fn revision(&self, key: &DigestKey, base: Option<&str>, templates: &[RenderedFile]) -> Revision {
        let mut digest = key.digest("revision");
        digest.field(&[FORMAT]);
        self.digest.write(&mut digest);
        digest.field(&[u8::from(base.is_some())]);
        digest.field(base.unwrap_or_default().as_bytes());
        for file in templates {
            digest.field(file.target.path.as_os_str().as_encoded_bytes());
            digest.field(file.text.as_bytes());
        }
        Revision::new(digest.short())
    }
}
