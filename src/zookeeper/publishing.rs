//! An edit of the tree that takes several transactions.
//!
//! ```text
//!   begin: create `publishing` ─▶ write, write, …: each multi checks it ─▶ finish: delete it
//! ```
//!
//! While the znode exists, agents keep the tree that they had. It is persistent: after a crash it stays, and with it the old tree,
//! until somebody takes the edit over, which takes the first editor's right to write. Only who holds its version removes it.

use serde_json::Value as Json;
use zookeeper_client as zk;

use super::cluster::Cluster;
use super::edit::{Edit, Expect};
use super::error::Error;
use crate::model::pause::Publishing;

/// How many bytes of paths and content go into one transaction, unless one node alone has more.
const BUDGET: usize = 512 * 1024;

/// What an edit costs in a request besides path and content: headers, ACL.
const OVERHEAD: usize = 256;

/// The right to write the tree in parts.
#[derive(Clone, Debug)]
pub struct Publisher {
    version: i32,
}

impl Cluster {
    /// The edit in progress, if there is one.
    pub async fn publishing(&self) -> Result<Option<Publishing>, Error> {
        Ok(self.read(&self.paths().publishing()).await?.map(|stored| Publishing::read(&stored.bytes)))
    }

    /// Begins an edit; [`Error::Publishing`] where one is in progress, unless it is to be taken over.
    pub async fn begin_publishing(&self, edit: &Publishing, takeover: bool) -> Result<Publisher, Error> {
        let path = self.paths().publishing();
        let text = serde_json::to_value(edit).as_ref().map(Json::to_string).unwrap_or_default().into_bytes();
        loop {
            let there = self.read(&path).await?;
            let (expect, version) = match &there {
                None => (Expect::Absent, 0),
                // The answer to our own beginning was lost.
                Some(stored) if stored.bytes == text => return Ok(Publisher { version: stored.version }),
                Some(stored) if takeover => (Expect::Version(stored.version), stored.version.wrapping_add(1)),
                Some(stored) => return Err(Error::Publishing { edit: Box::new(Publishing::read(&stored.bytes)) }),
            };
            match self.set(&path, text.clone(), expect).await {
                Ok(()) => return Ok(Publisher { version }),
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Publisher {
    /// Makes all these changes, in as few transactions as their sizes allow, each only while the edit is still ours. After an
    /// error some of them may be made: look at the tree before writing again. `written` hears how many were made each time.
    pub async fn write(&self, cluster: &Cluster, edits: &[Edit], written: impl Fn(usize)) -> Result<(), Error> {
        for part in parts(edits) {
            let check = Edit::Check { path: cluster.paths().publishing(), version: Some(self.version) };
            let edits: Vec<_> = std::iter::once(check).chain(part.iter().cloned()).collect();
            if let Err(error) = cluster.apply(&edits).await {
                return Err(self.explained(cluster, error).await);
            }
            written(part.len());
        }
        Ok(())
    }

    /// Ends the edit: from now on the tree counts as it is.
    pub async fn finish(&self, cluster: &Cluster) -> Result<(), Error> {
        match cluster.delete(&cluster.paths().publishing(), Some(self.version)).await {
            // The answer to an earlier try was lost.
            Err(error) if error.code() == Some(&zk::Error::NoNode) => Ok(()),
            Err(error) => Err(self.explained(cluster, error).await),
            Ok(()) => Ok(()),
        }
    }

    /// Says whose the edit is now, where that is why a write was refused.
    async fn explained(&self, cluster: &Cluster, error: Error) -> Error {
        if !error.is_conflict() {
            return error;
        }
        match cluster.read(&cluster.paths().publishing()).await {
            Ok(Some(stored)) if stored.version != self.version => {
                Error::Publishing { edit: Box::new(Publishing::read(&stored.bytes)) }
            }
            _ => error,
        }
    }
}

fn parts(edits: &[Edit]) -> Vec<&[Edit]> {
    let mut parts = Vec::new();
    let (mut begin, mut size) = (0, 0);
    for (at, edit) in edits.iter().enumerate() {
        let own = OVERHEAD + own_size(edit);
        if at > begin && size + own > BUDGET {
            parts.push(&edits[begin..at]);
            (begin, size) = (at, 0);
        }
        size += own;
    }
    if begin < edits.len() {
        parts.push(&edits[begin..]);
    }
    parts
}

fn own_size(edit: &Edit) -> usize {
    match edit {
        Edit::Put { path, bytes, .. } => path.len() + bytes.len(),
        Edit::Delete { path, .. } | Edit::Check { path, .. } => path.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_hold_everything_once_and_in_order_and_a_large_node_stands_alone() {
        let sizes = [10, 300_000, 300_000, 900_000, 10, 10];
        let edits: Vec<_> = sizes
            .iter()
            .enumerate()
            .map(|(n, size)| Edit::Put { path: format!("/{n}"), bytes: vec![0; *size], expect: Expect::Anything })
            .collect();
        let parts = parts(&edits);
        assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [2, 1, 1, 2]);
        assert_eq!(parts.concat(), edits);
        assert!(super::parts(&[]).is_empty());
    }
}
