//! Lines of `key=value`, the form in which many people already keep config in ZooKeeper.
//!
//! `database_url` means `SQLALCHEMY_DATABASE_URI`; every other key is a setting. A value is what an unquoted YAML scalar is
//! (`5000` a number, `true` truth), a YAML flow collection where it begins with `[` or `{`, and otherwise the text as it
//! stands; text that looks like something else goes in quotes, which have no escapes. `#` begins a comment only at the
//! beginning of a line, because passwords hold it.

use super::item::{Entry, Item, What};
use super::notes::{Field, Notes, shown};
use super::scalar::{self, Plain};
use super::yaml;
use crate::model::value::{Key, is_identifier};

const DATABASE_URL: &str = "database_url";
const DATABASE_URI: &str = "SQLALCHEMY_DATABASE_URI";

/// Whether a text is lines of `key=value` and no YAML: its first line that says something is one.
#[must_use]
pub fn is_lines(text: &str) -> bool {
    said(text).next().and_then(|(_, line)| line.split_once('=')).is_some_and(|(key, _)| is_identifier(key.trim_end()))
}

/// Reads the lines as one mapping; `None` when something was wrong, which was noted then.
pub fn parse(text: &str, notes: &mut Notes<'_>) -> Option<Item> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut whole = true;
    for (line, text) in said(text) {
        match read(line, text, notes) {
            Some(entry) if entries.iter().any(|earlier| earlier.key == entry.key) => {
                notes.error(line, &Field::Root, format!("the key `{}` is there twice", shown(&entry.key.to_string())));
                whole = false;
            }
            Some(entry) => entries.push(entry),
            None => whole = false,
        }
    }
    whole.then_some(Item { line: 1, what: What::Map(entries) })
}

/// The lines that are neither blank nor comments, with their numbers.
fn said(text: &str) -> impl Iterator<Item = (u64, &str)> {
    (1..)
        .zip(text.lines())
        .map(|(number, line)| (number, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn read(line: u64, text: &str, notes: &mut Notes<'_>) -> Option<Entry> {
    let Some((key, value)) = text.split_once('=') else {
        notes.error(line, &Field::Root, "expected key=value, as on the lines before");
        return None;
    };
    let (key, value) = (key.trim_end(), value.trim_start());
    let is_url = key == DATABASE_URL;
    let key = Key::from(if is_url { DATABASE_URI } else { key });
    let field = Field::Key(&Field::Root, &key);
    let what =
        if is_url { What::Text(fix_scheme(unquoted(value).unwrap_or(value))) } else { read_value(line, value, &field, notes)? };
    Some(Entry { line, item: Item { line, what }, key })
}

fn read_value(line: u64, text: &str, field: &Field<'_>, notes: &mut Notes<'_>) -> Option<What> {
    if let Some(inner) = unquoted(text) {
        return Some(What::Text(inner.to_owned()));
    }
    if text.starts_with(['[', '{']) {
        let mut inner = Notes::new(notes.origin());
        let item = yaml::parse(text, &mut inner);
        for problem in inner.into_problems() {
            notes.error(line, field, problem.message);
        }
        return item.map(|item| item.what);
    }
    match scalar::read(text) {
        Plain::Null => Some(What::Null),
        Plain::Bool(truth) => Some(What::Bool(truth)),
        Plain::Int(number) => Some(What::Int(number)),
        Plain::Float(number) => Some(What::Float(number)),
        Plain::Text => Some(What::Text(text.to_owned())),
        Plain::Refused(message) => {
            notes.error(line, field, message);
            None
        }
    }
}

fn unquoted(text: &str) -> Option<&str> {
    ['"', '\''].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote))
}

/// The same URI with the engine's name that SQLAlchemy takes today, and a driver that Superset's users have for `mysql`.
#[must_use]
pub fn fix_scheme(uri: &str) -> String {
    match uri.split_once("://") {
        Some((scheme, rest)) => format!("{}://{rest}", fixed_scheme(scheme)),
        None => uri.to_owned(),
    }
}

/// The scheme that SQLAlchemy takes today for one that it took once.
#[must_use]
pub fn fixed_scheme(scheme: &str) -> String {
    match scheme.split_once('+') {
        None if scheme == "mysql" => "mysql+pymysql".to_owned(),
        None if scheme == "postgres" => "postgresql".to_owned(),
        Some(("postgres", driver)) => format!("postgresql+{driver}"),
        _ => scheme.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::snapshot::Origin;

    fn read_all(text: &str) -> Result<Vec<(String, What)>, Vec<String>> {
        let origin = Origin::new("/n");
        let mut notes = Notes::new(&origin);
        let item = parse(text, &mut notes);
        let problems: Vec<_> = notes.into_problems().iter().map(ToString::to_string).collect();
        match item.map(|item| item.what) {
            Some(What::Map(entries)) => Ok(entries.into_iter().map(|entry| (entry.key.to_string(), entry.item.what)).collect()),
            _ => Err(problems),
        }
    }

    #[test]
    fn lines_are_told_from_yaml() {
        for lines in ["database_url=postgres://u:p@h/d", "# c\n\nA = 1\nB=2", "A=b: c"] {
            assert!(is_lines(lines), "{lines}");
        }
        for yaml in ["A: b=c", "{\"A\": \"b=c\"}", "", "- a=b", "# a=b\nA: 1", "'a'=b", "a b=c"] {
            assert!(!is_lines(yaml), "{yaml}");
        }
    }

    #[test]
    fn values_are_read_as_plain_scalars_and_text_stands_as_it_is() {
        let text = "# old\nROW_LIMIT=5000\nDEBUG = false\nAPP_NAME=Our # Superset\nSECRET_KEY=\"0123\"\nFLAGS={\"A\": true}\nEMPTY=\nURL=http://x/?a=b\n";
        let text_of = |text: &str| What::Text(text.to_owned());
        let found = read_all(text).unwrap();
        let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["ROW_LIMIT", "DEBUG", "APP_NAME", "SECRET_KEY", "FLAGS", "EMPTY", "URL"]);
        assert_eq!(found[0].1, What::Int(5000));
        assert_eq!(found[1].1, What::Bool(false));
        assert_eq!((&found[2].1, &found[3].1), (&text_of("Our # Superset"), &text_of("0123")));
        assert!(matches!(&found[4].1, What::Map(entries) if entries.len() == 1));
        assert_eq!((&found[5].1, &found[6].1), (&What::Null, &text_of("http://x/?a=b")));
    }

    #[test]
    fn a_database_url_becomes_the_uri_that_superset_reads() {
        for (url, uri) in [
            ("postgres://user:password@host:5432/dbname", "postgresql://user:password@host:5432/dbname"),
            ("postgres+psycopg2://h/d", "postgresql+psycopg2://h/d"),
            ("mysql://u@h/d", "mysql+pymysql://u@h/d"),
            ("mysql+mysqldb://u@h/d", "mysql+mysqldb://u@h/d"),
            ("\"sqlite:////tmp/x=1.db\"", "sqlite:////tmp/x=1.db"),
        ] {
            let found = read_all(&format!("database_url={url}")).unwrap();
            assert_eq!(found, [(DATABASE_URI.to_owned(), What::Text(uri.to_owned()))], "{url}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_by_line_and_not_quoted() {
        let problems = read_all("A=1\nhunter2\nA=2\nB=yes\nC=[hunter2\n").unwrap_err();
        let starts = [
            "/n:2: expected key=value",
            "/n:3: the key `A` is there twice",
            "/n:4: B: expected true or false",
            "/n:5: C: expected YAML or JSON",
        ];
        assert_eq!(problems.len(), starts.len(), "{problems:?}");
        for (problem, start) in problems.iter().zip(starts) {
            assert!(problem.starts_with(start) && !problem.contains("hunter2"), "{problem}");
        }
    }
}
