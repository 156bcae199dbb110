//! `rollout …` and `history …`: releases on their way, and those that were, as their commands are typed.
//!
//! The words, their help and their examples; what each does is in [`crate::commands`].

use clap::Subcommand;

/// `rollout …`
#[derive(Debug, Subcommand)]
pub enum RolloutCommand {
    /// Let the tree go on that is held because it lost too much at once
    #[command(after_help = "Example:\n  setkeeper rollout confirm")]
    Confirm {
        /// Confirm the tree although no live instance holds it
        #[arg(long)]
        force: bool,
    },
    /// Show which release is published, which is completed, and where each instance is
    #[command(
        after_help = "Example:\n  setkeeper rollout status -o json | jq .quarantine\n  setkeeper rollout status --watch --until-done && echo completed"
    )]
    Status {
        /// Look again every second and show what changes, until Ctrl-C; with -o json one document a line
        #[arg(long)]
        watch: bool,
        /// End once the rollout has come to rest: with 0 if it is completed, with 1 if the release proved bad
        #[arg(long, requires = "watch")]
        until_done: bool,
    },
    /// Let a release that proved bad be tried again
    #[command(after_help = "Example:\n  setkeeper rollout release")]
    Release {
        /// The release's digest; by default the only one in quarantine
        release: Option<String>,
    },
}

/// `history …`
#[derive(Debug, Subcommand)]
pub enum HistoryCommand {
    /// Remove earlier releases; the newest and the completed one stay
    #[command(after_help = "Example:\n  setkeeper history purge --keep 5")]
    Purge {
        /// How many of the newest to keep
        #[arg(long, value_name = "COUNT", default_value_t = 1)]
        keep: usize,
    },
}
