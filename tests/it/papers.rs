//! The papers beside the code are true, as far as that is cheap to know.
//!
//! Names in them are looked up where they come from: commands in the command line, settings in the example, metrics and rooms in
//! the sources, tests named as proof among the tests, links on disk. Examples are read by the rooms that read them in earnest, and
//! the start by hand with a folder is made. Whether a sentence is true is for people to see.

pub mod reading;
mod start;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use clap::error::ErrorKind;
use serde_json::Value as Json;
use setkeeper::cli;
use setkeeper::desired::lens::Lens;
use setkeeper::desired::resolver::{Resolution, Resolver};
use setkeeper::model::digest::DigestKey;
use setkeeper::model::snapshot::{Branch, Node, Origin, Snapshot};
use setkeeper::settings::load::{Sources, load};
use setkeeper::settings::{Flags, Settings};

use reading::{commands, examples, is_test_name, paper, papers, root, section, slug, sources, spans, table, words};

#[test]
fn every_command_that_a_paper_shows_is_understood() {
    let mut shown = 0;
    for (paper, line) in papers().flat_map(|(paper, text)| commands(&text).into_iter().map(move |line| (paper, line))) {
        let understood = cli::command().try_get_matches_from(words(&line));
        let kind = understood.err().map(|error| error.kind());
        // A sentence names a command without what it takes.
        let is_short = matches!(kind, Some(ErrorKind::MissingRequiredArgument | ErrorKind::MissingSubcommand));
        assert!(kind.is_none() || is_short, "{paper}: `{line}`: {kind:?}");
        shown += 1;
    }
    assert!(shown > 10, "only {shown} commands were found");
}

#[test]
fn the_table_of_commands_is_the_command_line() {
    fn leaves(command: &clap::Command, path: &str, found: &mut BTreeSet<String>) {
        for inner in command.get_subcommands() {
            let path = format!("{path} {}", inner.get_name()).trim().to_owned();
            if inner.has_subcommands() {
                leaves(inner, &path, found);
            } else {
                found.insert(path);
            }
        }
    }
    let mut all = BTreeSet::new();
    leaves(&cli::command(), "", &mut all);
    let rows = table(&section(&paper("README.md"), "Commands"));
    let told: BTreeSet<String> = rows.iter().flat_map(|row| spans(&row[0])).collect();
    assert_eq!(told, all);
}

#[test]
fn every_setting_that_a_paper_names_exists() {
    let example: Json = serde_yaml::from_str(&paper("config.example.yaml")).unwrap();
    let mut named = 0;
    for (paper, span) in papers().flat_map(|(paper, text)| spans(&text).into_iter().map(move |span| (paper, span))) {
        let key = span.split(':').next().unwrap_or_default();
        let is_key = key.contains('.') && key.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '_' | '.'));
        if !is_key || example.get(key.split('.').next().unwrap_or_default()).is_none() {
            continue;
        }
        // Below what is null in the example, the settings' own tests know what there is.
        let found = key.split('.').try_fold(&example, |at, part| if at.is_null() { Some(at) } else { at.get(part) });
        assert!(found.is_some(), "{paper}: there is no setting `{key}`");
        named += 1;
    }
    assert!(named > 20, "only {named} settings were found");
}

#[test]
fn the_metrics_in_the_readme_are_those_that_there_are() {
    let named = |text: &str| -> BTreeSet<String> {
        let names = text.split(|c: char| !(c.is_ascii_lowercase() || c == '_')).filter(|name| name.starts_with("setkeeper_"));
        names.map(ToOwned::to_owned).collect()
    };
    let source = paper("src/metrics.rs");
    let consts: String = source.lines().filter(|line| line.starts_with("const ")).collect();
    assert_eq!(named(&paper("README.md")), named(&consts));
}

#[test]
fn the_rooms_are_told_as_they_are_enforced() {
    let enforced = |name: &str| -> Vec<String> {
        let layers = paper("tests/layers.rs");
        let list = layers.split_once(&format!("const {name}: &[&str] = &[")).unwrap().1.split_once("];").unwrap().0;
        list.split('"').skip(1).step_by(2).map(ToOwned::to_owned).collect()
    };
    let rows = table(&section(&paper("ARCHITECTURE.md"), "Rooms"));
    let told: Vec<_> = rows.iter().map(|row| spans(&row[0]).concat()).collect();
    assert_eq!(told, enforced("ORDER"));
    let pure: Vec<_> = rows.iter().filter(|row| row[1].ends_with("; pure")).map(|row| spans(&row[0]).concat()).collect();
    assert_eq!(pure, enforced("PURE"));
    let map = paper("src/lib.rs");
    let mapped: Vec<_> =
        map.lines().filter_map(|line| Some(line.strip_prefix("//! - [`")?.split_once('`')?.0.to_owned())).collect();
    assert_eq!(mapped, enforced("ORDER"));
}

#[test]
fn every_law_names_tests_that_exist() {
    let sources = sources();
    for (paper, span) in papers().flat_map(|(paper, text)| spans(&text).into_iter().map(move |span| (paper, span))) {
        if is_test_name(&span) {
            assert!(sources.contains(&format!("fn {span}(")), "{paper}: there is no test `{span}`");
        }
    }
    let rows = table(&section(&paper("ARCHITECTURE.md"), "Laws"));
    assert_eq!(rows.iter().map(|row| row[0].clone()).collect::<Vec<_>>(), (1..=12).map(|n| n.to_string()).collect::<Vec<_>>());
    for row in rows {
        let is_proved = spans(&row[2]).iter().any(|span| is_test_name(span));
        assert!(is_proved || row[2] == "not built yet", "law {}: {}", row[0], row[2]);
    }
}

#[test]
fn every_link_leads_somewhere() {
    for (name, text) in papers() {
        let headings: BTreeSet<_> = text.lines().filter(|line| line.starts_with('#')).map(slug).collect();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            match link.split_once('#') {
                _ if link.starts_with("https://") => {}
                Some(("", heading)) => assert!(headings.contains(heading), "{name}: {link}"),
                _ => assert!(root().join(link).exists(), "{name}: {link}"),
            }
        }
    }
}

#[test]
fn the_examples_are_sound() {
    let all = examples();
    let settings: Vec<_> = all.iter().filter(|(name, _)| name == "setkeeper.yaml").map(|(_, text)| settings(text)).collect();
    let [folder, zookeeper] = settings.as_slice() else { panic!("two settings files, found {}", settings.len()) };
    assert!(folder.warnings().is_empty() && zookeeper.warnings().is_empty(), "an example is warned about");
    let nodes: Vec<_> = all.into_iter().filter(|(name, _)| name != "setkeeper.yaml").collect();
    let resolution = resolve(zookeeper, &snapshot(&nodes));
    assert_eq!(resolution.problems.iter().map(ToString::to_string).collect::<Vec<_>>(), [""; 0]);
    assert_eq!(resolution.config.unwrap().settings.len(), 5, "the fragment for workers does not count for a web server");
    assert_eq!(resolution.datasources.len(), 2);
}

#[test]
fn nodes_that_people_have_already_work_as_they_are() {
    let text = paper("README.md");
    let lines = text.lines().filter(|line| line.starts_with('/'));
    let nodes: Vec<_> =
        lines.filter_map(|line| line.split_once(' ')).map(|(path, data)| (path.to_owned(), data.trim())).collect();
    let [(one, datasource), (two, lines)] = nodes.as_slice() else { panic!("two nodes, found {nodes:?}") };
    let datasources = Branch { root: Some(Node::new(Origin::new(one), datasource, 1)), ..Branch::default() };
    let name = two.strip_prefix("/superset/config/").unwrap();
    let mut config = Branch::default();
    config.children.insert(name.into(), Node::new(Origin::new(two), lines, 1));
    let resolution = resolve(&settings(""), &Snapshot { config, datasources, rollout: None });
    assert!(resolution.problems.iter().next().is_none());
    let (name, datasource) = resolution.datasources.iter().next().unwrap();
    assert_eq!((name.as_str(), datasource.uri.text().as_str()), ("mysql", "mysql+pymysql://root@127.0.0.1:3306/"));
    let config = resolution.config.unwrap();
    let uri = setkeeper::render::python::expression(config.get("SQLALCHEMY_DATABASE_URI").unwrap()).0;
    assert_eq!(uri, "\"postgresql://user:password@host:5432/dbname\"");
}

fn settings(text: &str) -> Settings {
    let (env, flags) = (BTreeMap::new(), Flags::default());
    let read_file = |_: &Path| Err(io::ErrorKind::NotFound.into());
    let sources = Sources { file: Some(("setkeeper.yaml", text)), env: &env, flags: &flags, host: "host", read_file: &read_file };
    load(&sources).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn snapshot(nodes: &[(String, String)]) -> Snapshot {
    let branch = |name: &str| {
        let mut branch = Branch::default();
        for (path, text) in nodes {
            let (path, node) = (path.trim_end_matches(".yaml"), Node::new(Origin::new(path), text, 1));
            if path == name {
                branch.root = Some(node);
            } else if let Some(child) = path.strip_prefix(&format!("{name}/")) {
                branch.children.insert(child.into(), node);
            }
        }
        branch
    };
    Snapshot { config: branch("config"), datasources: branch("datasources"), rollout: None }
}

fn resolve(settings: &Settings, snapshot: &Snapshot) -> Resolution {
    let key = DigestKey::from_bytes(&[7; DigestKey::LEN]).unwrap();
    Resolver::new(Lens::new(settings)).resolve(&key, snapshot)
}
