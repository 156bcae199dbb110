//! Contenders: who stands in line below a node, in which order, and whether one's own place is certain.
//!
//! Each is an ephemeral sequential node; the lowest is first. Each watches only the one before it, so that the end of the
//! first wakes one and not all. The election and the locks stand on this.
//!
//! Being first is certain only until two thirds of the session's timeout after one *sent* the last confirmation that was answered
//! (law 7). The server cannot have ended the session before: it counts the timeout from a moment no earlier than the last sign of
//! life that it passed on to the ensemble's leader, which is at most one beat and half a tick older than that request,
//! and a session is at least two ticks long. A confirmation is a multi that only checks the contender's node: as a write it needs
//! a quorum, so a server that is cut off cannot answer it, and since it changes nothing it wakes nobody.
//!
//! The client's own `LockClient` is not used: cancelling it may leave an orphan contender, any clone that is dropped gives the
//! lock up, and it cannot say since when it was last certain.

use std::time::Duration;

use zookeeper_client as zk;

use super::error::Error;
use super::session::Session;

/// The contender of this session: its node, and the transaction that created it.
#[derive(Clone, Debug)]
pub(super) struct Contender {
    pub path: String,
    pub term: u64,
}

/// Puts our contender below `parent`, or finds the one that this session has. Those of earlier sessions of this process go.
pub(super) async fn enter(session: &Session, parent: &str, content: &[u8]) -> Result<Contender, Error> {
    let names = names(session, parent).await?;
    for earlier in &session.earlier {
        for name in names.iter().filter(|name| name.starts_with(&prefix(*earlier))) {
            session.delete(&format!("{parent}/{name}"), None).await?;
        }
    }
    let own = prefix(session.client.session_id());
    for name in names.iter().filter(|name| name.starts_with(&own)) {
        let path = format!("{parent}/{name}");
        if let Some(stat) = session.ask("check", &path, session.client.check_stat(&path)).await? {
            return Ok(Contender { path, term: stat.czxid.unsigned_abs() });
        }
    }
    let path = format!("{parent}/{own}");
    let (stat, sequence) = session.create(&path, content, zk::CreateMode::EphemeralSequential).await?;
    Ok(Contender { path: format!("{path}{sequence}"), term: stat.czxid.unsigned_abs() })
}

/// The node right before ours; `None` if ours is the first.
///
/// A server that lags behind may show contenders that are gone, but never hides one that is there: whoever is first
/// here is first everywhere, provided its own node still exists, which [`confirm`] asks a quorum.
pub(super) async fn predecessor(session: &Session, parent: &str, me: &Contender) -> Result<Option<String>, Error> {
    let names = names(session, parent).await?;
    let mine = names.iter().position(|name| me.path == format!("{parent}/{name}"));
    let mine = mine.ok_or_else(|| Error::Deposed { path: me.path.clone() })?;
    Ok(mine.checked_sub(1).map(|before| format!("{parent}/{}", names[before])))
}

/// Asks a quorum whether our contender still exists; [`Error::Deposed`] where it does not.
pub(super) async fn confirm(session: &Session, me: &Contender) -> Result<(), Error> {
    let refused = |source| Error::Request { verb: "check", path: me.path.clone(), source };
    let mut check = session.client.new_multi_writer();
    check.add_check_version(&me.path, -1).map_err(refused)?;
    let answer = async { check.commit().await.map_err(zk::Error::from) };
    match session.ask("check", &me.path, answer).await {
        Err(error) if error.code() == Some(&zk::Error::NoNode) => Err(Error::Deposed { path: me.path.clone() }),
        answer => answer.map(|_| ()),
    }
}

/// How long being first is certain, from when the confirmation was sent.
pub(super) fn certain_for(session_timeout: Duration) -> Duration {
    session_timeout * 2 / 3
}

/// How long after one confirmation the next is asked for.
pub(super) fn confirm_every(session_timeout: Duration) -> Duration {
    session_timeout / 6
}

/// Takes back every contender of this session: also one whose creation was cut short, since requests keep their order.
pub(super) async fn withdraw(session: &Session, parent: &str) -> Result<(), Error> {
    let mine = prefix(session.client.session_id());
    for name in names(session, parent).await?.iter().filter(|name| name.starts_with(&mine)) {
        session.delete(&format!("{parent}/{name}"), None).await?;
    }
    Ok(())
}

/// The contenders' names, first to last.
pub(super) async fn names(session: &Session, parent: &str) -> Result<Vec<String>, Error> {
    Ok(in_order(session.children(parent).await?.unwrap_or_default()))
}

/// What the names of a session's contenders begin with: so they are recognized without being read.
fn prefix(session: zk::SessionId) -> String {
    format!("c-{:016x}-", session.0)
}

fn in_order(names: Vec<String>) -> Vec<String> {
    let mut contenders: Vec<_> = names.into_iter().filter_map(|name| Some((sequence(&name)?, name))).collect();
    contenders.sort_unstable();
    contenders.into_iter().map(|(_, name)| name).collect()
}

fn sequence(name: &str) -> Option<i64> {
    name.rsplit_once('-')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contenders_stand_in_the_order_of_their_sequence_whatever_their_session() {
        let names = ["c-ff-0000000003", "c-0a-0000000010", "stranger", "c-0b-0000000002"];
        let order = in_order(names.map(ToOwned::to_owned).to_vec());
        assert_eq!(order, ["c-0b-0000000002", "c-ff-0000000003", "c-0a-0000000010"]);
    }

    #[test]
    fn a_sessions_prefix_is_no_other_sessions_prefix() {
        assert_eq!(prefix(zk::SessionId(0x1f)), "c-000000000000001f-");
        assert_eq!(prefix(zk::SessionId(-1)), "c-ffffffffffffffff-");
    }
}
