//! Setkeeper keeps Apache Superset in line with what ZooKeeper says.
//!
//! One agent runs beside each Superset. It follows a tree of znodes (or a folder), renders Superset's Python config from it, makes
//! Superset load that, and, where it leads, keeps Superset's database connections as the tree wants them. This page is the
//! map; the program is [`cli`] and [`commands`], of which `run` starts the [`agent`].
//!
//! # The picture
//!
//! ```text
//! zookeeper | directory ─tree▶ resolve ─resolved▶ config ─account▶ agent's report ─record▶ source
//!     │                           └────────────▶ connections ─statuses▶ source        └──▶ http
//!     └─standing▶ connections                    health ─entitled▶ zookeeper
//!
//! every pass:  watch → read → resolve → observe → plan → apply → report
//! ```
//!
//! # Rooms
//!
//! Each imports only rooms above it, and a pure one does no I/O and reads no clock; `tests/layers.rs` sees to that.
//!
//! - [`model`]: the vocabulary; pure
//! - [`metrics`]: every metric, and the one function that moves it
//! - [`catalogue`]: Superset's settings, their types by version; pure
//! - [`settings`]: the agent's own settings, raw to meant
//! - [`desired`]: a snapshot to what should be true, or every problem; pure
//! - [`render`]: what should be true to file texts and a revision; pure
//! - [`plan`]: the difference between what is wanted and what is observed; pure
//! - [`rollout`]: which release is meant, and its course onto this instance; pure
//! - [`files`]: files replaced atomically, and what the agent remembers
//! - [`secrets`]: variables and files that hold secrets, within the allow-lists
//! - [`processes`]: what runs on this machine, and how to signal it
//! - [`systemd`]: what systemd is told of its unit
//! - [`supervise`]: the small process that starts Superset and the agent, or a command under a lock
//! - [`zookeeper`]: all that knows ZooKeeper
//! - [`directory`]: the same tree from a folder
//! - [`superset`]: all that knows Superset
//! - [`check`]: whether a candidate loads, tried in a scratch place
//! - [`world`]: what the loops see of the outside
//! - [`live`]: the real outside
//! - [`reconcile`]: the loops
//! - [`http`]: what is told over HTTP
//! - [`agent`]: builds, starts and stops everything
//! - [`output`]: how commands print
//! - [`cli`]: the command line as it is typed
//! - [`commands`]: what each command does
//!
//! # Channels
//!
//! Tasks share values through `tokio::sync::watch` alone: one writer each, the newest wins, nothing piles up.
//!
//! | value | sent by | read by |
//! |---|---|---|
//! | tree | source | resolve |
//! | standing | source | connections, report |
//! | resolved | resolve | config, connections, report, credentials |
//! | accepted | resolve | resolve, keeper of `state_dir` |
//! | account, heartbeat | config | report; http, systemd |
//! | memory | config | keeper of `state_dir` |
//! | why it cannot be remembered | keeper of `state_dir` | report |
//! | statuses | connections | source, report |
//! | superset seen, entitled | health | resolve, report; zookeeper |
//! | generation of secret files | secrets watch | connections, credentials |
//! | files in use | credentials | secrets watch |
//! | passwords | credentials | source, Superset's client |
//! | link or folder status, live session | source | report |
//! | record, report | report | source; http, systemd |
//!
//! # Words
//!
//! *Fragment*: one config node. *Release*: digest of the published config tree. *Revision*: digest of what one instance makes of it.
//! *Snapshot*: the tree at one moment. *Desired*: what should be true; *observed*: what is. *Drift*: what differs although nobody
//! changed the tree. *Step*: one thing to do, with no choice left. *Held*: the last good state stays. *Standing*: whether an
//! instance leads, and until when that is certain. *Mark*: what a push leaves in a connection to prove whose it is. *Law n*: one of
//! the twelve of ARCHITECTURE.md.

pub mod agent;
pub mod catalogue;
pub mod check;
pub mod cli;
pub mod commands;
pub mod desired;
pub mod directory;
pub mod files;
pub mod http;
pub mod live;
pub mod metrics;
pub mod model;
pub mod output;
pub mod plan;
pub mod processes;
pub mod reconcile;
pub mod render;
pub mod rollout;
pub mod secrets;
pub mod settings;
pub mod superset;
pub mod supervise;
pub mod systemd;
pub mod world;
pub mod zookeeper;
