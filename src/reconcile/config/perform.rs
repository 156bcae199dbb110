//! Carries out one job of the course, and says what came of it. Chooses nothing (law 3).

use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::Running;
use crate::metrics::{self, ReloadOutcome};
use crate::model::digest::Revision;
use crate::model::instance::State;
use crate::plan::files::lacking;
use crate::rollout::job::{Bad, Job, Leave, Outcome, ReloadFailed, Suspect, Target, Verdict};
use crate::rollout::target::Goal;
use crate::world::{Board, Fault, Host};

impl<H: Host, B: Board> Running<H, B> {
    /// What came of it; `None` for a check or a proof that was given up because the agent stops.
    pub(super) async fn perform(&mut self, job: Job, cancel: &CancellationToken) -> Option<Outcome> {
        debug!(?job, "next");
        Some(match job {
            Job::Check(Goal { revision, .. }) => {
                let mut newer = self.given.resolved.clone();
                let release = self.seen.published.as_ref().map(|(release, _)| release.clone());
                let superseded = async {
                    while newer.changed().await.is_ok() {
                        let now = newer.borrow_and_update().as_ref().map(|resolved| resolved.resolution.release.clone());
                        if now != release {
                            return;
                        }
                    }
                    std::future::pending::<()>().await;
                };
                tokio::select! {
                    verdict = self.prove(&revision) => Outcome::Checked(verdict),
                    () = superseded => Outcome::Checked(Verdict::GivenUp),
                    () = cancel.cancelled() => return None,
                }
            }
            Job::TakeSlot(goal) => Outcome::Slot(self.given.board.take(&goal).await.unwrap_or_else(|fault| {
                warn!(error = %fault, "failed to take a slot");
                Leave::NotNow
            })),
            Job::Install(revision) => Outcome::Installed(self.install(&revision).await),
            Job::Reload(revision) => Outcome::Reloaded(self.reload(&revision).await),
            Job::Verify(revision) => {
                // Given up, it is proven again by the next run.
                let verified = cancel.run_until_cancelled(self.given.host.verify(&revision)).await?;
                if let Err(fault) = &verified {
                    warn!(%revision, error = %fault, "failed to verify a revision");
                }
                Outcome::Verified(verified.map_err(|fault| fault.message))
            }
            Job::FreeSlot => Outcome::Freed(is_done(&self.given.board.free().await, "failed to free the slot")),
            Job::Quarantine(bad) => Outcome::Told(self.quarantine(&bad).await),
        })
    }

    async fn install(&mut self, revision: &Revision) -> Result<(), String> {
        let Some(wanted) = self.files_of(revision) else {
            return Err(format!("the files of revision {revision} are known no more"));
        };
        let installed = async {
            let seen = self.given.host.observe(&wanted)?;
            let lacking = lacking(&wanted, &seen);
            if !lacking.is_empty() {
                self.given.host.install(&lacking).await?;
                info!(%revision, files = lacking.len(), "installed a revision");
            }
            Ok::<_, Fault>(())
        };
        let installed = installed.await;
        self.note_installed();
        if let Err(fault) = &installed {
            metrics::applied(false);
            warn!(%revision, error = %fault, "failed to install a revision");
            self.put_back(revision).await;
        }
        installed.map_err(|fault| fault.message)
    }

    /// Puts back what was replaced before an installation failed: a mixture must not be what Superset loads when it is restarted.
    async fn put_back(&mut self, failed: &Revision) {
        let good = self.course.journal().good.clone().filter(|good| good != failed);
        let Some(files) = good.and_then(|good| self.files_of(&good)) else { return };
        let restored = async {
            let lacking = lacking(&files, &self.given.host.observe(&files)?);
            if !lacking.is_empty() {
                self.given.host.install(&lacking).await?;
            }
            Ok::<_, Fault>(lacking.len())
        };
        match restored.await {
            Ok(0) => {}
            Ok(files) => info!(files, "put back the files that had been replaced"),
            Err(fault) => error!(error = %fault, "failed to put back the files that had been replaced"),
        }
    }

    async fn reload(&mut self, revision: &Revision) -> Result<(), ReloadFailed> {
        // From here on nobody knows what Superset runs, until it is proven again.
        self.note_journal();
        let memory = self.given.memory.borrow().clone();
        let is_way_back = self.course.journal().good.as_ref() == Some(revision);
        if let Err(fault) = self.given.host.save(memory).await
            && !is_way_back
        {
            return Err(ReloadFailed { why: fault.message, unaffected: true, suspect: Suspect::Host });
        }
        self.given.account.send_modify(|account| account.state = State::Reloading);
        let reloaded = if self.seen.target == Target::Unstarted {
            let started = self.given.host.start().await;
            started.map_err(|fault| ReloadFailed { why: fault.message, unaffected: true, suspect: Suspect::Host })
        } else {
            self.given.host.reload(revision).await
        };
        metrics::reload(if reloaded.is_ok() { ReloadOutcome::Succeeded } else { ReloadOutcome::Failed });
        match &reloaded {
            Ok(()) => info!(%revision, "told superset to load a revision"),
            Err(failed) => warn!(%revision, error = failed.why, "failed to reload superset"),
        }
        reloaded
    }

    async fn quarantine(&self, bad: &Bad) -> bool {
        let told = is_done(&self.given.board.quarantine(bad).await, "failed to put a release into quarantine");
        if told {
            let why = bad.why.lines().next().unwrap_or_default();
            warn!(release = %bad.goal.release, revision = %bad.goal.revision, why, "a release proved bad");
        }
        told
    }
}

fn is_done(done: &Result<(), Fault>, what: &'static str) -> bool {
    if let Err(fault) = done {
        debug!(error = %fault, "{what}");
    }
    done.is_ok()
}
