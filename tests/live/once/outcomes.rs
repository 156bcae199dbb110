//! The znodes: what lies there already, under which rights they are made, and how many are kept.

use zookeeper_client as zk;

use super::{Place, key, script};
use crate::support::eventually;
use crate::support::server::Server;
use crate::support::tree::Tree;

#[tokio::test]
async fn foreign_content_is_neither_success_nor_leave_to_run() {
    let (server, place) = (Server::start().await, Place::new());
    let tree = Tree::at(&server.connect()).await;
    for foreign in ["", "done", r#"{"code": 0}"#] {
        tree.put("once/db/1", foreign).await;
        let refused = place.once("a", &server.connect(), &key("1"), &script(1, "exit 0")).ends().await;
        assert_eq!((refused.code, place.begins()), (1, 0), "{foreign}");
        let error = "error: /superset/once/db/1 is no outcome, so whether db ran for 1 is not known\n\nhint: with --retry-failed";
        assert!(refused.err.starts_with(error), "{}", refused.err);
        assert_eq!(tree.read("once/db/1").await.unwrap(), foreign, "what is not ours stays");
    }
    let retried = place.once("b", &server.connect(), &["--key", "1", "--retry-failed"], &script(1, "exit 0")).ends().await;
    assert_eq!((retried.code, place.begins()), (0, 1), "{}", retried.err);
    assert_eq!(tree.json("once/db/1").await.unwrap()["code"], 0);
}

#[tokio::test]
async fn the_newest_twenty_outcomes_of_a_name_are_kept() {
    let (server, place) = (Server::start().await, Place::new());
    let tree = Tree::at(&server.connect()).await;
    for n in 0..25 {
        tree.put(&format!("once/db/old-{n:02}"), r#"{"code": 0}"#).await;
    }
    tree.put("once/other/old", "").await;
    assert_eq!(place.once("a", &server.connect(), &key("new"), "exit 0").ends().await.code, 0);
    let mut names = tree.names("once/db").await;
    names.sort();
    let expected: Vec<_> = ["new".to_owned()].into_iter().chain((6..25).map(|n| format!("old-{n:02}"))).collect();
    assert_eq!(names, expected);
    assert_eq!(tree.names("once/other").await, ["old"]);
}

#[tokio::test]
async fn nodes_are_made_with_the_acl_of_the_settings() {
    let (server, place) = (Server::start().await, Place::new());
    let settings = format!(
        "source={{zookeeper: {{connect: '{}', session_timeout: 4s, acl: creator, auth: {{username: keeper, password: {{$env: SECRET}}}}}}}}",
        server.connect()
    );
    // The password is in a variable of the place's own.
    let settings = settings.replace("SECRET", "SETKEEPER_SECRET_CANARY");
    let one = place.with("a", &["--set", &settings], &key("1"), &format!("env >>$LOG.env; {}", script(20, "exit 0")));
    let keeper = zk::Client::connector().with_auth("digest", b"keeper:canary").connect(&server.connect()).await.unwrap();
    let contender = eventually("a contender", async || {
        let names = keeper.list_children("/superset/locks/db").await.ok()?;
        names.into_iter().next().map(|name| format!("/superset/locks/db/{name}"))
    })
    .await;
    let is_ours = async |path: &str| {
        let (acls, _) = keeper.get_acl(path).await.unwrap();
        assert_eq!(acls.iter().map(zk::Acl::scheme).collect::<Vec<_>>(), ["digest"], "{path}");
    };
    is_ours(&contender).await;
    assert_eq!(one.ends().await.code, 0);
    for path in
        ["/superset", "/superset/locks", "/superset/locks/db", "/superset/once", "/superset/once/db", "/superset/once/db/1"]
    {
        is_ours(path).await;
    }
    let environment = std::fs::read_to_string(place.dir.path().join("log.env")).unwrap();
    assert!(
        environment.contains("NAME=a") && !environment.contains("canary"),
        "our secrets are not the command's: {environment}"
    );
    let stranger = place.once("b", &server.connect(), &key("1"), "exit 0").ends().await;
    assert_eq!(stranger.code, 1);
    assert!(stranger.err.contains("not authorized") && stranger.err.contains("hint: the znode's ACL"), "{}", stranger.err);
}
