//! The command line as people type it: commands, flags, help.
//!
//! In: arguments. Out: a [`Cli`], or how the program ends without one: help was asked for, or the arguments are misuse. Here are
//! the commands of one word; those of two have a file each, and so has what all take. What the commands do is in
//! [`crate::commands`].

mod config;
mod datasource;
mod rollout;
mod shared;

pub mod once;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Args, ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;

pub use self::config::ConfigCommand;
pub use self::datasource::DatasourceCommand;
pub use self::rollout::{HistoryCommand, RolloutCommand};
use self::shared::SHARED;
pub use self::shared::Shared;
use crate::output;

/// Everything given on the command line.
#[derive(Debug, Parser)]
#[command(
    name = "setkeeper",
    version,
    about = "Keeps Apache Superset in line with ZooKeeper: configuration, connections, cluster state",
    color = ColorChoice::Never,
    max_term_width = 100,
    disable_help_subcommand = true,
    after_help = "\
Exit codes: 0 done, 1 failed, 2 misuse.

Example:
  setkeeper --connect zk1:2181,zk2:2181 status"
)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub shared: Shared,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Whether secrets are shown.
#[derive(Clone, Copy, Debug, Args)]
pub struct Reveal {
    /// Show secrets instead of ***
    #[arg(long)]
    pub reveal: bool,
}

/// Which fragment is edited.
#[derive(Clone, Debug, Args)]
pub struct Fragment {
    /// The fragment to edit; by default the one that holds KEY, else 50-cli
    #[arg(long = "in", value_name = "FRAGMENT")]
    pub fragment: Option<String>,
}

/// A folder that is applied, and how.
#[derive(Clone, Debug, Args)]
pub struct Apply {
    /// The folder, as `export` writes it
    pub dir: PathBuf,
    /// Show what would change, and change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// What is said of it in the history
    #[arg(short, long)]
    pub message: Option<String>,
    /// Go on with an edit in parts that somebody left half done
    #[arg(long)]
    pub takeover: bool,
}

/// One command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Keep this Superset in line until told to stop; with a command, start it too, once its config is there
    #[command(after_help = "\
Example:
  setkeeper run --config /etc/setkeeper/config.yaml
  setkeeper run -- gunicorn --bind 0.0.0.0:8088 --workers 4 'superset.app:create_app()'")]
    Run {
        /// Without a command: start the agent again whenever it dies
        #[arg(long, conflicts_with = "program")]
        restart: bool,
        /// Stand beside the supervisor that started this
        #[arg(long, hide = true, conflicts_with = "program")]
        supervised: bool,
        /// Run for the one that starts this again
        #[arg(long, hide = true, conflicts_with_all = ["program", "restart", "supervised"])]
        kept: bool,
        /// Superset's command: supervised, with its exit code as ours
        #[arg(last = true, value_name = "COMMAND")]
        program: Vec<OsString>,
    },
    /// Find everything that is wrong with the settings and the tree
    #[command(after_help = "Example:\n  setkeeper check -o json")]
    Check,
    /// Show what this instance would do if it led
    #[command(after_help = "Example:\n  setkeeper plan --exit-code || echo 'not in line'")]
    Plan {
        /// End with 0 where there is nothing to do, 1 where there is something, 3 on failure
        #[arg(long)]
        exit_code: bool,
        /// Whether secrets are shown.
        #[command(flatten)]
        reveal: Reveal,
    },
    /// Print the files that this instance would write
    #[command(after_help = "Example:\n  setkeeper render --set instance.labels.role=worker > superset_config.py")]
    Render {
        /// Whether secrets are shown.
        #[command(flatten)]
        reveal: Reveal,
    },
    /// Show every instance, the leader and every datasource
    #[command(after_help = "Example:\n  setkeeper status -o json | jq -r .leader")]
    Status,
    /// Read and edit Superset's configuration in the tree
    #[command(subcommand, after_help = "Example:\n  setkeeper config set ROW_LIMIT 10000")]
    Config(ConfigCommand),
    /// Read and edit the database connections in the tree
    #[command(subcommand, visible_alias = "ds", after_help = "Example:\n  setkeeper datasource list")]
    Datasource(DatasourceCommand),
    /// Watch a release on its way, and let it go on
    #[command(subcommand, after_help = "Example:\n  setkeeper rollout status")]
    Rollout(RolloutCommand),
    /// Write the tree to a folder, in files that only their owner can read
    #[command(after_help = "Example:\n  setkeeper export ./tree")]
    Export {
        /// The folder; it is made if need be
        dir: PathBuf,
    },
    /// Make the tree what a folder says; nodes that the folder lacks are deleted
    #[command(after_help = "Example:\n  setkeeper apply --dry-run ./tree && setkeeper apply ./tree")]
    Apply(Apply),
    /// Let no instance take a new slot and write nothing to Superset's API, until `resume`
    #[command(after_help = "Example:\n  setkeeper pause --reason 'database upgrade' --for 2h")]
    Pause {
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Resume by itself after this long, such as 90m
        #[arg(long = "for", value_name = "DURATION")]
        length: Option<jiff::SignedDuration>,
    },
    /// Lift a pause
    #[command(after_help = "Example:\n  setkeeper resume")]
    Resume,
    /// Run a command once in the whole cluster for a key; who comes later waits, and ends as it did
    #[command(
        override_usage = "setkeeper once [OPTIONS] --key <KEY> <NAME> -- <COMMAND>...",
        after_help = "\
Exit codes: the command's own, 128 and the signal's number where a signal ended it; 1 failed, 2 misuse.

Example:
  setkeeper once db-upgrade --key \"$IMAGE\" -- sh -c 'superset db upgrade && superset init'"
    )]
    Once(once::Once),
    /// Ask the agent of this host whether it lives: for probes
    #[command(after_help = "Example:\n  setkeeper health --ready")]
    Health {
        /// Ask whether a revision is applied instead
        #[arg(long)]
        ready: bool,
    },
    /// Copy this program to a path: for init containers, whose image need not have anything else
    #[command(after_help = "Example:\n  setkeeper install /opt/setkeeper/bin/setkeeper")]
    Install {
        /// The file; it replaces what is there
        path: PathBuf,
    },
    /// Look after what is kept of earlier releases
    #[command(subcommand, after_help = "Example:\n  setkeeper history purge --keep 5")]
    History(HistoryCommand),
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  setkeeper completions bash > /etc/bash_completion.d/setkeeper")]
    Completions {
        /// The shell
        shell: Shell,
    },
}

impl Cli {
    /// Reads the program's arguments; where there is nothing to run, says why and gives the exit code.
    pub fn from_arguments() -> Result<Self, ExitCode> {
        Self::parse_from(std::env::args_os()).map_err(|error| {
            if error.use_stderr() {
                output::say(&error.render().to_string().replace("\n  tip: ", "\nhint: "));
                return ExitCode::from(2);
            }
            match output::write(error.render().to_string().as_bytes()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            }
        })
    }

    fn parse_from(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let matches = command().try_get_matches_from(arguments)?;
        let mut cli = Self::from_arg_matches(&matches)?;
        cli.shared.set = set_of(&matches);
        cli.shared.misuse().map_or(Ok(cli), Err)
    }
}

/// The whole command line. Of a global argument clap keeps only the values at the deepest level and drops the others in
/// silence, so `--set` is an argument of each level, and the levels are joined.
#[must_use]
pub fn command() -> clap::Command {
    fn with_set(command: clap::Command) -> clap::Command {
        let set = Arg::new(SET).long(SET).value_name("KEY=VALUE").action(ArgAction::Append).help_heading(SHARED);
        command.arg(set.help("Set any setting by its dotted key; may be repeated")).mut_subcommands(with_set)
    }
    with_set(Cli::command())
}

const SET: &str = "set";

fn set_of(matches: &ArgMatches) -> Vec<String> {
    let here = matches.get_many::<String>(SET).unwrap_or_default().cloned();
    here.chain(matches.subcommand().map(|(_, inner)| set_of(inner)).unwrap_or_default()).collect()
}

impl Command {
    /// How the program ends when this command fails.
    #[must_use]
    pub fn code_of_failure(&self) -> ExitCode {
        match self {
            Self::Plan { exit_code: true, .. } => ExitCode::from(3),
            _ => ExitCode::FAILURE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        fn each(command: &clap::Command) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example:\n  setkeeper"), "{}", command.get_name());
            command.get_subcommands().for_each(each);
        }
        each(&command());
    }
}
