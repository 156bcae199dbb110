//! Masks: the lines of a file as they may be shown beside the lines of another, so that a difference tells no secret (law 9).
//!
//! What lay in a file before is known only as text: whether a value in it was a secret, nobody knows any more. So a literal is
//! shown only where the file as it may be shown now holds it too; every other one is `***`. Lines stay lines, so that the
//! whole texts can be compared and the masked ones shown.

use std::collections::BTreeSet;

use crate::desired::redact;
use crate::model::secret::{REDACTED, is_secret_name};

/// Before the revision in a rendered file.
const REVISION: &str = "# Revision: ";

/// Where in Python a text stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part<'t> {
    /// A string literal with its quotes.
    Text(&'t str),
    /// A number.
    Number(&'t str),
    /// A comment.
    Comment(&'t str),
    /// Anything else.
    Code(&'t str),
}

/// The lines of a rendered Python file; `shown` is the same file as it may be shown.
pub(super) fn python(text: &str, shown: &str) -> Vec<String> {
    let (mut known, comments) = known(shown);
    // Which revision lay there is no secret, and says more than stars.
    let revision = text.lines().find_map(|line| line.strip_prefix(REVISION)).filter(|revision| is_digest(revision));
    let quoted = revision.map(|revision| format!("\"{revision}\""));
    known.extend(quoted.as_deref());
    let mut masked = String::with_capacity(text.len());
    let mut block = Block::default();
    let parts = parts(text);
    for (index, part) in parts.iter().enumerate() {
        match part {
            Part::Code(code) => {
                block.see(code);
                masked.push_str(code);
            }
            Part::Comment(comment) if comments.contains(comment) => masked.push_str(comment),
            Part::Comment(comment) if comment.strip_prefix(REVISION).is_some_and(is_digest) => masked.push_str(comment),
            Part::Comment(_) => masked.push_str("# ***"),
            Part::Number(number) if block.is_secret => masked.push_str(&mask(number)),
            Part::Number(number) => masked.push_str(number),
            // A mapping's own keys tell nothing.
            Part::Text(key) if is_key(parts.get(index + 1)) => {
                block.enter(key);
                masked.push_str(key);
            }
            Part::Text(literal) if block.is_secret => masked.push_str(&mask(literal)),
            Part::Text(literal) => {
                let redacted = redact::text(literal);
                masked.push_str(&if known.contains(&*redacted) { redacted.into_owned() } else { mask(literal) });
            }
        }
    }
    masked.lines().map(ToOwned::to_owned).collect()
}

fn is_key(next: Option<&Part<'_>>) -> bool {
    matches!(next, Some(Part::Code(after)) if after.starts_with(": "))
}

fn is_digest(text: &str) -> bool {
    text.len() == 16 && text.chars().all(|c| c.is_ascii_hexdigit())
}

/// The lines of a file of any form: one that may not be shown keeps what stands before its first `=` or `:`.
pub(super) fn lines(text: &str, shown: &str) -> Vec<String> {
    let known: BTreeSet<_> = shown.lines().collect();
    let masked = |line: &str| match line.find(['=', ':']) {
        _ if known.contains(line) => line.to_owned(),
        Some(at) => format!("{}{}{REDACTED}", &line[..=at], if line[at..].starts_with(':') { " " } else { "" }),
        None => REDACTED.to_owned(),
    };
    text.lines().map(masked).collect()
}

/// Stars for a literal, on as many lines.
fn mask(literal: &str) -> String {
    format!("\"{REDACTED}\"{}", "\n".repeat(literal.matches('\n').count()))
}

fn known(shown: &str) -> (BTreeSet<&str>, BTreeSet<&str>) {
    let (mut literals, mut comments) = (BTreeSet::new(), BTreeSet::new());
    for part in parts(shown) {
        match part {
            Part::Text(literal) => drop(literals.insert(literal)),
            Part::Comment(comment) => drop(comments.insert(comment)),
            Part::Number(_) | Part::Code(_) => {}
        }
    }
    (literals, comments)
}

/// Whether what is being read belongs to a name that names a secret: its own line, and the deeper lines below it.
#[derive(Default)]
struct Block {
    is_secret: bool,
    /// How deep that name stands.
    depth: usize,
    /// How deep the current line begins.
    indent: usize,
    /// Whether something of the current line was read.
    is_within_line: bool,
}

impl Block {
    fn see(&mut self, code: &str) {
        for line in code.split_inclusive('\n') {
            if !self.is_within_line {
                self.begin(line);
            }
            self.is_within_line = !line.ends_with('\n');
        }
    }

    fn begin(&mut self, line: &str) {
        let words = line.trim_start_matches(' ');
        self.indent = line.len() - words.len();
        let closes = words.starts_with(['}', ']', ')']);
        if self.indent < self.depth || (self.indent == self.depth && !closes) {
            self.is_secret = false;
        }
        self.name(words);
    }

    /// `NAME = …` at a line's beginning.
    fn name(&mut self, words: &str) {
        let name = words.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default();
        if words[name.len()..].starts_with(" =") {
            self.enter(name);
        }
    }

    /// `"name": …` in a mapping.
    fn enter(&mut self, name: &str) {
        if !self.is_secret && is_secret_name(name) {
            (self.is_secret, self.depth) = (true, self.indent);
        }
    }
}

fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = text;
    let mut code = 0;
    let mut before = ' ';
    while let Some(next) = rest[code..].chars().next() {
        let at = &rest[code..];
        let length = match next {
            '"' | '\'' => literal(at, next),
            '#' => at.find('\n').unwrap_or(at.len()),
            '0'..='9' if !(before.is_alphanumeric() || before == '_') => {
                at.find(|c: char| !(c.is_alphanumeric() || matches!(c, '.' | '_'))).unwrap_or(at.len())
            }
            _ => {
                before = next;
                code += next.len_utf8();
                continue;
            }
        };
        if code > 0 {
            parts.push(Part::Code(&rest[..code]));
        }
        let part = &at[..length];
        parts.push(match next {
            '"' | '\'' => Part::Text(part),
            '#' => Part::Comment(part),
            _ => Part::Number(part),
        });
        (rest, code, before) = (&at[length..], 0, '0');
    }
    if !rest.is_empty() {
        parts.push(Part::Code(rest));
    }
    parts
}

/// How long the literal at the beginning of `text` is; one that does not end takes everything.
fn literal(text: &str, quote: char) -> usize {
    let triple: String = std::iter::repeat_n(quote, 3).collect();
    let close = if text.starts_with(&triple) { triple } else { quote.to_string() };
    let mut at = close.len();
    while let Some(next) = text[at..].chars().next() {
        if text[at..].starts_with(&close) {
            return at + close.len();
        }
        if next == '\n' && close.len() == 1 {
            return at;
        }
        let skipped = if next == '\\' { text[at + 1..].chars().next() } else { None };
        at += next.len_utf8() + skipped.map_or(0, char::len_utf8);
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = "# Revision: 2\nAPP = \"new\"\nSECRET_KEY = \"***\"\nX = {\"a\": 1, \"url\": \"pg://u:***@h\"}\n";

    fn shown(text: &str) -> String {
        python(text, SHOWN).join("\n")
    }

    #[test]
    fn law_9_only_what_is_shown_anyway_is_shown() {
        assert_eq!(shown("APP = \"old\"\nAPP = \"new\"\nN = 5\n"), "APP = \"***\"\nAPP = \"new\"\nN = 5");
        assert_eq!(shown("SECRET_KEY = \"new\"\nMY_TOKEN = 1234\nN = 1"), "SECRET_KEY = \"***\"\nMY_TOKEN = \"***\"\nN = 1");
        assert_eq!(shown("X = {\"a\": 2, \"url\": \"pg://u:canary@h\"}"), "X = {\"a\": 2, \"url\": \"pg://u:***@h\"}");
        assert_eq!(shown("X = {\"z\": \"pg://u:canary@other\"}"), "X = {\"z\": \"***\"}");
        assert_eq!(shown("# canary\n# Revision: 2\n# Revision: canary"), "# ***\n# Revision: 2\n# ***");
        let old = "# Revision: 0123456789abcdef\nH = {\"X\": \"0123456789abcdef\"}";
        assert_eq!(shown(old), old);
        assert_eq!(shown("A = ('canary' + \"\"\"ca\nnary\"\"\")\nB = r\"canary"), "A = (\"***\" + \"***\"\n)\nB = r\"***\"");
        assert_eq!(shown("A = \"a\\\"canary\"\nB = \"\\\\\"\nAPP = \"new\""), "A = \"***\"\nB = \"***\"\nAPP = \"new\"");
    }

    #[test]
    fn law_9_a_secret_name_hides_all_below_it_and_nothing_beside_it() {
        let text = "X = {\n    \"api_token\": [\n        1,\n    ],\n    \"a\": 7,\n}\nPINS_SECRET = [\n    1,\n]\nN = 2\n";
        let shown = shown(text);
        let expected =
            "X = {\n    \"api_token\": [\n        \"***\",\n    ],\n    \"a\": 7,\n}\nPINS_SECRET = [\n    \"***\",\n]\nN = 2";
        assert_eq!(shown, expected);
    }

    #[test]
    fn lines_stay_lines() {
        let text = "A = \"\"\"x\n\ny\"\"\"\nB = 'open\nC = 3\n";
        assert_eq!(python(text, "").len(), text.lines().count());
    }

    #[test]
    fn a_file_of_another_form_keeps_its_names() {
        assert_eq!(lines("a=canary\nb: 1\ncanary\nc=2", "b: 1\nc=2"), ["a=***", "b: 1", "***", "c=2"]);
    }
}
