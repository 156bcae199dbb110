//! What systemd is told of its unit: that it is ready, how it fares, that its loop turns, that it stops.
//!
//! In: what there is to tell, and the variables by which systemd says that it listens. Out: datagrams to its socket; nothing where
//! nobody listens. A status is one line, whatever its text was made of: the protocol takes a second line for an assignment of
//! its own, and texts may quote what others wrote into the tree. When which of this is true is for the callers to know.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::debug;

/// The variables by which systemd speaks to a process of its own. A child that found them would answer in our place: gunicorn does.
pub const VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// How much of a status is told.
const LONGEST: usize = 200;

/// Whether anybody listens.
#[must_use]
pub fn listens() -> bool {
    std::env::var_os(VARIABLES[0]).is_some()
}

/// How long systemd waits for a sign of life from this very process, where it waits for any.
#[must_use]
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// The unit is up.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The loop has turned.
pub fn turns() {
    tell(&[NotifyState::Watchdog]);
}

/// The unit begins to stop.
pub fn stops() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// How the unit fares.
pub fn status(text: &str) {
    tell(&[NotifyState::Status(&line(text))]);
}

/// A systemd that cannot be reached is no reason to stop: it will say itself what it misses.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!(%error, "failed to tell systemd");
    }
}

/// The first line, without what is no text, and not for ever.
fn line(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    first.chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_line_and_assigns_nothing_else() {
        assert_eq!(line("held: no such key\nMAINPID=1"), "held: no such key");
        assert_eq!(line("a\rMAINPID=1\u{1b}[0m"), "aMAINPID=1[0m");
        assert_eq!(line(&"é".repeat(500)).chars().count(), LONGEST);
        assert_eq!(line(""), "");
    }
}
