//! What this instance would write, rendered as the agent renders it, and the same as it may be shown.

use std::sync::Arc;

use crate::desired::config::Config;
use crate::live::machine;
use crate::model::digest::DigestKey;
use crate::model::problem::Problem;
use crate::output::Problems;
use crate::render::renderer::{Rendered, Renderer, Target};
use crate::settings::Settings;

/// The files of one revision.
pub(super) struct Rendering {
    /// As they are written.
    pub whole: Rendered,
    /// As they may be shown.
    pub shown: Rendered,
}

/// Renders every file, or tells every problem of the base and the templates.
pub(super) fn render(settings: &Settings, key: &DigestKey, config: &Arc<Config>) -> Result<Rendering, Vec<Problem>> {
    let sources = machine::sources(&settings.render)?;
    let file = &settings.render.superset_config;
    let target = Target { path: file.path.clone(), mode: file.mode };
    let mut renderer = Renderer::new(target, settings.instance.labels.clone());
    let whole = renderer.render(key, config, &sources)?;
    let shown = renderer.shown(&whole.revision, config, &sources)?;
    Ok(Rendering { whole, shown })
}

/// Problems of the files to render, as an error.
pub(super) fn problems(problems: Vec<Problem>) -> anyhow::Error {
    Problems { subject: "files to render", problems }.into()
}
