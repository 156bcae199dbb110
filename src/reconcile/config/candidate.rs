//! Candidates: what a release comes to on this instance, as files that can be installed.

use std::sync::Arc;

use crate::desired::config::Config;
use crate::desired::redact;
use crate::files::state::{Applied, FileCopy};
use crate::model::digest::{DigestKey, Release};
use crate::model::instance::Version;
use crate::model::problem::Problem;
use crate::model::secret::{SecretText, is_secret_name};
use crate::plan::files::FileWanted;
use crate::render::renderer::{Renderer, Source, Sources};
use crate::rollout::target::Goal;

/// A shorter text is no secret that could be told from others.
const SHORT: usize = 4;

/// The files of one goal.
pub(super) struct Candidate {
    pub goal: Goal,
    pub files: Vec<FileWanted>,
    config: Arc<Config>,
    base: Option<Source>,
}

impl Candidate {
    /// Renders what a release comes to here.
    pub fn render(
        renderer: &mut Renderer,
        key: &DigestKey,
        release: &Release,
        config: &Arc<Config>,
        sources: &Sources,
    ) -> Result<Self, Vec<Problem>> {
        let whole = renderer.render(key, config, sources)?;
        let files = whole.files.iter().map(|file| FileWanted {
            path: file.target.path.clone(),
            mode: file.target.mode,
            bytes: Arc::from(Arc::clone(&file.text)),
        });
        let goal = Goal { release: release.clone(), revision: whole.revision };
        Ok(Self { goal, files: files.collect(), config: Arc::clone(config), base: sources.base.clone() })
    }

    /// The secrets that may stand in its files. All of the config is looked through for them, so only a check asks.
    pub fn secrets(&self) -> Vec<SecretText> {
        let base = self.base.iter().flat_map(|base| assigned_secrets(&base.text));
        redact::secrets(&self.config).into_iter().chain(base).filter(|secret| secret.expose().len() >= SHORT).collect()
    }

    pub fn version(&self) -> Version {
        version(&self.goal)
    }

    /// Its files as they are remembered.
    pub fn applied(&self) -> Applied {
        let copies = self.files.iter().map(|file| FileCopy::new(&file.path, file.mode, file.bytes.to_vec()));
        Applied { version: self.version(), files: copies.collect() }
    }
}

/// A goal as it is shown.
pub(super) fn version(goal: &Goal) -> Version {
    let Goal { release, revision } = goal.clone();
    Version { release: Some(release), revision: Some(revision) }
}

/// Files that are remembered, as they are wanted again.
pub(super) fn wanted(applied: &Applied) -> Vec<FileWanted> {
    let copies = applied.files.iter();
    copies.map(|file| FileWanted { path: file.path.clone(), mode: file.mode, bytes: Arc::from(file.bytes()) }).collect()
}

/// What a Python text assigns to names of secrets, however it goes on: an error may quote such a line.
fn assigned_secrets(text: &str) -> Vec<SecretText> {
    let assigned = |line: &str| {
        let (name, value) = line.split_once('=')?;
        let value = value.trim().trim_matches(['"', '\'', '(', ')', ',']);
        is_secret_name(name).then(|| SecretText::new(value))
    };
    text.lines().filter_map(assigned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn law_9_a_secret_that_the_base_assigns_is_known_even_where_its_line_is_broken() {
        let base = "A = 1\nSECRET_KEY = \"canary-1\nPASSWORD='canary-2'\n# token: canary-3\n";
        let found: Vec<_> = assigned_secrets(base).iter().map(|secret| secret.expose().to_owned()).collect();
        assert_eq!(found, ["canary-1", "canary-2"]);
    }
}
