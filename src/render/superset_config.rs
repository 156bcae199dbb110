//! Superset's config file: header, base, what the settings need, the settings, and the revision on every response.
//!
//! Settings come in as finished assignments ([`super::python`]); this room only puts them between the fixed parts. Names
//! of the file's own begin with `_setkeeper_`: Superset loads only upper-case names, and a base is unlikely to have one.

use std::fmt::Write;

use super::python::Needs;
use super::python::literal::string;
use crate::model::digest::Revision;
use crate::model::problem::Problem;
use crate::model::snapshot::Origin;

/// The response header that tells which revision a worker runs.
pub const HEADER: &str = "X-Setkeeper-Revision";

/// Two lines or more: Python looks for an encoding in the first two, and a base may have brought one.
const HEAD: &str = "# Managed by Setkeeper: do not edit. The next change of the config tree overwrites this file.\n";

const MERGE: &str = "\
def _setkeeper_merge(name, over):
    def merge(old, new):
        if not (isinstance(old, dict) and isinstance(new, dict)):
            return new
        return {**old, **{key: merge(old.get(key), value) for key, value in new.items()}}

    return merge(globals().get(name), over)
";

const READ: &str = "\
def _setkeeper_read(path):
    with open(path, encoding=\"utf-8\", newline=\"\") as file:
        text = file.read()
    if text.endswith(\"\\n\"):
        text = text[:-2] if text.endswith(\"\\r\\n\") else text[:-1]
    return text
";

const IMPORT: &str = "\
def _setkeeper_import(module, name):
    return getattr(_setkeeper_importlib.import_module(module), name)
";

/// Writes the file. `settings` are whole assignments, each with its line end.
#[must_use]
pub fn write<'t>(
    revision: &Revision,
    base: Option<&str>,
    needs: Needs,
    size: usize,
    settings: impl Iterator<Item = &'t str>,
) -> String {
    let mut out = String::with_capacity(2048 + base.map_or(0, str::len) + size);
    out.push_str(HEAD);
    // Writing to a String cannot fail.
    let _ = write!(out, "# Revision: {revision}\n\n");
    if let Some(base) = base {
        let base = base.strip_prefix('\u{feff}').unwrap_or(base);
        let end = if base.ends_with('\n') { "" } else { "\n" };
        let _ = write!(out, "# ---- base ----\n{base}{end}\n");
    }
    out.push_str("# ---- settings ----\n");
    write_needs(needs, &mut out);
    settings.for_each(|text| out.push_str(text));
    let (header, revision) = (string(HEADER), string(revision.as_str()));
    let _ = write!(
        out,
        "\n# ---- which revision this is, on every response ----\n\
         OVERRIDE_HTTP_HEADERS = {{**(globals().get(\"OVERRIDE_HTTP_HEADERS\") or {{}}), {header}: {revision}}}\n"
    );
    out
}

fn write_needs(needs: Needs, out: &mut String) {
    let imports = [
        (Needs::DATETIME, "import datetime as _setkeeper_datetime\n"),
        (Needs::IMPORT, "import importlib as _setkeeper_importlib\n"),
        (Needs::OS, "import os as _setkeeper_os\n"),
        (Needs::CRONTAB, "from celery.schedules import crontab as _setkeeper_crontab\n"),
    ];
    let functions = [(Needs::IMPORT, IMPORT), (Needs::MERGE, MERGE), (Needs::READ, READ)];
    let before = out.len();
    imports.iter().filter(|(need, _)| needs.has(*need)).for_each(|(_, text)| out.push_str(text));
    if out.len() > before {
        out.push('\n');
    }
    for (_, text) in functions.iter().filter(|(need, _)| needs.has(*need)) {
        out.push_str(text);
        out.push('\n');
    }
}

/// What keeps a base from being inlined.
#[must_use]
pub fn check_base(origin: &Origin, base: &str) -> Option<Problem> {
    if let Some(at) = base.find('\0') {
        return Some(Problem::error(origin, "expected Python, found a NUL character").line(line_of(base, at)));
    }
    let declared = (1..).zip(base.lines().take(2)).find_map(|(line, text)| Some((line, encoding(text)?)));
    let (line, encoding) = declared?;
    let known = ["utf-8", "utf8", "utf_8", "ascii", "us-ascii"];
    if known.iter().any(|name| name.eq_ignore_ascii_case(encoding)) {
        return None;
    }
    // Inlined, its declaration would no longer count, and its strings would change their meaning in silence.
    Some(Problem::error(origin, "expected a base in UTF-8, found one that declares another encoding").line(line))
}

fn line_of(text: &str, at: usize) -> u64 {
    text[..at].split('\n').count() as u64
}

/// The encoding that a line declares, as Python's own tokenizer finds it (PEP 263).
fn encoding(line: &str) -> Option<&str> {
    let comment = line.trim_start_matches([' ', '\t', '\u{c}']).strip_prefix('#')?;
    let (_, after) = comment.split_once("coding").filter(|(_, after)| after.starts_with([':', '=']))?;
    let name = after[1..].trim_start_matches([' ', '\t']);
    let end = name.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))).unwrap_or(name.len());
    Some(&name[..end]).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base_problem(text: &str) -> Option<String> {
        check_base(&Origin::new("/base.py"), text).map(|problem| problem.to_string())
    }

    #[test]
    fn a_base_is_utf_8_and_text() {
        for good in [
            "",
            "A = 1",
            "# -*- coding: utf-8 -*-\n",
            "#!/usr/bin/python\n# vim: set fileencoding=UTF-8 :\n",
            "\n\n# coding: latin-1\n",
        ] {
            assert_eq!(base_problem(good), None, "{good}");
        }
        let other = "expected a base in UTF-8, found one that declares another encoding";
        assert_eq!(base_problem("# coding: latin-1\n"), Some(format!("/base.py:1: {other}")));
        assert_eq!(base_problem("#!x\n# -*- coding=cp1252 -*-"), Some(format!("/base.py:2: {other}")));
        assert_eq!(base_problem("A = 1\nB = '\0'"), Some("/base.py:2: expected Python, found a NUL character".to_owned()));
    }

    #[test]
    fn only_what_is_needed_is_in_the_file() {
        let revision = Revision::new("0123");
        let bare = write(&revision, None, Needs::default(), 0, std::iter::empty());
        assert!(!bare.contains("import") && !bare.contains("def ") && !bare.contains("base"), "{bare}");
        let all = Needs::OS.and(Needs::READ).and(Needs::DATETIME).and(Needs::CRONTAB).and(Needs::IMPORT).and(Needs::MERGE);
        let full = write(&revision, Some("A = 1"), all, 0, ["B = 2\n"].into_iter());
        for part in
            ["A = 1\n\n#", "_setkeeper_os\n", "_setkeeper_crontab\n", "def _setkeeper_read", "def _setkeeper_merge", "B = 2\n"]
        {
            assert!(full.contains(part), "{part} in {full}");
        }
    }
}
