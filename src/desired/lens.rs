//! The lens: through what an instance looks at the tree, being its labels, what its settings allow, and its Superset.
//!
//! Allow-lists are checked on the text of a name here; who opens a file resolves its links and checks again.

use std::path::{Component, Path, PathBuf};

use crate::catalogue::Edition;
use crate::model::instance::Labels;
use crate::model::pattern::fits_any;
use crate::settings::Settings;

/// What one instance brings to the tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lens {
    /// The cluster's name: part of every connection's UUID.
    pub cluster: String,
    /// By which fragments select.
    pub labels: Labels,
    /// What fragments may use.
    pub render: Allowed,
    /// What datasources may use.
    pub secrets: Allowed,
    /// For which Superset settings are judged.
    pub superset: Edition,
}

/// What directives may name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Variables; `*` stands for any text.
    pub env: Vec<String>,
    /// Folders or files.
    pub files: Vec<PathBuf>,
    /// Dotted names; `*` stands for any text.
    pub objects: Vec<String>,
    /// Whether raw Python may be written.
    pub python: bool,
}

impl Lens {
    /// The lens of an agent with these settings.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let (render, secrets) = (&settings.render, &settings.secrets);
        Self {
            cluster: settings.cluster.clone(),
            labels: settings.instance.labels.clone(),
            render: Allowed {
                env: render.allow_env.clone(),
                files: render.allow_files.clone(),
                objects: render.allow_objects.clone(),
                python: render.allow_python,
            },
            secrets: Allowed { env: secrets.env.clone(), files: secrets.files.clone(), ..Allowed::default() },
            superset: Edition::of(settings.superset.version.as_deref()),
        }
    }
}

impl Allowed {
    /// Whether this variable may be named.
    #[must_use]
    pub fn has_env(&self, name: &str) -> bool {
        fits_any(&self.env, name)
    }

    /// Whether this file may be named: a canonical-looking path in or at one of the allowed ones.
    #[must_use]
    pub fn has_file(&self, path: &str) -> bool {
        is_canonical(path) && self.files.iter().any(|allowed| Path::new(path).starts_with(allowed))
    }

    /// Whether this object may be named.
    #[must_use]
    pub fn has_object(&self, name: &str) -> bool {
        fits_any(&self.objects, name)
    }
}

/// Whether a path is absolute and says where it leads: no `.`, `..`, doubled slash, or slash at its end.
#[must_use]
pub fn is_canonical(path: &str) -> bool {
    let mut parts = Path::new(path).components();
    let rooted = parts.next() == Some(Component::RootDir);
    let plain = path.split('/').skip(1).all(|part| !matches!(part, "" | "." | ".."));
    rooted && plain && !path.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn law_9_no_path_leads_out_of_an_allowed_folder() {
        let allowed = Allowed { files: vec!["/run/secrets".into(), "/etc/one".into()], ..Allowed::default() };
        for yes in ["/run/secrets/db", "/run/secrets/a/b", "/etc/one"] {
            assert!(allowed.has_file(yes), "{yes}");
        }
        for no in [
            "/run/secrets/../shadow",
            "/run/secrets/./db",
            "/run/secrets//db",
            "/run/secrets/",
            "/run/secretsx",
            "run/secrets/db",
            "/run/secrets/a\0b",
            "/etc/ones",
            "",
            "/",
        ] {
            assert!(!allowed.has_file(no), "{no}");
        }
    }
}
