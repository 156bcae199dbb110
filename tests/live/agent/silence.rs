//! Law 11: servers that take a connection and then say nothing, or nothing more, beside others that work.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::duck;
use crate::support::http_proxy::Proxy;
use crate::support::program::{Agent, of};
use crate::support::server::Server;
use crate::support::services::superset;
use crate::support::tree::Tree;
use crate::support::{eventually, http};

/// What PostgreSQL says to a client that asks for TLS.
const NO_TLS: &[u8] = b"N";
/// What MariaDB says first, its length before it.
const GREETING: &[u8] = b"\x53\0\0\0\x0a10.11.6-MariaDB\0\x08\0\0\0abcdefgh\0\xfe\xf7\x2d\x02\0\xff\x81\x15\0\0\0\0\0\0\x1d\0\0\0abcdefghijkl\0mysql_native_password\0";

/// A server that takes every connection, says this much, and then nothing.
struct Mute {
    address: SocketAddr,
    tries: Arc<AtomicU64>,
}

impl Mute {
    async fn greeting(greets: Option<&'static [u8]>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, tries) = (listener.local_addr().unwrap(), Arc::new(AtomicU64::new(0)));
        let counted = Arc::clone(&tries);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(hold(client, greets, Arc::clone(&counted)));
            }
        });
        Self { address, tries }
    }

    /// How many clients went on after the greeting.
    fn tries(&self) -> u64 {
        self.tries.load(Ordering::Relaxed)
    }
}

async fn hold(mut client: TcpStream, greets: Option<&[u8]>, tries: Arc<AtomicU64>) {
    if let Some(greets) = greets {
        // PostgreSQL's clients speak first.
        if greets == NO_TLS {
            let _ = client.read(&mut [0; 8]).await;
        }
        let _ = client.write_all(greets).await;
        if client.read(&mut [0; 1024]).await.is_ok_and(|length| length > 0) {
            tries.fetch_add(1, Ordering::Relaxed);
        }
    }
    let _ = client.read_to_end(&mut Vec::new()).await;
}

/// Asks Superset how it is, all the time, and keeps the longest time that an answer took.
struct Watcher {
    longest: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Watcher {
    fn of(url: &str) -> Self {
        let (url, longest) = (format!("{url}/health"), Arc::new(AtomicU64::new(0)));
        let kept = Arc::clone(&longest);
        let task = tokio::spawn(async move {
            loop {
                let began = Instant::now();
                let answer = http().get(&url).timeout(Duration::from_secs(10)).send().await;
                assert!(answer.is_ok_and(|answer| answer.status().is_success()), "superset's health was {:?}", began.elapsed());
                kept.fetch_max(u64::try_from(began.elapsed().as_millis()).unwrap(), Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        Self { longest, task }
    }

    fn longest(&self) -> Duration {
        assert!(!self.task.is_finished(), "superset stopped answering");
        Duration::from_millis(self.longest.load(Ordering::Relaxed))
    }
}

const GOOD: usize = 20;

/// A worker of Superset that waits for a silent server waits for minutes; a busy machine answers within seconds.
const STALLED: Duration = Duration::from_secs(12);
/// Ample for twenty pushes on a busy machine, and less than waiting for a silent server even twice would take.
const LONG: Duration = Duration::from_secs(30);

struct Scene {
    tree: Tree,
    proxy: Proxy,
    agent: Agent,
    watcher: Watcher,
    good: Vec<String>,
    _services: (Server, crate::support::services::Superset),
}

/// Twenty that work, and these that do not and whose names come first.
async fn scene(cluster: &str, bad: &[(&str, String)]) -> Scene {
    let (zookeeper, superset) = tokio::join!(Server::start(), superset("", &[]));
    let (tree, proxy) = (Tree::at(&zookeeper.connect()).await, Proxy::before(&superset.url).await);
    let good: Vec<_> = (0..GOOD).map(|number| format!("good-{number:02}")).collect();
    tree.put("datasources", "").await;
    for (name, uri) in bad {
        tree.datasource(name, &json!({"sqlalchemy_uri": uri})).await;
    }
    tree.put_many("datasources", good.iter().map(|name| (name.clone(), duck().to_string()))).await;
    let agent = Agent::new(cluster, "a", &zookeeper.connect(), &proxy.url);
    let watcher = Watcher::of(&superset.url);
    Scene { tree, proxy, agent, watcher, good, _services: (zookeeper, superset) }
}

impl Scene {
    async fn good_are_in_sync(&self) -> Duration {
        let began = Instant::now();
        self.agent.datasources(&self.good.iter().map(String::as_str).collect::<Vec<_>>(), "in_sync").await;
        began.elapsed()
    }
}

#[tokio::test]
async fn law_11_four_silent_servers_delay_nobody_and_cost_superset_nothing() {
    let (postgres, mysql) = (Mute::greeting(None).await, Mute::greeting(None).await);
    let bad = [
        ("bad-1", format!("postgresql://u:x@{}/d", postgres.address)),
        ("bad-2", format!("mysql+pymysql://u:x@{}/d", mysql.address)),
        ("bad-3", format!("postgresql://u:x@{}/e", postgres.address)),
        ("bad-4", format!("mysql+pymysql://u:x@{}/e", mysql.address)),
    ];
    let mut scene = scene("silent", &bad).await;
    scene.agent.start().await;
    let took = scene.good_are_in_sync().await;
    assert!(took < LONG, "{took:?}");
    scene.agent.datasources(&["bad-1", "bad-2", "bad-3", "bad-4"], "unreachable").await;
    // A new one is not delayed by those that are tried again.
    scene.tree.datasource("late", &duck()).await;
    let began = Instant::now();
    scene.agent.datasource("late", "in_sync").await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(scene.proxy.writes().len(), GOOD + 1, "superset was asked to connect to a silent server");
    assert!(scene.watcher.longest() < STALLED, "{:?}", scene.watcher.longest());
}

#[tokio::test]
async fn law_11_four_servers_that_greet_and_fall_silent_delay_nobody_and_leave_superset_its_workers() {
    let (postgres, mysql) = (Mute::greeting(Some(NO_TLS)).await, Mute::greeting(Some(GREETING)).await);
    let bad = [
        ("bad-1", format!("postgresql://u:x@{}/d", postgres.address)),
        ("bad-2", format!("mysql+pymysql://u:x@{}/d", mysql.address)),
        ("bad-3", format!("postgresql://u:x@{}/e", postgres.address)),
        ("bad-4", format!("mysql+pymysql://u:x@{}/e", mysql.address)),
    ];
    let mut scene = scene("mute", &bad).await;
    scene.agent.start().await;
    let took = scene.good_are_in_sync().await;
    assert!(took < LONG, "{took:?}");
    scene
        .agent
        .status_where("all four have failed", |status| {
            let has_failed = |name: &&str| of(status, name).is_some_and(|one| one["error"].is_string());
            ["bad-1", "bad-2", "bad-3", "bad-4"].iter().all(has_failed)
        })
        .await;
    // PyMySQL waits for ever for the answer to its login: each try costs Superset a thread, of which it has eight.
    let tried = async || (mysql.tries() >= 2 && postgres.tries() >= 4).then_some(());
    eventually("the others are tried again", tried).await;
    assert_eq!(mysql.tries(), 2, "each that holds a thread is tried once");
    scene.tree.datasource("late", &duck()).await;
    scene.agent.datasource("late", "in_sync").await;
    assert!(scene.watcher.longest() < STALLED, "{:?}", scene.watcher.longest());
}
