//! The two forms that people have from articles: a node of parts outside our root, and lines of `key=value` in sequential nodes.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::json;
use zookeeper_client as zk;

use super::Scene;
use crate::support::services::mariadb;

#[tokio::test]
async fn a_node_of_parts_becomes_a_working_connection() {
    let (scene, mariadb) = tokio::join!(Scene::of("article"), mariadb());
    let port = mariadb.port.to_string();
    let parts = json!({"name": "mysql", "host": "127.0.0.1", "port": port, "user": "root", "password": "password"});
    scene.tree.put("/data_source", parts.to_string()).await;
    let agent = scene.agent("a").with("layout.datasources", json!("/data_source")).started().await;
    let status = agent.datasource("mysql", "in_sync").await;
    let rows = scene.person().await.query(status["database_id"].as_i64().unwrap(), Some("sales"), "SELECT * FROM orders").await;
    assert_eq!(rows.unwrap().len(), 2);
    assert_eq!(agent.status().await.unwrap()["problems"], json!([]));
}

#[tokio::test]
async fn lines_in_sequential_nodes_become_settings_and_the_youngest_wins() {
    let scene = Scene::of("lines").await;
    scene.tree.put("config", "").await;
    let sequential = zk::CreateMode::PersistentSequential.with_acls(zk::Acls::anyone_all());
    let add = async |lines: &str| scene.tree.client().create("/superset/config/n-", lines.as_bytes(), &sequential).await.unwrap();
    add("database_url=postgres://user:password@host:5432/dbname").await;
    let agent = scene.agent("a").started().await;
    let rendered = agent.has_line("SQLALCHEMY_DATABASE_URI = \"postgresql://user:password@host:5432/dbname\"").await;
    let mode = std::fs::metadata(agent.path("superset_config.py")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640, "it holds a password");
    python(&rendered, "SQLALCHEMY_DATABASE_URI == 'postgresql://user:password@host:5432/dbname'");

    add("database_url=mysql://user:p%40ss@other:3306/dbname").await;
    let rendered = agent.renders("the younger one", |text| text.contains("@other:3306")).await;
    python(&rendered, "SQLALCHEMY_DATABASE_URI == 'mysql+pymysql://user:p%40ss@other:3306/dbname'");
    let status = agent.in_sync().await;
    assert_eq!(status["problems"], json!([]));
}

/// Runs the rendered file as Python does, and then asserts something of it.
fn python(rendered: &str, assertion: &str) {
    let ran = Command::new("python3").args(["-c", &format!("{rendered}\nassert {assertion}")]).output().unwrap();
    assert!(ran.status.success(), "{}\n{rendered}", String::from_utf8_lossy(&ran.stderr));
}
