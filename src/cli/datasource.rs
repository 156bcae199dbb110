//! `datasource …`: the database connections in the tree, as its commands are typed.
//!
//! The words, their help and their examples; what each does is in [`crate::commands`].

use std::path::PathBuf;

use clap::Subcommand;

use super::Reveal;

/// `datasource …`
#[derive(Debug, Subcommand)]
pub enum DatasourceCommand {
    /// List every datasource and how it fares
    #[command(after_help = "Example:\n  setkeeper datasource list -o json | jq '.[] | select(.state != \"in_sync\")'")]
    List,
    /// Print a datasource
    #[command(after_help = "Example:\n  setkeeper datasource get sales -o yaml")]
    Get {
        /// Its name in the tree
        name: String,
        /// Whether secrets are shown.
        #[command(flatten)]
        reveal: Reveal,
    },
    /// Create or replace a datasource
    #[command(after_help = "Example:\n  setkeeper datasource apply sales.yaml")]
    Apply {
        /// Its name in the tree; by default the file's name without its ending
        #[arg(long)]
        name: Option<String>,
        /// The file, or - for standard input
        file: PathBuf,
    },
    /// Take a datasource out of the tree
    #[command(after_help = "Example:\n  setkeeper datasource delete sales")]
    Delete {
        /// Its name in the tree
        name: String,
    },
    /// Ask Superset to connect to a datasource
    #[command(after_help = "Example:\n  setkeeper datasource test sales")]
    Test {
        /// Its name in the tree
        name: String,
    },
}
