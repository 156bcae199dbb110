//! The datasources' statuses: written by the leader, and by nobody who only believes that it leads.
//!
//! In: the newest statuses of all datasources, or nothing while none are known. Out: one node each below
//! `status/datasources`; only what differs from what is there is written, and nodes of names that are gone are deleted.
//! Every write is a multi that first checks the writer's election node, so that a deposed leader's writes are refused as a
//! whole (law 7). Multis stay below 512 KB.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use zookeeper_client as zk;

use super::error::Error;
use super::link::{Concern, Reporter};
use super::paths::Paths;
use super::session::Session;
use super::{prepare, read};
use crate::model::datasource::DatasourceName;
use crate::model::snapshot::Content;
use crate::model::status::DatasourceStatus;

/// The statuses of all datasources.
pub type Statuses = Arc<BTreeMap<DatasourceName, DatasourceStatus>>;

/// The least time between two writes.
const PACE: Duration = Duration::from_millis(200);

/// How long to wait after a write that failed.
const RETRY: Duration = Duration::from_secs(2);

/// How many bytes of names and content go into one multi.
const BUDGET: usize = 512 * 1024;

/// What a change costs in a request besides name and content: headers, path prefix, ACL.
const OVERHEAD: usize = 256;

/// What is there, by the last segment of its path.
type Present = BTreeMap<String, (Vec<u8>, i32)>;

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    Create { name: String, text: Vec<u8> },
    Set { name: String, text: Vec<u8>, version: i32 },
    Delete { name: String, version: i32 },
}

/// Keeps the statuses as wanted while we lead, which is as long as our election node, `guard`, exists. Ends only when that
/// is in doubt.
pub(super) async fn keep<T>(
    session: &Session,
    guard: &str,
    wanted: &mut watch::Receiver<Option<Statuses>>,
    link: &Reporter,
) -> Result<T, Error> {
    let mut present = None;
    loop {
        let newest = wanted.borrow_and_update().clone();
        match pass(session, guard, newest, &mut present).await {
            Ok(()) => {
                link.works(Concern::Statuses);
                sleep(PACE).await;
                if wanted.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
            Err(error @ Error::Deposed { .. }) => return Err(error),
            Err(error) if error.is_loss() => return Err(error),
            Err(error) => {
                link.failed(Concern::Statuses, &error);
                present = None;
                sleep(RETRY).await;
                if error.code() == Some(&zk::Error::NoNode) {
                    // Somebody deleted their parent. If it cannot be made, the next write says so.
                    let _ = prepare::layout(session).await;
                }
            }
        }
    }
}

async fn pass(session: &Session, guard: &str, wanted: Option<Statuses>, present: &mut Option<Present>) -> Result<(), Error> {
    // Until the first statuses are known, what an earlier leader wrote is the best there is.
    let Some(wanted) = wanted else { return Ok(()) };
    let mut known = match present.take() {
        Some(known) => known,
        None => read_present(session).await?,
    };
    for chunk in chunks(changes(&texts(&wanted), &known)) {
        commit(session, guard, &chunk, &mut known).await?;
    }
    *present = Some(known);
    Ok(())
}

async fn read_present(session: &Session) -> Result<Present, Error> {
    let parent = session.paths.statuses();
    let names = session.children(&parent).await?.unwrap_or_default();
    let paths: Vec<_> = names.iter().map(|name| read::join(&parent, name)).collect();
    let found = read::nodes(session, &paths).await?.found;
    let present = names.into_iter().zip(found).filter_map(|(name, found)| {
        let found = found?;
        match found.node.content {
            Content::Bytes(text) => Some((name, (text.to_vec(), found.version))),
            Content::Unreadable(_) => None,
        }
    });
    Ok(present.collect())
}

fn texts(statuses: &Statuses) -> BTreeMap<String, Vec<u8>> {
    let text = |(name, status)| Some((Paths::status_name(name), serde_json::to_vec(status).ok()?));
    statuses.iter().filter_map(text).collect()
}

fn changes(wanted: &BTreeMap<String, Vec<u8>>, present: &Present) -> Vec<Change> {
    let put = wanted.iter().filter_map(|(name, text)| match present.get(name) {
        None => Some(Change::Create { name: name.clone(), text: text.clone() }),
        Some((there, version)) if there != text => {
            Some(Change::Set { name: name.clone(), text: text.clone(), version: *version })
        }
        Some(_) => None,
    });
    let gone = present.iter().filter(|(name, _)| !wanted.contains_key(*name));
    put.chain(gone.map(|(name, (_, version))| Change::Delete { name: name.clone(), version: *version })).collect()
}

fn chunks(changes: Vec<Change>) -> Vec<Vec<Change>> {
    let mut chunks: Vec<Vec<Change>> = Vec::new();
    let mut room = 0;
    for change in changes {
        let size = OVERHEAD + change.size();
        match chunks.last_mut() {
            Some(chunk) if size <= room => chunk.push(change),
            _ => {
                chunks.push(vec![change]);
                room = BUDGET;
            }
        }
        room = room.saturating_sub(size);
    }
    chunks
}

impl Change {
    fn size(&self) -> usize {
        match self {
            Self::Create { name, text } | Self::Set { name, text, .. } => name.len() + text.len(),
            Self::Delete { name, .. } => name.len(),
        }
    }
}

/// Writes one chunk, and notes in `known` what is there then.
async fn commit(session: &Session, guard: &str, chunk: &[Change], known: &mut Present) -> Result<(), Error> {
    let parent = session.paths.statuses();
    let options = zk::CreateMode::Persistent.with_acls(zk::Acls::new(&session.acls.nodes));
    let refused = |source| Error::Request { verb: "write", path: parent.clone(), source };
    let mut multi = session.client.new_check_writer(guard, None).map_err(refused)?;
    for change in chunk {
        match change {
            Change::Create { name, text } => multi.add_create(&read::join(&parent, name), text, &options),
            Change::Set { name, text, version } => multi.add_set_data(&read::join(&parent, name), text, Some(*version)),
            Change::Delete { name, version } => multi.add_delete(&read::join(&parent, name), Some(*version)),
        }
        .map_err(refused)?;
    }
    // The outer answer says whether there was one, the inner one what it was.
    let answer = async { Ok(multi.commit().await) };
    let written = match session.ask("write", &parent, answer).await? {
        Ok(written) => written,
        Err(zk::CheckWriteError::CheckFailed { source: zk::Error::NoNode }) => {
            return Err(Error::Deposed { path: guard.to_owned() });
        }
        Err(error) => return Err(refused(error.into())),
    };
    for (change, written) in chunk.iter().zip(written) {
        note(known, change, &written);
    }
    Ok(())
}

fn note(known: &mut Present, change: &Change, written: &zk::MultiWriteResult) {
    match (change, written) {
        // A created node begins at version 0; the answer's own stat is not valid on every server (ZOOKEEPER-4026).
        (Change::Create { name, text }, _) => known.insert(name.clone(), (text.clone(), 0)),
        (Change::Set { name, text, .. }, zk::MultiWriteResult::SetData { stat }) => {
            known.insert(name.clone(), (text.clone(), stat.version))
        }
        (Change::Set { name, .. } | Change::Delete { name, .. }, _) => known.remove(name),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(pairs: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn only_what_differs_is_written() {
        let present =
            Present::from([("a".into(), (b"1".to_vec(), 4)), ("b".into(), (b"1".to_vec(), 5)), ("c".into(), (vec![], 6))]);
        let changes = changes(&wanted(&[("a", "1"), ("b", "2"), ("d", "1")]), &present);
        assert_eq!(
            changes,
            [
                Change::Set { name: "b".into(), text: b"2".to_vec(), version: 5 },
                Change::Create { name: "d".into(), text: b"1".to_vec() },
                Change::Delete { name: "c".into(), version: 6 },
            ]
        );
    }

    #[test]
    fn chunks_hold_everything_once_and_stay_within_the_budget() {
        let large = |n: usize| Change::Create { name: n.to_string(), text: vec![0; 100_000] };
        let all: Vec<_> = (0..12).map(large).collect();
        let chunks = chunks(all.clone());
        assert!(chunks.len() >= 3);
        assert!(chunks.iter().all(|chunk| chunk.iter().map(|change| OVERHEAD + change.size()).sum::<usize>() <= BUDGET));
        assert_eq!(chunks.concat(), all);
        assert!(super::chunks(vec![]).is_empty());
    }
}
