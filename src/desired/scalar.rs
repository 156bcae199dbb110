//! Plain scalars: what an unquoted word of YAML 1.2 means, and which words are refused because YAML 1.1 meant something else.
//!
//! `yes` is text in YAML 1.2 and truth in 1.1, `012` is twelve or ten, `1_000` is text or a thousand. Their authors were
//! taught by either, so they are asked to quote the text or to write the number plainly.

/// What a plain scalar is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Plain {
    /// Nothing.
    Null,
    /// Truth.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// A number.
    Float(f64),
    /// Text, as it stands.
    Text,
    /// Refused, with what was expected.
    Refused(&'static str),
}

const TRUTH: &str = "expected true or false, or text in quotes: YAML 1.1 and 1.2 disagree about this word; quote it";
const NUMBER: &str = "expected a number without leading zeros or underscores, or text in quotes; quote it";
const TOO_BIG: &str = "expected a number of at most 38 digits, or text in quotes";
const NOT_FINITE: &str = "expected a number that fits into 64-bit floating point, or text in quotes";

/// Reads a plain scalar.
#[must_use]
pub fn read(text: &str) -> Plain {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Plain::Null,
        "true" | "True" | "TRUE" => return Plain::Bool(true),
        "false" | "False" | "FALSE" => return Plain::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Plain::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Plain::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Plain::Float(f64::NEG_INFINITY),
        _ => {}
    }
    if ["yes", "no", "on", "off", "true", "false"].iter().any(|word| word.eq_ignore_ascii_case(text)) {
        return Plain::Refused(TRUTH);
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Plain::Text;
    }
    read_number(text, digits)
}

fn read_number(text: &str, digits: &str) -> Plain {
    let radix = |prefix, radix| digits.strip_prefix(prefix).map(|rest| (rest, radix));
    if let Some((rest, radix)) = radix("0x", 16).or_else(|| radix("0o", 8)) {
        return read_radix(rest, radix, text.len() == digits.len());
    }
    if digits.bytes().all(|b| b.is_ascii_digit()) {
        return match (digits.len() > 1 && digits.starts_with('0'), text.parse()) {
            (true, _) => Plain::Refused(NUMBER),
            (false, Ok(number)) => Plain::Int(number),
            (false, Err(_)) => Plain::Refused(TOO_BIG),
        };
    }
    if is_float(digits) {
        let leading = digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit();
        return match text.parse::<f64>() {
            _ if leading => Plain::Refused(NUMBER),
            Ok(number) if number.is_finite() => Plain::Float(number),
            _ => Plain::Refused(NOT_FINITE),
        };
    }
    if looks_like_number(digits) { Plain::Refused(NUMBER) } else { Plain::Text }
}

fn read_radix(digits: &str, radix: u32, unsigned: bool) -> Plain {
    let plain = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    match i128::from_str_radix(digits, radix) {
        Ok(number) if plain && unsigned => Plain::Int(number),
        Err(_) if plain && unsigned => Plain::Refused(TOO_BIG),
        _ if digits.chars().all(|c| c.is_digit(radix) || c == '_') => Plain::Refused(NUMBER),
        _ => Plain::Text,
    }
}

/// `(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`, the float of YAML's core schema without its sign.
fn is_float(text: &str) -> bool {
    let (mantissa, exponent) =
        text.split_once(['e', 'E']).map_or((text, None), |(mantissa, exponent)| (mantissa, Some(exponent)));
    let all_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent = exponent.is_none_or(|text| {
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        !digits.is_empty() && all_digits(digits)
    });
    exponent && all_digits(whole) && all_digits(fraction) && !(whole.is_empty() && fraction.is_empty())
}

/// Whether YAML 1.1, or a person, would take it for a number: `1_000`, `0b11`, `0X1F`, `1_0.5`.
fn looks_like_number(digits: &str) -> bool {
    let without = digits.replace('_', "");
    let other_radix = |prefixes: [&str; 2], radix| {
        let rest = prefixes.iter().find_map(|prefix| without.strip_prefix(prefix));
        rest.is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_digit(radix)))
    };
    is_float(&without) || other_radix(["0b", "0B"], 2) || other_radix(["0X", "0x"], 16) || other_radix(["0O", "0o"], 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_1_2_where_both_versions_agree() {
        for (text, plain) in [
            ("", Plain::Null),
            ("~", Plain::Null),
            ("null", Plain::Null),
            ("True", Plain::Bool(true)),
            ("0", Plain::Int(0)),
            ("-0", Plain::Int(0)),
            ("+12", Plain::Int(12)),
            ("0x1F", Plain::Int(31)),
            ("0o17", Plain::Int(15)),
            ("170141183460469231731687303715884105727", Plain::Int(i128::MAX)),
            ("-170141183460469231731687303715884105728", Plain::Int(i128::MIN)),
            ("1.5", Plain::Float(1.5)),
            (".5", Plain::Float(0.5)),
            ("1.", Plain::Float(1.0)),
            ("-1e3", Plain::Float(-1000.0)),
            ("0.0", Plain::Float(0.0)),
            ("0e0", Plain::Float(0.0)),
            ("-.inf", Plain::Float(f64::NEG_INFINITY)),
        ] {
            assert_eq!(read(text), plain, "{text}");
        }
        assert!(matches!(read(".nan"), Plain::Float(number) if number.is_nan()));
    }

    #[test]
    fn words_on_which_the_versions_disagree_are_refused() {
        let refused = |text| matches!(read(text), Plain::Refused(_));
        for text in
            ["yes", "No", "ON", "off", "tRUE", "012", "-007", "00", "1_000", "1_0.5", "0b11", "0X1F", "0x_1", "012.5", "+0x1F"]
        {
            assert!(refused(text), "{text}: {:?}", read(text));
        }
        for text in ["1e999", "170141183460469231731687303715884105728", "0xffffffffffffffffffffffffffffffffff"] {
            assert!(refused(text), "{text}: {:?}", read(text));
        }
    }

    #[test]
    fn everything_else_is_text() {
        for text in [
            "nan",
            "inf",
            "y",
            "n",
            "1.2.3",
            "2001-01-01",
            "12:30",
            "0xzz",
            "1h30m",
            ".",
            "-",
            "+",
            "1e",
            "10.0.0.1",
            "_1",
            "0xg",
            "a b",
        ] {
            assert_eq!(read(text), Plain::Text, "{text}");
        }
    }
}
