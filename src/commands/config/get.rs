//! `config get`: what the fragments come to for this instance.
//!
//! While a fragment is in error the instance stays on its last good config, so there is nothing to be told then but the problems.

use std::process::ExitCode;
use std::sync::Arc;

use serde_json::Value as Json;

use super::super::{render, tree};
use crate::cli::Shared;
use crate::desired::config::Config;
use crate::desired::{redact, written};
use crate::model::problem::nearest;
use crate::model::value::{Directive, Key, Mapping, Value};
use crate::output::{self, Advice, Format};
use crate::settings::Settings;

/// Prints a setting, or all.
pub(super) fn run(shared: &Shared, settings: &Settings, key: Option<&str>, reveal: bool) -> anyhow::Result<ExitCode> {
    let seen = tree::block_on(tree::read(settings))?;
    let (_, resolution) = seen.resolve(settings);
    let Ok(config) = &resolution.config else {
        let of_config = resolution.problems.iter().filter(|problem| !resolution.invalid.values().any(|of| of.contains(problem)));
        return Err(render::config_problems(of_config).into());
    };
    let value = match key {
        Some(key) => one(config, key, reveal)?,
        None => all(config, reveal),
    };
    let json: Json = written::json(&value);
    match shared.output {
        Format::Json => output::print(Format::Json, &json, |_| String::new())?,
        Format::Yaml | Format::Table => output::write(written::yaml(&value).as_bytes())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn all(config: &Arc<Config>, reveal: bool) -> Value {
    let shown = if reveal { Config::clone(config) } else { redact::config(config) };
    Value::Map(shown.settings.iter().map(|(name, setting)| (Key::from(&**name), setting.value().clone())).collect())
}

fn one(config: &Config, path: &str, reveal: bool) -> anyhow::Result<Value> {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let mut value = config.get(name).ok_or_else(|| unknown(path, name, config.settings.keys().map(|key| &**key)))?;
    let mut keys = vec![Key::from(name)];
    for part in rest.into_iter().flat_map(|rest| rest.split('.')) {
        let inner = mapping(value).into_iter().flatten();
        let found = inner.clone().find(|(key, _)| key.to_string() == part);
        let names: Vec<_> = inner.map(|(key, _)| key.to_string()).collect();
        let (key, found) = found.ok_or_else(|| unknown(path, part, names.iter().map(String::as_str)))?;
        keys.push(key.clone());
        value = found;
    }
    Ok(if reveal { value.clone() } else { redact::at(keys.iter(), value) })
}

fn mapping(value: &Value) -> Option<&Mapping> {
    match value {
        Value::Map(mapping) | Value::Directive(Directive::Merge(mapping)) => Some(mapping),
        _ => None,
    }
}

fn unknown<'a>(path: &str, part: &str, known: impl Iterator<Item = &'a str>) -> anyhow::Error {
    let hint = match nearest(part, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "what no fragment sets has Superset's own default, or what the base sets".to_owned(),
    };
    Advice { message: format!("no fragment sets {path} for this instance"), hint }.into()
}
