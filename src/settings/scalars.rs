//! Single values: text to durations, sizes, shares, permissions, addresses and names.
//!
//! In: one scalar of the raw settings. Out: a value of the right type, or what was expected instead. What was given is named
//! by its kind only: it may be a secret in the wrong place.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use jiff::fmt::friendly::SpanParser;
use url::Url;

use super::tree::{Node, Value};
use crate::model::protected::PROTECTED;

/// Why a value was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Wrong {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    /// `expected` names what would be right: "a duration".
    pub(super) fn kind(expected: &str, node: &Node) -> Self {
        Self::new(format!("expected {expected}, got {}", node.kind()))
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// What reading one value gives.
pub(super) type Read<T> = Result<T, Wrong>;

/// Text that is not empty.
pub(super) fn text(node: &Node) -> Read<String> {
    match plain(node, "text") {
        Ok("") => Err(Wrong::new("expected text, got nothing")),
        Ok(text) => Ok(text.to_owned()),
        Err(wrong) if matches!(node.value, Value::Bool(_) | Value::Int(_) | Value::Float(_)) => Err(wrong.hint("quote it")),
        Err(wrong) => Err(wrong),
    }
}

/// A path of the file system.
pub(super) fn path(node: &Node) -> Read<PathBuf> {
    text(node).map(PathBuf::from)
}

/// `true` or `false`.
pub(super) fn boolean(node: &Node) -> Read<bool> {
    match &node.value {
        Value::Bool(value) => Ok(*value),
        Value::Bare(text) if text == "true" => Ok(true),
        Value::Bare(text) if text == "false" => Ok(false),
        _ => Err(Wrong::kind("true or false", node)),
    }
}

/// A whole number, 1 or more.
pub(super) fn count(node: &Node) -> Read<u32> {
    at_least(1, node)
}

/// A whole number, or none at all.
pub(super) fn count_or_none(node: &Node) -> Read<u32> {
    at_least(0, node)
}

fn at_least(least: u32, node: &Node) -> Read<u32> {
    let number = match &node.value {
        Value::Int(number) => u32::try_from(*number).ok(),
        Value::Bare(text) => text.parse().ok(),
        _ => return Err(Wrong::kind("a whole number", node)),
    };
    number.filter(|number| *number >= least).ok_or_else(|| Wrong::new(format!("expected a whole number, {least} or more")))
}

/// A protected setting's name.
pub(super) fn protected(node: &Node) -> Read<String> {
    let name = text(node)?;
    if PROTECTED.contains(&name.as_str()) {
        return Ok(name);
    }
    Err(Wrong::new(format!("`{name}` is not protected")).hint(format!("protected are {}", PROTECTED.join(" and "))))
}

/// A duration with units; not negative.
pub(super) fn duration(node: &Node) -> Read<Duration> {
    const EXPECTED: &str = "a duration with a unit";
    const HINT: &str = "write it like 15s, 500ms or 1h30m";
    let text = plain(node, EXPECTED).map_err(|wrong| wrong.hint(HINT))?;
    SpanParser::new().parse_unsigned_duration(text).map_err(|_| Wrong::new(format!("expected {EXPECTED}")).hint(HINT))
}

/// A duration with units, longer than nothing.
pub(super) fn span(node: &Node) -> Read<Duration> {
    duration(node).and_then(|span| if span.is_zero() { Err(Wrong::new("must be longer than 0s")) } else { Ok(span) })
}

/// A size in bytes: a whole number and K, M, G or T (powers of 1024).
pub(super) fn size(node: &Node) -> Read<u64> {
    const EXPECTED: &str = "a size with a unit";
    const HINT: &str = "write it like 512K, 400M or 2G";
    let text = plain(node, EXPECTED).map_err(|wrong| wrong.hint(HINT))?;
    parse_size(text).ok_or_else(|| Wrong::new(format!("expected {EXPECTED}")).hint(HINT))
}

fn parse_size(text: &str) -> Option<u64> {
    const UNITS: [(char, u32); 4] = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];
    let (unit, shift) = UNITS.into_iter().find(|(unit, _)| text.ends_with(*unit))?;
    text.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(1 << shift).filter(|bytes| *bytes > 0)
}

/// A percentage, as a share from 0 to 1.
pub(super) fn share(node: &Node) -> Read<f64> {
    const EXPECTED: &str = "a percentage from 0% to 100%";
    const HINT: &str = "write it like 50%";
    let text = plain(node, EXPECTED).map_err(|wrong| wrong.hint(HINT))?;
    text.strip_suffix('%')
        .and_then(|number| number.trim_end().parse::<f64>().ok())
        .filter(|percent| (0.0..=100.0).contains(percent))
        .map(|percent| percent / 100.0)
        .ok_or_else(|| Wrong::new(format!("expected {EXPECTED}")).hint(HINT))
}

/// Permissions in quoted octal digits, no wider than 0640: what is rendered may hold secrets.
pub(super) fn mode(node: &Node) -> Read<u32> {
    const WIDEST: u32 = 0o640;
    const EXPECTED: &str = "permissions in quoted octal digits";
    const HINT: &str = "write it like \"0640\"";
    let text = plain(node, EXPECTED).map_err(|wrong| wrong.hint(HINT))?;
    let mode = u32::from_str_radix(text, 8).map_err(|_| Wrong::new(format!("expected {EXPECTED}")).hint(HINT))?;
    if mode & !WIDEST != 0 {
        return Err(Wrong::new("wider than 0640").hint("the file may hold secrets: use \"0640\", \"0600\" or \"0400\""));
    }
    Ok(mode)
}

/// An address to listen on.
pub(super) fn address(node: &Node) -> Read<SocketAddr> {
    const EXPECTED: &str = "an IP address and a port";
    let text = plain(node, EXPECTED)?;
    text.parse().map_err(|_| Wrong::new(format!("expected {EXPECTED}")).hint("write it like 127.0.0.1:9180 or [::1]:9180"))
}

/// An http or https URL without credentials.
pub(super) fn http_url(node: &Node) -> Read<Url> {
    const EXPECTED: &str = "an http or https URL";
    let url = Url::parse(plain(node, EXPECTED)?).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let url = url.ok_or_else(|| Wrong::new(format!("expected {EXPECTED}")).hint("write it like http://127.0.0.1:8088"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Wrong::new("must not hold credentials").hint("use superset.username and superset.password"));
    }
    Ok(url)
}

/// An absolute znode path, without a slash at the end.
pub(super) fn znode_path(node: &Node) -> Read<String> {
    let path = text(node)?;
    if is_znode_path(&path) {
        return Ok(path);
    }
    Err(Wrong::new("expected an absolute znode path")
        .hint("write it like /superset: parts between single slashes, none at the end"))
}

/// Whether `path` is an absolute znode path.
pub(super) fn is_znode_path(path: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.chars().any(char::is_control);
    path == "/" || path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(part))
}

/// ZooKeeper's hosts: `host:port,…`, perhaps with a chroot at the end.
pub(super) fn hosts(node: &Node) -> Read<String> {
    let text = text(node)?;
    let (hosts, chroot) = text.split_at(text.find('/').unwrap_or(text.len()));
    if hosts.split(',').all(is_host) && (chroot.is_empty() || is_znode_path(chroot)) {
        return Ok(text);
    }
    Err(Wrong::new("expected a list of ZooKeeper's servers").hint("write it like zk1:2181,zk2:2181 or zk1:2181,zk2:2181/chroot"))
}

fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let name = !host.is_empty() && !host.contains(char::is_whitespace) && !host.contains(['@', '=']);
    name && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// One of these words.
pub(super) fn word<T: Copy>(node: &Node, words: &[(&str, T)]) -> Read<T> {
    let known = || words.iter().map(|(word, _)| *word);
    let expected = format!("one of {}", known().collect::<Vec<_>>().join(", "));
    let text = plain(node, &expected)?;
    let wrong = || match crate::model::problem::nearest(text, known()) {
        Some(near) => Wrong::new(format!("expected {expected}")).hint(format!("did you mean `{near}`?")),
        None => Wrong::new(format!("expected {expected}")),
    };
    words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(wrong)
}

fn plain<'a>(node: &'a Node, expected: &str) -> Read<&'a str> {
    match &node.value {
        Value::Text(text) | Value::Bare(text) => Ok(text),
        _ => Err(Wrong::kind(expected, node)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::{Layer, Place};
    use super::*;

    fn bare(text: &str) -> Node {
        Node { value: Value::Bare(text.to_owned()), place: Place::within(Layer::Flags) }
    }

    fn int(number: i128) -> Node {
        Node { value: Value::Int(number), place: Place::within(Layer::Flags) }
    }

    #[test]
    fn durations_need_units() {
        for (text, seconds) in [("15s", 15), ("1h30m", 5400), ("2m", 120), ("0s", 0)] {
            assert_eq!(duration(&bare(text)), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["15", "-3s", "1d", "soon", "15s ago"] {
            assert!(duration(&bare(text)).unwrap_err().hint.is_some(), "{text}");
        }
        assert_eq!(duration(&int(15)).unwrap_err().message, "expected a duration with a unit, got a whole number");
        assert!(span(&bare("0s")).is_err());
    }

    #[test]
    fn sizes_need_units_and_are_powers_of_1024() {
        assert_eq!(size(&bare("400M")), Ok(400 << 20));
        for text in ["400", "M", "-1M", "0K", "1.5G", "99999999999T"] {
            assert!(size(&bare(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn shares_are_percentages() {
        assert_eq!(share(&bare("50%")), Ok(0.5));
        assert_eq!(share(&bare("100%")), Ok(1.0));
        for text in ["50", "101%", "-1%", "NaN%", "%"] {
            assert!(share(&bare(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn a_mode_is_at_most_0640() {
        assert_eq!(mode(&bare("0600")), Ok(0o600));
        for text in ["0644", "0660", "0740", "rw", "0o640"] {
            assert!(mode(&bare(text)).is_err(), "{text}");
        }
        assert_eq!(mode(&int(640)).unwrap_err().hint.as_deref(), Some("write it like \"0640\""));
    }

    #[test]
    fn hosts_may_end_in_a_chroot() {
        for text in ["127.0.0.1:2181", "zk1,zk2:2181", "zk1:2181,zk2:2181/a/b", "zk1:2181/", "[::1]:2181"] {
            assert!(hosts(&bare(text)).is_ok(), "{text}");
        }
        for text in ["", "zk1:", "zk1:2181,", "zk1:2181/a//b", "zk:99999", "tcp@zk"] {
            assert!(hosts(&bare(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn a_url_holds_no_credentials() {
        assert!(http_url(&bare("https://superset.example.com/bi/")).is_ok());
        let wrong = http_url(&bare("http://admin:canary@h/")).unwrap_err();
        assert!(!format!("{wrong:?}").contains("canary"));
        assert!(http_url(&bare("ftp://h")).is_err());
    }

    #[test]
    fn a_word_names_its_neighbours() {
        let wrong = word(&bare("handof"), &[("hup", 1), ("handoff", 2)]).unwrap_err();
        assert_eq!(wrong.message, "expected one of hup, handoff");
        assert_eq!(wrong.hint.as_deref(), Some("did you mean `handoff`?"));
    }
}
