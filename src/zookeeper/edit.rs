//! Changing the tree: any number of edits as one transaction, all or none.
//!
//! Edits in; they are made complete by what is there now (create or set, missing parents first), measured, and committed
//! as one multi. What a server would not take is refused here, with its size: a server only closes the connection.

use std::collections::BTreeSet;

use zookeeper_client as zk;

use super::error::{Error, REQUEST_LIMIT};
use super::paths::prefixes;
use super::read;
use super::session::Session;

/// What an edit relies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing: whatever is there is replaced.
    Anything,
    /// That there is nothing.
    Absent,
    /// That this version is there.
    Version(i32),
}

/// One change of the tree.
#[derive(Clone, PartialEq, Eq)]
pub enum Edit {
    /// Write a node.
    Put {
        /// Its path.
        path: String,
        /// Its content.
        bytes: Vec<u8>,
        /// What has to be there.
        expect: Expect,
    },
    /// Delete a node.
    Delete {
        /// Its path.
        path: String,
        /// Only this version of it.
        version: Option<i32>,
    },
    /// Rely on a node without changing it.
    Check {
        /// Its path.
        path: String,
        /// This version of it; any that exists, where none is given.
        version: Option<i32>,
    },
}

impl std::fmt::Debug for Edit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The content may be a secret.
        match self {
            Self::Put { path, bytes, expect } => write!(f, "Put({path}, {} bytes, {expect:?})", bytes.len()),
            Self::Delete { path, version } => write!(f, "Delete({path}, {version:?})"),
            Self::Check { path, version } => write!(f, "Check({path}, {version:?})"),
        }
    }
}

/// One operation of the multi.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation<'a> {
    Create {
        path: &'a str,
        bytes: &'a [u8],
    },
    /// With an ACL of its own.
    Keep {
        path: &'a str,
        bytes: &'a [u8],
        acl: &'a [zk::Acl],
    },
    Set {
        path: &'a str,
        bytes: &'a [u8],
        version: Option<i32>,
    },
    Delete {
        path: &'a str,
        version: Option<i32>,
    },
    Check {
        path: &'a str,
        version: Option<i32>,
    },
}

/// Makes all changes or none.
pub(super) async fn apply(session: &Session, edits: &[Edit]) -> Result<(), Error> {
    let present = present(session, edits).await?;
    let operations = operations(edits, &present);
    commit(session, &operations).await
}

/// What a server would not take, refused with its size.
fn check_size(session: &Session, operations: &[Operation<'_>]) -> Result<(), Error> {
    let size = size(operations, session.client.path(), &session.acls.nodes);
    if size <= REQUEST_LIMIT {
        return Ok(());
    }
    let what = match operations {
        [one] => one.path().to_owned(),
        many => format!("{} changes as one", many.len()),
    };
    Err(Error::TooLarge { what, size })
}

/// Which of the paths that matter exist: those that are written, and their parents.
async fn present(session: &Session, edits: &[Edit]) -> Result<BTreeSet<String>, Error> {
    let paths: BTreeSet<_> = edits
        .iter()
        .filter_map(|edit| match edit {
            Edit::Put { path, .. } => Some(prefixes(path).map(ToOwned::to_owned)),
            Edit::Delete { .. } | Edit::Check { .. } => None,
        })
        .flatten()
        .collect();
    let paths: Vec<_> = paths.into_iter().collect();
    let found = read::nodes(session, &paths).await?.found;
    Ok(paths.into_iter().zip(found).filter_map(|(path, found)| found.map(|_| path)).collect())
}

fn operations<'a>(edits: &'a [Edit], present: &BTreeSet<String>) -> Vec<Operation<'a>> {
    let mut made: BTreeSet<&str> = BTreeSet::new();
    let mut operations = Vec::new();
    for edit in edits {
        let (path, bytes, expect) = match edit {
            Edit::Put { path, bytes, expect } => (path, bytes, *expect),
            Edit::Delete { path, version } => {
                operations.push(Operation::Delete { path, version: *version });
                continue;
            }
            Edit::Check { path, version } => {
                operations.push(Operation::Check { path, version: *version });
                continue;
            }
        };
        let exists = present.contains(path) || made.contains(path.as_str());
        match expect {
            Expect::Version(version) => operations.push(Operation::Set { path, bytes, version: Some(version) }),
            Expect::Anything if exists => operations.push(Operation::Set { path, bytes, version: None }),
            Expect::Anything | Expect::Absent => {
                let parents = prefixes(path).filter(|parent| parent != path && !present.contains(*parent));
                let missing = parents.filter(|parent| made.insert(parent));
                operations.extend(missing.map(|path| Operation::Create { path, bytes: b"" }));
                made.insert(path);
                operations.push(Operation::Create { path, bytes });
            }
        }
    }
    operations
}

/// Does all of it or nothing.
pub(super) async fn commit(session: &Session, operations: &[Operation<'_>]) -> Result<(), Error> {
    if operations.is_empty() {
        return Ok(());
    }
    check_size(session, operations)?;
    let options = zk::CreateMode::Persistent.with_acls(zk::Acls::new(&session.acls.nodes));
    let refused =
        |operation: &Operation<'_>, source| Error::Request { verb: operation.verb(), path: operation.path().to_owned(), source };
    let mut multi = session.client.new_multi_writer();
    for operation in operations {
        match *operation {
            Operation::Create { path, bytes } => multi.add_create(path, bytes, &options),
            Operation::Keep { path, bytes, acl } => {
                multi.add_create(path, bytes, &zk::CreateMode::Persistent.with_acls(zk::Acls::new(acl)))
            }
            Operation::Set { path, bytes, version } => multi.add_set_data(path, bytes, version),
            Operation::Delete { path, version } => multi.add_delete(path, version),
            Operation::Check { path, version } => multi.add_check_version(path, version.unwrap_or(-1)),
        }
        .map_err(|source| refused(operation, source))?;
    }
    // The outer answer says whether there was one, the inner one what it was.
    let answer = async { Ok(multi.commit().await) };
    let first = operations.first().map_or("/", Operation::path);
    match session.ask("write", first, answer).await? {
        Ok(_) => Ok(()),
        Err(zk::MultiWriteError::OperationFailed { index, source }) => {
            Err(operations.get(index).map_or(Error::Lost, |operation| refused(operation, source)))
        }
        Err(zk::MultiWriteError::RequestFailed { source }) => {
            Err(Error::Request { verb: "write", path: first.to_owned(), source })
        }
    }
}

impl Operation<'_> {
    fn path(&self) -> &str {
        match self {
            Self::Create { path, .. }
            | Self::Keep { path, .. }
            | Self::Set { path, .. }
            | Self::Delete { path, .. }
            | Self::Check { path, .. } => path,
        }
    }

    fn verb(&self) -> &'static str {
        match self {
            Self::Create { .. } | Self::Keep { .. } => "create",
            Self::Set { .. } => "write",
            Self::Delete { .. } => "delete",
            Self::Check { .. } => "check",
        }
    }

    /// What it takes in a request, apart from the ACL: ZooKeeper's own encoding, with four bytes before each text.
    fn size(&self) -> usize {
        const HEADER: usize = 9;
        match self {
            Self::Create { path, bytes } | Self::Keep { path, bytes, .. } | Self::Set { path, bytes, .. } => {
                HEADER + 4 + path.len() + 4 + bytes.len() + 4
            }
            Self::Delete { path, .. } | Self::Check { path, .. } => HEADER + 4 + path.len() + 4,
        }
    }
}

/// How many bytes the multi has.
fn size(operations: &[Operation<'_>], chroot: &str, acl: &[zk::Acl]) -> usize {
    const REQUEST: usize = 8 + 9;
    let acl_size = |acl: &[zk::Acl]| 4 + acl.iter().map(|acl| 12 + acl.scheme().len() + acl.id().len()).sum::<usize>();
    let chroot = chroot.trim_end_matches('/').len();
    let each = |operation: &Operation<'_>| {
        let acl = match operation {
            Operation::Create { .. } => acl_size(acl),
            Operation::Keep { acl, .. } => acl_size(acl),
            Operation::Set { .. } | Operation::Delete { .. } | Operation::Check { .. } => 0,
        };
        operation.size() + chroot + acl
    };
    REQUEST + operations.iter().map(each).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(path: &str, expect: Expect) -> Edit {
        Edit::Put { path: path.into(), bytes: b"x".to_vec(), expect }
    }

    fn present(paths: &[&str]) -> BTreeSet<String> {
        paths.iter().map(|path| (*path).to_owned()).collect()
    }

    #[test]
    fn what_is_there_decides_between_create_and_set_and_parents_come_first() {
        let edits = [put("/s/config/a", Expect::Anything), put("/s/config/b", Expect::Anything)];
        let paths = |operations: Vec<Operation<'_>>| -> Vec<String> {
            operations.iter().map(|operation| format!("{} {}", operation.verb(), operation.path())).collect()
        };
        assert_eq!(
            paths(operations(&edits, &present(&[]))),
            ["create /s", "create /s/config", "create /s/config/a", "create /s/config/b"]
        );
        let there = present(&["/s", "/s/config", "/s/config/a"]);
        assert_eq!(paths(operations(&edits, &there)), ["write /s/config/a", "create /s/config/b"]);
    }

    #[test]
    fn what_is_expected_is_what_the_server_is_asked_to_check() {
        let there = present(&["/a"]);
        assert_eq!(operations(&[put("/a", Expect::Absent)], &there), [Operation::Create { path: "/a", bytes: b"x" }]);
        let set = Operation::Set { path: "/a", bytes: b"x", version: Some(3) };
        assert_eq!(operations(&[put("/a", Expect::Version(3))], &there), [set]);
    }

    #[test]
    fn the_size_is_what_goes_over_the_wire() {
        let set = Operation::Set { path: "/a", bytes: b"xyz", version: None };
        // header 8, then 9 + (4+2) + (4+3) + 4, then the end 9
        assert_eq!(size(&[set], "/", &[]), 8 + 26 + 9);
        assert_eq!(size(&[set], "/chroot", &[]), 8 + 26 + 9 + 7);
    }

    #[test]
    fn law_9_an_edit_does_not_print_its_content() {
        let edit = Edit::Put { path: "/a".into(), bytes: b"canary-secret".to_vec(), expect: Expect::Absent };
        assert_eq!(format!("{edit:?}"), "Put(/a, 13 bytes, Absent)");
    }
}
