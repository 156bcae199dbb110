//! The renderer: config by config, the files of this instance and their revision.
//!
//! The revision is made of what the files say and of nothing else: every setting as it is written, the base, the templates'
//! results, and the number of the format. So neither time nor the agent's version changes it, and under the cluster's key
//! it tells nothing of a secret. It costs what changed: the settings' part is a sum.

use std::collections::BTreeMap;
use std::fmt;
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
#[derive(Clone, PartialEq, Eq)]
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
#[derive(Clone, PartialEq, Eq)]
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
struct Piece {
    text: Box<str>,
    needs: Needs,
    digest: DigestSum,
}

/// Renders configs, each at the cost of its difference from the one before.
pub struct Renderer {
    target: Target,
    labels: Labels,
    key_mark: [u8; 32],
    before: Arc<Config>,
    pieces: BTreeMap<Arc<str>, Piece>,
    digest: DigestSum,
    size: usize,
}

/// Where from, and how much: the text may hold secrets (law 9).
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.origin, self.text.len())
    }
}

/// Where to, and how much: the text may hold secrets (law 9).
impl fmt::Debug for RenderedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.target.path.display(), self.text.len())
    }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::value::{Directive, Value};

    fn key(byte: u8) -> DigestKey {
        DigestKey::from_bytes(&[byte; 32]).unwrap()
    }

    fn renderer(labels: &[(&str, &str)]) -> Renderer {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Renderer::new(Target { path: "/x/superset_config.py".into(), mode: 0o640 }, labels)
    }

    fn config(settings: &[(&'static str, i128)]) -> Arc<Config> {
        Arc::new(settings.iter().map(|(name, number)| (*name, Value::Int(*number))).collect())
    }

    fn source(text: &str) -> Source {
        Source { origin: Origin::new("/src"), text: text.into() }
    }

    fn with_template(text: &str) -> Sources {
        Sources { base: None, templates: vec![(source(text), Target { path: "/y".into(), mode: 0o644 })] }
    }

    fn revision(key: &DigestKey, config: &Arc<Config>, sources: &Sources) -> Revision {
        renderer(&[]).render(key, config, sources).unwrap().revision
    }

    #[test]
    fn law_10_the_revision_is_what_the_files_say() {
        let none = Sources::default();
        let base = |text: &str| Sources { base: Some(source(text)), ..Sources::default() };
        let settings = config(&[("A", 1), ("B", 2)]);
        let one = revision(&key(1), &settings, &none);
        assert_eq!(one, revision(&key(1), &config(&[("B", 2), ("A", 1)]), &none));
        let mut all = vec![one, revision(&key(2), &settings, &none), revision(&key(1), &config(&[("A", 2), ("B", 1)]), &none)];
        all.extend(
            [base(""), base("X = 1"), with_template("{{ config.A }}"), with_template("x")]
                .map(|sources| revision(&key(1), &settings, &sources)),
        );
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        // A change which a template does not show is none of its file.
        assert_eq!(
            revision(&key(1), &settings, &with_template("1")),
            revision(&key(1), &settings, &with_template("{{ config.A }}"))
        );
    }

    #[test]
    fn labels_count_only_where_a_template_shows_them() {
        let settings = config(&[("A", 1)]);
        let of =
            |zone: &str, sources: &Sources| renderer(&[("zone", zone)]).render(&key(1), &settings, sources).unwrap().revision;
        assert_eq!(of("a", &Sources::default()), of("b", &Sources::default()));
        assert_ne!(of("a", &with_template("{{ labels.zone }}")), of("b", &with_template("{{ labels.zone }}")));
    }

    #[test]
    fn everything_wrong_with_base_and_templates_is_told_at_once() {
        let mut sources = with_template("{{ config.MISSING }}");
        sources.templates.extend(with_template("{% if %}").templates);
        sources.base = Some(source("# coding: latin-1"));
        let problems = renderer(&[]).render(&key(1), &config(&[]), &sources).unwrap_err();
        assert_eq!(problems.len(), 3, "{problems:?}");
    }

    #[test]
    fn law_9_what_is_rendered_prints_no_secret() {
        let secret = Value::Directive(Directive::Secret(crate::model::secret::SecretText::new("canary")));
        let settings: Arc<Config> = Arc::new([("A", secret), ("B", "canary".into())].into_iter().collect());
        let sources = Sources { base: Some(source("canary")), ..Sources::default() };
        let rendered = renderer(&[]).render(&key(1), &settings, &sources).unwrap();
        assert!(rendered.files[0].text.contains("canary"));
        assert!(!format!("{rendered:?} {sources:?} {settings:?}").contains("canary"));
    }

    proptest! {
        #[test]
        fn law_12_coming_from_another_config_makes_no_difference(
            configs in proptest::collection::vec(proptest::collection::btree_map(0..6_u8, 0..4_i128, 0..6), 1..6),
        ) {
            const NAMES: [&str; 6] = ["A", "B", "C", "D", "E", "F"];
            let mut grown = renderer(&[]);
            for settings in configs {
                let settings: Vec<_> = settings.into_iter().map(|(name, number)| (NAMES[usize::from(name)], number)).collect();
                let (key, config, sources) = (key(u8::from(settings.len() > 4)), config(&settings), Sources::default());
                let fresh = renderer(&[]).render(&key, &config, &sources).unwrap();
                let found = grown.render(&key, &config, &sources).unwrap();
                prop_assert_eq!(&found.files[0].text, &fresh.files[0].text);
                prop_assert_eq!(found, fresh);
            }
        }
    }
}
