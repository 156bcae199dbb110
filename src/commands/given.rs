//! What the caller gave: the settings file, the environment and the flags, made into settings.
//!
//! The one place that reads the process's surroundings for the settings; what they mean is [`crate::settings`]'s to say.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::cli::Shared;
use crate::output::{Advice, Problems};
use crate::settings::Settings;
use crate::settings::load::{Sources, load};

/// Where the settings file lies if nothing is said.
const DEFAULT_FILE: &str = "/etc/setkeeper/config.yaml";

/// How many bytes settings, or a secret of theirs, may have.
const LARGEST: u64 = 1 << 20;

/// Loads the settings; fails with [`Problems`] where they are wrong.
pub(super) fn settings(shared: &Shared) -> anyhow::Result<Settings> {
    let file = settings_file(shared)?;
    let file = file.as_ref().map(|(path, text)| (path.as_str(), text.as_str()));
    let read_file = |path: &Path| read(path);
    let sources = Sources { file, env: &environment()?, flags: &shared.flags(), host: &host_name(), read_file: &read_file };
    load(&sources).map_err(|problems| Problems { subject: "settings", problems }.into())
}

/// Reads a text; a device that never ends is none.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let length = File::open(path)?.take(LARGEST + 1).read_to_string(&mut text)?;
    if u64::try_from(length).is_ok_and(|length| length <= LARGEST) {
        return Ok(text);
    }
    Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {LARGEST} bytes")))
}

fn settings_file(shared: &Shared) -> anyhow::Result<Option<(String, String)>> {
    let path = match &shared.config {
        Some(path) => path.clone(),
        None if Path::new(DEFAULT_FILE).exists() => PathBuf::from(DEFAULT_FILE),
        None => return Ok(None),
    };
    let text = read(&path).with_context(|| Advice {
        message: format!("failed to read the settings from {}", path.display()),
        hint: "name a file that exists with --config, or leave it out to use flags and environment alone".to_owned(),
    })?;
    Ok(Some((path.display().to_string(), text)))
}

/// The environment. Variables that are not UTF-8 cannot be named by `$env`, and one that would be a setting is refused: left out, it
/// would silently leave the default in force.
fn environment() -> anyhow::Result<BTreeMap<String, String>> {
    let mut variables = BTreeMap::new();
    for (name, text) in std::env::vars_os() {
        let Ok(name) = name.into_string() else { continue };
        match text.into_string() {
            Ok(text) => drop(variables.insert(name, text)),
            Err(_) if name.starts_with("SETKEEPER_") && !name.starts_with("SETKEEPER_SECRET_") => {
                let hint = "write it in UTF-8, or leave it out".to_owned();
                return Err(Advice { message: format!("the environment variable {name} is not UTF-8 text"), hint }.into());
            }
            Err(_) => {}
        }
    }
    Ok(variables)
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
