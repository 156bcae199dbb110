//! `docs/settings.md`: each key of the example is there with its default, none is invented, and what it says of refusals is so.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use serde_json::{Map, Value as Json, json};
use setkeeper::cli;
use setkeeper::model::problem::Problem;
use setkeeper::settings::load::{Sources, load};
use setkeeper::settings::{Flags, Settings};

use super::{code, documents};
use crate::papers::reading::{paper, section, spans, table};

/// The rows about keys: key, default.
fn told() -> BTreeMap<String, String> {
    let text = paper("docs/settings.md");
    let rows = text.split("\n## ").flat_map(table).filter(|row| row.len() == 4 && row[0].starts_with('`'));
    rows.map(|row| (code(&row[0]).to_owned(), row[2].clone())).collect()
}

fn yaml(text: &str) -> Json {
    serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Every key that holds a value, dotted; of a list of mappings `key[].inner`.
fn leaves(path: &str, value: &Json, found: &mut BTreeMap<String, Json>) {
    match value {
        Json::Object(inner) if !inner.is_empty() && !inner.keys().any(|key| key.starts_with('$')) => {
            let path = if path.is_empty() { String::new() } else { format!("{path}.") };
            inner.iter().for_each(|(key, value)| leaves(&format!("{path}{key}"), value, found));
        }
        Json::Array(items) if items.iter().any(Json::is_object) => leaves(&format!("{path}[]"), &items[0], found),
        _ => drop(found.insert(path.to_owned(), value.clone())),
    }
}

/// The example with its optional sections, which are comments, in the place of their defaults.
fn example_in_full() -> Json {
    let text = paper("config.example.yaml");
    let mut lines = Vec::new();
    for line in text.lines() {
        let shown = line.trim_start().strip_prefix("#   ").filter(|_| line.starts_with("  ")).map(|rest| {
            let indent = line.len() - line.trim_start().len();
            format!("{}{rest}", " ".repeat(indent))
        });
        let is_key = |rest: &str| {
            let key = rest.trim().trim_start_matches("- ").split(':').next().unwrap_or_default();
            rest.contains(':') && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        };
        match shown {
            Some(rest) if is_key(&rest) => lines.push(rest),
            _ => lines.push(line.to_owned()),
        }
    }
    for default in ["    auth: null", "    tls: null", "    acl: open", "  directory: null", "  templates: []"] {
        let at = lines.iter().position(|line| line == default).unwrap();
        lines.remove(at);
    }
    yaml(&lines.join("\n"))
}

fn loaded(flags: &[(String, String)], env: &[(String, String)]) -> Result<Settings, Vec<Problem>> {
    let flags: Flags = flags.iter().cloned().collect();
    let env: BTreeMap<String, String> = env.iter().cloned().collect();
    let read_file = |_: &Path| Err(io::ErrorKind::NotFound.into());
    load(&Sources { file: None, env: &env, flags: &flags, host: "host", read_file: &read_file })
}

#[test]
fn every_setting_is_told_with_its_default_and_none_is_invented() {
    let told = told();
    let (mut defaults, mut all) = (BTreeMap::new(), BTreeMap::new());
    leaves("", &yaml(&paper("config.example.yaml")), &mut defaults);
    leaves("", &example_in_full(), &mut all);
    let keys: BTreeSet<_> = defaults.keys().chain(all.keys()).collect();
    assert_eq!(told.keys().collect::<BTreeSet<_>>(), keys);
    for (key, default) in &defaults {
        assert_eq!(yaml(code(&told[key])), *default, "{key}");
    }
    assert!(all.len() > defaults.len());
}

#[test]
fn what_is_required_is_missed_and_what_has_a_default_is_not() {
    let full = example_in_full();
    let told = told();
    for section in
        ["source.zookeeper.auth", "source.zookeeper.tls", "source.zookeeper.acl[]", "source.directory", "render.templates[]"]
    {
        let key = section.trim_end_matches("[]");
        let is_list = key != section;
        let shown = key.split('.').fold(&full, |value, part| &value[part]);
        let shown = if is_list { &shown[0] } else { shown };
        let load = |given: &Map<String, Json>| {
            let value = if is_list { json!([given]) } else { json!(given) };
            let flags = [(key.to_owned(), value.to_string()), ("source.zookeeper".to_owned(), "null".to_owned())];
            loaded(if key == "source.directory" { &flags } else { &flags[..1] }, &[])
        };
        let below: Vec<_> =
            told.iter().filter_map(|(key, default)| Some((key.strip_prefix(&format!("{section}."))?, default))).collect();
        assert_eq!(below.len(), shown.as_object().unwrap().len(), "{section}");
        for (inner, default) in below {
            let mut given = shown.as_object().unwrap().clone();
            given.remove(inner).unwrap();
            if default == "required" {
                let field = format!("{}.{inner}", section.replace("[]", ".0"));
                let problems = load(&given).unwrap_err();
                let is_missed = |problem: &Problem| problem.field.as_ref() == Some(&field) && problem.message == "missing";
                assert!(problems.iter().any(is_missed), "{field}: {problems:?}");
            } else {
                // A certificate and its key go together, so neither is left out alone.
                if matches!(inner, "cert" | "key") {
                    given.retain(|key, _| !matches!(key.as_str(), "cert" | "key"));
                }
                let left_out = load(&given).unwrap();
                given.insert(inner.to_owned(), yaml(code(default)));
                assert_eq!(load(&given), Ok(left_out), "{section}.{inner}");
            }
        }
    }
}

#[test]
fn every_setting_that_a_document_names_exists() {
    let told = told();
    let top: BTreeSet<_> = told.keys().filter_map(|key| key.split(['.', '[']).next()).collect();
    let mut named = 0;
    for (name, text) in documents() {
        for span in spans(&text) {
            let key = span.split([':', '=']).next().unwrap_or_default();
            let is_key = key.contains('.') && key.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '_' | '.'));
            if !is_key || !key.split('.').next().is_some_and(|first| top.contains(first)) {
                continue;
            }
            let is_told = told.contains_key(key) || told.keys().any(|told| told.starts_with(&format!("{key}.")));
            assert!(is_told, "{name}: there is no setting `{key}`");
            named += 1;
        }
    }
    assert!(named > 100, "only {named} settings were found");
}

#[test]
fn every_setting_may_be_given_by_a_flag_and_by_a_variable() {
    let defaults = Settings::defaults("host").unwrap();
    for (key, default) in told() {
        // One key alone of a section that is not there does not give it.
        let is_below = ["source.zookeeper.tls.", "source.directory."].iter().any(|section| key.starts_with(section));
        if is_below || default == "required" || key.contains("[]") {
            continue;
        }
        let text = code(&default).to_owned();
        let variable = format!("SETKEEPER_{}", key.replace('.', "__").to_uppercase());
        assert_eq!(loaded(&[], &[(variable.clone(), text.clone())]).as_ref(), Ok(&defaults), "{variable}={text}");
        assert_eq!(loaded(&[(key.clone(), text.clone())], &[]).as_ref(), Ok(&defaults), "--set {key}={text}");
    }
}

#[test]
fn what_is_said_to_be_refused_is_refused_with_these_words() {
    let rows = table(&section(&paper("docs/settings.md"), "What is refused"));
    for row in &rows {
        let (key, value) = code(&row[0]).split_once('=').unwrap();
        let problems = loaded(&[(key.to_owned(), value.to_owned())], &[]).expect_err(key);
        let said: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert!(said.iter().any(|line| line.contains(code(&row[1]))), "{key}={value}: {said:?}");
    }
    assert!(rows.len() > 15);
}

#[test]
fn the_flags_and_variables_that_stand_for_settings_are_all_there() {
    let text = paper("docs/settings.md");
    let told: BTreeSet<_> = table(&section(&text, "Flags")).iter().flat_map(|row| spans(&row[0])).collect();
    let command = cli::command();
    let flags = command.get_arguments().filter_map(clap::Arg::get_long).filter(|long| !["help", "version"].contains(long));
    assert_eq!(told, flags.map(|long| format!("--{long}")).collect());
    let variables: BTreeSet<_> = table(&section(&text, "Environment")).iter().flat_map(|row| spans(&row[0])).collect();
    for argument in command.get_arguments().filter_map(clap::Arg::get_env) {
        assert!(variables.contains(argument.to_str().unwrap()), "{argument:?}");
    }
}
