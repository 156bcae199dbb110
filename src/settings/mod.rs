//! The agent's own settings, as they are meant: every default filled in, every cross-field law checked.
//!
//! YAML, environment and flags come in through [`load::load`]; a [`Settings`] exists only if all of it is valid. Durations are
//! durations and sizes are bytes here. Secrets are still references ([`Reference`]): a command resolves only those it uses.

pub(crate) mod environment;
mod laws;
pub mod load;
mod read;
pub mod release;
mod scalars;
mod section;
mod tree;
mod yaml;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::instance::{InstanceId, Labels};
use crate::model::secret::SecretText;
use release::{Boot, Check, Releases, RolloutRules, Verify};

/// All settings of one agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The cluster's name: part of every connection's UUID.
    pub cluster: String,
    /// Who this instance is.
    pub instance: Identity,
    /// Where the tree comes from.
    pub source: Source,
    /// Where in the tree things lie, and how much of it may vanish at once.
    pub layout: Layout,
    /// Where the agent keeps its last good revision and digests.
    pub state_dir: PathBuf,
    /// What Superset starts from when no release can be had in time.
    pub boot: Boot,
    /// Which secrets a datasource may ask the agent for.
    pub secrets: SecretsAllowed,
    /// What is rendered, and what fragments may use.
    pub render: Render,
    /// How a candidate is proved.
    pub check: Check,
    /// How Superset is made to load a new config.
    pub reload: Reload,
    /// How a reload is verified.
    pub verify: Verify,
    /// How a release moves through the cluster.
    pub rollout: RolloutRules,
    /// How many published trees are kept.
    pub releases: Releases,
    /// The Superset beside the agent.
    pub superset: Superset,
    /// How connections are pushed.
    pub datasources: Datasources,
    /// Where the agent itself is asked.
    pub http: SocketAddr,
    /// What is logged.
    pub log: Log,
}

/// A value that the settings give in the clear or say where to find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// Written in the settings themselves.
    Plain(SecretText),
    /// An environment variable's name.
    Env(String),
    /// A file, read without the line end at its end.
    File(PathBuf),
}

/// `instance`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The id; by default the host's name.
    pub id: InstanceId,
    /// Labels that fragments select by; `role` is `web` where it is not set.
    pub labels: Labels,
}

/// `source`: exactly one of the two.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A ZooKeeper ensemble.
    Zookeeper(Zookeeper),
    /// A folder of the same shape, on one machine.
    Directory {
        /// The folder.
        path: PathBuf,
    },
}

/// `source.zookeeper`
#[derive(Clone, Debug, PartialEq)]
pub struct Zookeeper {
    /// `host:port,…`, with a chroot at the end where there is one.
    pub connect: String,
    /// The tree's root within the chroot.
    pub root: String,
    /// The session's timeout.
    pub session_timeout: Duration,
    /// Digest credentials.
    pub auth: Option<DigestAuth>,
    /// TLS, where it is used.
    pub tls: Option<Tls>,
    /// The ACL of the nodes that we create.
    pub acl: Acl,
}

/// `source.zookeeper.auth`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestAuth {
    /// The user's name.
    pub username: String,
    /// The password.
    pub password: Reference,
}

/// `source.zookeeper.tls`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// PEM file with the authorities to trust; the system's where it is not set.
    pub ca: Option<PathBuf>,
    /// PEM file with the client's certificate chain.
    pub cert: Option<PathBuf>,
    /// PEM file with the client's private key.
    pub key: Option<PathBuf>,
    /// Whether the server's name must be in its certificate.
    pub verify_hostname: bool,
}

/// `source.zookeeper.acl`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acl {
    /// Everybody may do everything.
    Open,
    /// Only who authenticates as the creator may.
    Creator,
    /// These entries.
    Entries(Vec<AclEntry>),
}

/// One entry of an ACL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclEntry {
    /// `world`, `auth`, `digest`, `ip`, `x509`, `sasl`.
    pub scheme: String,
    /// Whom in that scheme.
    pub id: String,
    /// Letters of `cdrwa`.
    pub perms: String,
}

/// `layout`
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// Where the config tree lies, if not at `root/config`: an absolute znode path, or a path within the directory source.
    pub config: Option<String>,
    /// Where the datasources lie, if not at `root/datasources`.
    pub datasources: Option<String>,
    /// The share of its datasources (0 to 1) that a tree may lose at once.
    pub max_loss: f64,
}

/// `secrets`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretsAllowed {
    /// Folders or files that `$file` may name.
    pub files: Vec<PathBuf>,
    /// Variables that `$env` may name; `*` stands for any text.
    pub env: Vec<String>,
}

/// `render`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Render {
    /// Superset's config file.
    pub superset_config: SupersetConfig,
    /// More files, from templates.
    pub templates: Vec<Template>,
    /// Variables that `$env` may name in fragments.
    pub allow_env: Vec<String>,
    /// Folders or files that `$file` may name in fragments.
    pub allow_files: Vec<PathBuf>,
    /// Dotted names that `$object` and `$ref` may name; `*` stands for any text.
    pub allow_objects: Vec<String>,
    /// Whether `$python` is allowed.
    pub allow_python: bool,
}

impl Render {
    /// Every file that is written.
    pub fn targets(&self) -> impl Iterator<Item = &Path> {
        self.templates.iter().map(|template| &*template.path).chain([&*self.superset_config.path])
    }
}

/// `render.superset_config`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupersetConfig {
    /// Where it is written.
    pub path: PathBuf,
    /// The Python file that goes before everything else.
    pub base: Option<PathBuf>,
    /// Its permissions.
    pub mode: u32,
}

/// One of `render.templates`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// The template's file.
    pub source: PathBuf,
    /// Where the result is written.
    pub path: PathBuf,
    /// Its permissions.
    pub mode: u32,
}

/// `reload`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reload {
    /// Which way.
    pub strategy: ReloadStrategy,
    /// Gunicorn's pid file.
    pub pid_file: Option<PathBuf>,
    /// The systemd unit.
    pub unit: Option<String>,
    /// The command and its arguments.
    pub command: Option<Vec<String>>,
}

/// `reload.strategy`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadStrategy {
    /// Whatever the other keys of `reload` name; nothing where they name nothing.
    Auto,
    /// HUP to gunicorn.
    Hup,
    /// A new gunicorn beside the old one.
    Handoff,
    /// The unit is restarted.
    Restart,
    /// A command is run.
    Command,
    /// Superset is not told.
    None,
}

/// `superset`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superset {
    /// Its base URL, without a slash at the end.
    pub url: url::Url,
    /// The user for the REST API.
    pub username: String,
    /// Its password.
    pub password: Reference,
    /// The deadline of one call.
    pub timeout: Duration,
    /// Its version, where it is not to be asked for.
    pub version: Option<String>,
}

/// `datasources`
#[derive(Clone, Debug, PartialEq)]
pub struct Datasources {
    /// Whether this instance may lead and push.
    pub push: bool,
    /// Whether connections that the tree no longer has are deleted.
    pub prune: bool,
    /// The share (0 to 1) of our connections deleted at once; at least one.
    pub max_delete: f64,
    /// How often Superset is compared, and the tree read whole, even though nothing changed.
    pub resync: Duration,
    /// How many calls at once.
    pub concurrency: usize,
    /// Whether a server is probed by TCP before Superset is asked to connect to it.
    pub preflight: bool,
}

/// `log`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Text or JSON.
    pub format: LogFormat,
    /// A level, or `tracing-subscriber` directives.
    pub level: String,
}

/// `log.format`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs: one object a line.
    Json,
}

/// Flags of the command line that beat every other source of a setting, by dotted key.
pub type Flags = BTreeMap<String, String>;
