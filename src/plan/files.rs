//! What the rendered files lack: wanted and seen in, ordered steps out.
//!
//! Pure: the same files and the same memory always make the same steps, and after they are applied there are none (law 3). The agent
//! takes from here which files are lacking; when they may be installed and loaded is for [`rollout`](crate::rollout) to say.
//! `setkeeper plan` shows all steps: there a reload is due by the revision that Superset was last told to load, not by whether a
//! file changed just now.

use std::path::PathBuf;
use std::sync::Arc;

use crate::model::digest::Revision;

/// A file as it should be.
#[derive(Clone, PartialEq, Eq)]
pub struct FileWanted {
    /// Where.
    pub path: PathBuf,
    /// Its permissions.
    pub mode: u32,
    /// Its content, which may hold secrets.
    pub bytes: Arc<[u8]>,
}

/// A file as it is.
#[derive(Clone, PartialEq, Eq)]
pub struct FileSeen {
    /// Its permissions.
    pub mode: u32,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// One thing to do on this machine.
#[derive(Clone, PartialEq, Eq)]
pub enum FileStep {
    /// Make these files as they should be, all staged before the first is replaced.
    Install(Vec<FileWanted>),
    /// Make Superset load them, which makes it run this revision.
    Reload(Revision),
}

/// What is known of the last reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loaded<'a> {
    /// Superset was told to load this revision.
    Revision(&'a Revision),
    /// A reload for this revision was begun, and nobody knows how it ended.
    Unknown,
    /// Nothing is remembered: what lies on disk counts as loaded.
    Nothing,
}

/// Those of `wanted` that are not there as they should be; `seen` has one entry for each file of `wanted`.
#[must_use]
pub fn lacking(wanted: &[FileWanted], seen: &[Option<FileSeen>]) -> Vec<FileWanted> {
    let differs = |(wanted, seen): (&FileWanted, &Option<FileSeen>)| {
        let is_right = seen.as_ref().is_some_and(|seen| seen.mode == wanted.mode && *seen.bytes == *wanted.bytes);
        (!is_right).then(|| wanted.clone())
    };
    wanted.iter().zip(seen).filter_map(differs).collect()
}

/// What this machine lacks of `wanted`, in order, where `reloads` says whether there is anybody to be told.
#[must_use]
pub fn plan(
    wanted: &[FileWanted],
    seen: &[Option<FileSeen>],
    revision: &Revision,
    loaded: Loaded<'_>,
    reloads: bool,
) -> Vec<FileStep> {
    let install = lacking(wanted, seen);
    let is_stale = match loaded {
        Loaded::Revision(loaded) => loaded != revision,
        Loaded::Unknown => true,
        Loaded::Nothing => false,
    };
    let reload = reloads && (is_stale || install.iter().any(|file| content_differs(file, wanted, seen)));
    let mut steps = Vec::new();
    if !install.is_empty() {
        steps.push(FileStep::Install(install));
    }
    if reload {
        steps.push(FileStep::Reload(revision.clone()));
    }
    steps
}

/// Whether more than the permissions of `file` must change.
fn content_differs(file: &FileWanted, wanted: &[FileWanted], seen: &[Option<FileSeen>]) -> bool {
    let seen = wanted.iter().position(|wanted| wanted.path == file.path).and_then(|index| seen.get(index)?.as_ref());
    seen.is_none_or(|seen| *seen.bytes != *file.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(text: &str) -> Vec<FileWanted> {
        vec![FileWanted { path: PathBuf::from("/c.py"), mode: 0o640, bytes: Arc::from(text.as_bytes()) }]
    }

    fn seen(text: &str, mode: u32) -> Vec<Option<FileSeen>> {
        vec![Some(FileSeen { mode, bytes: text.as_bytes().to_vec() })]
    }

    fn names(steps: &[FileStep]) -> Vec<&'static str> {
        steps.iter().map(|step| if matches!(step, FileStep::Reload(_)) { "reload" } else { "install" }).collect()
    }

    #[test]
    fn files_come_before_the_reload() {
        let (one, two) = (Revision::new("1"), Revision::new("2"));
        let steps = plan(&wanted("b"), &seen("a", 0o640), &two, Loaded::Revision(&one), true);
        assert_eq!(names(&steps), ["install", "reload"]);
    }

    #[test]
    fn law_3_what_is_right_needs_nothing() {
        let revision = Revision::new("1");
        assert!(plan(&wanted("a"), &seen("a", 0o640), &revision, Loaded::Revision(&revision), true).is_empty());
    }

    #[test]
    fn law_10_a_file_that_is_right_and_a_lost_memory_reload_nothing() {
        assert!(plan(&wanted("a"), &seen("a", 0o640), &Revision::new("1"), Loaded::Nothing, true).is_empty());
    }

    #[test]
    fn a_reload_that_was_begun_is_still_due_after_a_crash() {
        let (one, two) = (Revision::new("1"), Revision::new("2"));
        assert_eq!(names(&plan(&wanted("a"), &seen("a", 0o640), &two, Loaded::Revision(&one), true)), ["reload"]);
        assert_eq!(names(&plan(&wanted("a"), &seen("a", 0o640), &two, Loaded::Unknown, true)), ["reload"]);
    }

    #[test]
    fn a_wrong_mode_is_mended_without_a_reload() {
        let revision = Revision::new("1");
        let steps = plan(&wanted("a"), &seen("a", 0o600), &revision, Loaded::Revision(&revision), true);
        assert_eq!(names(&steps), ["install"]);
    }

    #[test]
    fn without_a_target_nothing_is_reloaded() {
        assert_eq!(names(&plan(&wanted("b"), &[None], &Revision::new("2"), Loaded::Nothing, false)), ["install"]);
    }
}
