//! Secrets that datasources ask for: those that they may have work, also after a rotation; all others are refused unread.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use super::Scene;
use crate::support::eventually;
use crate::support::program::of;
use crate::support::services::{mariadb, mariadb_statements};

/// What nobody may read through a znode.
const OUTSIDE: &str = "kanarie-from-outside";

#[tokio::test]
async fn law_9_a_file_outside_the_allow_list_is_refused_by_its_name_and_never_read() {
    let scene = Scene::of("outside").await;
    let agent = scene.agent("a").with_variable("OUTSIDE", OUTSIDE).with("log.level", json!("debug"));
    let outside = agent.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), OUTSIDE).unwrap();
    let within = |name: &str| agent.path("secrets").join(name);
    symlink(outside.join("secret"), within("link")).unwrap();
    symlink(&outside, within("folder")).unwrap();
    symlink("/proc/self/environ", within("environ")).unwrap();
    symlink("../outside/secret", within("relative")).unwrap();
    let asks = [
        ("plain", outside.join("secret"), "invalid"),
        ("beside", agent.path("secrets-of-others"), "invalid"),
        ("dots", within("../outside/secret"), "invalid"),
        ("proc", "/proc/self/environ".into(), "invalid"),
        ("root", "/proc/self/root/etc/passwd".into(), "invalid"),
        ("link", within("link"), "failed"),
        ("folder", within("folder/secret"), "failed"),
        ("environ", within("environ"), "failed"),
        ("relative", within("relative"), "failed"),
    ];
    for (name, path, _) in &asks {
        let meant = json!({"sqlalchemy_uri": "duckdb:///:memory:", "extra": {"note": {"$file": path}}});
        scene.tree.datasource(&format!("outside-{name}"), &meant).await;
    }
    let variable = json!({"sqlalchemy_uri": "postgresql://u@h/d", "password": {"$env": "OUTSIDE"}});
    scene.tree.datasource("outside-variable", &variable).await;
    // For a fragment Superset itself would read it, and that is no better.
    let setting = json!({"NOTE": {"$file": outside.join("secret")}});
    scene.tree.fragment("50-outside", setting.to_string()).await;
    let agent = agent.started().await;

    for (name, path, state) in asks {
        let error = agent.datasource(&format!("outside-{name}"), state).await["error"].as_str().unwrap().to_owned();
        if state == "invalid" {
            assert!(error.contains(&format!("outside-{name}")) && error.contains("extra.note"), "{error}");
        } else {
            assert!(error.contains(path.to_str().unwrap()) && error.contains("not within those allowed"), "{error}");
        }
    }
    let error = agent.datasource("outside-variable", "invalid").await["error"].clone();
    assert!(error.as_str().unwrap().contains("password: this variable may not be named here"), "{error}");
    let status = agent.status_where("held", |status| status["instance"]["state"] == "held").await;
    assert!(status["instance"]["error"].as_str().unwrap().contains("this file may not be named here"), "{status}");
    for text in [status.to_string(), agent.log(), agent.get("/").await.unwrap().1] {
        assert!(!text.contains(OUTSIDE));
    }
    assert_eq!(scene.proxy.writes(), Vec::<String>::new());
    assert_eq!(agent.rendered(), None);
}

#[tokio::test]
async fn an_empty_secret_is_told_and_never_pushed_and_one_written_as_empty_is() {
    let scene = Scene::of("empty").await;
    let agent = scene.agent("a").with_variable("SETKEEPER_SECRET_EMPTY", "");
    let file = agent.secret("sales", "\n");
    let with = |secret: serde_json::Value| json!({"sqlalchemy_uri": "duckdb:///:memory:", "extra": {"note": secret}});
    scene.tree.datasource("empty-file", &with(json!({"$file": file}))).await;
    scene.tree.datasource("empty-variable", &with(json!({"$env": "SETKEEPER_SECRET_EMPTY"}))).await;
    scene.tree.datasource("empty-written", &json!({"sqlalchemy_uri": "duckdb:///:memory:", "password": ""})).await;
    let agent = agent.started().await;
    agent.datasource("empty-written", "in_sync").await;
    for (name, what) in [("empty-file", &*file), ("empty-variable", "SETKEEPER_SECRET_EMPTY")] {
        let error = agent.datasource(name, "failed").await["error"].as_str().unwrap().to_owned();
        assert!(error.contains(&format!("{what} is empty (fill it")), "{error}");
    }
    assert_eq!(scene.proxy.writes().len(), 1, "{:?}", scene.proxy.writes());
    agent.secret("sales", "filled");
    agent.datasource("empty-file", "in_sync").await;
}

#[tokio::test]
async fn a_rotated_password_is_pushed_again_and_works_in_superset() {
    let (scene, mariadb) = tokio::join!(Scene::of("rotated"), mariadb());
    let rotate = |password: &str| {
        let user = format!("'rotated'@'127.0.0.1' IDENTIFIED BY '{password}'");
        let create = format!("CREATE OR REPLACE USER {user}");
        mariadb_statements(mariadb.port, &[&create, "GRANT SELECT ON sales.* TO 'rotated'@'127.0.0.1'"]);
    };
    rotate("first p@ss:/+100%");
    // A busy machine may take long to try a password.
    let agent = scene.agent("a").with("superset.timeout", json!("50s"));
    let file = agent.secret("sales", "first p@ss:/+100%\n");
    let uri = format!("mysql+pymysql://rotated@127.0.0.1:{}/sales", mariadb.port);
    let sales = json!({"sqlalchemy_uri": uri, "password": {"$file": file}, "adopt": true});
    scene.tree.datasource("rotated-sales", &sales).await;
    let agent = agent.started().await;
    let id = agent.datasource("rotated-sales", "in_sync").await["database_id"].as_i64().unwrap();
    let person = scene.person().await;
    let works = async || person.query(id, Some("sales"), "SELECT * FROM orders").await;
    assert_eq!(works().await.unwrap().len(), 2);
    let mark = async || {
        serde_json::from_str::<serde_json::Value>(person.connection(id).await["extra"].as_str().unwrap()).unwrap()["setkeeper"]
            .clone()
    };
    let (before, writes) = (mark().await, scene.proxy.writes().len());

    rotate("second");
    assert!(works().await.is_err(), "superset still has the first");
    agent.secret("sales", "second\n");
    eventually("the new one works", async || works().await.ok()).await;
    assert_ne!(mark().await, before);
    agent.datasource("rotated-sales", "in_sync").await;
    assert_eq!(scene.proxy.writes().len(), writes + 1);

    // Kubernetes swaps a link to a whole folder.
    let secrets = agent.path("secrets");
    for (folder, password) in [("..1", "third"), ("..2", "fourth")] {
        fs::create_dir(secrets.join(folder)).unwrap();
        fs::write(secrets.join(folder).join("projected"), password).unwrap();
    }
    symlink("..1", secrets.join("..data")).unwrap();
    symlink("..data/projected", secrets.join("projected")).unwrap();
    rotate("third");
    let mut projected = sales.clone();
    projected["password"] = json!({"$file": secrets.join("projected")});
    scene.tree.datasource("rotated-sales", &projected).await;
    eventually("the projected one works", async || works().await.ok()).await;
    rotate("fourth");
    symlink("..2", secrets.join("..new")).unwrap();
    fs::rename(secrets.join("..new"), secrets.join("..data")).unwrap();
    eventually("the swapped one works", async || works().await.ok()).await;

    // One that is wrong is said to be so, and nothing of it.
    agent.secret("sales", "wrong-kanarie");
    scene.tree.datasource("rotated-sales", &sales).await;
    let status =
        agent.status_where("it is told", |status| of(status, "rotated-sales").is_some_and(|one| one["error"].is_string()));
    assert!(!status.await.to_string().contains("kanarie"));
    agent.secret("sales", "fourth");
    agent.datasource("rotated-sales", "in_sync").await;
}
