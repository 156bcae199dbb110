//! `config …`: Superset's configuration in the tree, as its commands are typed.
//!
//! The words, their help and their examples; what each does is in [`crate::commands`].

use clap::Subcommand;

use super::{Apply, Fragment, Reveal};

/// `config …`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print a setting of Superset, or all of them, as this instance has them
    #[command(after_help = "Example:\n  setkeeper config get FEATURE_FLAGS -o yaml")]
    Get {
        /// The setting; a dot leads into a mapping
        key: Option<String>,
        /// Whether secrets are shown.
        #[command(flatten)]
        reveal: Reveal,
    },
    /// Set a setting of Superset
    #[command(after_help = "Example:\n  setkeeper config set FEATURE_FLAGS.ALERT_REPORTS true")]
    Set {
        /// Which fragment is edited.
        #[command(flatten)]
        fragment: Fragment,
        /// The setting; a dot leads into a mapping
        key: String,
        /// Its value, as YAML
        yaml: String,
    },
    /// Take a setting of Superset out of its fragment
    #[command(after_help = "Example:\n  setkeeper config unset ROW_LIMIT --in 20-limits")]
    Unset {
        /// Which fragment is edited.
        #[command(flatten)]
        fragment: Fragment,
        /// The setting; a dot leads into a mapping
        key: String,
    },
    /// Edit a fragment with $EDITOR; it is checked before it is written
    #[command(after_help = "Example:\n  setkeeper config edit 20-limits -m 'more rows'")]
    Edit {
        /// The fragment; the base fragment where none is named
        fragment: Option<String>,
        /// What is said of it in the history
        #[arg(short, long)]
        message: Option<String>,
    },
    /// Make the config what a folder says, and leave the datasources alone
    #[command(after_help = "Example:\n  setkeeper config apply -m 'more rows' ./tree")]
    Apply(Apply),
    /// List the releases that are kept: when, by whom, what changed, what came of them
    #[command(after_help = "Example:\n  setkeeper config history -o json | jq '.[-1].fates'")]
    History,
    /// Show what differs between two releases
    #[command(after_help = "Example:\n  setkeeper config diff 12 now")]
    Diff {
        /// A release: its number, its digest, or `now` for the tree as it is
        before: String,
        /// The other one
        #[arg(default_value = "now")]
        after: String,
        /// Whether secrets are shown.
        #[command(flatten)]
        reveal: Reveal,
    },
    /// Publish the config of an earlier release again
    #[command(after_help = "Example:\n  setkeeper config rollback 12 -m 'the new theme breaks embedding'")]
    Rollback {
        /// The release: its number or its digest
        release: String,
        /// What is said of it in the history
        #[arg(short, long)]
        message: Option<String>,
    },
    /// Show which fragment each part of a setting comes from
    #[command(after_help = "Example:\n  setkeeper config explain FEATURE_FLAGS")]
    Explain {
        /// The setting; a dot leads into a mapping
        key: String,
        /// Whether secrets are shown.
        #[command(flatten)]
        reveal: Reveal,
    },
}
