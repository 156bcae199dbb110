//! `docs/metrics.md` and the alert rules: what is registered, no more and no less, and nothing asked for that there is not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use serde_json::Value as Json;
use setkeeper::metrics::{self, ReloadOutcome};
use setkeeper::model::digest::{Release, Revision};
use setkeeper::model::instance::{Role, Version};

use super::{code, headings};
use crate::papers::reading::{paper, section, spans, table};

const REPOSITORY: &str = "https://github.com/setkeeper/setkeeper/blob/main/";

/// What `/metrics` says of one metric, or a document.
#[derive(Debug, Default, PartialEq)]
struct Metric {
    kind: String,
    words: String,
    /// Each label with its values; those of a revision are without number.
    labels: BTreeMap<String, BTreeSet<String>>,
}

fn registered() -> BTreeMap<String, Metric> {
    let recorder = metrics::recorder().unwrap();
    ::metrics::with_local_recorder(&recorder, || {
        metrics::zookeeper_connected(true);
        metrics::zookeeper_seen(SystemTime::now());
        metrics::watches_rearmed(1);
        metrics::leader(Role::Leader);
        metrics::applied(true);
        metrics::reload(ReloadOutcome::Succeeded);
        metrics::datasources([]);
        metrics::pushed(Duration::from_millis(1));
        metrics::reconciled(Duration::from_millis(1));
    });
    let applied = Version { release: Some(Release::new("a")), revision: Some(Revision::new("b")) };
    let text = metrics::render(&recorder.handle(), &applied);
    let mut found: BTreeMap<String, Metric> = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, words)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            words.clone_into(&mut found.entry(name.to_owned()).or_default().words);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            kind.clone_into(&mut found.entry(name.to_owned()).or_default().kind);
        } else if let Some((name, labels)) = line.split_once('{') {
            let Some(metric) = found.get_mut(name) else { continue };
            for (label, value) in labels.split('}').next().unwrap().split(',').filter_map(|label| label.split_once('=')) {
                let values = metric.labels.entry(label.to_owned()).or_default();
                if name != "setkeeper_revision_info" {
                    values.insert(value.trim_matches('"').to_owned());
                }
            }
        }
    }
    found
}

#[test]
fn every_metric_is_told_as_it_is_registered() {
    let registered = registered();
    let rows = table(&section(&paper("docs/metrics.md"), "Metrics"));
    let mut told = BTreeMap::new();
    for row in &rows {
        let name = code(&row[0]).to_owned();
        let words = &registered.get(&name).unwrap_or_else(|| panic!("there is no metric {name}")).words;
        assert!(row[4].starts_with(&format!("{words}.")), "{name}: {}", row[4]);
        let (labels, values) = row[2].split_once(": ").unwrap_or((&row[2], ""));
        let values: BTreeSet<_> = spans(values).into_iter().collect();
        let labels = spans(labels).into_iter().map(|label| (label, values.clone())).collect();
        told.insert(name, Metric { kind: row[1].clone(), words: words.clone(), labels });
    }
    assert_eq!(told, registered);
}

/// The rules of the file.
fn alerts() -> Vec<Json> {
    let file: Json = serde_yaml::from_str(&paper("deploy/prometheus/alerts.yaml")).unwrap();
    file["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

fn text<'a>(rule: &'a Json, path: &str) -> &'a str {
    rule.pointer(path).and_then(Json::as_str).unwrap_or_else(|| panic!("{rule}: no {path}"))
}

#[test]
fn alerts_ask_for_metrics_and_labels_that_exist() {
    let registered = registered();
    for rule in alerts() {
        let expr = text(&rule, "/expr");
        let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
        let names: Vec<_> = expr.split(|c| !is_name(c)).filter(|name| name.starts_with("setkeeper_")).collect();
        for name in &names {
            let histogram = ["_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end));
            let known = registered
                .get(*name)
                .or_else(|| histogram.and_then(|name| registered.get(name)).filter(|metric| metric.kind == "histogram"));
            assert!(known.is_some_and(|metric| metric.kind != "histogram" || histogram.is_some()), "{expr}: no metric {name}");
        }
        assert!(!names.is_empty() || expr.starts_with("up{"), "{expr}");
        let asked = expr.split(['{', '}']).skip(1).step_by(2).filter(|asked| !asked.starts_with("job="));
        for (label, values) in asked.map(|asked| asked.split_once('=').unwrap()) {
            let values = values.trim_start_matches('~').trim_matches('"').split('|');
            let known: BTreeSet<_> = registered.values().filter_map(|metric| metric.labels.get(label)).flatten().collect();
            for value in values {
                assert!(known.contains(&value.to_owned()), "{expr}: no {label} {value}");
            }
        }
    }
}

#[test]
fn every_alert_is_told_and_leads_to_what_to_do() {
    let rows = table(&section(&paper("docs/metrics.md"), "Alerts"));
    let told: Vec<_> = rows.iter().map(|row| (code(&row[0]).to_owned(), row[1].clone(), link(&row[2]))).collect();
    let rules: Vec<_> = alerts()
        .iter()
        .map(|rule| {
            let runbook = text(rule, "/annotations/runbook_url").strip_prefix(REPOSITORY).unwrap().to_owned();
            assert!(!text(rule, "/annotations/summary").is_empty());
            (text(rule, "/alert").to_owned(), text(rule, "/labels/severity").to_owned(), runbook)
        })
        .collect();
    assert_eq!(told, rules);
    for (alert, _, runbook) in rules {
        let (file, heading) = runbook.split_once('#').unwrap();
        assert!(headings(&paper(file)).contains(heading), "{alert}: {runbook}");
    }
}

fn link(cell: &str) -> String {
    format!("docs/{}", cell.split("](").nth(1).unwrap().trim_end_matches(')'))
}
