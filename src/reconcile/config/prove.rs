//! The proof of a candidate: its check, beside that of the last good revision where that decides, and what it must not change.
//!
//! A candidate that fails where the last good revision fails too says nothing but that this host is not well. One that
//! would change a protected setting is held here, whatever its check says, until the agent's settings allow it.

use tracing::{info, warn};

use super::Running;
use super::candidate::wanted;
use crate::check::report::{Outcome, Report, judge};
use crate::desired::redact;
use crate::model::digest::{DigestKey, Revision};
use crate::model::protected::{PROTECTED, Protected};
use crate::model::secret::SecretText;
use crate::plan::files::FileWanted;
use crate::rollout::job::Verdict;
use crate::world::{Board, Host, Proof};

impl<H: Host, B: Board> Running<H, B> {
    pub(super) async fn prove(&mut self, revision: &Revision) -> Verdict {
        let key = self.given.resolved.borrow().as_ref().map(|resolved| resolved.key.clone());
        let (Some(key), Some(candidate)) = (key, self.seen.candidate(revision).cloned()) else {
            return Verdict::Inconclusive("its files are known no more".to_owned());
        };
        let secrets = candidate.secrets();
        let proof = Proof { files: &candidate.files, secrets: &secrets };
        let report = self.given.host.check(&key, revision, &proof).await;
        let last_good = if report.needs_last_good() { self.check_last_good(&key, &secrets).await } else { None };
        let was_invalid = report.outcome == Outcome::Invalid;
        let report = judge(report, last_good.as_ref());
        if was_invalid && report.outcome == Outcome::Inconclusive {
            // Found out while this host was not well: it counts for nothing once it is.
            self.given.host.forget(revision).await;
        }
        for warning in &report.warnings {
            warn!(%revision, warning, "superset loads the candidate, but");
        }
        let said = said(&report);
        let why = said.lines().next().unwrap_or_default();
        match report.outcome {
            Outcome::Proven => match self.protected_change(&key, &secrets, &report.protected).await {
                Some(why) => Verdict::Inconclusive(why),
                None => {
                    info!(%revision, "superset loads the candidate");
                    self.proven.insert(revision.clone(), report.protected);
                    Verdict::Proven
                }
            },
            Outcome::Invalid => {
                warn!(%revision, why, "superset does not load the candidate");
                Verdict::Invalid(said)
            }
            Outcome::Inconclusive => {
                warn!(%revision, why, "whether superset loads the candidate could not be found out");
                Verdict::Inconclusive(said)
            }
        }
    }

    /// What ran well last, put through the same check now; `None` where there is nothing of the kind.
    async fn check_last_good(&self, key: &DigestKey, secrets: &[SecretText]) -> Option<Report> {
        let files: Vec<FileWanted> = self.course.journal().good.as_ref().map(|_| wanted(&self.given.memory.borrow().applied))?;
        files.first()?;
        Some(self.given.host.check_anew(key, &Proof { files: &files, secrets }).await)
    }

    /// Why the candidate is held although it loads: it changes what the settings do not allow to change.
    async fn protected_change(&mut self, key: &DigestKey, secrets: &[SecretText], new: &Protected) -> Option<String> {
        // Under another key than the cluster's of today it tells nothing, and is found out anew.
        let mut known = self.given.memory.borrow().protected.clone().filter(|known| known.is_comparable(new));
        if known.is_none() && *new != Protected::default() {
            match self.check_last_good(key, secrets).await {
                Some(report) if report.outcome == Outcome::Proven => known = Some(report.protected),
                Some(report) => {
                    let names = PROTECTED.join(" and ");
                    let allowed = PROTECTED.iter().all(|name| self.given.allow_protected.iter().any(|allowed| allowed == name));
                    let why = report.why;
                    return (!allowed).then(|| {
                        format!(
                            "whether {names} stay what they are is not known, as what runs now does not pass the check: {why}"
                        )
                    });
                }
                None => {}
            }
            let known = known.clone();
            self.given.memory.send_modify(|memory| memory.protected = known);
        }
        let changed = new.changed_from(&known?);
        let refused: Vec<_> =
            changed.into_iter().filter(|name| !self.given.allow_protected.iter().any(|allowed| allowed == name)).collect();
        let names = refused.join(" and ");
        (!refused.is_empty()).then(|| {
            format!(
                "{names} would be another one, with which superset boots and has lost what it stored under the old one; \
                 name it in rollout.allow_protected if that is meant"
            )
        })
    }
}

/// What a failed check said: why in the first line, then the last lines of its output. No password of a URI is left in it.
fn said(report: &Report) -> String {
    let lines = std::iter::once(&report.why).chain(&report.last_lines);
    lines.map(|line| redact::text(line).into_owned()).collect::<Vec<_>>().join("\n")
}
