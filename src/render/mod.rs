//! What should be true to file texts and a revision.
//!
//! In: a resolved [`Config`], the labels, and the texts of the base and the templates. Out: every file's bytes, and the revision
//! that they make; or every problem in the base and the templates at once. Pure and deterministic: neither time nor the
//! agent's version is in the bytes, so restarting or upgrading the agent changes nothing (law 10). A [`Renderer`] keeps the text of
//! each setting, so that one that changed among thousands is rendered alone (law 12).

pub mod python;
pub mod superset_config;
mod template;

use std::path::PathBuf;
use std::sync::Arc;

use crate::desired::config::Config;
use crate::model::digest::{DigestKey, Revision};
use crate::model::instance::Labels;
use crate::model::problem::Problem;
use crate::model::snapshot::Origin;

/// What is rendered besides the tree, as read from this machine.
#[derive(Clone, Default)]
pub struct Sources {
    /// The Python text that goes before everything else.
    pub base: Option<String>,
    /// The templates.
    pub templates: Vec<Template>,
}

/// One template's text, and where its result goes.
#[derive(Clone)]
pub struct Template {
    /// Where it was read.
    pub source: PathBuf,
    /// Its text.
    pub text: String,
    /// Where the result goes.
    pub path: PathBuf,
    /// The result's permissions.
    pub mode: u32,
}

/// One file to write.
#[derive(Clone, PartialEq, Eq)]
pub struct RenderedFile {
    /// Where.
    pub path: PathBuf,
    /// Its permissions.
    pub mode: u32,
    /// Its content, which may hold secrets.
    pub bytes: Arc<[u8]>,
}

/// All files of one revision; Superset's config comes last, so that what it may read is there before it.
#[derive(Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The revision.
    pub revision: Revision,
    /// The files.
    pub files: Vec<RenderedFile>,
}

/// Renders one instance's files, again and again.
#[derive(Debug)]
pub struct Renderer {
    path: PathBuf,
    mode: u32,
    labels: Labels,
    settings: superset_config::Settings,
}

impl Renderer {
    /// Renders Superset's config to `path`.
    #[must_use]
    pub fn new(path: PathBuf, mode: u32, labels: Labels) -> Self {
        Self { path, mode, labels, settings: superset_config::Settings::default() }
    }

    /// Renders everything, or tells every problem of the templates.
    pub fn render(&mut self, key: &DigestKey, config: &Config, sources: &Sources) -> Result<Rendered, Vec<Problem>> {
        let mut files = self.templates(config, sources)?;
        self.settings.update(config);
        let revision = self.revision(key, sources, &files);
        let text = self.settings.file(sources.base.as_deref(), &revision);
        files.push(RenderedFile { path: self.path.clone(), mode: self.mode, bytes: Arc::from(text.into_bytes()) });
        Ok(Rendered { revision, files })
    }

    fn templates(&self, config: &Config, sources: &Sources) -> Result<Vec<RenderedFile>, Vec<Problem>> {
        let (mut files, mut problems) = (Vec::new(), Vec::new());
        for template in &sources.templates {
            let origin = Origin::new(template.source.to_string_lossy());
            match template::render(&origin, &template.text, config, &self.labels) {
                Ok(text) => files.push(RenderedFile {
                    path: template.path.clone(),
                    mode: template.mode,
                    bytes: Arc::from(text.into_bytes()),
                }),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(files) } else { Err(problems) }
    }

    fn revision(&self, key: &DigestKey, sources: &Sources, files: &[RenderedFile]) -> Revision {
        let mut digest = key.digest("revision");
        digest.field(&superset_config::FORMAT.to_le_bytes());
        digest.field(sources.base.as_deref().unwrap_or_default().as_bytes());
        digest.field(&files.len().to_le_bytes());
        files.iter().for_each(|file| digest.field(&file.bytes));
        self.settings.texts().for_each(|lines| digest.field(lines.as_bytes()));
        Revision::new(digest.short())
    }
}
