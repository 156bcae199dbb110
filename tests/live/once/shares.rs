//! Who comes at the same time, and who comes later: one runs the command, the others end as it did.

use rustix::process::Signal;

use super::{Place, key, script};
use crate::support::proxy::{Network, Proxy};
use crate::support::server::Server;
use crate::support::tree::Tree;

const IMAGE: &str = "registry.example:5000/superset/superset:6.1.0";
const OUTCOME: &str = "once/db/registry.example:5000%2Fsuperset%2Fsuperset:6.1.0";

#[tokio::test]
async fn of_three_at_once_one_runs_and_all_end_alike() {
    for code in [0, 7] {
        let (server, place) = (Server::start().await, Place::new());
        let tree = Tree::at(&server.connect()).await;
        // Long enough for the others to start on a busy machine, and to be told that they wait.
        let script = script(160, &format!("exit {code}"));
        let all = ["a", "b", "c"].map(|name| place.once(name, &server.connect(), &key(IMAGE), &script));
        let mut said = Vec::new();
        for one in all {
            let ended = one.ends().await;
            assert_eq!(ended.code, code, "{}", ended.err);
            said.push(ended.err);
        }
        assert_eq!(place.begins(), 1, "{:?}", place.log());
        let runner = place.log()[0].0.clone();
        let waiting = format!("waiting for db, which {runner}@");
        assert_eq!(said.iter().filter(|said| said.contains(&waiting) && said.contains(" runs since 20")).count(), 2, "{said:?}");
        let outcome = tree.json(OUTCOME).await.unwrap();
        assert_eq!((outcome["by"].as_str().unwrap(), outcome["code"].as_i64().unwrap()), (&*runner, i64::from(code)));
        let fields: Vec<_> = outcome.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, ["by", "host", "at", "ended_at", "code"], "and nothing that was said or given");
        assert_eq!(tree.names("locks/db").await, [""; 0], "nobody stands in line any more");

        let later = place.once("d", &server.connect(), &key(IMAGE), &script).ends().await;
        assert_eq!((later.code, place.begins()), (code, 1), "{}", later.err);
        match code {
            0 => assert!(later.err.starts_with(&format!("db was done for {IMAGE} by {runner}@")), "{}", later.err),
            _ => {
                let error = format!("error: db failed for {IMAGE} with exit code 7: {runner}@");
                assert!(later.err.starts_with(&error) && later.err.contains("hint: ") && later.err.contains("--retry-failed"));
            }
        }
        let another = place.once("e", &server.connect(), &key("6.1.1"), "exit 4").ends().await;
        assert_eq!(another.code, 4, "another key is another matter");
    }
}

#[tokio::test]
async fn keys_of_one_name_run_one_after_another() {
    let (server, place) = (Server::start().await, Place::new());
    let one = place.once("a", &server.connect(), &key("1"), &script(160, "exit 0"));
    one.begun("a").await;
    let two = place.once("b", &server.connect(), &key("2"), &script(1, "exit 0"));
    two.says("waiting for db, which a@").await;
    assert_eq!((one.ends().await.code, two.ends().await.code), (0, 0));
    assert!(place.span("a").1 <= place.span("b").0, "{:?}", place.log());
}

#[tokio::test]
async fn a_failure_is_tried_again_once_by_all_who_wait_for_that() {
    let (server, place) = (Server::start().await, Place::new());
    let failed = place.once("a", &server.connect(), &key("1"), &script(1, "exit 3")).ends().await;
    assert_eq!(failed.code, 3);
    assert!(failed.err.contains("error: db failed with exit code 3, which is recorded for 1\n\nhint: "), "{}", failed.err);
    let retry = ["--key", "1", "--retry-failed"];
    let script = script(20, "exit 5");
    let all = ["b", "c", "d"].map(|name| place.once(name, &server.connect(), &retry, &script));
    for one in all {
        let ended = one.ends().await;
        assert_eq!(ended.code, 5, "{}", ended.err);
    }
    assert_eq!(place.begins(), 2, "one new try, and not one each: {:?}", place.log());
    assert_eq!(place.once("e", &server.connect(), &retry, "exit 0").ends().await.code, 0);
    assert_eq!(place.once("f", &server.connect(), &retry, "exit 9").ends().await.code, 0, "a success is not tried again");
}

#[tokio::test]
async fn zookeeper_is_waited_for_until_it_is_there_or_the_wait_is_over() {
    let (server, place) = (Server::start().await, Place::new());
    let proxy = Proxy::before(server.port).await;
    proxy.set(Network::Refusing);
    let limited = place.once("a", &proxy.connect(), &["--key", "1", "--wait", "3s"], "exit 0");
    let patient = place.once("b", &proxy.connect(), &key("1"), "exit 0");
    patient.says("waiting for ZooKeeper: failed to connect to ZooKeeper at 127.0.0.1:").await;
    let stopped = place.once("c", &proxy.connect(), &key("1"), "exit 0");
    stopped.says("waiting for ZooKeeper").await;
    stopped.signal(Signal::TERM);
    assert_eq!(stopped.ends().await.code, 143);
    let limited = limited.ends().await;
    assert_eq!(limited.code, 1);
    assert!(limited.err.contains("error: gave up after 3s: waiting for ZooKeeper"), "{}", limited.err);
    assert!(limited.err.contains("hint: wait longer with --wait"), "{}", limited.err);
    proxy.set(Network::Good);
    assert_eq!(patient.ends().await.code, 0);
}

#[tokio::test]
async fn who_waits_for_another_gives_up_in_time_and_leaves_the_line() {
    let (server, place) = (Server::start().await, Place::new());
    let tree = Tree::at(&server.connect()).await;
    let holder = place.once("a", &server.connect(), &key("1"), &super::long());
    holder.begun("a").await;
    let limited = place.once("b", &server.connect(), &["--key", "1", "--wait", "2s"], "exit 0").ends().await;
    assert_eq!(limited.code, 1);
    assert!(limited.err.contains("error: gave up after 2s: waiting for db, which a@"), "{}", limited.err);
    assert_eq!(tree.names("locks/db").await.len(), 1);
}
