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
pub(super) mod tests {
    use std::sync::{Arc, Mutex};

    use indicatif::TermLike;

    use super::*;
    use crate::model::digest::Revision;
    use crate::model::instance::{InstanceId, Labels};
    use crate::model::pause::Pause;
    use crate::model::rollout::Quarantined;
    use crate::model::slot::{Boot, Slot};
    use progress::Taken;

    pub(in super::super) fn stand(id: &str, state: State, desired: &str, applied: &str) -> Stand {
        let version = |release: &str| Version {
            release: Some(Release::new(release)),
            revision: Some(Revision::new(format!("of-{release}"))),
        };
        Stand {
            id: InstanceId::parse(id).unwrap(),
            labels: Labels::default(),
            state,
            desired: version(desired),
            applied: version(applied),
            error: None,
        }
    }

    pub(in super::super) fn progress(published: &str, completed: &str, instances: Vec<Stand>) -> Progress {
        Progress {
            published: Some(Release::new(published)),
            completed: Some(Release::new(completed)),
            pause: None,
            publishing: None,
            quarantine: Vec::new(),
            slots: Vec::new(),
            instances,
            problems: Vec::new(),
        }
    }

    fn now() -> Timestamp {
        "2026-01-03T12:00:00Z".parse().unwrap()
    }

    /// A terminal of 80 by 20: what it shows is what was written last at each place.
    #[derive(Clone, Debug, Default)]
    struct Terminal(Arc<Mutex<Cells>>);

    #[derive(Debug, Default)]
    struct Cells {
        rows: Vec<Vec<char>>,
        row: usize,
        column: usize,
    }

    impl Terminal {
        fn shows(&self) -> String {
            let cells = self.0.lock().unwrap();
            let rows = cells.rows.iter().map(|row| row.iter().collect::<String>().trim_end().to_owned());
            rows.collect::<Vec<_>>().join("\n").trim_end().to_owned()
        }

        fn put(&self, text: &str) {
            let Cells { rows, row, column } = &mut *self.0.lock().unwrap();
            for c in text.chars() {
                match c {
                    '\r' => *column = 0,
                    '\n' => (*row, *column) = (*row + 1, 0),
                    _ => {
                        if *column == 80 {
                            (*row, *column) = (*row + 1, 0);
                        }
                        rows.resize_with(rows.len().max(*row + 1), Vec::new);
                        let line = &mut rows[*row];
                        line.resize(line.len().max(*column + 1), ' ');
                        line[*column] = c;
                        *column += 1;
                    }
                }
            }
        }
    }

    impl TermLike for Terminal {
        fn width(&self) -> u16 {
            80
        }
        fn move_cursor_up(&self, n: usize) -> io::Result<()> {
            self.0.lock().unwrap().row -= n;
            Ok(())
        }
        fn move_cursor_down(&self, n: usize) -> io::Result<()> {
            self.0.lock().unwrap().row += n;
            Ok(())
        }
        fn move_cursor_right(&self, n: usize) -> io::Result<()> {
            self.0.lock().unwrap().column += n;
            Ok(())
        }
        fn move_cursor_left(&self, n: usize) -> io::Result<()> {
            self.0.lock().unwrap().column -= n;
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.put(text);
            self.put("\n");
            Ok(())
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.put(text);
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            self.put(&format!("\r{}\r", " ".repeat(80)));
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_terminal_shows_one_table_that_changes() {
        let terminal = Terminal::default();
        let bar = bar(ProgressDrawTarget::term_like(Box::new(terminal.clone())));
        let three = ["web-1", "web-2", "web-3"].map(|id| stand(id, State::Waiting, "r2", "r1")).to_vec();
        draw(&bar, &progress("r2", "r1", three), None);
        assert!(terminal.shows().contains("0/3 have it\n"), "{}", terminal.shows());
        let two = vec![stand("web-1", State::InSync, "r2", "r2"), stand("web-2", State::Checking, "r2", "r1")];
        draw(&bar, &progress("r2", "r1", two), None);
        let shown = terminal.shows();
        let expected = "1/2 have it\n\nPublished: r2\nCompleted: r1\n\n\
            INSTANCE  STATE     RELEASE   REVISION        ERROR\n\
            web-1     in_sync   r2        of-r2           -\n\
            web-2     checking  r1 -> r2  of-r1 -> of-r2  -";
        assert!(shown.ends_with(expected), "{shown}");
        assert_eq!(shown.matches("Published").count(), 1, "{shown}");
        draw(&bar, &progress("r2", "r1", Vec::new()), Some("failed to connect"));
        let shown = terminal.shows();
        assert!(
            shown.contains("0/0 have it · as last seen: failed to connect") && shown.ends_with("No instance is alive."),
            "{shown}"
        );
    }

    #[test]
    fn elsewhere_each_change_is_a_line() {
        let before =
            progress("r1", "r1", vec![stand("web-1", State::InSync, "r1", "r1"), stand("web-2", State::InSync, "r1", "r1")]);
        assert_eq!(news(&before, &before, now()), "");
        let mut held = stand("web-1", State::Held, "r2", "r1");
        held.error = Some("it raises\nTraceback".to_owned());
        let mut after = progress("r2", "r1", vec![held]);
        let web = InstanceId::parse("web-1").unwrap();
        let slot = Slot {
            instance: web.clone(),
            boot: Boot::new(1),
            revision: Revision::new("of-r1"),
            lease: std::time::Duration::from_secs(1),
        };
        after.slots = vec![Taken { slot: 0, holder: Some(slot) }];
        after.quarantine = vec![Quarantined::new(Release::new("r2"), Revision::new("of-r2"), web, "it raises\nTraceback")];
        after.pause = Some(Pause { by: Some("ann".to_owned()), why: Some("a\u{1b}[2Jb\nc".to_owned()), until: None });
        let expected = "\
            12:00:00Z  published: r2\n\
            12:00:00Z  paused by ann: a\\u{1b}[2Jb c\n\
            12:00:00Z  slot 0: web-1 loads of-r1\n\
            12:00:00Z  web-1: held r1 -> r2: it raises\n\
            12:00:00Z  web-2: gone\n\
            12:00:00Z  quarantine: r2 proved bad: it raises\n";
        assert_eq!(news(&before, &after, now()), expected);
        let back = news(&after, &before, now());
        for line in ["pause: over", "slot 0: free", "web-2: in_sync r1", "quarantine: r2 may be tried again"] {
            assert!(back.contains(&format!("12:00:00Z  {line}\n")), "{line} in {back}");
        }
    }

    #[test]
    fn a_program_reads_one_document_a_line() {
        let text = document(Format::Json, &progress("r2", "r1", vec![stand("web-1", State::InSync, "r2", "r2")])).unwrap();
        assert!(text.ends_with("}\n") && text.matches('\n').count() == 1, "{text}");
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&read["published"], &read["instances"][0]["state"]), (&"r2".into(), &"in_sync".into()));
    }
}
