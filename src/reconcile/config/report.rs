//! What the loop says of itself: the state of this instance, what is wanted of it, what it runs, and why it is not further.

use std::sync::Arc;

use tracing::warn;

use super::Running;
use super::candidate::version;
use crate::model::instance::{State, Version};
use crate::model::problem::Problem;
use crate::model::snapshot::Origin;
use crate::rollout::job::{Due, Target, View};
use crate::rollout::target::{Choice, Stay};
use crate::world::{Board, Host};

/// What this instance makes of the config tree.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Account {
    /// What it is doing.
    pub state: State,
    /// What the tree wants of it.
    pub desired: Version,
    /// What ran well last.
    pub applied: Version,
    /// Why it is held or has failed: the first line says it, more lines are the last ones of a check's output.
    pub error: Option<String>,
    /// What is wrong with the base or a template; the tree's own problems are in the resolution.
    pub problems: Arc<[Problem]>,
}

impl<H: Host, B: Board> Running<H, B> {
    pub(super) fn report(&self, view: View) {
        let Some((release, published)) = &self.seen.published else { return };
        let mut next = Account { applied: self.given.memory.borrow().applied.version.clone(), ..Account::default() };
        next.desired = match published {
            Ok(candidate) => version(&candidate.goal),
            Err(_) => Version { release: Some(release.clone()), revision: None },
        };
        let (state, why) = self.course.state(view);
        (next.state, next.error) = match (&self.seen.choice, published) {
            _ if state == State::Reloading => (state, why),
            (_, Err(held)) => {
                next.problems = held.problems.clone().into();
                (State::Held, Some(held.why.clone()))
            }
            (Choice::Published(_), Ok(_)) => (state, why),
            (Choice::Completed(_) | Choice::Stay(Stay::Quarantined), Ok(_)) if state != State::InSync && why.is_none() => {
                (state, self.barred())
            }
            (Choice::Completed(_) | Choice::Stay(Stay::Quarantined), Ok(_)) => (State::Held, self.barred().or(why)),
            (Choice::Stay(Stay::CompletedUnknown), Ok(_)) => {
                (State::Waiting, Some("the completed release, from which a new instance starts, cannot be read".to_owned()))
            }
            (Choice::Stay(Stay::NothingPublished), Ok(_)) => (State::Held, why),
        };
        if self.given.rules.proof == Due::WhereTold && view.target == Target::Nobody {
            next.problems = next.problems.iter().cloned().chain([unchecked()]).collect();
        }
        self.given.account.send_if_modified(|account| {
            let is_new = *account != next;
            if is_new {
                tell(account, &next);
                *account = next;
            }
            is_new
        });
    }

    /// Why what is published is not for this instance.
    fn barred(&self) -> Option<String> {
        let resolved = self.given.resolved.borrow().clone()?;
        let (release, candidate) = self.seen.published.as_ref()?;
        let revision = candidate.as_ref().ok().map(|candidate| &candidate.goal.revision);
        let bad = resolved.resolution.rollout.bars(release, revision)?;
        let by = bad.instance.as_ref().map(|instance| format!(" on {instance}")).unwrap_or_default();
        let why = bad.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        Some(format!("release {} proved bad{by}{why}", bad.release))
    }
}

/// What `check.require: auto` comes to where nobody is told of a release.
fn unchecked() -> Problem {
    let message = "`auto` means `none` here, because no superset is told to reload: no candidate is checked";
    let problem = Problem::warning(&Origin::new("settings"), message).field("check.require");
    problem.hint("set it to app or syntax to have candidates checked, or to none to accept that")
}

/// One line for what keeps this instance from what the tree wants.
fn tell(before: &Account, next: &Account) {
    let mut news = next.problems.iter().filter(|problem| !before.problems.contains(problem));
    if let Some(problem) = news.find(|problem| problem.field.as_deref() == Some("check.require")) {
        warn!("{problem}");
    }
    if let Some(error) = next.error.as_deref().and_then(|error| error.lines().next())
        && before.error != next.error
        && matches!(next.state, State::Held | State::Failed)
    {
        warn!(state = ?next.state, error, "the last good revision stays");
    }
}
