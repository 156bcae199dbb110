//! Python's words: what an expression is made of that holds no other value.
//!
//! In: what a value holds. Out: Python that evaluates to it. Nothing can break out of a string: it is quoted, and everything in
//! it that is not plainly printable is escaped (quotes, line ends and NUL, but also separators and marks of direction that
//! would let a file read differently from what it does). Raw Python stays one expression; whether it is allowed was asked before.

use std::borrow::Cow;
use std::fmt::Write;

use crate::model::value::Key;

/// Writes text as a string literal.
#[must_use]
pub fn string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_plain(c) => out.push(c),
            // Writing to a String cannot fail.
            c if u32::from(c) <= 0xff => drop(write!(out, "\\x{:02x}", u32::from(c))),
            c if u32::from(c) <= 0xffff => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c => drop(write!(out, "\\U{:08x}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

/// Whether a character stands in a file as what it is and is seen as that.
fn is_plain(c: char) -> bool {
    let hidden = matches!(u32::from(c),
        0x00ad | 0x061c | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfe00..=0xfe0f | 0xfeff | 0xfff0..=0xffff
        | 0xe000..=0xf8ff | 0xe_0000..=0x10_ffff);
    !c.is_control() && !hidden
}

pub(super) fn key(key: &Key) -> String {
    match key {
        Key::Null => "None".to_owned(),
        Key::Bool(true) => "True".to_owned(),
        Key::Bool(false) => "False".to_owned(),
        Key::Int(number) => number.to_string(),
        Key::Str(text) => string(text),
    }
}

pub(super) fn float(number: f64) -> Cow<'static, str> {
    if number.is_nan() {
        "float(\"nan\")".into()
    } else if number.is_infinite() {
        if number > 0.0 { "float(\"inf\")" } else { "float(\"-inf\")" }.into()
    } else {
        // Rust writes the shortest digits that read back as the same number, with a point or an exponent, as Python does.
        format!("{number:?}").into()
    }
}

/// As Python itself shows it: days, seconds and microseconds, the last two never negative.
pub(super) fn timedelta(microseconds: i64) -> String {
    const SECOND: i64 = 1_000_000;
    const DAY: i64 = 86_400 * SECOND;
    let (days, rest) = (microseconds.div_euclid(DAY), microseconds.rem_euclid(DAY));
    let parts = [("days", days), ("seconds", rest / SECOND), ("microseconds", rest % SECOND)];
    let named: Vec<_> =
        parts.iter().filter(|(_, number)| *number != 0).map(|(name, number)| format!("{name}={number}")).collect();
    format!("_setkeeper_datetime.timedelta({})", named.join(", "))
}

pub(super) fn crontab(fields: &[String; 5]) -> String {
    let names = ["minute", "hour", "day_of_month", "month_of_year", "day_of_week"];
    // Celery's own default for each is "*".
    let given = names.iter().zip(fields).filter(|(_, field)| *field != "*");
    let arguments: Vec<_> = given.map(|(name, field)| format!("{name}={}", string(field))).collect();
    format!("_setkeeper_crontab({})", arguments.join(", "))
}

/// Raw Python in brackets, so that it stays one expression; a comment in it must not swallow the closing one.
pub(super) fn raw(text: &str) -> String {
    let text = text.trim();
    if text.contains(['#', '\n', '\r']) { format!("(\n{text}\n)") } else { format!("({text})") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_out_of_a_string() {
        for (value, expected) in [
            ("\"; import os #", r#""\"; import os #""#),
            ("'\\", r#""'\\""#),
            ("a\nb\r\t\0\u{1b}\u{7f}\u{85}", r#""a\nb\r\t\x00\x1b\x7f\x85""#),
            ("\u{2028}\u{202e}\u{feff}\u{e000}\u{1f600}\u{e0001}", "\"\\u2028\\u202e\\ufeff\\ue000\u{1f600}\\U000e0001\""),
            ("größe {x} %s", "\"größe {x} %s\""),
        ] {
            assert_eq!(string(value), expected);
        }
    }
}
