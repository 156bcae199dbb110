//! Settings of a wrong type never reach Superset, and what is said of them is said for the Superset that runs.

use serde_json::{Value as Json, json};

use super::{Scene, count, counted_reloads, reloaded};
use crate::support::services::version;

#[tokio::test]
async fn law_2_a_setting_of_a_wrong_type_is_held_and_told_and_a_name_is_judged_by_the_running_version() {
    let scene = Scene::of("types").await;
    let (only_elsewhere, have) =
        if version() == "6.1.0" { ("THEME_OVERRIDES", "4.1.4 to 5.0.0 have") } else { ("THEME_DEFAULT", "6.1.0 has") };
    scene.tree.fragment("10-site", format!("ROW_LIMIT: 5\n{only_elsewhere}: {{}}\n")).await;
    let (agent, told) = counted_reloads(scene.agent("a"));
    let agent = agent.started().await;
    agent.has_line("ROW_LIMIT = 5").await;
    reloaded(&told, 1).await;
    // Nobody has told the agent which version it is: it has asked.
    let message = format!("Superset {} has no such setting, but {have}", version());
    agent.status_where("the version", |status| status["problems"][0]["message"] == json!(message)).await;
    assert_eq!(count(&told), 1, "to learn the version is no reason to reload");

    let good = agent.rendered().unwrap();
    scene.tree.fragment("20-flags", "FEATURE_FLAGS: [ALERT_REPORTS]\n").await;
    let errors = |status: &Json| -> Vec<Json> {
        status["problems"].as_array().unwrap().iter().filter(|one| one["severity"] == "error").cloned().collect()
    };
    let is_told = |status: &Json| status["instance"]["state"] == "held" && !errors(status).is_empty();
    let wrong = &errors(&agent.status_where("the wrong type", is_told).await)[0];
    assert_eq!(
        (&wrong["znode"], &wrong["line"], &wrong["field"], &wrong["message"]),
        (&json!("/superset/config/20-flags"), &json!(1), &json!("FEATURE_FLAGS"), &json!("expected a mapping, found a list"))
    );
    assert_eq!((agent.rendered().unwrap(), count(&told)), (good, 1));
    scene.tree.fragment("20-flags", "FEATURE_FLAGS: {ALERT_REPORTS: true}\n").await;
    agent.in_sync().await;
    reloaded(&told, 2).await;
}

#[tokio::test]
async fn where_nobody_is_told_auto_checks_nothing_and_says_so() {
    let scene = Scene::of("unchecked").await;
    scene.tree.fragment("10-site", "ROW_LIMIT: 5\n").await;
    let agent = scene.agent("a").with("check", json!({"require": "auto"})).started().await;
    agent.has_line("ROW_LIMIT = 5").await;
    let is_told = |status: &Json| {
        let problems = status["problems"].as_array().unwrap();
        problems.iter().any(|one| one["field"] == "check.require" && one["severity"] == "warning")
    };
    agent.status_where("that nothing is checked", is_told).await;
    let warned = || agent.log().lines().filter(|line| line.contains("WARN") && line.contains("no candidate is checked")).count();
    scene.tree.fragment("10-site", "ROW_LIMIT: 6\n").await;
    agent.has_line("ROW_LIMIT = 6").await;
    agent.in_sync().await;
    assert_eq!(warned(), 1, "once, and not at each change");
}
