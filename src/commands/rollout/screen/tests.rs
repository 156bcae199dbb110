//! The watched rollout on a terminal that lives in the test, in lines, and in documents.

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
    let version =
        |release: &str| Version { release: Some(Release::new(release)), revision: Some(Revision::new(format!("of-{release}"))) };
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
    let before = progress("r1", "r1", vec![stand("web-1", State::InSync, "r1", "r1"), stand("web-2", State::InSync, "r1", "r1")]);
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
