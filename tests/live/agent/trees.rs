//! Trees that are large, wrong, or suddenly gone.

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::{Scene, count, counted_reloads, duck, reloaded};
use crate::support::eventually;
use crate::support::program::of;

/// What is said of a node.
fn problem<'a>(status: &'a Json, node: &str) -> Option<&'a Json> {
    status["problems"].as_array()?.iter().find(|one| one["znode"] == format!("/superset/{node}"))
}

#[tokio::test]
async fn of_ten_thousand_znodes_every_one_counts_and_a_change_to_one_arrives_at_once() {
    const ALL: usize = 10_000;
    let mut scene = Scene::of("many").await;
    scene.tree.put("config", "").await;
    let fragment = |number: usize| (format!("{number:05}"), format!("KEY_{number:05}: {number}\n"));
    scene.tree.put_many("config", (0..ALL).map(fragment)).await;
    let agent = scene.agent("a").started().await;
    let rendered = agent.has_line(&format!("KEY_{:05} = {}", ALL - 1, ALL - 1)).await;
    assert_eq!(rendered.lines().filter(|line| line.starts_with("KEY_")).count(), ALL);
    agent.in_sync().await;

    let began = Instant::now();
    scene.tree.fragment("05000", "KEY_05000: changed\n").await;
    agent.has_line("KEY_05000 = \"changed\"").await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());

    // All of it is read again.
    scene.zookeeper.kill();
    scene.zookeeper.launch();
    scene.zookeeper.serves().await;
    scene.tree.fragment("09999", "KEY_09999: last\n").await;
    let rendered = agent.has_line("KEY_09999 = \"last\"").await;
    assert_eq!(rendered.lines().filter(|line| line.starts_with("KEY_")).count(), ALL);
}

#[tokio::test]
async fn a_znode_at_the_size_limit_counts_like_any_other() {
    const LARGE: usize = 1_048_000;
    let scene = Scene::of("large").await;
    scene.tree.fragment("10-small", "APP_NAME: small\n").await;
    let agent = scene.agent("a").started().await;
    agent.has_line("APP_NAME = \"small\"").await;
    let large = |letter: &str| format!("LARGE: {}\n", letter.repeat(LARGE - 8));
    for letter in ["x", "y"] {
        assert_eq!(large(letter).len(), LARGE);
        scene.tree.fragment("20-large", large(letter)).await;
        let line = format!("LARGE = \"{}\"", letter.repeat(LARGE - 8));
        agent.renders("a line of a megabyte", |text| text.lines().any(|own| own == line)).await;
    }
    agent.in_sync().await;
}

const BOMB: &str = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
    d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n\
    g: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nBOMB: [*g,*g,*g,*g,*g,*g,*g,*g,*g]\n";

#[tokio::test]
async fn law_2_a_thousand_bad_znodes_are_all_told_at_once_and_what_is_good_goes_on() {
    const BAD: usize = 500;
    let scene = Scene::of("rubbish").await;
    scene.tree.fragment("10-good", "APP_NAME: good\n").await;
    scene.tree.datasource("rubbish-good", &duck()).await;
    let (agent, told) = counted_reloads(scene.agent("a"));
    let agent = agent.started().await;
    agent.datasource("rubbish-good", "in_sync").await;
    agent.in_sync().await;
    let good = agent.rendered().unwrap();
    reloaded(&told, 1).await;

    scene.tree.fragment("00-good", "ROW_LIMIT: 5\n").await;
    agent.has_line("ROW_LIMIT = 5").await;
    reloaded(&told, 2).await;
    let good_too = agent.rendered().unwrap();
    assert_ne!(good, good_too);
    scene.tree.fragment("50-binary", [0x00, 0xff, 0xfe, 0x80]).await;
    scene.tree.fragment("50-bomb", BOMB).await;
    scene.tree.fragment("50-twice", "A: 1\nB: 2\nA: 3\n").await;
    let fragment = |number: usize| (format!("60-{number:03}"), "ROW_LIMIT: 1\nrow_limit: 2\n".to_owned());
    scene.tree.put_many("config", (0..BAD).map(fragment)).await;
    let datasource =
        |number: usize| (format!("rubbish-{number:03}"), "sqlalchemy_uri: duckdb://\nexpose_in_sqlab: 1\n".to_owned());
    scene.tree.put_many("datasources", (0..BAD).map(datasource)).await;
    // It comes last, and is pushed all the same.
    scene.tree.datasource("rubbish-last", &duck()).await;

    let status = agent.status_where("every problem", |status| status["problems"].as_array().unwrap().len() >= 2 * BAD + 3).await;
    assert_eq!(status["instance"]["state"], "held");
    for (node, line, field) in [
        ("config/50-twice", json!(3), Json::Null),
        ("config/60-000", json!(2), json!("row_limit")),
        (&*format!("config/60-{:03}", BAD - 1), json!(2), json!("row_limit")),
        ("datasources/rubbish-000", json!(2), json!("expose_in_sqlab")),
        (&*format!("datasources/rubbish-{:03}", BAD - 1), json!(2), json!("expose_in_sqlab")),
    ] {
        let problem = problem(&status, node).unwrap_or_else(|| panic!("nothing is said of {node}"));
        assert_eq!((&problem["line"], &problem["field"]), (&line, &field), "{problem}");
    }
    assert_eq!(problem(&status, "datasources/rubbish-000").unwrap()["hint"], "did you mean `expose_in_sqllab`?");
    for node in ["config/50-binary", "config/50-bomb"] {
        assert!(problem(&status, node).is_some(), "nothing is said of {node}");
    }
    agent.datasource("rubbish-last", "in_sync").await;
    agent.datasource("rubbish-000", "invalid").await;
    assert_eq!(agent.rendered().unwrap(), good_too, "the last good file stays");
    assert_eq!(count(&told), 2);
    assert!(agent.is_ready().await);

    let all = (0..BAD).map(|number| format!("config/60-{number:03}"));
    let bad: Vec<_> = all.chain(["binary", "bomb", "twice"].map(|name| format!("config/50-{name}"))).collect();
    scene.tree.delete_all(&bad.iter().map(String::as_str).collect::<Vec<_>>()).await;
    agent.in_sync().await;
    let of_datasource = |one: &serde_json::Value| one["znode"].as_str().unwrap().contains("/datasources/");
    let mended = |status: &serde_json::Value| status["problems"].as_array().unwrap().iter().all(of_datasource);
    agent.status_where("no more than the datasources' problems", mended).await;
    assert_eq!(agent.rendered().unwrap(), good_too);
}

#[tokio::test]
async fn law_2_a_tree_that_is_suddenly_empty_is_held_until_it_is_whole_or_confirmed() {
    let scene = Scene::of("emptied").await;
    let names: Vec<_> = (0..6).map(|number| format!("emptied-{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let paths: Vec<_> = names.iter().map(|name| format!("datasources/{name}")).collect();
    let paths: Vec<_> = paths.iter().map(String::as_str).collect();
    scene.tree.fragment("50-site", "APP_NAME: full\n").await;
    for name in &names {
        scene.tree.datasource(name, &duck()).await;
    }
    let pruned = json!({"prune": true, "max_delete": "100%", "resync": "2s"});
    let (agent, told) = counted_reloads(scene.agent("a").with("datasources", pruned).with("superset.timeout", json!("3s")));
    let mut agent = agent.started().await;
    agent.datasources(&names, "in_sync").await;
    agent.in_sync().await;
    reloaded(&told, 1).await;
    let before = (agent.rendered(), 1, scene.proxy.writes().len());

    let everything: Vec<_> = paths.iter().copied().chain(["config/50-site"]).collect();
    scene.tree.delete_all(&everything).await;
    let status = agent.status_where("held", |status| status["instance"]["state"] == "held").await;
    assert!(status["instance"]["error"].as_str().unwrap().contains("suddenly empty"), "{}", status["instance"]);
    // It forgets nothing over a restart, and a leader that observes anew deletes nothing either.
    agent.stop().await;
    agent.start().await;
    agent.status_where("held again", |status| status["instance"]["state"] == "held").await;
    agent.leads().await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!((agent.rendered(), count(&told), scene.proxy.writes().len()), before);
    assert!(agent.is_ready().await);

    scene.tree.fragment("50-site", "APP_NAME: full\n").await;
    for name in &names {
        scene.tree.datasource(name, &duck()).await;
    }
    agent.in_sync().await;
    agent.datasources(&names, "in_sync").await;
    assert_eq!((agent.rendered(), count(&told), scene.proxy.writes().len()), before);

    scene.tree.delete_all(&paths[..4]).await;
    // The command believes the record that the cluster sees, which follows the agent's own view a moment later.
    let status = agent.status_where("held", |status| status["instances"][0]["state"] == "held").await;
    assert!(status["instance"]["error"].as_str().unwrap().contains("lost 4 of its 6 datasources"), "{}", status["instance"]);
    let confirmed = agent.run(&["rollout", "confirm"]).await;
    assert!(confirmed.status.success(), "{}", String::from_utf8_lossy(&confirmed.stderr));
    agent.in_sync().await;
    let gone = async || agent.status().await.filter(|status| names[..4].iter().all(|name| of(status, name).is_none()));
    eventually("four are deleted", gone).await;
    let writes = scene.proxy.writes().split_off(before.2);
    assert!(writes.len() == 4 && writes.iter().all(|write| write.starts_with("DELETE")), "{writes:?}");
    agent.datasources(&names[4..], "in_sync").await;
}
