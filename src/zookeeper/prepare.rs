//! What has to exist before we can work: our own nodes, and the cluster's HMAC key.
//!
//! In: a session. Out: the key. A tree of a later layout is refused, so that an old agent left behind by an upgrade does no harm. Any number of agents may do this at once: whoever comes second finds what it needs. The
//! chroot is never created, because a misspelt one would silently begin a second, empty tree.

use zookeeper_client as zk;

use super::error::Error;
use super::read;
use super::session::Session;
use crate::model::digest::DigestKey;

/// The number of the layout that this program keeps, in the znode `format`: a later one means another contract.
const FORMAT: u32 = 1;

/// Creates whichever of our own nodes are missing, parents first.
pub(super) async fn layout(session: &Session) -> Result<(), Error> {
    let format = known_format(session).await?;
    let ours = session.paths.ours();
    let found = read::nodes(session, &ours).await?.found;
    for (path, _) in ours.iter().zip(found).filter(|(_, found)| found.is_none()) {
        match session.create(path, b"", zk::CreateMode::Persistent).await {
            Err(error) if error.code() == Some(&zk::Error::NodeExists) => {}
            answer => drop(answer?),
        }
    }
    if format.is_none() {
        let text = FORMAT.to_string();
        match session.create(&session.paths.format(), text.as_bytes(), zk::CreateMode::Persistent).await {
            Err(error) if error.code() == Some(&zk::Error::NodeExists) => {}
            answer => drop(answer?),
        }
    }
    Ok(())
}

/// The layout's number where the tree has one, and an error where it is not ours.
pub(super) async fn known_format(session: &Session) -> Result<Option<u32>, Error> {
    let path = session.paths.format();
    let found = match session.get(&path).await {
        // Whoever may not read it hears of that where it matters: at the tree itself.
        Err(error) if error.code() == Some(&zk::Error::NoAuth) => None,
        answer => answer?,
    };
    let Some((bytes, _)) = found else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    match text.parse() {
        Ok(number) if number <= FORMAT => Ok(Some(number)),
        _ => Err(Error::Format { path, found: text.chars().take(20).collect(), known: FORMAT }),
    }
}

/// Makes the cluster's key, where there is none, and whatever has to be there first.
pub(super) async fn key(session: &Session) -> Result<DigestKey, Error> {
    layout(session).await?;
    let path = session.paths.key();
    let bytes: [u8; DigestKey::LEN] = rand::random();
    let options = zk::CreateMode::Persistent.with_acls(zk::Acls::new(&session.acls.key));
    let made = match session.ask("create", &path, session.client.create(&path, &bytes, &options)).await {
        Ok(_) => DigestKey::from_bytes(&bytes),
        // Another agent was faster: its key is the key.
        Err(error) if error.code() == Some(&zk::Error::NodeExists) => existing_key(session).await?,
        Err(error) => return Err(error),
    };
    made.ok_or(Error::Key { path, len: 0 })
}

/// The cluster's key, if there is one.
pub(super) async fn existing_key(session: &Session) -> Result<Option<DigestKey>, Error> {
    let path = session.paths.key();
    let Some((bytes, _)) = session.get(&path).await? else { return Ok(None) };
    DigestKey::from_bytes(&bytes).map(Some).ok_or(Error::Key { path, len: bytes.len() })
}
