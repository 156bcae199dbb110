//! `plan` and `datasource test` beside a real Superset, with the tree in a folder.

use std::fs;
use std::process::Output;

use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::support::person::Person;
use crate::support::program::Agent;
use crate::support::services::{mariadb, shared};

/// A tree in a folder, and an agent that is to keep it.
struct Scene {
    tree: TempDir,
    agent: Agent,
    cluster: String,
}

impl Scene {
    async fn of(cluster: &str) -> Self {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir(tree.path().join("datasources")).unwrap();
        let agent = Agent::of_directory(cluster, cluster, tree.path(), &shared().await.url);
        Self { tree, agent, cluster: cluster.to_owned() }
    }

    /// Names are shared by all tests beside this Superset.
    fn put(&self, name: &str, node: &Json) {
        let mut node = node.clone();
        node["database_name"] = json!(format!("{} {name}", self.cluster));
        fs::write(self.tree.path().join(format!("datasources/{name}.json")), node.to_string()).unwrap();
    }

    async fn steps(&self) -> Vec<(String, String, String)> {
        let output = self.agent.run(&["plan", "-o", "json"]).await;
        let plan: Json = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output)));
        let part = |step: &Json, name: &str| step[name].as_str().unwrap().to_owned();
        let steps = plan["steps"].as_array().unwrap().iter();
        steps.map(|step| (part(step, "step"), part(step, "target"), part(step, "diff"))).collect()
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn law_3_what_is_planned_is_what_is_done_and_then_nothing_is() {
    let (mut scene, mariadb) = tokio::join!(Scene::of("plan"), mariadb());
    let password = scene.agent.secret("mariadb", "password");
    let node =
        json!({"engine": "mysql", "host": "127.0.0.1", "port": mariadb.port, "user": "root", "password": {"$file": password}});
    scene.put("one", &node);
    let steps = scene.steps().await;
    let names: Vec<_> = steps.iter().map(|(step, target, _)| (step.as_str(), target.as_str())).collect();
    assert_eq!(names.last(), Some(&("create", "one")), "{names:?}");
    let diff = &steps.last().unwrap().2;
    assert!(diff.contains("+ expose_in_sqllab: true\n") && diff.contains("+ sqlalchemy_uri: ***\n"), "{diff}");
    let revealed = text(&scene.agent.run(&["plan", "--reveal"]).await);
    assert!(revealed.contains("mysql+pymysql://root:password@127.0.0.1"), "{revealed}");

    scene.agent.start().await;
    let status = scene.agent.datasource("one", "in_sync").await;
    let id = status["database_id"].as_i64().unwrap();
    assert_eq!(scene.steps().await, []);
    assert_eq!(scene.agent.run(&["plan", "--exit-code"]).await.status.code(), Some(0));

    // By hand, in Superset.
    Person::admin(&shared().await.url).await.change(id, &json!({"expose_in_sqllab": false, "cache_timeout": 7})).await;
    let drift = ("update".to_owned(), "one".to_owned(), "~ cache_timeout: null\n~ expose_in_sqllab: true\n".to_owned());
    assert_eq!(scene.steps().await, [drift]);
    // By a secret that nobody can see.
    scene.agent.kill();
    Person::admin(&shared().await.url).await.change(id, &json!({"expose_in_sqllab": true, "cache_timeout": null})).await;
    scene.agent.secret("mariadb", "canary");
    let steps = scene.steps().await;
    assert_eq!(steps.len(), 1, "{steps:?}");
    assert!(steps[0].2.contains('~') && !steps[0].2.contains("canary"), "{steps:?}");
    // Gone from the tree; it goes only where it may.
    fs::remove_file(scene.tree.path().join("datasources/one.json")).unwrap();
    scene.agent.set("datasources", json!({"prune": true}));
    let steps = scene.steps().await;
    assert_eq!(steps, [("delete".to_owned(), "one".to_owned(), format!("- database_name: plan one\n- id: {id}\n"))]);
}

#[tokio::test]
async fn a_datasource_is_tested_without_being_pushed() {
    let (scene, mariadb) = tokio::join!(Scene::of("tested"), mariadb());
    let node = json!({"engine": "mysql", "host": "127.0.0.1", "port": mariadb.port, "user": "root", "password": "password"});
    scene.put("good", &node);
    let good = scene.agent.run(&["datasource", "test", "good", "-o", "json"]).await;
    let parts: Json = serde_json::from_slice(&good.stdout).unwrap();
    let outcomes: Vec<_> = parts.as_array().unwrap().iter().map(|part| &part["outcome"]).collect();
    assert!(good.status.success() && outcomes == ["ok", "ok", "ok"], "{}", text(&good));
    assert_eq!(Person::admin(&shared().await.url).await.named("tested good").await.len(), 0);

    let mut wrong = node.clone();
    wrong["password"] = json!("canary");
    scene.put("wrong", &wrong);
    let said = scene.agent.run(&["datasource", "test", "wrong"]).await;
    assert_eq!(said.status.code(), Some(1));
    assert!(text(&said).contains("superset  failed") && !text(&said).contains("canary"), "{}", text(&said));
}
