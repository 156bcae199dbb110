//! Kept releases: byte by byte, whole or not at all, within bounds, under the rights that the config has.

use std::collections::BTreeSet;
use std::time::Duration;

use setkeeper::model::digest::Release;
use setkeeper::model::instance::{InstanceId, State};
use setkeeper::model::release::{Fate as Came, Seq};
use setkeeper::model::secret::SecretText;
use setkeeper::model::snapshot::{Branch, Content};
use setkeeper::settings::{Acl, DigestAuth, Reference, Zookeeper};
use setkeeper::zookeeper::cluster::{Cluster, LIMIT};
use setkeeper::zookeeper::edit::Expect;
use setkeeper::zookeeper::error::Error;
use setkeeper::zookeeper::releases::archive::{Archived, Said};
use setkeeper::zookeeper::releases::trim::Bounds;
use tokio::sync::watch;
use zookeeper_client as zk;

use crate::support::agent::{access, access_with, client, layout, open, settings};
use crate::support::proxy::{Fate, Proxy};
use crate::support::server::Server;
use crate::support::wire::Op;

async fn cluster(connect: &str) -> Cluster {
    Cluster::open(&access(&settings(connect)), LIMIT).await.unwrap()
}

async fn put(cluster: &Cluster, name: &str, bytes: impl Into<Vec<u8>>) {
    cluster.set(&format!("/superset/config{name}"), bytes.into(), Expect::Anything).await.unwrap();
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    (0..length).map(|_| rand::random()).collect()
}

fn contents(branch: &Branch) -> Vec<(String, Vec<u8>)> {
    let all = branch.root.iter().map(|node| ("", node)).chain(branch.children.iter().map(|(name, node)| (&**name, node)));
    all.map(|(name, node)| match &node.content {
        Content::Bytes(bytes) => (name.to_owned(), bytes.to_vec()),
        Content::Unreadable(why) => panic!("{why}"),
    })
    .collect()
}

async fn config(cluster: &Cluster) -> Branch {
    cluster.snapshot().await.unwrap().config
}

async fn archive(cluster: &Cluster, digest: &str) -> Result<Archived, Error> {
    cluster.archive(&Release::new(digest), &config(cluster).await, Said::default()).await
}

async fn kept(cluster: &Cluster, digest: &str) -> Option<Branch> {
    cluster.kept_tree(&Release::new(digest)).await.unwrap()
}

#[tokio::test]
async fn a_release_comes_back_byte_by_byte_and_is_kept_once() {
    let server = Server::start().await;
    let cluster = cluster(&server.connect()).await;
    assert_eq!(kept(&cluster, "d1").await, None);
    put(&cluster, "", "A: 1\n").await;
    put(&cluster, "/10-a", noise(900_000)).await;
    put(&cluster, "/20-b", "").await;
    let published = contents(&config(&cluster).await);
    let said = Said { by: Some("ann@a"), message: Some("more rows") };
    let new = cluster.archive(&Release::new("d1"), &config(&cluster).await, said).await.unwrap();
    assert_eq!(new, Archived::New(Seq(1)));
    assert_eq!(archive(&cluster, "d1").await.unwrap(), Archived::Known(Seq(1)));
    assert_eq!(contents(&kept(&cluster, "d1").await.unwrap()), published);
    put(&cluster, "/20-b", "B: 1").await;
    assert_eq!(archive(&cluster, "d2").await.unwrap(), Archived::New(Seq(2)));
    // Published again: another entry, the same tree.
    assert_eq!(archive(&cluster, "d1").await.unwrap(), Archived::New(Seq(3)));
    let instance = InstanceId::parse("web-1").unwrap();
    let fate = Came { revision: None, state: State::InSync, at: jiff::Timestamp::now(), error: None };
    cluster.note_fate(&Release::new("d1"), &instance, &fate).await.unwrap();
    let history = cluster.history().await.unwrap();
    let digests: Vec<_> = history.iter().map(|published| published.entry.digest.as_str()).collect();
    assert_eq!(digests, ["d1", "d2", "d1"]);
    assert_eq!(history[0].entry.message.as_deref(), Some("more rows"));
    assert_eq!((history[0].fates.len(), &history[2].fates[..]), (0, &[(instance, fate)][..]));
    for part in client(&server.connect()).await.list_children("/superset/trees/d1").await.unwrap() {
        let stored = cluster.read(&format!("/superset/trees/d1/{part}")).await.unwrap().unwrap();
        assert!(stored.bytes.len() <= 512 * 1024);
    }
}

#[tokio::test]
async fn who_published_it_is_added_to_what_an_agent_kept_first_and_never_replaced() {
    let server = Server::start().await;
    let cluster = cluster(&server.connect()).await;
    put(&cluster, "", "A: 1\n").await;
    archive(&cluster, "d1").await.unwrap();
    for by in ["ann", "bob"] {
        let said = Said { by: Some(by), message: Some("why") };
        let config = config(&cluster).await;
        assert_eq!(cluster.archive(&Release::new("d1"), &config, said).await.unwrap(), Archived::Known(Seq(1)));
    }
    let entry = cluster.history().await.unwrap().remove(0).entry;
    assert_eq!((entry.by.as_deref(), entry.message.as_deref()), (Some("ann"), Some("why")));
}

#[tokio::test]
async fn a_crash_between_any_two_writes_leaves_no_half_release_and_the_next_writer_finishes() {
    let server = Server::start().await;
    let through = cluster(&server.connect()).await;
    put(&through, "", "A: 1\n").await;
    put(&through, "/10-a", noise(900_000)).await;
    put(&through, "/20-b", noise(500_000)).await;
    let published = contents(&config(&through).await);
    let mut crashes = 0;
    for writes in 1.. {
        let digest = format!("d{writes}");
        let proxy = Proxy::before(server.port).await;
        let dying = cluster(&proxy.connect()).await;
        let config = config(&dying).await;
        let mut seen = 0;
        let cut = proxy.once(Fate::CutInstead, move |request| {
            seen += i32::from(matches!(request.op, Op::Multi));
            seen == writes
        });
        let ended = dying.archive(&Release::new(&digest), &config, Said::default()).await;
        drop(proxy);
        if !*cut.borrow() {
            assert!(matches!(ended, Ok(Archived::New(_))), "{ended:?}");
            break;
        }
        crashes += 1;
        assert!(ended.as_ref().is_err_and(Error::is_loss), "{ended:?}");
        let named: BTreeSet<_> = through.history().await.unwrap().iter().map(|known| known.entry.digest.clone()).collect();
        if named.contains(&Release::new(&digest)) {
            assert_eq!(contents(&kept(&through, &digest).await.unwrap()), published);
        } else {
            // What is there is no tree, and is told from one.
            assert!(
                through
                    .kept_tree(&Release::new(&digest))
                    .await
                    .is_ok_and(|tree| tree.is_none_or(|tree| contents(&tree) == published))
                    || matches!(through.kept_tree(&Release::new(&digest)).await, Err(Error::NotATree { .. }))
            );
        }
        archive(&through, &digest).await.unwrap();
        assert_eq!(contents(&kept(&through, &digest).await.unwrap()), published);
        let entries = through.history().await.unwrap();
        assert_eq!(entries.iter().filter(|known| known.entry.digest.as_str() == digest).count(), 1);
    }
    assert!(crashes >= 4, "{crashes}");
}

#[tokio::test]
async fn several_who_keep_the_same_release_at_once_make_one_entry() {
    let server = Server::start().await;
    let first = cluster(&server.connect()).await;
    put(&first, "", "A: 1\n").await;
    put(&first, "/10-a", noise(700_000)).await;
    let config = config(&first).await;
    let writers = (0..6).map(|_| {
        let (connect, config) = (server.connect(), config.clone());
        tokio::spawn(async move {
            let cluster = cluster(&connect).await;
            cluster.archive(&Release::new("d"), &config, Said::default()).await.unwrap()
        })
    });
    let mut new = 0;
    for writer in writers.collect::<Vec<_>>() {
        new += usize::from(matches!(writer.await.unwrap(), Archived::New(_)));
    }
    assert_eq!((new, first.history().await.unwrap().len()), (1, 1));
    assert_eq!(contents(&kept(&first, "d").await.unwrap()), contents(&config));
}

#[tokio::test]
async fn the_bounds_hold_and_the_completed_release_stays() {
    let server = Server::start().await;
    let cluster = cluster(&server.connect()).await;
    for n in 0..6 {
        put(&cluster, "/10-a", noise(10_000)).await;
        archive(&cluster, &format!("d{n}")).await.unwrap();
    }
    cluster.complete(&Release::new("d1")).await.unwrap();
    let left = async || {
        let history = cluster.history().await.unwrap();
        history.iter().map(|known| known.entry.digest.as_str().to_owned()).collect::<Vec<_>>()
    };
    cluster.trim_releases(Bounds { count: 4, bytes: 1_000_000 }).await.unwrap();
    assert_eq!(left().await, ["d1", "d3", "d4", "d5"]);
    cluster.trim_releases(Bounds { count: 4, bytes: 35_000 }).await.unwrap();
    assert_eq!(left().await, ["d1", "d4", "d5"]);
    let fate = Came { revision: None, state: State::Failed, at: jiff::Timestamp::now(), error: Some("it raises".into()) };
    cluster.note_fate(&Release::new("d4"), &InstanceId::parse("a").unwrap(), &fate).await.unwrap();
    assert_eq!(cluster.trim_releases(Bounds::LEAST).await.unwrap(), [Seq(5)]);
    assert_eq!(left().await, ["d1", "d5"]);
    let mut trees = client(&server.connect()).await.list_children("/superset/trees").await.unwrap();
    trees.sort();
    assert_eq!(trees, ["d1", "d5"], "the tree goes with its last entry");
}

#[tokio::test]
async fn what_a_writer_that_died_has_left_goes_once_it_is_old_and_no_entry_names_it() {
    let server = Server::start().await;
    let (cluster, client) = (cluster(&server.connect()).await, client(&server.connect()).await);
    let leave = async |tree: &str| {
        for path in [format!("/superset/trees/{tree}"), format!("/superset/trees/{tree}/0")] {
            client.create(&path, b"a part", &open()).await.unwrap();
        }
    };
    let left = async || {
        let mut trees = client.list_children("/superset/trees").await.unwrap();
        trees.sort();
        trees
    };
    put(&cluster, "/10-a", "A: 1\n").await;
    archive(&cluster, "d0").await.unwrap();
    leave("dead").await;
    // The servers' clock counts milliseconds.
    tokio::time::sleep(Duration::from_millis(20)).await;
    put(&cluster, "/10-a", "A: 2\n").await;
    archive(&cluster, "d1").await.unwrap();
    leave("under-way").await;
    cluster.trim_releases(Bounds { count: 9, bytes: 1_000_000 }).await.unwrap();
    assert_eq!(left().await, ["d0", "d1", "dead", "under-way"], "somebody may still be writing them");
    cluster.clear_leftovers(Duration::ZERO).await.unwrap();
    assert_eq!(left().await, ["d0", "d1", "under-way"]);
    assert_eq!(
        contents(&kept(&cluster, "d0").await.unwrap()),
        [(String::new(), Vec::new()), ("10-a".to_owned(), b"A: 1\n".to_vec())]
    );
}

const SECRET: &str = "canary-password";

fn private(server: &Server) -> Zookeeper {
    let auth = DigestAuth { username: "setkeeper".to_owned(), password: Reference::Plain(SecretText::new(SECRET)) };
    Zookeeper { auth: Some(auth), acl: Acl::Open, ..settings(&server.connect()) }
}

#[tokio::test]
async fn law_9_a_kept_tree_is_under_the_rights_that_its_nodes_have() {
    let server = Server::start().await;
    let password = watch::channel(Some(SecretText::new(SECRET))).1;
    let access = access_with(&private(&server), &layout(), password);
    let ours = Cluster::open(&access, LIMIT).await.unwrap();
    put(&ours, "", "A: 1\n").await;
    // Somebody protects one fragment although everything else is open.
    let owner = zk::Client::connector()
        .with_auth("digest", format!("setkeeper:{SECRET}").as_bytes())
        .connect(&server.connect())
        .await
        .unwrap();
    let closed = zk::CreateMode::Persistent.with_acls(zk::Acls::creator_all());
    owner.create("/superset/config/90-secret", b"SECRET_KEY: canary-secret", &closed).await.unwrap();
    let published = config(&ours).await;
    ours.archive(&Release::new("d1"), &published, Said::default()).await.unwrap();
    assert_eq!(contents(&kept(&ours, "d1").await.unwrap()), contents(&published));
    let stranger = client(&server.connect()).await;
    let mut readable = 0;
    let parts = stranger.list_children("/superset/trees/d1").await.unwrap();
    for part in &parts {
        let path = format!("/superset/trees/d1/{part}");
        match stranger.get_data(&path).await {
            Ok(_) => readable += 1,
            Err(error) => assert_eq!(error, zk::Error::NoAuth),
        }
        let (acl, _) = owner.get_acl(&path).await.unwrap();
        assert!(!acl.is_empty());
    }
    assert_eq!((parts.len(), readable), (2, 1), "the open part is open, the closed one closed");
}

#[tokio::test]
async fn rights_that_cannot_be_seen_whole_are_not_guessed() {
    let server = Server::start().await;
    let admin = zk::Client::connector().with_auth("digest", b"admin:x").connect(&server.connect()).await.unwrap();
    for path in ["/superset", "/superset/config"] {
        admin.create(path, b"", &open()).await.unwrap();
    }
    admin.create("/superset/config/a", b"A: 1", &open()).await.unwrap();
    let reader = zk::Acl::new(zk::Permission::READ, zk::AuthId::new("digest", "setkeeper:aGFzaA=="));
    let world = zk::Acl::new(zk::Permission::READ, zk::AuthId::new("world", "anyone"));
    admin.set_acl("/superset/config/a", &[reader, world], None).await.unwrap();
    let ours = cluster(&server.connect()).await;
    let error = archive(&ours, "d1").await.unwrap_err();
    assert!(matches!(error, Error::HiddenAcl { .. }) && error.hint().is_some(), "{error}");
    assert_eq!(kept(&ours, "d1").await, None);
}

#[tokio::test]
async fn a_tree_that_cannot_be_read_whole_is_not_kept() {
    let server = Server::start().await;
    let ours = cluster(&server.connect()).await;
    put(&ours, "", "").await;
    let owner = zk::Client::connector().with_auth("digest", b"a:b").connect(&server.connect()).await.unwrap();
    let closed = zk::CreateMode::Persistent.with_acls(zk::Acls::creator_all());
    owner.create("/superset/config/a", b"A: 1", &closed).await.unwrap();
    let error = archive(&ours, "d1").await.unwrap_err();
    assert!(
        matches!(&error, Error::Unreadable { path } if path == "/superset/config/a") || error.code() == Some(&zk::Error::NoAuth),
        "{error}"
    );
}
