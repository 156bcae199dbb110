//! The instance's record: an ephemeral node that says what this instance runs, for as long as its session lives.
//!
//! In: the newest record. Out: whether the id is ours; whoever wants to lead waits for that. Created when the session
//! begins, written again when its content changed, at most five times a second. A record that another session holds is
//! never overwritten: after `kill -9` that is our own ghost, which ends by itself, and otherwise somebody else.

use std::convert::Infallible;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use zookeeper_client as zk;

use super::error::Error;
use super::link::{Concern, Reporter};
use super::session::Session;
use crate::model::instance::{Instance, InstanceId};

/// The least time between two writes, so that a busy agent disturbs nobody.
const PACE: Duration = Duration::from_millis(200);

/// What is there of our record.
struct Published {
    text: Vec<u8>,
    version: i32,
}

/// What one needs to know of a record that is not ours.
#[derive(Deserialize)]
struct Holder {
    host: Option<String>,
    pid: Option<u32>,
}

/// Keeps the record for as long as the connection lives.
pub(super) async fn keep(
    session: &Session,
    id: &InstanceId,
    record: &mut watch::Receiver<Option<Instance>>,
    ours: &watch::Sender<bool>,
    link: &Reporter,
) -> Result<Infallible, Error> {
    let path = session.paths.instance(id);
    let mut published = None;
    // Often enough to notice a record that somebody deleted, and to know that the server still answers.
    let every = session.timeout() / 3;
    loop {
        let wanted = record.borrow_and_update().as_ref().and_then(text);
        let anything = wanted.is_some();
        published = write(session, &path, wanted, published).await?;
        let taken = anything && published.is_none();
        ours.send_if_modified(|ours| std::mem::replace(ours, published.is_some()) != published.is_some());
        link.seen();
        link.works(Concern::Record);
        link.registered(published.is_some());
        if taken {
            wait_for_holder(session, &path, link).await?;
            continue;
        }
        link.free();
        let written = Instant::now();
        match timeout(every, record.changed()).await {
            Ok(Ok(())) => sleep_until(written + PACE).await,
            // Nobody will change it any more.
            Ok(Err(_)) => std::future::pending().await,
            Err(_) => published = verify(session, &path, published).await?,
        }
    }
}

fn text(record: &Instance) -> Option<Vec<u8>> {
    serde_json::to_vec(record).ok()
}

/// Makes the node what is wanted. What comes back is what is there of ours; nothing, if somebody else holds the path.
async fn write(
    session: &Session,
    path: &str,
    wanted: Option<Vec<u8>>,
    published: Option<Published>,
) -> Result<Option<Published>, Error> {
    match (wanted, published) {
        (None, None) => Ok(None),
        (None, Some(published)) => {
            session.delete(path, Some(published.version)).await?;
            Ok(None)
        }
        (Some(wanted), Some(published)) if wanted == published.text => Ok(Some(published)),
        (Some(wanted), Some(published)) => {
            let request = session.client.set_data(path, &wanted, Some(published.version));
            match session.ask("write", path, request).await {
                Ok(stat) => Ok(Some(Published { text: wanted, version: stat.version })),
                // Somebody deleted it, or deleted it and took the id.
                Err(error) if matches!(error.code(), Some(zk::Error::NoNode | zk::Error::BadVersion)) => {
                    claim(session, path, wanted).await
                }
                Err(error) => Err(error),
            }
        }
        (Some(wanted), None) => claim(session, path, wanted).await,
    }
}

/// Creates the node, unless another session holds it.
async fn claim(session: &Session, path: &str, wanted: Vec<u8>) -> Result<Option<Published>, Error> {
    loop {
        match session.create(path, &wanted, zk::CreateMode::Ephemeral).await {
            Ok(_) => return Ok(Some(Published { text: wanted, version: 0 })),
            Err(error) if error.code() == Some(&zk::Error::NodeExists) => {}
            Err(error) => return Err(error),
        }
        let Some((text, stat)) = session.get(path).await? else { continue };
        if stat.ephemeral_owner == session.client.session_id().0 {
            // The same session, after a reconnect. (The client sends a request when it is made, not when it is awaited.)
            if text == wanted {
                return Ok(Some(Published { text, version: stat.version }));
            }
            let request = session.client.set_data(path, &wanted, Some(stat.version));
            let version = session.ask("write", path, request).await?.version;
            return Ok(Some(Published { text: wanted, version }));
        }
        if !session.earlier.iter().any(|earlier| earlier.0 == stat.ephemeral_owner) {
            return Ok(None);
        }
        if replace(session, path, &wanted, stat.version).await? {
            return Ok(Some(Published { text: wanted, version: 0 }));
        }
    }
}

/// Puts ours in the place of the one that an earlier session of this very process left, so that at no moment there is none.
/// Says whether the old one was still there.
async fn replace(session: &Session, path: &str, wanted: &[u8], version: i32) -> Result<bool, Error> {
    let options = zk::CreateMode::Ephemeral.with_acls(zk::Acls::new(&session.acls.nodes));
    let refused = |source| Error::Request { verb: "replace", path: path.to_owned(), source };
    let mut multi = session.client.new_multi_writer();
    multi.add_delete(path, Some(version)).map_err(refused)?;
    multi.add_create(path, wanted, &options).map_err(refused)?;
    let answer = async { multi.commit().await.map_err(zk::Error::from) };
    match session.ask("replace", path, answer).await {
        Err(error) if error.is_conflict() => Ok(false),
        answer => answer.map(|_| true),
    }
}

/// Says who holds the path, and waits until that may have changed.
async fn wait_for_holder(session: &Session, path: &str, link: &Reporter) -> Result<(), Error> {
    let request = session.client.check_and_watch_stat(path);
    let (Some(stat), watcher) = session.ask("watch", path, request).await? else { return Ok(()) };
    let holder = match session.get(path).await? {
        Some((text, _)) => serde_json::from_slice(&text).unwrap_or(Holder { host: None, pid: None }),
        None => return Ok(()),
    };
    link.taken(zk::SessionId(stat.ephemeral_owner).to_string(), holder.host, holder.pid, session.timeout());
    // It need not end with an event: whether it has lasted too long is for the next look to say.
    let _ = timeout(session.timeout() / 3, watcher.changed()).await;
    Ok(())
}

/// Looks whether what we published is still there and ours.
async fn verify(session: &Session, path: &str, published: Option<Published>) -> Result<Option<Published>, Error> {
    let stat = session.ask("check", path, session.client.check_stat(path)).await?;
    let owner = stat.map(|stat| stat.ephemeral_owner);
    Ok(published.filter(|_| owner == Some(session.client.session_id().0)))
}
