//! What the commands print: what was asked for on stdout, talk on stderr.
//!
//! In: values, tables and errors. Out: text without colour. A reader that went away (`| head`) is no error.

pub mod plain;

use std::error::Error;
use std::io::{self, Write};

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use self::plain::plain;
use crate::model::problem::Problem;

/// How to print what was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
    /// For both
    Yaml,
}

/// An error message with advice.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Advice {
    /// What failed.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl Advice {
    /// What failed, and what to do about it.
    #[must_use]
    pub fn new(message: &str, hint: &str) -> Self {
        Self { message: message.to_owned(), hint: hint.to_owned() }
    }
}

/// Problems that keep a command from going on.
#[derive(Debug, thiserror::Error)]
#[error("{} in the {subject}", count(.problems.len()))]
pub struct Problems {
    /// What has them: "settings", "tree".
    pub subject: &'static str,
    /// Each of them.
    pub problems: Vec<Problem>,
}

fn count(count: usize) -> String {
    match count {
        1 => "a problem".to_owned(),
        _ => format!("{count} problems"),
    }
}

/// An error with its causes, and what to do about it where that is known.
pub fn advised(error: &(dyn Error + 'static), hint: Option<String>) -> anyhow::Error {
    let (mut causes, mut next) = (Vec::new(), error.source());
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    let innermost = causes.pop().map(anyhow::Error::msg);
    let cause = causes.into_iter().rev().fold(innermost, |below, cause| below.map(|below| below.context(cause)));
    let message = error.to_string();
    match (cause, hint) {
        (Some(cause), Some(hint)) => cause.context(Advice { message, hint }),
        (Some(cause), None) => cause.context(message),
        (None, Some(hint)) => Advice { message, hint }.into(),
        (None, None) => anyhow::Error::msg(message),
    }
}

/// A bar for work that takes long, where a terminal looks on; nothing elsewhere.
#[must_use]
pub fn progress(what: &'static str, length: usize) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(length).unwrap_or(u64::MAX)).with_message(what);
    if let Ok(style) = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len} {eta}") {
        bar.set_style(style);
    }
    bar
}

/// Prints `value` on stdout; `table` says it to people.
pub fn print<T: Serialize + ?Sized>(format: Format, value: &T, table: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
    let text = match format {
        Format::Table => table(value),
        Format::Json => format!("{}\n", serde_json::to_string_pretty(value)?),
        Format::Yaml => serde_yaml::to_string(&value)?,
    };
    Ok(write(text.as_bytes())?)
}

/// Writes `bytes` on stdout.
pub fn write(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Says `text`, if it is any, to the person at the terminal.
pub fn say(text: &str) {
    let text = text.trim_end();
    if text.is_empty() {
        return;
    }
    // Nobody is left to tell where stderr is closed.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Rows under headings, in columns.
#[must_use]
pub fn table<const N: usize>(headings: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headings);
    for row in rows {
        table.add_row(row.map(|cell| plain(&cell).into_owned()));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    joined(table.lines().map(|line| line.trim_end().to_owned()))
}

/// Problems, one below the other, each with its hint.
#[must_use]
pub fn problems(problems: &[Problem]) -> String {
    let severity = |problem: &Problem| if problem.is_error() { "error: " } else { "warning: " };
    joined(problems.iter().flat_map(|problem| lines(severity(problem), "  ", problem)))
}

/// An error as people read it: what failed, its causes indented, and what to do about it.
#[must_use]
pub fn failure(error: &anyhow::Error) -> String {
    let mut shown = vec![format!("error: {error}")];
    shown.extend(error.chain().skip(1).map(|cause| format!("  {cause}")));
    if let Some(Problems { problems, .. }) = error.downcast_ref() {
        shown.extend(problems.iter().flat_map(|problem| lines("  ", "    ", problem)));
    }
    if let Some(Advice { hint, .. }) = error.downcast_ref() {
        shown.extend([String::new(), format!("hint: {hint}")]);
    }
    joined(shown)
}

fn lines(before: &str, before_hint: &str, problem: &Problem) -> impl Iterator<Item = String> + use<> {
    let hint = problem.hint.as_ref().map(|hint| format!("{before_hint}hint: {hint}"));
    std::iter::once(format!("{before}{problem}")).chain(hint)
}

fn joined(lines: impl IntoIterator<Item = String>) -> String {
    lines.into_iter().flat_map(|line| [plain(&line).into_owned(), "\n".to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::snapshot::Origin;

    #[test]
    fn columns_line_up_without_frames() {
        let rows = [["web-1".to_owned(), "leader".to_owned()], ["w".to_owned(), "follower".to_owned()]];
        assert_eq!(table(["ID", "ROLE"], rows), "ID     ROLE\nweb-1  leader\nw      follower\n");
    }

    #[test]
    fn an_error_shows_its_causes_and_its_hint() {
        let cause = io::Error::from(io::ErrorKind::NotFound);
        let advice = Advice { message: "failed to read a.yaml".into(), hint: "name a file that exists".into() };
        let shown = failure(&anyhow::Error::new(cause).context(advice));
        assert_eq!(shown, "error: failed to read a.yaml\n  entity not found\n\nhint: name a file that exists\n");
    }

    #[test]
    fn advice_keeps_the_causes_of_an_error() {
        #[derive(Debug, thiserror::Error)]
        #[error("failed to open a")]
        struct Outer(#[source] io::Error);
        let shown = failure(&advised(&Outer(io::ErrorKind::NotFound.into()), Some("make one".to_owned())));
        assert_eq!(shown, "error: failed to open a\n  entity not found\n\nhint: make one\n");
    }

    #[test]
    fn problems_are_shown_with_their_hints() {
        let problem =
            Problem::error(&Origin::new("a.yaml"), "unknown key").line(3).field("clustr").hint("did you mean `cluster`?");
        let shown = failure(&Problems { subject: "settings", problems: vec![problem] }.into());
        let expected = "error: a problem in the settings\n  a.yaml:3: clustr: unknown key\n    hint: did you mean `cluster`?\n";
        assert_eq!(shown, expected);
    }
}
