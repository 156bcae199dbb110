//! Whether a Superset is there to be told: looked at before each decision.
//!
//! To find that nobody is there takes a look at every process of the machine, so that answer is believed for a moment: a
//! change must not wait for it each time. What was installed in that moment may have come too late for a Superset that
//! started in it, which is therefore told.

use std::time::{Duration, Instant};

use tracing::info;

use super::Running;
use crate::rollout::job::Target;
use crate::world::{Board, Host};

/// How long it is believed that nobody is there.
const LASTS: Duration = Duration::from_secs(1);
/// How often is looked for a Superset that is away: nobody announces that it is back.
const AWAY: Duration = Duration::from_secs(2);

/// That nobody was there to be told.
pub(super) struct Nobody {
    at: Instant,
    /// Whether files were installed since.
    has_installed: bool,
}

impl<H: Host, B: Board> Running<H, B> {
    /// Looks whether Superset runs; starts it, where that is ours and the wait for a release is over.
    pub(super) async fn look_at_superset(&mut self, now: Instant) {
        if let Some(nobody) = self.seen.nobody.as_ref().filter(|nobody| nobody.at + LASTS > now) {
            if nobody.has_installed {
                self.look_again(nobody.at + LASTS - now);
            }
            return;
        }
        let target = self.given.host.target().await;
        let earlier = self.seen.nobody.take();
        if target == Target::Nobody {
            self.seen.nobody = Some(Nobody { at: now, has_installed: false });
        } else if target == Target::Running && earlier.is_some_and(|nobody| nobody.has_installed) {
            info!("superset started while a revision was installed; it is told");
            self.course.doubt_superset();
        }
        self.seen.target = target;
        if matches!(target, Target::Absent | Target::Unknown) {
            self.look_again(AWAY);
        }
        if target == Target::Running && !self.given.memory.borrow().is_told {
            self.given.memory.send_modify(|memory| memory.is_told = true);
        }
        if target == Target::Unstarted {
            self.course.doubt_superset();
            if self.course.is_idle() && self.boot().await {
                self.seen.target = self.given.host.target().await;
            }
        } else if target != Target::Unknown
            && let Some(boot) = &mut self.given.boot
        {
            boot.over_at = None;
        }
    }

    /// Notes that files were installed.
    pub(super) fn note_installed(&mut self) {
        if let Some(nobody) = &mut self.seen.nobody {
            nobody.has_installed = true;
        }
    }
}
