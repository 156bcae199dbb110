//! Law 8: what people change in Superset by hand, whose connections are whose, and what may go.

use serde_json::{Value as Json, json};
use setkeeper::model::datasource::DatasourceName;

use super::{Scene, duck};
use crate::support::eventually;
use crate::support::program::of;
use crate::support::services::{create_dataset, mariadb};

#[tokio::test]
async fn what_somebody_changes_by_hand_is_put_back_and_named_in_the_log() {
    let (scene, mariadb) = tokio::join!(Scene::of("drift"), mariadb());
    let uri = format!("mysql+pymysql://root:password@127.0.0.1:{}/sales", mariadb.port);
    scene.tree.datasource("drift-sales", &json!({"sqlalchemy_uri": uri, "allow_dml": true})).await;
    let agent = scene.agent("a").with("datasources.resync", json!("2s")).started().await;
    let id = agent.datasource("drift-sales", "in_sync").await["database_id"].as_i64().unwrap();
    let person = scene.person().await;
    let wanted = person.connection(id).await;

    let elsewhere = format!("mysql+pymysql://root:password@127.0.0.1:{}/mysql", mariadb.port);
    person.change(id, &json!({"expose_in_sqllab": false, "sqlalchemy_uri": elsewhere})).await;
    let of_interest = |one: &Json| (one["expose_in_sqllab"].clone(), one["sqlalchemy_uri"].clone(), one["allow_dml"].clone());
    let put_back = async || (of_interest(&person.connection(id).await) == of_interest(&wanted)).then_some(());
    eventually("it is put back", put_back).await;
    let update = async || agent.log().lines().find(|line| line.contains("step=\"update\"")).map(ToOwned::to_owned);
    let line = eventually("the log tells", update).await;
    assert!(line.contains("drift-sales") && line.contains("expose_in_sqllab") && line.contains("sqlalchemy_uri"), "{line}");
    assert!(!line.contains("allow_dml"), "{line}");
    agent.datasource("drift-sales", "in_sync").await;
    assert!(person.query(id, Some("sales"), "SELECT * FROM orders").await.is_ok());

    // Somebody deletes it altogether.
    let (status, answer) = person.call(reqwest::Method::DELETE, &format!("/api/v1/database/{id}"), None).await;
    assert_eq!(status, 200, "{answer}");
    let back = eventually("it is back", async || person.named("drift-sales").await.pop()).await;
    assert_eq!(back["uuid"], DatasourceName::new("drift-sales").uuid("drift").to_string());
}

#[tokio::test]
async fn law_8_a_foreign_connection_of_the_same_name_is_a_conflict_until_it_is_adopted() {
    let scene = Scene::of("foreign").await;
    let person = scene.person().await;
    let fields = json!({"database_name": "Foreign", "sqlalchemy_uri": "duckdb:///:memory:", "allow_dml": true});
    let id = person.create(&fields).await;
    let state = async || {
        let listed = person.named("Foreign").await;
        assert_eq!(listed.len(), 1, "{listed:?}");
        (person.connection(id).await, listed[0]["uuid"].clone(), listed[0]["changed_on"].clone(), listed[0]["extra"].clone())
    };
    let foreign = state().await;
    let ours = |adopt: bool| json!({"database_name": "Foreign", "sqlalchemy_uri": "duckdb:///:memory:", "adopt": adopt});
    scene.tree.datasource("foreign-1", &ours(false)).await;
    scene.tree.datasource("foreign-2", &duck()).await;
    let prune = json!({"resync": "1s", "prune": true});
    let agent = scene.agent("a").with("datasources", prune).with("superset.timeout", json!("3s")).started().await;
    let status = agent.datasource("foreign-1", "conflict").await;
    assert_eq!(status["database_id"], id);
    assert!(status["error"].as_str().unwrap().contains("Foreign"), "{status}");
    agent.datasource("foreign-2", "in_sync").await;
    // Some resyncs later, and after deletions have their turn.
    let lists = scene.proxy.count("GET /api/v1/database/?");
    eventually("some resyncs", async || (scene.proxy.count("GET /api/v1/database/?") > lists + 5).then_some(())).await;
    assert_eq!(state().await, foreign, "it was touched");

    scene.tree.datasource("foreign-1", &ours(true)).await;
    let status = agent.datasource("foreign-1", "in_sync").await;
    assert_eq!(status["database_id"], id);
    let found = person.named("Foreign").await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["uuid"], DatasourceName::new("foreign-1").uuid("foreign").to_string());
    assert_eq!(person.connection(id).await["allow_dml"], false, "now it is as the tree says");
}

#[tokio::test]
async fn datasources_that_swap_their_names_stay_the_same_connections() {
    let scene = Scene::of("swapped").await;
    let called = |name: &str| json!({"database_name": format!("Swapped {name}"), "sqlalchemy_uri": "duckdb:///:memory:"});
    for (node, name) in [("swapped-1", "east"), ("swapped-2", "west")] {
        scene.tree.datasource(node, &called(name)).await;
    }
    let agent = scene.agent("a").started().await;
    agent.datasources(&["swapped-1", "swapped-2"], "in_sync").await;
    let person = scene.person().await;
    let (east, west) = (person.named("Swapped east").await, person.named("Swapped west").await);
    for (node, name) in [("swapped-1", "west"), ("swapped-2", "east")] {
        scene.tree.datasource(node, &called(name)).await;
    }
    eventually("they have swapped", async || {
        let now = (person.named("Swapped west").await, person.named("Swapped east").await);
        (now.0.first()?["id"] == east[0]["id"] && now.1.first()?["id"] == west[0]["id"]).then_some(())
    })
    .await;
    agent.datasources(&["swapped-1", "swapped-2"], "in_sync").await;
}

#[tokio::test]
async fn law_8_what_the_tree_no_longer_has_goes_a_few_at_once_and_not_while_something_uses_it() {
    let (scene, mariadb) = tokio::join!(Scene::of("pruned"), mariadb());
    let uri = format!("mysql+pymysql://root:password@127.0.0.1:{}/sales", mariadb.port);
    scene.tree.datasource("pruned-used", &json!({"sqlalchemy_uri": uri})).await;
    for name in ["pruned-1", "pruned-2", "pruned-3", "pruned-4", "pruned-5"] {
        scene.tree.datasource(name, &duck()).await;
    }
    let prune = json!({"prune": true, "max_delete": "20%"});
    let settings = |agent: crate::support::program::Agent| agent.with("superset.timeout", json!("3s"));
    let mut agent = settings(scene.agent("a")).with("datasources", prune).started().await;
    let id = agent.datasource("pruned-used", "in_sync").await["database_id"].as_i64().unwrap();
    agent.datasources(&["pruned-1", "pruned-2", "pruned-3", "pruned-4", "pruned-5"], "in_sync").await;
    create_dataset(scene.superset, id, "sales", "orders").await;

    scene.tree.delete_all(&["datasources/pruned-1", "datasources/pruned-2"]).await;
    let both = ["pruned-1", "pruned-2"];
    let status =
        agent.status_where("one is deleted", |status| both.iter().filter(|name| of(status, name).is_none()).count() == 1);
    let status = status.await;
    let left = both.iter().find_map(|name| of(&status, name)).unwrap();
    assert_eq!(left["state"], "orphaned");
    assert!(left["error"].as_str().unwrap().contains("max_delete"), "{left}");
    assert_eq!(scene.person().await.named(left["name"].as_str().unwrap()).await.len(), 1);

    // Each observation may delete as many again.
    agent.stop().await;
    agent.set("datasources.resync", json!("1s"));
    agent.start().await;
    let gone = |status: &Json| both.iter().all(|name| of(status, name).is_none()) && of(status, "pruned-3").is_some();
    agent.status_where("the second is deleted", gone).await;

    scene.tree.delete("datasources/pruned-used").await;
    let used = agent.status_where("what uses it is named", |status| {
        of(status, "pruned-used").is_some_and(|one| one["error"].as_str().is_some_and(|error| error.contains("orders")))
    });
    assert_eq!(of(&used.await, "pruned-used").unwrap()["state"], "orphaned");
    assert_eq!(scene.person().await.named("pruned-used").await.len(), 1);
    agent.datasources(&["pruned-3", "pruned-4", "pruned-5"], "in_sync").await;
}
