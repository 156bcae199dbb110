//! Making Superset load a new config: by a handoff, by HUP, by a restart, by a command, or not at all.
//!
//! In: the settings of `reload`, the role, and whether we are supervised, turned into a [`Way`] once; what cannot work is refused then,
//! or when the process is seen, with a hint. Out: done, or why not. A reload that is done is not yet one that
//! worked: whether Superset answers with the new config is for whoever verifies.

use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;
use tracing::warn;

use super::command::{CommandError, run};
use super::gunicorn::{GunicornError, Target, hup, hup_worker, master};
use super::handoff::{Answers, HandoffError, Terms, hand_over};
use crate::model::secret::SecretText;
use crate::rollout::job::Suspect;
use crate::settings::{Reload, ReloadStrategy};
use crate::supervise::asking::{AskError, Asking};

/// How Superset is made to load a new config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// It is not told.
    None,
    /// A new gunicorn takes over from this one.
    Handoff(Target),
    /// HUP to this gunicorn.
    Hup(Target),
    /// The best of those that this gunicorn allows: handoff, HUP, or a restart by our supervisor.
    Best(Target),
    /// HUP to this worker of Celery.
    Worker(Target),
    /// Our supervisor ends the command and starts it again.
    Again,
    /// systemd restarts this unit.
    Unit(String),
    /// This command and its arguments.
    Command(Vec<String>),
}

/// Where the agent finds itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The label `role`: `web`, `worker`, `beat`.
    pub role: &'a str,
    /// The rendered config, which tells a Superset that is ours from others.
    pub config: &'a Path,
    /// The process that supervises both Superset and the agent.
    pub supervisor: Option<i32>,
}

/// Why Superset could not be reloaded.
#[derive(Debug, Error)]
pub enum ReloadError {
    /// The strategy cannot work here.
    #[error("reload.strategy {strategy} cannot work here: {why}")]
    Refused {
        /// The strategy.
        strategy: &'static str,
        /// Why.
        why: &'static str,
        /// What can.
        hint: &'static str,
    },
    /// The strategy needs a setting that is not there.
    #[error("reload.strategy {strategy} needs reload.{setting}")]
    Incomplete {
        /// The strategy.
        strategy: &'static str,
        /// What it needs.
        setting: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// Gunicorn or Celery could not be signalled.
    #[error("failed to reload superset's process")]
    Gunicorn(#[from] GunicornError),
    /// Nothing was handed over.
    #[error("failed to hand over to a new gunicorn")]
    Handoff(#[from] HandoffError),
    /// The supervisor did not restart it.
    #[error("failed to restart superset")]
    Supervisor(#[from] AskError),
    /// The command failed.
    #[error(transparent)]
    Command(#[from] CommandError),
}

impl ReloadError {
    /// The end of what a command said that failed, if it said anything.
    #[must_use]
    pub fn last_words(&self) -> Option<&SecretText> {
        if let Self::Command(error) = self { error.last_words() } else { None }
    }

    /// Whether there is no process to be told.
    #[must_use]
    pub fn finds_nobody(&self) -> bool {
        match self {
            Self::Gunicorn(error) | Self::Handoff(HandoffError::Gunicorn(error)) => error.finds_nobody(),
            _ => false,
        }
    }

    /// Whether Superset serves on with the config that it had.
    #[must_use]
    pub fn leaves_superset_alone(&self) -> bool {
        match self {
            Self::Refused { .. } | Self::Incomplete { .. } | Self::Gunicorn(_) => true,
            Self::Handoff(error) => !matches!(error, HandoffError::Alone(_) | HandoffError::Lingers { .. }),
            Self::Supervisor(_) | Self::Command(_) => false,
        }
    }

    /// What may be wrong. A host may be too slow for two gunicorns, so one that is silent is no proof yet.
    #[must_use]
    pub fn suspect(&self) -> Suspect {
        match self {
            Self::Handoff(HandoffError::Died(_) | HandoffError::Broken(_) | HandoffError::Alone(_))
            | Self::Supervisor(AskError::TooSlow(_))
            | Self::Command(_) => Suspect::Release,
            Self::Handoff(HandoffError::Silent { .. }) => Suspect::Either,
            _ => Suspect::Host,
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Refused { hint, .. } | Self::Incomplete { hint, .. } => Some(hint),
            Self::Gunicorn(error) => error.hint(),
            Self::Handoff(error) => error.hint(),
            Self::Supervisor(_) | Self::Command(_) => None,
        }
    }
}

impl Way {
    /// The way that the settings ask for, in this place.
    pub fn from_settings(settings: &Reload, place: &Place<'_>) -> Result<Self, ReloadError> {
        let target = || match (&settings.pid_file, place.supervisor) {
            (Some(path), _) => Target::PidFile(path.clone()),
            (None, Some(supervisor)) => Target::Below(supervisor),
            (None, None) => Target::Only(place.config.to_owned()),
        };
        let by_unit = settings.unit.clone().map(Self::Unit);
        let by_command = settings.command.clone().filter(|command| !command.is_empty()).map(Self::Command);
        let again = place.supervisor.map(|_| Self::Again);
        let needs = |strategy, setting, hint| ReloadError::Incomplete { strategy, setting, hint };
        match (settings.strategy, place.role) {
            (ReloadStrategy::None, _) => Ok(Self::None),
            (ReloadStrategy::Auto, _) => auto(settings, place),
            (ReloadStrategy::Command, _) => by_command
                .ok_or_else(|| needs("command", "command", "give the words of the program that makes Superset load its config")),
            (ReloadStrategy::Restart, _) => by_unit.or(again).ok_or_else(|| {
                needs("restart", "unit", "name the systemd unit of Superset, or start it as `setkeeper run -- …`")
            }),
            (ReloadStrategy::Hup, "worker") => Ok(Self::Worker(target())),
            (ReloadStrategy::Hup, "beat") => {
                Err(ReloadError::Refused { strategy: "hup", why: "celery's beat ends on HUP", hint: "take auto or restart" })
            }
            (ReloadStrategy::Hup, _) => Ok(Self::Hup(target())),
            (ReloadStrategy::Handoff, "worker" | "beat") => Err(ReloadError::Refused {
                strategy: "handoff",
                why: "only gunicorn hands over, and this instance runs celery",
                hint: "take auto",
            }),
            (ReloadStrategy::Handoff, _) if place.supervisor.is_some() => Ok(Self::Handoff(target())),
            (ReloadStrategy::Handoff, _) => Err(ReloadError::Refused {
                strategy: "handoff",
                why: "nothing proves that a new gunicorn would outlive the old one",
                hint: "start Superset as `setkeeper run -- gunicorn …`, in its unit or container too, or take hup",
            }),
        }
    }

    /// Whether there is anybody to tell.
    #[must_use]
    pub fn tells(&self) -> bool {
        match self {
            Self::None => false,
            Self::Hup(target @ Target::Loads(_)) => !master(target).is_err_and(|error| error.finds_nobody()),
            _ => true,
        }
    }

    /// Tells Superset to load its config, on these `terms`; `answers` says whether the new config answers already.
    pub async fn reload<A: Future<Output = Answers>>(
        &self,
        terms: Terms,
        supervisor: Option<&Asking>,
        answers: impl Fn() -> A,
    ) -> Result<(), ReloadError> {
        match self {
            Self::None => Ok(()),
            Self::Handoff(target) => Ok(hand_over(target, terms, answers).await.map(drop)?),
            Self::Hup(target) => Ok(hup(target).await.map(drop)?),
            Self::Worker(target) => Ok(hup_worker(target).await.map(drop)?),
            Self::Best(target) => match hand_over(target, terms, answers).await {
                Ok(_) => Ok(()),
                Err(error @ (HandoffError::Refused { .. } | HandoffError::Gunicorn(_))) => {
                    second_best(target, &error, supervisor).await
                }
                Err(error) => Err(error.into()),
            },
            Self::Again => again(supervisor).await,
            Self::Unit(unit) => {
                let words = ["systemctl", "--no-ask-password", "restart", "--", unit].map(ToOwned::to_owned);
                Ok(run(&words, terms.left()).await?)
            }
            Self::Command(words) => Ok(run(words, terms.left()).await?),
        }
    }
}

/// The way where nothing is asked for: a handoff under our supervisor, otherwise what is named, a gunicorn that loads our file, or none.
fn auto(settings: &Reload, place: &Place<'_>) -> Result<Way, ReloadError> {
    let Reload { pid_file, unit, command, .. } = settings;
    let named = pid_file.clone().map(Target::PidFile);
    if let Some(command) = command.clone().filter(|command| !command.is_empty()) {
        return Ok(Way::Command(command));
    }
    if let Some(unit) = unit.clone() {
        return Ok(Way::Unit(unit));
    }
    Ok(match (place.role, place.supervisor, named) {
        ("beat", Some(_), _) => Way::Again,
        ("beat", None, Some(_)) => {
            return Err(ReloadError::Refused {
                strategy: "auto",
                why: "a pid file does not tell how to start celery's beat again",
                hint: "name reload.unit or reload.command, or start it as `setkeeper run -- celery …`",
            });
        }
        ("worker", Some(supervisor), named) => Way::Worker(named.unwrap_or(Target::Below(supervisor))),
        ("worker", None, Some(named)) => Way::Worker(named),
        ("worker" | "beat", None, None) => Way::None,
        (_, Some(supervisor), named) => Way::Best(named.unwrap_or(Target::Below(supervisor))),
        (_, None, Some(named)) => Way::Hup(named),
        (_, None, None) => Way::Hup(Target::Loads(PathBuf::from(place.config))),
    })
}

/// HUP where a handoff is refused, and a restart where a HUP would not load the new config.
async fn second_best(target: &Target, why: &HandoffError, supervisor: Option<&Asking>) -> Result<(), ReloadError> {
    warn!(%why, hint = why.hint(), "no handoff is possible; taking the next best way");
    match hup(target).await {
        Ok(_) => Ok(()),
        Err(GunicornError::Preload { .. }) => again(supervisor).await,
        Err(error) => Err(error.into()),
    }
}

async fn again(supervisor: Option<&Asking>) -> Result<(), ReloadError> {
    match supervisor {
        Some(supervisor) => Ok(supervisor.restart().await?),
        None => Err(AskError::Silent.into()),
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Handoff(_) => "handoff",
            Self::Hup(_) | Self::Worker(_) => "hup",
            Self::Best(_) => "auto",
            Self::Again | Self::Unit(_) => "restart",
            Self::Command(_) => "command",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(strategy: ReloadStrategy, pid_file: Option<&str>, unit: Option<&str>, command: Option<&str>) -> Reload {
        let command = command.map(|word| vec![word.to_owned()]);
        Reload { strategy, pid_file: pid_file.map(PathBuf::from), unit: unit.map(ToOwned::to_owned), command }
    }

    fn way(settings: &Reload, role: &str, supervisor: Option<i32>) -> Result<Way, ReloadError> {
        Way::from_settings(settings, &Place { role, config: Path::new("/c.py"), supervisor })
    }

    #[test]
    fn auto_takes_the_best_that_is_there() {
        let auto = |pid_file, unit, command| settings(ReloadStrategy::Auto, pid_file, unit, command);
        let (file, unit, below) = (Target::PidFile("/p".into()), Way::Unit("u".to_owned()), Target::Below(7));
        let loads = Target::Loads("/c.py".into());
        for (reload, role, supervisor, expected) in [
            (auto(None, None, None), "web", Some(7), Way::Best(below.clone())),
            (auto(Some("/p"), None, None), "web", Some(7), Way::Best(file.clone())),
            (auto(Some("/p"), None, None), "web", None, Way::Hup(file.clone())),
            (auto(None, None, None), "web", None, Way::Hup(loads)),
            (auto(None, Some("u"), None), "web", None, unit.clone()),
            (auto(None, None, Some("c")), "web", None, Way::Command(vec!["c".to_owned()])),
            (auto(None, None, None), "worker", Some(7), Way::Worker(below)),
            (auto(Some("/p"), None, None), "worker", None, Way::Worker(file)),
            (auto(None, None, None), "worker", None, Way::None),
            (auto(None, None, None), "beat", Some(7), Way::Again),
            (auto(None, Some("u"), None), "beat", None, unit),
        ] {
            assert_eq!(way(&reload, role, supervisor).unwrap(), expected, "{role} {supervisor:?}");
        }
        assert!(way(&auto(Some("/p"), None, None), "beat", None).unwrap_err().hint().is_some());
    }

    #[test]
    fn each_strategy_needs_its_own_and_is_refused_with_a_hint_where_it_cannot_work() {
        use ReloadStrategy::{Command, Handoff, Hup, None as Nothing, Restart};
        let bare = |strategy| settings(strategy, None, None, None);
        let refused = |strategy| {
            let error = way(&bare(strategy), "web", None).unwrap_err();
            assert!(error.hint().is_some(), "{error}");
            error.to_string()
        };
        assert_eq!(way(&bare(Nothing), "web", Some(7)).unwrap(), Way::None);
        assert_eq!(way(&bare(Hup), "web", None).unwrap(), Way::Hup(Target::Only("/c.py".into())));
        assert_eq!(way(&bare(Handoff), "web", Some(7)).unwrap(), Way::Handoff(Target::Below(7)));
        assert_eq!(way(&bare(Restart), "web", Some(7)).unwrap(), Way::Again);
        assert_eq!(refused(Command), "reload.strategy command needs reload.command");
        assert_eq!(refused(Restart), "reload.strategy restart needs reload.unit");
        for (strategy, role) in [(Handoff, "web"), (Handoff, "worker"), (Hup, "beat")] {
            let error = way(&bare(strategy), role, None).unwrap_err();
            assert!(error.to_string().contains("cannot work here") && error.hint().is_some(), "{error}");
        }
    }

    #[test]
    fn without_a_gunicorn_of_ours_nobody_is_told() {
        assert!(!Way::Hup(Target::Loads("/nowhere/superset_config.py".into())).tells());
        assert!(Way::Hup(Target::PidFile("/nowhere/pid".into())).tells());
    }
}
