//! What the caller gave: the settings file, the environment and the flags, made into settings.
//!
//! The one place that reads the process's surroundings for the settings; what they mean is [`crate::settings`]'s to say.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::cli::Shared;
use crate::output::{Advice, Problems};
use crate::settings::Settings;
use crate::settings::load::{Sources, load};

/// Where the settings file lies if nothing is said.
const DEFAULT_FILE: &str = "/etc/setkeeper/config.yaml";

/// Loads the settings; fails with [`Problems`] where they are wrong.
pub(super) fn settings(shared: &Shared) -> anyhow::Result<Settings> {
    let file = settings_file(shared)?;
    let file = file.as_ref().map(|(path, text)| (path.as_str(), text.as_str()));
    let read_file = |path: &Path| fs::read_to_string(path);
    let sources = Sources { file, env: &environment(), flags: &shared.flags(), host: &host_name(), read_file: &read_file };
    load(&sources).map_err(|problems| Problems { subject: "settings", problems }.into())
}

fn settings_file(shared: &Shared) -> anyhow::Result<Option<(String, String)>> {
    let path = match &shared.config {
        Some(path) => path.clone(),
        None if Path::new(DEFAULT_FILE).exists() => PathBuf::from(DEFAULT_FILE),
        None => return Ok(None),
    };
    let text = fs::read_to_string(&path).with_context(|| Advice {
        message: format!("failed to read the settings from {}", path.display()),
        hint: "name a file that exists with --config, or leave it out to use flags and environment alone".to_owned(),
    })?;
    Ok(Some((path.display().to_string(), text)))
}

/// The environment. Variables that are not UTF-8 can neither be settings nor be named by `$env`.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os().filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?))).collect()
}

/// Who runs the program, as their environment has it.
pub(super) fn user() -> String {
    let named = ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
    named.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}

/// The command that opens an editor.
pub(super) fn editor() -> Vec<String> {
    let named =
        ["VISUAL", "EDITOR"].into_iter().find_map(|name| std::env::var(name).ok().filter(|command| !command.trim().is_empty()));
    named.as_deref().unwrap_or("vi").split_whitespace().map(ToOwned::to_owned).collect()
}

/// The host's name.
pub(super) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
