//! Credentials, permissions and TLS.

use std::path::Path;

use setkeeper::model::secret::SecretText;
use setkeeper::settings::{Acl, AclEntry, DigestAuth, Reference, Tls, Zookeeper};
use setkeeper::zookeeper::access::{Access, AccessError};
use setkeeper::zookeeper::cluster::{Cluster, LIMIT};
use setkeeper::zookeeper::error::Error;
use setkeeper::zookeeper::link::Concern;
use tempfile::TempDir;
use tokio::sync::watch;
use zookeeper_client as zk;

use crate::support::agent::{Agent, access_with, client, layout, settings};
use crate::support::server::{Server, certificates};

const CANARY: &str = "canary-password-4711";

fn digest(server: &Server, acl: Acl) -> Zookeeper {
    let password = Reference::Plain(SecretText::new("resolved elsewhere"));
    Zookeeper { auth: Some(DigestAuth { username: "agent".to_owned(), password }), acl, ..settings(&server.connect()) }
}

fn password(text: &str) -> watch::Sender<Option<SecretText>> {
    watch::Sender::new(Some(SecretText::new(text)))
}

#[tokio::test]
async fn what_a_creator_makes_is_closed_to_others() {
    let server = Server::start().await;
    let right = password(CANARY);
    let access = access_with(&digest(&server, Acl::Creator), &layout(), right.subscribe());
    let mut agent = Agent::with(access.clone(), "a");
    agent.leads().await;
    let stranger = client(&server.connect()).await;
    for path in ["/superset", "/superset/key", "/superset/config", "/superset/instances/a", "/superset/leader"] {
        assert_eq!(stranger.get_data(path).await.unwrap_err(), zk::Error::NoAuth, "{path}");
    }
    let cluster = Cluster::open(&access, LIMIT).await.unwrap();
    assert_eq!(cluster.leader().await.unwrap().unwrap().as_str(), "a");
    assert!(cluster.key().await.unwrap().is_some());
}

#[tokio::test]
async fn law_9_who_may_read_the_tree_does_not_get_the_key() {
    let server = Server::start().await;
    let right = password(CANARY);
    let entries = [("auth", "", "cdrwa"), ("world", "anyone", "r")];
    let entries = entries.map(|(scheme, id, perms)| AclEntry { scheme: scheme.into(), id: id.into(), perms: perms.into() });
    let access = access_with(&digest(&server, Acl::Entries(entries.into())), &layout(), right.subscribe());
    let mut agent = Agent::with(access, "a");
    agent.leads().await;
    let reader = client(&server.connect()).await;
    assert!(reader.get_data("/superset/config").await.is_ok());
    assert_eq!(reader.get_data("/superset/key").await.unwrap_err(), zk::Error::NoAuth);
    assert_eq!(reader.set_data("/superset/config", b"X: 1", None).await.unwrap_err(), zk::Error::NoAuth);
}

#[tokio::test]
async fn a_wrong_password_is_said_and_the_right_one_is_used_as_soon_as_it_is_known() {
    let server = Server::start().await;
    let right = password(CANARY);
    let settings = digest(&server, Acl::Creator);
    let mut first = Agent::with(access_with(&settings, &layout(), right.subscribe()), "a");
    first.leads().await;
    let wrong = password("canary-password-wrong");
    let access = access_with(&settings, &layout(), wrong.subscribe());
    let refused = Cluster::open(&access, LIMIT).await.unwrap().snapshot().await;
    let shown = format!("{refused:?} {access:?}");
    let mut second = Agent::with(access, "b");
    let link = second.link_where("denied", |link| link.errors.contains_key(&Concern::Tree)).await;
    let error = &link.errors[&Concern::Tree];
    assert!(error.contains("/superset") && error.contains("not authorized"), "{error}");
    assert!(second.tree.borrow().is_none(), "law 2: what cannot be read is no tree");
    assert!(!format!("{link:?} {shown}").contains("canary"), "law 9");
    wrong.send_replace(Some(SecretText::new(CANARY)));
    second.tree_where("anything", |_| true).await;
    second.link_where("without an error", |link| link.errors.is_empty()).await;
}

fn tls(folder: &Path, server: &Server, identity: Option<&str>) -> Zookeeper {
    let file = |name: &str| Some(folder.join(name));
    let tls = Tls {
        ca: file("ca.pem"),
        cert: identity.and_then(|name| file(&format!("{name}.cert.pem"))),
        key: identity.and_then(|name| file(&format!("{name}.key.pem"))),
        verify_hostname: true,
    };
    Zookeeper { tls: Some(tls), ..settings(&format!("127.0.0.1:{}", server.tls_port.unwrap())) }
}

#[tokio::test]
async fn tls_with_a_client_certificate_works_and_without_one_or_with_a_strangers_it_does_not() {
    let folder = TempDir::new().unwrap();
    certificates(folder.path());
    let server = Server::secure(folder.path()).await;
    let access = |identity| access_with(&tls(folder.path(), &server, identity), &layout(), watch::channel(None).1);
    let mut agent = Agent::with(access(Some("client")), "a");
    agent.leads().await;
    for identity in [None, Some("stranger")] {
        let error = Cluster::open(&access(identity), LIMIT).await.unwrap_err();
        assert!(matches!(error, Error::Connect { .. } | Error::ConnectTimeout { .. }), "{identity:?}: {error}");
        assert!(error.hint().unwrap().contains("certificate"));
    }
    // A server whose authority we do not know is not trusted with anything.
    let mut settings = tls(folder.path(), &server, Some("client"));
    settings.tls.as_mut().unwrap().ca = Some(folder.path().join("stranger-ca.pem"));
    let error = Cluster::open(&access_with(&settings, &layout(), watch::channel(None).1), LIMIT).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. } | Error::ConnectTimeout { .. }), "{error}");
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_before_anything_is_tried() {
    let mut broken = settings("127.0.0.1:1");
    let tls = Tls { ca: Some("/nonexistent/ca.pem".into()), cert: None, key: None, verify_hostname: true };
    broken.tls = Some(tls);
    let access = Access::new(&broken, &layout(), watch::channel(None).1).unwrap();
    assert!(matches!(Cluster::open(&access, LIMIT).await, Err(Error::Access(AccessError::File { .. }))));
    let access = Access::new(&settings("127.0.0.1:notaport"), &layout(), watch::channel(None).1).unwrap();
    let error = Cluster::open(&access, LIMIT).await.unwrap_err();
    assert!(matches!(error, Error::Access(AccessError::Connect(_))) && error.hint().is_some(), "{error}");
}
