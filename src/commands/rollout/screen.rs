//! What a watched rollout looks like: a table redrawn in place on a terminal, elsewhere a line for each change, and one document
//! for each change where a program reads.
//!
//! In: the rollout as it is now, again and again. Out: stdout; that ZooKeeper is away is talk, for stderr, unless the table has a
//! place for it. Nothing is read here, and nothing decided.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;

use super::super::status;
use super::progress::{self, Progress, Stand};
use crate::model::digest::Release;
use crate::model::instance::{State, Version};
use crate::output::plain::plain;
use crate::output::{self, Format};

/// Where a watched rollout is shown.
pub(super) struct Screen {
    kind: Kind,
    shown: Option<Progress>,
    is_lost: bool,
}

enum Kind {
    /// A terminal, whose table is redrawn.
    Table(ProgressBar),
    /// A file or a pipe, and a person who reads it.
    Lines,
    /// A program.
    Documents(Format),
}

impl Screen {
    pub(super) fn new(format: Format) -> Self {
        let kind = match format {
            Format::Table if io::stdout().is_terminal() => Kind::Table(bar(ProgressDrawTarget::stdout())),
            Format::Table => Kind::Lines,
            format => Kind::Documents(format),
        };
        Self { kind, shown: None, is_lost: false }
    }

    /// Shows what is new.
    pub(super) fn show(&mut self, progress: &Progress, now: Timestamp) -> io::Result<()> {
        let before = self.shown.as_ref();
        let returned = std::mem::take(&mut self.is_lost);
        let is_new = before != Some(progress);
        if before.map(|before| &before.problems) != Some(&progress.problems) {
            self.talk(&output::problems(&progress.problems));
        }
        match &self.kind {
            Kind::Table(bar) => draw(bar, progress, None),
            _ if returned => self.talk(&line(now, "the rollout can be read again")),
            _ => {}
        }
        match (&self.kind, self.shown.as_ref()) {
            (Kind::Documents(format), _) if is_new => write(&document(*format, progress)?)?,
            (Kind::Lines, None) => write(&progress::text(progress))?,
            (Kind::Lines, Some(before)) if is_new => write(&news(before, progress, now))?,
            _ => {}
        }
        self.shown = Some(progress.clone());
        Ok(())
    }

    /// Shows that the rollout cannot be read now.
    pub(super) fn lost(&mut self, error: &anyhow::Error, now: Timestamp) {
        let is_news = !std::mem::replace(&mut self.is_lost, true);
        match (&self.kind, &self.shown) {
            (Kind::Table(bar), Some(shown)) => draw(bar, shown, Some(&error.to_string())),
            _ if is_news => self.talk(&line(now, &format!("the rollout cannot be read: {error}"))),
            _ => {}
        }
    }

    /// Leaves the last table where it is.
    pub(super) fn end(&self) {
        if let Kind::Table(bar) = &self.kind
            && self.shown.is_some()
        {
            bar.abandon();
            let _ = write("\n");
        }
    }

    fn talk(&self, text: &str) {
        match &self.kind {
            Kind::Table(bar) => bar.suspend(|| output::say(text)),
            _ => output::say(text),
        }
    }
}

fn bar(target: ProgressDrawTarget) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, target);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} have it {prefix}\n\n{msg}") {
        bar.set_style(style.progress_chars("━╸─"));
    }
    bar
}

/// Redraws the table; under `away`, as it was when it was last seen.
fn draw(bar: &ProgressBar, progress: &Progress, away: Option<&str>) {
    let has_it = |stand: &&Stand| stand.state != State::Reloading && has(stand, progress.published.as_ref());
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    bar.set_length(count(progress.instances.len()));
    bar.set_position(count(progress.instances.iter().filter(has_it).count()));
    bar.set_prefix(away.map(|why| format!("· as last seen: {why}")).unwrap_or_default());
    bar.set_message(progress::text(progress).trim_end().to_owned());
}

fn has(stand: &Stand, release: Option<&Release>) -> bool {
    release.is_some() && stand.applied.release.as_ref() == release
}

fn document(format: Format, progress: &Progress) -> io::Result<String> {
    match format {
        Format::Yaml => Ok(format!("---\n{}", serde_yaml::to_string(progress).map_err(io::Error::other)?)),
        _ => Ok(serde_json::to_string(progress)? + "\n"),
    }
}

/// Unlike [`output::write`], a reader that went away is told: whoever watches would go on for nobody.
fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush())
}

fn line(now: Timestamp, text: &str) -> String {
    format!("{}  {text}\n", now.strftime("%H:%M:%SZ"))
}

/// What is new, a line each.
fn news(before: &Progress, after: &Progress, now: Timestamp) -> String {
    let mut lines = Vec::new();
    for (what, old, new) in
        [("published", &before.published, &after.published), ("completed", &before.completed, &after.completed)]
    {
        if old != new {
            lines.push(format!("{what}: {}", new.as_ref().map_or("-", Release::as_str)));
        }
    }
    let notes = |progress: &Progress| {
        let pause = progress.pause.as_ref().map(ToString::to_string);
        [("pause", pause), ("publishing", progress.publishing.as_ref().map(ToString::to_string))]
    };
    for ((what, old), (_, new)) in notes(before).into_iter().zip(notes(after)).filter(|(old, new)| old != new) {
        lines.push(new.or(old.map(|_| format!("{what}: over"))).unwrap_or_default());
    }
    let slots = |progress: &Progress| -> BTreeMap<_, _> {
        progress.slots.iter().map(|taken| (format!("slot {}", taken.slot), progress::held_by(taken.holder.as_ref()))).collect()
    };
    changes(&slots(before), &slots(after), "free", &mut lines);
    let stands = |progress: &Progress| -> BTreeMap<_, _> {
        progress.instances.iter().map(|stand| (stand.id.to_string(), described(stand))).collect()
    };
    changes(&stands(before), &stands(after), "gone", &mut lines);
    for bad in after.quarantine.iter().filter(|bad| !before.quarantine.contains(bad)) {
        let why = bad.reason.as_deref().and_then(|why| why.lines().next()).unwrap_or("no reason was noted");
        lines.push(format!("quarantine: {} proved bad: {why}", bad.release));
    }
    for bad in before.quarantine.iter().filter(|bad| !after.quarantine.contains(bad)) {
        lines.push(format!("quarantine: {} may be tried again", bad.release));
    }
    lines.iter().map(|text| line(now, &plain(&text.replace('\n', " ")))).collect()
}

/// What is new among things with names; `absent` is what one is that is there no more.
fn changes(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>, absent: &str, lines: &mut Vec<String>) {
    for (name, text) in after.iter().filter(|(name, text)| before.get(*name) != Some(*text)) {
        lines.push(format!("{name}: {text}"));
    }
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        lines.push(format!("{name}: {absent}"));
    }
}

fn described(stand: &Stand) -> String {
    let release = |version: &Version| version.release.as_ref().map(ToString::to_string);
    let mut text = format!("{} {}", status::word(&stand.state), status::change(release(&stand.applied), release(&stand.desired)));
    if let Some(error) = stand.error.as_deref().and_then(|error| error.lines().next()) {
        let _ = write!(text, ": {error}");
    }
    text
}

#[cfg(test)]
pub(super) mod tests;
