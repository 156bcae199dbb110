//! Text in which nothing hides: what turns a line around, breaks it or has no width is shown by its number.
//!
//! In: names that others chose, within what a command prints or the log says. Out: the same text with such characters
//! escaped, for people in one form and for readers of JSON in JSON's own. Which names may be is not decided here.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

/// Whether this character shows nothing of itself, or makes others show otherwise than they stand.
fn hides(c: char) -> bool {
    // Soft hyphen, joiners and marks without width; what turns the direction of writing around; tags.
    let is_unseen =
        matches!(c, '\u{ad}' | '\u{34f}' | '\u{180e}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2064}' | '\u{feff}');
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2065}'..='\u{206f}');
    let breaks = c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    is_unseen || turns || breaks || matches!(c, '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The text for people; its line ends stay.
#[must_use]
pub fn plain(text: &str) -> Cow<'_, str> {
    escaped(text, |c| hides(c) && c != '\n', Form::People)
}

/// How a hidden character is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `\u{202e}`
    People,
    /// `\u202e`, which a reader of JSON turns back.
    Json,
}

fn escaped(text: &str, hides: impl Fn(char) -> bool, form: Form) -> Cow<'_, str> {
    if !text.contains(&hides) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match form {
            _ if !hides(c) => shown.push(c),
            Form::People => shown.extend(c.escape_unicode()),
            Form::Json => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                // Writing to a String cannot fail.
                let _ = write!(shown, "\\u{unit:04x}");
            }),
        }
    }
    Cow::Owned(shown)
}

/// A log, of which each write is one event and comes to one line, whatever was named in it.
#[derive(Debug)]
pub struct Log<W> {
    to: W,
    form: Form,
}

impl<W: Write> Log<W> {
    /// On `to`.
    pub fn on(to: W, form: Form) -> Self {
        Self { to, form }
    }
}

impl<W: Write> Write for Log<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.write_all(event)?;
        Ok(event.len())
    }

    fn write_all(&mut self, event: &[u8]) -> io::Result<()> {
        let text = String::from_utf8_lossy(event);
        let (line, end) = text.strip_suffix('\n').map_or((&*text, ""), |line| (line, "\n"));
        let line = escaped(line, hides, self.form);
        self.to.write_all(format!("{line}{end}").as_bytes())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name with everything that hides, and what does not.
    const NAME: &str = "a\u{202e}b\u{2028}c\r\u{200b}\u{61c}\u{e0041}ü文";

    #[test]
    fn nothing_hides_in_a_name_and_what_shows_itself_stays() {
        assert_eq!(plain(NAME), "a\\u{202e}b\\u{2028}c\\u{d}\\u{200b}\\u{61c}\\u{e0041}ü文");
        assert_eq!(plain("two\nlines"), "two\nlines");
    }

    fn logged(form: Form, event: &str) -> String {
        let mut written = Vec::new();
        Log::on(&mut written, form).write_all(event.as_bytes()).unwrap();
        String::from_utf8(written).unwrap()
    }

    #[test]
    fn an_event_is_one_line_in_which_nothing_hides() {
        let event = format!(" WARN pushed datasource={NAME}\nforged line\n");
        let line = logged(Form::People, &event);
        assert!(!line.trim_end().contains(hides) && line.ends_with("\\u{a}forged line\n"), "{line}");
    }

    #[test]
    fn a_reader_of_json_gets_the_name_as_it_is() {
        let event = format!("{}\n", serde_json::json!({ "datasource": NAME }));
        let line = logged(Form::Json, &event);
        assert!(!line.trim_end().contains(hides), "{line}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap()["datasource"], NAME);
    }
}
