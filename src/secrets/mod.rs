//! Secrets, resolved at the moment of use: an environment variable's value, or a file's content.
//!
//! In: a [`Reference`] of the agent's own settings, whose author operates the agent and may name anything; or a [`Directive`]
//! of a datasource, whose author may only name what `secrets.files` and `secrets.env` allow (law 9). Out: [`SecretText`].
//! Files count by their true place, all links resolved, and what was opened is asked once more where it lies, so that a
//! link swapped in between leads nowhere. Errors name the reference and the allow-list, never content, and do not tell
//! whether a file exists that is not allowed. Nothing is kept: [`watch`] says when to resolve again.

pub mod watch;

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::OFlags;

use crate::model::pattern::fits_any;
use crate::model::secret::SecretText;
use crate::model::value::Directive;
use crate::settings::{Reference, SecretsAllowed};

/// How long a secret may be.
const LIMIT: u64 = 1024 * 1024;
/// How often a file that vanished between finding and opening it is looked for again: Kubernetes swaps whole folders.
const TRIES: u32 = 3;

/// Why a secret was not had. Never holds what was read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not on the list.
    #[error("the environment variable {name} is not among those allowed ({})", allowed.join(", "))]
    EnvNotAllowed {
        /// The variable.
        name: String,
        /// The patterns of `secrets.env`.
        allowed: Vec<String>,
    },
    /// The variable is not set.
    #[error("the environment variable {name} is not set")]
    EnvMissing {
        /// The variable.
        name: String,
    },
    /// The file lies, or leads, outside the list; or there is none and it would.
    #[error("the file {} is not within those allowed ({})", path.display(), show(allowed))]
    FileNotAllowed {
        /// The file, as it was named.
        path: PathBuf,
        /// `secrets.files`.
        allowed: Vec<PathBuf>,
    },
    /// The path does not start at the root.
    #[error("the file {path} must be named by its full path")]
    NotAbsolute {
        /// The file, as it was named.
        path: PathBuf,
    },
    /// The file could not be read.
    #[error("failed to read {path}")]
    Read {
        /// The file, as it was named.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is a folder, a pipe, a device.
    #[error("{path} is not a regular file")]
    NotAFile {
        /// The file, as it was named.
        path: PathBuf,
    },
    /// It is too long.
    #[error("{path} is longer than 1 MiB")]
    TooLong {
        /// The file, as it was named.
        path: PathBuf,
    },
    /// It is not text.
    #[error("{what} is not UTF-8 text")]
    NotText {
        /// The variable or file.
        what: String,
    },
    /// There is nothing in it: a rotation half done, a key that was left out.
    #[error("{what} is empty")]
    Empty {
        /// The variable or file.
        what: String,
    },
    /// The directive is of another kind.
    #[error("only $env, $file and $secret hold a secret")]
    NotASecret,
    /// The thread that read the file ended before its time.
    #[error("failed to finish reading {path}")]
    Interrupted {
        /// The file.
        path: PathBuf,
    },
}

impl SecretError {
    /// What a person can do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::EnvNotAllowed { name, .. } => Some(format!("the agent's operator can add {name} to secrets.env")),
            Self::FileNotAllowed { path, allowed } if is_named_within(path, allowed) => {
                Some(format!("{} is a link that leads elsewhere: the place it leads to is what counts", path.display()))
            }
            Self::FileNotAllowed { path, .. } => {
                Some(format!("the agent's operator can add {} to secrets.files", path.parent().unwrap_or(path).display()))
            }
            Self::EnvMissing { name } => Some(format!("set {name} where the agent is started")),
            Self::Empty { .. } => Some("fill it; a password that is meant to be empty is written as it is: \"\"".to_owned()),
            _ => None,
        }
    }
}

fn show(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Where secrets are asked for.
#[derive(Clone, Debug)]
pub struct Secrets {
    allowed: SecretsAllowed,
}

impl Secrets {
    /// Allows what `secrets` in the settings allows.
    #[must_use]
    pub fn new(allowed: SecretsAllowed) -> Self {
        Self { allowed }
    }

    /// Resolves what a datasource asks for: `$env` and `$file` within the allow-lists, `$secret` as it is.
    pub async fn directive(&self, directive: &Directive) -> Result<SecretText, SecretError> {
        match directive {
            Directive::Secret(text) => Ok(text.clone()),
            Directive::Env(name) => {
                self.permit_env(name)?;
                from_env(name)
            }
            Directive::File(path) => {
                let (path, allowed) = (PathBuf::from(path), self.allowed.files.clone());
                off_thread(path, move |path| open_allowed(path, &allowed)).await
            }
            _ => Err(SecretError::NotASecret),
        }
    }

    /// Says whether a datasource may ask for this, without reading it; a file that is missing but would be allowed may be.
    pub fn permit(&self, directive: &Directive) -> Result<(), SecretError> {
        match directive {
            Directive::Secret(_) => Ok(()),
            Directive::Env(name) => self.permit_env(name),
            Directive::File(path) => match locate(Path::new(path), &self.allowed.files) {
                Err(SecretError::Read { .. }) => Ok(()),
                other => other.map(drop),
            },
            _ => Err(SecretError::NotASecret),
        }
    }

    fn permit_env(&self, name: &str) -> Result<(), SecretError> {
        if fits_any(&self.allowed.env, name) {
            return Ok(());
        }
        Err(SecretError::EnvNotAllowed { name: name.to_owned(), allowed: self.allowed.env.clone() })
    }
}

/// Resolves a reference of the agent's own settings, which may name any variable and any file.
pub async fn reference(reference: &Reference) -> Result<SecretText, SecretError> {
    match reference {
        Reference::Plain(text) => Ok(text.clone()),
        Reference::Env(name) => from_env(name),
        Reference::File(path) => {
            off_thread(path.clone(), |path| open(path).map_err(|source| SecretError::Read { path: path.to_owned(), source }))
                .await
        }
    }
}

fn from_env(name: &str) -> Result<SecretText, SecretError> {
    let value = std::env::var_os(name).ok_or_else(|| SecretError::EnvMissing { name: name.to_owned() })?;
    let text = value.into_string().map_err(|_: OsString| SecretError::NotText { what: format!("the value of {name}") })?;
    filled(text, || format!("the environment variable {name}"))
}

fn filled(text: String, what: impl FnOnce() -> String) -> Result<SecretText, SecretError> {
    if text.is_empty() { Err(SecretError::Empty { what: what() }) } else { Ok(SecretText::new(text)) }
}

async fn off_thread(
    path: PathBuf,
    open: impl FnOnce(&Path) -> Result<File, SecretError> + Send + 'static,
) -> Result<SecretText, SecretError> {
    let interrupted = SecretError::Interrupted { path: path.clone() };
    let work = move || open(&path).and_then(|file| read(&file, &path));
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(interrupted))
}

/// Opens `path` if it truly lies within one of `allowed`.
fn open_allowed(path: &Path, allowed: &[PathBuf]) -> Result<File, SecretError> {
    let mut tries = 1;
    loop {
        let found = locate(path, allowed)?;
        match open_found(&found, path, allowed) {
            Err(SecretError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound && tries < TRIES => tries += 1,
            other => return other,
        }
    }
}

/// Opens the file that was found at `found`, and asks the kernel whether what is now open still lies within `allowed`.
fn open_found(found: &Path, path: &Path, allowed: &[PathBuf]) -> Result<File, SecretError> {
    let open = || {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(found)?;
        let place = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        Ok((file, place))
    };
    let (file, place) = open().map_err(|source| SecretError::Read { path: path.to_owned(), source })?;
    if is_within(&place, allowed) { Ok(file) } else { Err(not_allowed(path, allowed)) }
}

/// Finds the true place of `path`, all links resolved.
fn locate(path: &Path, allowed: &[PathBuf]) -> Result<PathBuf, SecretError> {
    if !path.is_absolute() {
        return Err(SecretError::NotAbsolute { path: path.to_owned() });
    }
    match path.canonicalize() {
        Ok(found) if is_within(&found, allowed) => Ok(found),
        // Only who names a path within an allowed folder is told what became of it: the others could ask which files exist.
        Err(source) if is_named_within(path, allowed) => Err(SecretError::Read { path: path.to_owned(), source }),
        _ => Err(not_allowed(path, allowed)),
    }
}

fn not_allowed(path: &Path, allowed: &[PathBuf]) -> SecretError {
    SecretError::FileNotAllowed { path: path.to_owned(), allowed: allowed.to_vec() }
}

/// Whether a true place lies within a true place of the list.
fn is_within(place: &Path, allowed: &[PathBuf]) -> bool {
    allowed.iter().filter_map(|root| root.canonicalize().ok()).any(|root| place.starts_with(root))
}

/// Whether the words of `path` lie within those of an allowed one, whatever links make of them.
fn is_named_within(path: &Path, allowed: &[PathBuf]) -> bool {
    let climbs = path.components().any(|part| part == Component::ParentDir);
    !climbs && allowed.iter().any(|root| path.starts_with(root))
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)
}

fn read(file: &File, path: &Path) -> Result<SecretText, SecretError> {
    let failed = |source| SecretError::Read { path: path.to_owned(), source };
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(SecretError::NotAFile { path: path.to_owned() });
    }
    let mut bytes = Vec::new();
    file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LIMIT {
        return Err(SecretError::TooLong { path: path.to_owned() });
    }
    let text = String::from_utf8(bytes).map_err(|_| SecretError::NotText { what: path.display().to_string() })?;
    filled(without_line_end(text), || path.display().to_string())
}

/// Drops the one line end that editors and `echo` leave at a file's end.
fn without_line_end(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    text
}

#[cfg(test)]
mod tests;
