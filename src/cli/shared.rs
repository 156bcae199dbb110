//! What every command takes: where the settings are, and single settings by their keys.
//!
//! In: flags. Out: [`Shared`], or misuse. A password is refused here, whatever it is a password for (law 9): everybody on the
//! host can read an argument.

use std::path::PathBuf;

use clap::Args;
use clap::error::ErrorKind;

use crate::output::Format;
use crate::settings::Flags;
use crate::settings::environment::CONFIG;

/// The heading that they stand under.
pub(super) const SHARED: &str = "Settings and output";

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
    pub(super) fn misuse(&self) -> Option<clap::Error> {
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
        wrong.map(|wrong| super::command().error(ErrorKind::ValueValidation, wrong))
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

#[cfg(test)]
mod tests {
    use super::*;

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
