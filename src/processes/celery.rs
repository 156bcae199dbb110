//! Celery as it looks among the processes: its worker and its beat.
//!
//! A worker's main process is the one whose parent is none of Celery's; its children run the tasks. With `setproctitle` the whole line is
//! `[celeryd: …]` or `[celery beat]`.

use super::{Process, Table, program};

/// Which of Celery's programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Runs tasks.
    Worker,
    /// Sends tasks when they are due.
    Beat,
}

impl Kind {
    /// As Celery calls it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Beat => "beat",
        }
    }
}

/// Whether a process is one of these.
#[must_use]
pub fn is(process: &Process, kind: Kind) -> bool {
    let line = process.arguments.join(" ");
    let titled = match kind {
        Kind::Worker => line.starts_with("[celeryd:"),
        Kind::Beat => line.starts_with("[celery beat]"),
    };
    let words = program(&process.arguments).filter(|(name, _)| matches!(*name, "celery" | "celery.__main__"));
    titled || words.is_some_and(|(_, rest)| rest.iter().any(|word| word == kind.word()))
}

/// The main processes of this kind.
pub fn mains(table: &Table, kind: Kind) -> impl Iterator<Item = &Process> {
    let has_such_parent = move |process: &Process| table.get(process.parent).is_some_and(|parent| is(parent, kind));
    table.iter().filter(move |process| is(process, kind) && !has_such_parent(process))
}

/// The command that asks this worker whether it is there, from the words that started it: `celery --app=… inspect ping -d NODE`.
#[must_use]
pub fn ping(worker: &Process, host: &str) -> Option<Vec<String>> {
    let at = worker.arguments.iter().position(|word| word == Kind::Worker.word())?;
    let (before, after) = worker.arguments.split_at(at);
    let name = option(after, "-n", "--hostname").unwrap_or("celery");
    let node = match name.split_once('@') {
        Some(_) => name.replace("%h", host).replace("%n", "celery").replace("%d", ""),
        None => format!("{name}@{host}"),
    };
    let app = if option(before, "-A", "--app").is_none() { option(after, "-A", "--app") } else { None };
    let app = app.map(|app| format!("--app={app}"));
    let question = ["inspect", "ping", "-d", &node].map(ToOwned::to_owned);
    Some(before.iter().cloned().chain(app).chain(question).collect())
}

fn option<'a>(words: &'a [String], short: &str, long: &str) -> Option<&'a str> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == short || word == long {
            return words.next().map(String::as_str);
        }
        if let Some(value) = word.strip_prefix(long).and_then(|rest| rest.strip_prefix('=')) {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::process;
    use super::*;

    const WORKER: &str = "/venv/bin/python /venv/bin/celery --app=superset.tasks.celery_app:app worker -c 2";

    #[test]
    fn only_the_main_process_of_a_worker_is_one() {
        let beat = "/venv/bin/python /venv/bin/celery --app=a beat --pidfile /tmp/beat.pid";
        let lines = [(10, 1, "sh -c celery worker"), (11, 10, WORKER), (12, 11, WORKER), (13, 1, beat), (14, 1, "vi worker")];
        let table: Table = lines.into_iter().map(|(pid, parent, line)| process(pid, parent, line)).collect();
        assert_eq!(mains(&table, Kind::Worker).map(|process| process.pid).collect::<Vec<_>>(), [11]);
        assert_eq!(mains(&table, Kind::Beat).map(|process| process.pid).collect::<Vec<_>>(), [13]);
    }

    #[test]
    fn a_worker_is_asked_by_its_name() {
        let asked = |line: &str| ping(&process(1, 0, line), "web-1").unwrap().join(" ");
        let program = "/venv/bin/python /venv/bin/celery --app=superset.tasks.celery_app:app inspect ping -d";
        assert_eq!(asked(WORKER), format!("{program} celery@web-1"));
        assert_eq!(asked(&format!("{WORKER} -n reports@%h")), format!("{program} reports@web-1"));
        assert_eq!(asked("celery worker -A a"), "celery --app=a inspect ping -d celery@web-1");
    }
}
