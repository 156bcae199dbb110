//! The names of our znodes: which path each part of the tree has, and what a path that an event names belongs to.
//!
//! Pure. In: the root and the layout of the settings. Out: absolute paths within the connect string's chroot. A name that
//! comes from elsewhere (a datasource's) is escaped, so that it is one segment of a path whatever is in it. Nothing here
//! says what lies at a path, or whether it exists.

use std::fmt::Write;

use crate::model::datasource::DatasourceName;
use crate::model::digest::Release;
use crate::model::instance::InstanceId;
use crate::model::lock::LockName;
use crate::model::once::OnceKey;
use crate::model::release::Seq;
use crate::settings::Layout;

/// Where everything lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    root: String,
    config: String,
    datasources: String,
    config_is_ours: bool,
    datasources_are_ours: bool,
}

impl Paths {
    /// The tree below `root`, with its two branches elsewhere where the layout says so.
    #[must_use]
    pub fn new(root: &str, layout: &Layout) -> Self {
        let root = root.trim_end_matches('/').to_owned();
        Self {
            config: layout.config.clone().unwrap_or_else(|| format!("{root}/config")),
            datasources: layout.datasources.clone().unwrap_or_else(|| format!("{root}/datasources")),
            config_is_ours: layout.config.is_none(),
            datasources_are_ours: layout.datasources.is_none(),
            root,
        }
    }

    /// The root's own path; `/` where the tree lies at the chroot itself.
    #[must_use]
    pub fn root(&self) -> &str {
        if self.root.is_empty() { "/" } else { &self.root }
    }

    /// The config branch.
    #[must_use]
    pub fn config(&self) -> &str {
        &self.config
    }

    /// The datasources branch.
    #[must_use]
    pub fn datasources(&self) -> &str {
        &self.datasources
    }

    /// The HMAC key.
    #[must_use]
    pub fn key(&self) -> String {
        self.below("key")
    }

    /// The layout's number.
    #[must_use]
    pub fn format(&self) -> String {
        self.below("format")
    }

    /// The rollout record.
    #[must_use]
    pub fn rollout(&self) -> String {
        self.below("rollout")
    }

    /// The parent of the reload slots.
    #[must_use]
    pub fn slots(&self) -> String {
        self.below("slots")
    }

    /// One reload slot.
    #[must_use]
    pub fn slot(&self, number: u32) -> String {
        self.below(&format!("slots/{number}"))
    }

    /// The parent of the kept trees.
    #[must_use]
    pub fn trees(&self) -> String {
        self.below("trees")
    }

    /// The parent of one kept tree's parts.
    #[must_use]
    pub fn tree(&self, digest: &Release) -> String {
        self.below(&format!("trees/{digest}"))
    }

    /// The parent of the entries of what was published.
    #[must_use]
    pub fn releases(&self) -> String {
        self.below("releases")
    }

    /// One entry.
    #[must_use]
    pub fn release(&self, seq: Seq) -> String {
        self.below(&format!("releases/{}", seq.name()))
    }

    /// A person's pause.
    #[must_use]
    pub fn pause(&self) -> String {
        self.below("pause")
    }

    /// An edit in progress.
    #[must_use]
    pub fn publishing(&self) -> String {
        self.below("publishing")
    }

    /// The parent of the instances' records.
    #[must_use]
    pub fn instances(&self) -> String {
        self.below("instances")
    }

    /// One instance's record.
    #[must_use]
    pub fn instance(&self, id: &InstanceId) -> String {
        self.below(&format!("instances/{id}"))
    }

    /// The parent of the election's contenders.
    #[must_use]
    pub fn leader(&self) -> String {
        self.below("leader")
    }

    /// The parent of the datasources' statuses.
    #[must_use]
    pub fn statuses(&self) -> String {
        self.below("status/datasources")
    }

    /// The last segment of a datasource's status.
    #[must_use]
    pub fn status_name(name: &DatasourceName) -> String {
        segment(name.as_str())
    }

    /// The parent of a lock's contenders.
    #[must_use]
    pub fn lock(&self, name: &LockName) -> String {
        self.below(&format!("locks/{}", segment(name.as_str())))
    }

    /// The parent of the outcomes of what runs once under this name.
    #[must_use]
    pub fn outcomes(&self, name: &LockName) -> String {
        self.below(&format!("once/{}", segment(name.as_str())))
    }

    /// The outcome for one key.
    #[must_use]
    pub fn outcome(&self, name: &LockName, key: &OnceKey) -> String {
        format!("{}/{}", self.outcomes(name), segment(key.as_str()))
    }

    /// What has to exist before we can work, parents first. A branch that the layout puts elsewhere belongs to somebody
    /// else, who will create it; until then we wait for it.
    #[must_use]
    pub(super) fn ours(&self) -> Vec<String> {
        let mut ours: Vec<_> = prefixes(&self.root).map(ToOwned::to_owned).collect();
        if self.config_is_ours {
            ours.push(self.config.clone());
        }
        if self.datasources_are_ours {
            ours.push(self.datasources.clone());
        }
        ours.extend([self.instances(), self.leader(), self.below("status"), self.statuses()]);
        ours
    }

    fn below(&self, name: &str) -> String {
        format!("{}/{name}", self.root)
    }
}

/// Any text as one segment of a path.
fn segment(text: &str) -> String {
    let dots = matches!(text, "." | "..");
    let mut segment = String::with_capacity(text.len());
    for char in text.chars() {
        if !dots && fits_a_segment(char) {
            segment.push(char);
            continue;
        }
        for byte in char.encode_utf8(&mut [0; 4]).bytes() {
            // Writing to a String cannot fail.
            let _ = write!(segment, "%{byte:02X}");
        }
    }
    segment
}

/// Whether ZooKeeper takes it within a name; `%` is escaped too, so that no two names meet.
fn fits_a_segment(char: char) -> bool {
    !char.is_control() && !matches!(char, '/' | '%' | '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..)
}

/// Every ancestor of `path` and `path` itself, outermost first: `/a`, `/a/b`.
pub(super) fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').skip(1).map(|(at, _)| at).chain((path.len() > 1).then_some(path.len())).map(|end| &path[..end])
}

/// What a path is to a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// The branch's own node.
    Root,
    /// The node of this relative path.
    Below(&'a str),
}

/// What `path` is to the branch at `root`, if it belongs to it at all.
pub(super) fn place<'a>(root: &str, path: &'a str) -> Option<Place<'a>> {
    match path.strip_prefix(root)? {
        "" => Some(Place::Root),
        rest => rest.strip_prefix('/').filter(|name| !name.is_empty()).map(Place::Below),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(datasources: Option<&str>) -> Layout {
        Layout { config: None, datasources: datasources.map(ToOwned::to_owned), max_loss: 0.5 }
    }

    #[test]
    fn everything_lies_below_the_root_unless_the_layout_says_otherwise() {
        let paths = Paths::new("/superset", &layout(None));
        assert_eq!(paths.config(), "/superset/config");
        assert_eq!(paths.ours()[..3], ["/superset", "/superset/config", "/superset/datasources"]);
        let paths = Paths::new("/superset", &layout(Some("/data_source")));
        assert_eq!(paths.datasources(), "/data_source");
        assert!(!paths.ours().contains(&"/data_source".to_owned()), "a foreign branch is not ours to create");
    }

    #[test]
    fn a_tree_may_lie_at_the_chroot_itself() {
        let paths = Paths::new("/", &layout(None));
        assert_eq!((paths.root(), paths.config(), &*paths.key()), ("/", "/config", "/key"));
        assert_eq!(paths.ours()[0], "/config");
    }

    #[test]
    fn parents_come_first() {
        assert_eq!(prefixes("/a/b/c").collect::<Vec<_>>(), ["/a", "/a/b", "/a/b/c"]);
        assert_eq!(prefixes("/").count() + prefixes("").count(), 0);
    }

    #[test]
    fn a_path_belongs_to_a_branch_only_at_a_slash() {
        assert_eq!(place("/s/config", "/s/config"), Some(Place::Root));
        assert_eq!(place("/s/config", "/s/config/a/b"), Some(Place::Below("a/b")));
        assert_eq!(place("/s/config", "/s/configs"), None);
        assert_eq!(place("/s/config", "/s"), None);
    }

    #[test]
    fn any_name_is_one_segment() {
        let name = |text: &str| Paths::status_name(&DatasourceName::new(text));
        assert_eq!(name("Sales (EU) 売上"), "Sales (EU) 売上");
        assert_eq!(name("a\u{1F600}"), "a%F0%9F%98%80");
        assert_eq!(name("my/sql"), "my%2Fsql");
        assert_eq!(name("100%"), "100%25");
        assert_eq!(name(".."), "%2E%2E");
    }

    #[test]
    fn a_key_with_slashes_is_one_node_and_no_two_keys_are_the_same() {
        let paths = Paths::new("/superset", &layout(None));
        let outcome = |key: &str| paths.outcome(&"db".parse().unwrap(), &key.parse().unwrap());
        assert_eq!(outcome("example.org/superset:6.1.0"), "/superset/once/db/example.org%2Fsuperset:6.1.0");
        assert_ne!(outcome("a/b"), outcome("a%2Fb"));
        assert_eq!(outcome(".."), "/superset/once/db/%2E%2E");
        assert_eq!(paths.lock(&"db".parse().unwrap()), "/superset/locks/db");
    }
}
