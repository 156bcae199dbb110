//! The command line as people type it: commands, flags, help.
//!
//! In: arguments. Out: a [`Cli`], or how the program ends without one: help was asked for, or the arguments are misuse. What the commands do is in [`crate::commands`].

pub mod once;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;

use crate::output::{self, Format};
use crate::settings::Flags;
use crate::settings::environment::CONFIG;

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

const SHARED: &str = "Settings and output";

/// What every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = SHARED)]
pub struct Shared {
    /// Read the settings from FILE; by default /etc/setkeeper/config.yaml, where it exists
    #[arg(short, long, global = true, value_name = "FILE", env = CONFIG, hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// Settings by their dotted keys, `KEY=VALUE`, from every level of the command line.
    #[arg(skip)]
    pub set: Vec<String>,
    /// ZooKeeper's servers: source.zookeeper.connect
    #[arg(long, global = true, value_name = "HOSTS")]
    pub connect: Option<String>,
    /// The tree's root: source.zookeeper.root
    #[arg(long, global = true, value_name = "PATH")]
    pub root: Option<String>,
    /// How to print what was asked for: table, json or yaml
    #[arg(short, long, global = true, value_name = "FORMAT", value_enum, default_value_t, hide_possible_values = true)]
    pub output: Format,
}

impl Shared {
    /// Clap would repeat a wrong value, which may be a secret.
    fn misuse(&self) -> Option<clap::Error> {
        const EXPECTED: &str = "expected `--set KEY=VALUE`, such as `--set source.zookeeper.root=/superset`";
        let wrong = self.set.iter().find_map(|text| match key_value(text) {
            None => Some(EXPECTED.to_owned()),
            Some((key, value)) => plain_password(key, value).map(|key| {
                format!(
                    "{key} is not taken from the command line, where everybody on this host can read it\n\n  \
                     tip: name where it is: `--set '{key}={{$file: /run/secrets/it}}'` or `{{$env: NAME}}`"
                )
            }),
        });
        wrong.map(|wrong| command().error(ErrorKind::ValueValidation, wrong))
    }

    /// The settings given on the command line. Flags of their own win over `--set`: they are the plainer wish.
    #[must_use]
    pub fn flags(&self) -> Flags {
        let own = [("source.zookeeper.connect", &self.connect), ("source.zookeeper.root", &self.root)];
        let own = own.into_iter().filter_map(|(key, value)| Some((key, value.as_deref()?)));
        let set = self.set.iter().filter_map(|text| key_value(text));
        set.chain(own).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }
}

fn key_value(text: &str) -> Option<(&str, &str)> {
    text.split_once('=').filter(|(key, _)| key.split('.').all(|part| !part.is_empty()))
}

/// The key of a password that is given as it is: `superset.password=x`, `superset={password: x}`.
fn plain_password(key: &str, value: &str) -> Option<String> {
    fn within(key: &str, value: &serde_json::Value) -> Option<String> {
        match value {
            serde_json::Value::Object(inner) => inner.iter().find_map(|(name, value)| within(&format!("{key}.{name}"), value)),
            serde_json::Value::Null => None,
            _ => key.ends_with(".password").then(|| key.to_owned()),
        }
    }
    // What is no YAML is a password like any other.
    let value = serde_yaml::from_str(value).unwrap_or_else(|_| serde_json::Value::from(value));
    within(key, &value)
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
        /// Stand beside the supervisor that started this
        #[arg(long, hide = true, conflicts_with = "program")]
        supervised: bool,
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
    #[command(after_help = "Example:\n  setkeeper rollout status -o json | jq .quarantine")]
    Status,
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

    #[test]
    fn law_9_a_password_is_not_given_as_an_argument() {
        for (key, value) in [
            ("superset.password", "canary"),
            ("superset.password", "5"),
            ("superset.password", "[a"),
            ("superset", "{username: a, password: canary}"),
            ("source.zookeeper.auth", "{username: a, password: canary}"),
        ] {
            assert!(plain_password(key, value).is_some_and(|key| key.ends_with(".password")), "{key}={value}");
        }
        for (key, value) in [
            ("superset.password", "{$env: SETKEEPER_SECRET_X}"),
            ("superset", "{username: a, password: {$file: /a}}"),
            ("secrets.env", "[A]"),
            ("superset.username", "password"),
        ] {
            assert_eq!(plain_password(key, value), None, "{key}={value}");
        }
    }

    #[test]
    fn a_setting_by_flag_has_a_key_and_a_value() {
        assert_eq!(key_value("a.b=c=d"), Some(("a.b", "c=d")));
        assert_eq!(key_value("a="), Some(("a", "")));
        for bad in ["", "a", "=b", ".a=b", "a..b=c"] {
            assert!(key_value(bad).is_none(), "{bad}");
        }
    }
}
