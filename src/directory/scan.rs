//! Lists a branch of the tree: which files there are, under which names, and what each looks like from outside.
//!
//! In: the path of a branch without its extension. Out: a [`Listing`] of files with [`Look`]s, nothing opened. Names that begin
//! with a dot are nobody's fragments (editors, `.git`, the real folders of Kubernetes' `..data`); links are followed.
//! A file is named by its stem. Of two with one stem the first in byte order has it; the other is listed under its whole
//! name as one that cannot be used, so that it is not lost in silence.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const EXTENSIONS: [&str; 3] = ["json", "yaml", "yml"];

/// Why the tree could not be listed.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// A folder of the tree is missing or closed to us.
    #[error("failed to list {path}")]
    List {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ScanError {
    /// The error and its cause on one line.
    #[must_use]
    pub fn with_cause(&self) -> String {
        let Self::List { source, .. } = self;
        format!("{self}: {source}")
    }
}

/// What tells one state of a file from another without opening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub dev: u64,
    pub ino: u64,
    pub len: u64,
    pub modified: (i64, i64),
    /// When content, mode or links last changed: unlike the time above, nobody can set it back.
    pub changed: (i64, i64),
}

impl From<&Metadata> for Look {
    fn from(seen: &Metadata) -> Self {
        Self {
            dev: seen.dev(),
            ino: seen.ino(),
            len: seen.len(),
            modified: (seen.mtime(), seen.mtime_nsec()),
            changed: (seen.ctime(), seen.ctime_nsec()),
        }
    }
}

/// What a listed name is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A file to read.
    File(Look),
    /// It counts, but cannot be used, for this reason.
    Unusable(String),
}

/// A name in the tree, where it lies, and what was found there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub path: PathBuf,
    pub found: Found,
}

/// One branch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    pub root: Option<Entry>,
    pub children: BTreeMap<String, Entry>,
    /// The folders in which a change of it may show, by their true paths.
    pub folders: BTreeSet<PathBuf>,
}

/// Whether a file of this name can be part of the tree.
pub(super) fn is_readable_name(name: &str) -> bool {
    split(name).is_some()
}

/// The stem and the extension.
fn split(name: &str) -> Option<(&str, &str)> {
    let (stem, extension) = name.rsplit_once('.')?;
    (!stem.is_empty() && !stem.starts_with('.') && EXTENSIONS.contains(&extension)).then_some((stem, extension))
}

/// Lists the branch at `base`: the file `base.yaml` and the folder `base`.
pub(super) fn list(base: &Path) -> Result<Listing, ScanError> {
    let mut listing = Listing::default();
    let name = base.file_name().unwrap_or_default().to_string_lossy();
    let mut roots = EXTENSIONS.iter().filter_map(|extension| found(&base.with_file_name(format!("{name}.{extension}"))));
    listing.root = roots.next();
    let seconds: Vec<_> = roots.collect();
    if base.symlink_metadata().is_ok() {
        list_folder(&mut listing, base, "")?;
    }
    for second in seconds {
        let name = file_name(&second.path);
        listing.add_unusable(&name, second.path, format!("another file is {} too", base.display()));
    }
    if let Some(folder) = base.parent() {
        listing.watch(folder);
    }
    if let Some(root) = &listing.root {
        let path = root.path.clone();
        listing.watch_target(&path);
    }
    Ok(listing)
}

/// Lists one folder; `prefix` is its path below the branch. Folders below are listed one level deep, only to be reported.
fn list_folder(listing: &mut Listing, folder: &Path, prefix: &str) -> Result<(), ScanError> {
    let failed = |source| ScanError::List { path: folder.to_owned(), source };
    listing.watch(folder);
    let mut paths = fs::read_dir(folder)
        .map_err(failed)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    paths.sort();
    let mut seconds = Vec::new();
    for path in paths {
        let name = file_name(&path);
        if name.starts_with('.') {
            continue;
        }
        if let Some((stem, _)) = split(&name) {
            listing.watch_target(&path);
            let child = format!("{prefix}{stem}");
            match found(&path) {
                None => {}
                Some(_) if listing.children.contains_key(&child) => seconds.push((format!("{prefix}{name}"), path, child)),
                Some(entry) => drop(listing.children.insert(child, entry)),
            }
        } else if prefix.is_empty() && path.is_dir() {
            list_folder(listing, &path, &format!("{name}/"))?;
        }
    }
    for (name, path, first) in seconds {
        listing.add_unusable(&name, path, format!("another file has the same name but for its extension ({first})"));
    }
    Ok(())
}

/// Looks at one file; `None` where there is none after all.
fn found(path: &Path) -> Option<Entry> {
    let found = match fs::metadata(path) {
        Ok(seen) if seen.is_file() => Found::File(Look::from(&seen)),
        Ok(_) => Found::Unusable("it is not a regular file".to_owned()),
        Err(_) if path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) => return None,
        Err(error) => Found::Unusable(format!("it cannot be reached: {error}")),
    };
    let found = if path.file_name()?.to_str().is_some() { found } else { Found::Unusable("its name is not UTF-8".to_owned()) };
    Some(Entry { path: path.to_owned(), found })
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

impl Listing {
    fn add_unusable(&mut self, name: &str, path: PathBuf, why: String) {
        let mut name = name.to_owned();
        while self.children.contains_key(&name) {
            name.push('~');
        }
        self.children.insert(name, Entry { path, found: Found::Unusable(why) });
    }

    fn watch(&mut self, folder: &Path) {
        self.folders.extend(folder.canonicalize());
    }

    /// Where `path` is a link, its target may be edited where it lies.
    fn watch_target(&mut self, path: &Path) {
        if path.is_symlink() {
            let target = path.canonicalize().ok();
            self.folders.extend(target.and_then(|target| target.parent().map(Path::to_owned)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, *file).unwrap();
        }
        folder
    }

    fn names(listing: &Listing) -> Vec<&str> {
        listing.children.keys().map(String::as_str).collect()
    }

    #[test]
    fn lists_by_stem_and_leaves_out_what_is_hidden_or_of_another_kind() {
        let folder = tree(&[
            "config.yaml",
            "config/10-a.yaml",
            "config/20.b.yml",
            "config/30-c.json",
            "config/.hidden.yaml",
            "config/10-a.yaml~",
            "config/README.md",
            "config/..2024_01/10-z.yaml",
            "config/.yaml",
        ]);
        let listing = list(&folder.path().join("config")).unwrap();
        assert!(listing.root.unwrap().path.ends_with("config.yaml"));
        assert_eq!(listing.children.keys().collect::<Vec<_>>(), ["10-a", "20.b", "30-c"]);
    }

    #[test]
    fn a_branch_that_does_not_exist_is_absent_and_one_that_cannot_be_listed_is_an_error() {
        let folder = tree(&["datasources"]);
        assert_eq!(names(&list(&folder.path().join("config")).unwrap()), [""; 0]);
        assert!(list(&folder.path().join("datasources")).is_err(), "a file where the folder should be");
        symlink("nowhere", folder.path().join("config")).unwrap();
        assert!(list(&folder.path().join("config")).is_err(), "a link into nothing");
    }

    #[test]
    fn of_two_files_with_one_stem_the_second_is_told_and_not_lost() {
        let folder = tree(&["config.json", "config.yml", "config/a.yaml", "config/a.yml", "config/a.json", "config/a.yaml.json"]);
        let listing = list(&folder.path().join("config")).unwrap();
        assert!(listing.root.as_ref().unwrap().path.ends_with("config.json"));
        assert_eq!(names(&listing), ["a", "a.yaml", "a.yaml~", "a.yml", "config.yml"]);
        let unusable: Vec<_> = listing
            .children
            .iter()
            .filter(|(_, entry)| matches!(entry.found, Found::Unusable(_)))
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(unusable, ["a.yaml~", "a.yml", "config.yml"]);
    }

    #[test]
    fn what_is_there_but_of_no_use_is_told() {
        let folder = tree(&["config/sub/deep.yaml"]);
        fs::create_dir(folder.path().join("config/folder.yaml")).unwrap();
        symlink("nowhere", folder.path().join("config/dangling.yaml")).unwrap();
        fs::write(folder.path().join("config").join(OsStr::from_bytes(b"\xff.yaml")), "").unwrap();
        let listing = list(&folder.path().join("config")).unwrap();
        assert_eq!(names(&listing), ["dangling", "folder", "sub/deep", "\u{fffd}"]);
        for name in ["dangling", "folder", "\u{fffd}"] {
            assert!(matches!(listing.children[name].found, Found::Unusable(_)), "{name}");
        }
    }

    #[test]
    fn watches_where_links_lead() {
        let folder = tree(&["elsewhere/a.yaml"]);
        fs::create_dir(folder.path().join("config")).unwrap();
        symlink("../elsewhere/a.yaml", folder.path().join("config/a.yaml")).unwrap();
        let listing = list(&folder.path().join("config")).unwrap();
        let root = folder.path().canonicalize().unwrap();
        assert_eq!(listing.folders, BTreeSet::from([root.clone(), root.join("config"), root.join("elsewhere")]));
    }
}
