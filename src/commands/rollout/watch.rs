//! `rollout status --watch`: looks again and again, and shows what is new.
//!
//! In: the rollout, read once a second through one session. Out: a [`Screen`], and how the program ends: by Ctrl-C, when nobody
//! reads any more, or, if that was asked for, once the rollout has come to [`Rest`]. ZooKeeper may go away meanwhile: that is
//! said, and the next look tries again with a new session. Only the first look must succeed, so that a wrong address is an error.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::super::tree::Place;
use super::progress::{self, Progress};
use super::screen::Screen;
use crate::cli::Shared;
use crate::model::digest::Release;
use crate::model::instance::State;
use crate::model::rollout::Quarantined;
use crate::output::Advice;
use crate::settings::Settings;

/// How long after a look the next one follows, at least.
const EVERY: Duration = Duration::from_secs(1);

/// The same as a multiple of what a look takes: a tree of many megabytes is read the more rarely.
const SHARE: u32 = 4;

/// How a program ends that Ctrl-C kept from what it was to wait for.
const INTERRUPTED: u8 = 130;

/// Watches the rollout.
pub(super) async fn run(shared: &Shared, settings: &Settings, until_done: bool) -> anyhow::Result<ExitCode> {
    let mut screen = Screen::new(shared.output);
    let interrupted = tokio::signal::ctrl_c();
    let ended = tokio::select! {
        ended = follow(settings, &mut screen, until_done) => Some(ended),
        caught = interrupted => {
            caught.context("failed to wait for Ctrl-C")?;
            None
        }
    };
    screen.end();
    match ended {
        Some(ended) => ended,
        None if until_done => Ok(INTERRUPTED.into()),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Shows every look, until something ends it.
async fn follow(settings: &Settings, screen: &mut Screen, until_done: bool) -> anyhow::Result<ExitCode> {
    let mut looks = Looks { settings, place: None };
    let mut is_first = true;
    loop {
        let began = Instant::now();
        match looks.next().await {
            Ok(progress) => {
                if let Err(error) = screen.show(&progress, Timestamp::now()) {
                    return gone(error);
                }
                if let Some(rest) = rest(&progress).filter(|_| until_done) {
                    looks.close().await;
                    return rest.end();
                }
            }
            Err(error) if is_first => return Err(error),
            Err(error) => screen.lost(&error, Timestamp::now()),
        }
        is_first = false;
        sleep(EVERY.max(began.elapsed() * SHARE)).await;
    }
}

/// A reader that went away (`| head`) has seen what it wanted.
fn gone(error: io::Error) -> anyhow::Result<ExitCode> {
    if error.kind() == io::ErrorKind::BrokenPipe { Ok(ExitCode::SUCCESS) } else { Err(error.into()) }
}

/// One look after the other, through one session as long as it holds.
struct Looks<'a> {
    settings: &'a Settings,
    place: Option<Place>,
}

impl Looks<'_> {
    async fn next(&mut self) -> anyhow::Result<Progress> {
        // Taken out, so that what fails is not used again.
        let place = match self.place.take() {
            Some(place) => place,
            None => Place::open(self.settings).await?,
        };
        let progress = progress::look(self.settings, &place).await?;
        self.place = Some(place);
        Ok(progress)
    }

    async fn close(self) {
        if let Some(place) = self.place {
            place.close().await;
        }
    }
}

/// How a rollout came to its end.
#[derive(Debug, PartialEq)]
enum Rest<'a> {
    /// Everybody has the published release who is not held.
    Completed(&'a Release),
    /// The published release proved bad, and nobody is on the way any more.
    Quarantined(&'a Quarantined),
}

impl Rest<'_> {
    fn end(self) -> anyhow::Result<ExitCode> {
        let bad = match self {
            Self::Completed(_) => return Ok(ExitCode::SUCCESS),
            Self::Quarantined(bad) => bad,
        };
        let by = bad.instance.as_ref().map(|instance| format!(" on {instance}")).unwrap_or_default();
        let why = bad.reason.as_deref().and_then(|why| why.lines().next()).map(|why| format!(": {why}")).unwrap_or_default();
        let hint = "publish another, go back with `setkeeper config rollback`, or let it be tried again with `setkeeper rollout release`";
        Err(Advice::new(&format!("release {} proved bad{by}{why}", bad.release), hint).into())
    }
}

/// How the rollout of what is published has ended; `None` as long as it has not.
fn rest(progress: &Progress) -> Option<Rest<'_>> {
    let published = progress.published.as_ref()?;
    let is_still = |state: State| matches!(state, State::InSync | State::Held | State::Failed);
    // A record may still speak of the tree before this one.
    let knows = progress.instances.iter().all(|stand| stand.desired.release.as_ref() == Some(published));
    let rests = progress.slots.is_empty() && progress.publishing.is_none();
    if !knows || !rests || !progress.instances.iter().all(|stand| is_still(stand.state)) {
        return None;
    }
    if progress.completed.as_ref() == Some(published) {
        return Some(Rest::Completed(published));
    }
    let meant: Vec<_> = progress.instances.iter().filter_map(|stand| stand.desired.revision.as_ref()).collect();
    let bars = |bad: &&Quarantined| bad.release == *published || bad.revision.as_ref().is_some_and(|bad| meant.contains(&bad));
    progress.quarantine.iter().rev().find(bars).map(Rest::Quarantined)
}

#[cfg(test)]
mod tests {
    use super::super::screen::tests::{progress, stand};
    use super::*;
    use crate::model::digest::Revision;
    use crate::model::instance::InstanceId;

    fn bad(release: &str, revision: &str) -> Quarantined {
        let instance = InstanceId::parse("web-1").unwrap();
        Quarantined::new(Release::new(release), Revision::new(revision), instance, "it raises\nTraceback")
    }

    #[test]
    fn a_rollout_rests_once_it_is_completed_and_everybody_knows() {
        let mut seen =
            progress("r2", "r2", vec![stand("web-1", State::InSync, "r2", "r2"), stand("web-2", State::Held, "r2", "r1")]);
        assert_eq!(rest(&seen), Some(Rest::Completed(&Release::new("r2"))), "one sick host vetoes nothing");
        seen.completed = Some(Release::new("r1"));
        assert_eq!(rest(&seen), None, "nobody has said that it is completed");
        seen.completed = Some(Release::new("r2"));
        seen.instances[1].desired.release = Some(Release::new("r1"));
        assert_eq!(rest(&seen), None, "web-2 has not noticed it yet");
        for state in [State::Starting, State::Checking, State::Waiting, State::Reloading, State::Paused] {
            let seen = progress("r2", "r2", vec![stand("web-1", state, "r2", "r2")]);
            assert_eq!(rest(&seen), None, "{state:?}");
        }
        seen.published = None;
        assert_eq!(rest(&seen), None, "nobody knows what is published");
    }

    #[test]
    fn a_rollout_rests_once_its_release_or_its_revision_is_in_quarantine_and_all_are_back() {
        let mut seen =
            progress("r2", "r1", vec![stand("web-1", State::Held, "r2", "r1"), stand("web-2", State::Held, "r2", "r1")]);
        assert_eq!(rest(&seen), None, "held for some reason of its own");
        seen.quarantine = vec![bad("r2", "v")];
        assert_eq!(rest(&seen), Some(Rest::Quarantined(&bad("r2", "v"))));
        seen.quarantine = vec![bad("r0", "of-r2")];
        assert_eq!(rest(&seen), Some(Rest::Quarantined(&bad("r0", "of-r2"))), "another release that comes to the same");
        seen.instances[0].state = State::Reloading;
        assert_eq!(rest(&seen), None, "web-1 is on its way back");
        let error = Rest::Quarantined(&bad("r2", "v")).end().unwrap_err();
        assert_eq!(error.to_string(), "release r2 proved bad on web-1: it raises");
    }
}
