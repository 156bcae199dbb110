//! `datasource list`, `get`, `apply`, `delete`.

use std::fs;

use setkeeper::model::status::DatasourceState;

use super::Shell;
use crate::support::agent::{Agent, client, open, statuses};
use crate::support::eventually;
use crate::support::server::Server;

const SALES: &str = "sqlalchemy_uri: postgresql://u:canary@db/sales\n";

#[tokio::test]
async fn one_is_applied_listed_shown_and_deleted() {
    let server = Server::start().await;
    let shell = Shell::new(&server);
    fs::write(shell.path("sales.yaml"), SALES).unwrap();
    assert!(shell.run(&["datasource", "apply", "sales.yaml"]).err.contains("created /superset/datasources/sales"));
    assert!(shell.run(&["datasource", "apply", "sales.yaml"]).err.contains("is as it was"));
    let list = shell.json(&["datasource", "list"]);
    assert_eq!((&list[0]["name"], &list[0]["state"], &list[0]["by"]), (&"sales".into(), &"pending".into(), &().into()));
    let shown = shell.ok(&["datasource", "get", "sales"]);
    assert!(shown.contains("postgresql://u@db/sales") && !shown.contains("canary"), "{shown}");
    assert_eq!(shell.ok(&["datasource", "get", "sales", "--reveal"]), SALES);
    // Wrong by itself, and wrong beside another.
    fs::write(shell.path("bad.yaml"), "sqlalchemy_uri: postgresql://db/x\nexpose: true\n").unwrap();
    assert!(shell.fails(&["datasource", "apply", "bad.yaml"]).contains("bad:2: expose: "));
    fs::write(shell.path("twin.yaml"), "sqlalchemy_uri: postgresql://db/x\ndatabase_name: sales\n").unwrap();
    assert!(shell.fails(&["datasource", "apply", "twin.yaml"]).contains("has this database_name too"));
    assert!(shell.fails(&["datasource", "apply", "--name", "a/b", "sales.yaml"]).contains("cannot be the name of a znode"));
    assert_eq!(shell.json(&["datasource", "list"]).as_array().unwrap().len(), 1);
    assert!(shell.fails(&["datasource", "delete", "sale"]).contains("did you mean `sales`?"));
    shell.ok(&["datasource", "delete", "sales"]);
    assert_eq!(shell.json(&["datasource", "list"]), serde_json::json!([]));
}

#[tokio::test]
async fn what_the_leader_says_is_listed_beside_what_nobody_has_tried() {
    let server = Server::start().await;
    let mut agent = Agent::start(&server.connect(), "web-1");
    agent.statuses.send_replace(Some(statuses(&["sales"], DatasourceState::Unreachable)));
    agent.leads().await;
    let shell = Shell::new(&server);
    fs::write(shell.path("new.yaml"), SALES).unwrap();
    shell.ok(&["datasource", "apply", "new.yaml"]);
    let states = eventually("both", async || {
        let list = shell.json(&["datasource", "list"]);
        let states: Vec<_> = list.as_array()?.iter().map(|status| status["state"].as_str().map(ToOwned::to_owned)).collect();
        (states.len() == 2).then_some(states)
    })
    .await;
    assert_eq!(states, [Some("pending".to_owned()), Some("unreachable".to_owned())]);
}

#[tokio::test]
async fn a_branch_that_is_one_datasource_is_shown_and_replaced_in_place() {
    let server = Server::start().await;
    let node = br#"{"name":"mysql","host":"127.0.0.1","port":"3306","user":"root","password":"canary"}"#;
    client(&server.connect()).await.create("/data_source", node, &open()).await.unwrap();
    let shell = Shell::at(&server.connect(), "layout: {datasources: /data_source}");
    assert_eq!(shell.json(&["datasource", "list"])[0]["name"], "mysql");
    let shown = shell.ok(&["datasource", "get", "mysql"]);
    assert!(shown.contains("mysql+pymysql://root@127.0.0.1:3306/") && !shown.contains("canary"), "{shown}");
    fs::write(shell.path("mysql.yaml"), "{name: mysql, host: other, user: root}").unwrap();
    assert!(shell.run(&["datasource", "apply", "mysql.yaml"]).err.contains("updated /data_source\n"));
    assert!(shell.ok(&["datasource", "get", "mysql"]).contains("@other/"));
    shell.ok(&["datasource", "delete", "mysql"]);
    assert_eq!(shell.json(&["datasource", "list"]), serde_json::json!([]));
}
