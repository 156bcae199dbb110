//! Superset's own Python, where the settings do not name it: the one in the first line of the `superset` on PATH.
//!
//! That line is `#!/path/to/python`, `#!/usr/bin/env python3`, or, where the path is too long for the kernel, a shell that
//! hands over to it in the second line.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::error::CheckError;

/// Finds it among the folders of `path`.
pub(super) fn find(path: Option<&OsStr>) -> Result<PathBuf, CheckError> {
    let program = on_path("superset", path).ok_or(CheckError::NoProgram)?;
    let first = beginning(&program).unwrap_or_default();
    interpreter(&first, path).ok_or(CheckError::NoInterpreter { program })
}

fn on_path(name: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    let is_program = |file: &PathBuf| file.metadata().is_ok_and(|seen| seen.is_file() && seen.permissions().mode() & 0o111 != 0);
    std::env::split_paths(path?).filter(|folder| folder.is_absolute()).map(|folder| folder.join(name)).find(is_program)
}

fn beginning(program: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    File::open(program)?.take(4096).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn interpreter(text: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    let mut lines = text.lines();
    let first = lines.next()?.strip_prefix("#!")?.trim();
    let mut words = first.split_whitespace();
    let program = Path::new(words.next()?);
    match program.file_name()?.to_str()? {
        "env" => on_path(words.find(|word| !word.starts_with('-')).filter(|word| is_python(word))?, path),
        "sh" => {
            let rest = lines.next()?.strip_prefix("'''exec' ")?;
            let word = match rest.strip_prefix('"') {
                Some(quoted) => quoted.split('"').next()?,
                None => rest.split_whitespace().next()?,
            };
            Some(PathBuf::from(word))
        }
        name => is_python(name).then(|| program.to_owned()),
    }
}

fn is_python(name: &str) -> bool {
    name.starts_with("python") || name.starts_with("pypy")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn program(folder: &Path, name: &str, text: &str) {
        fs::write(folder.join(name), text).unwrap();
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn the_first_line_of_superset_names_its_python() {
        let folder = tempfile::tempdir().unwrap();
        program(folder.path(), "python3", "");
        let path = Some(folder.path().as_os_str());
        for (text, expected) in [
            ("#!/app/.venv/bin/python\nimport sys", Some("/app/.venv/bin/python")),
            ("#! /app/bin/python3.11 -E\n", Some("/app/bin/python3.11")),
            ("#!/usr/bin/env python3\n", folder.path().join("python3").to_str()),
            ("#!/usr/bin/env -S python3 -E\n", folder.path().join("python3").to_str()),
            ("#!/bin/sh\n'''exec' /a/very/long/python \"$0\" \"$@\"\n' '''\n", Some("/a/very/long/python")),
            ("#!/bin/sh\n'''exec' \"/a long/python\" \"$0\" \"$@\"\n", Some("/a long/python")),
            ("#!/usr/bin/env python9\n", None),
            ("#!/bin/bash\nexec python\n", None),
            ("\x7fELF", None),
        ] {
            program(folder.path(), "superset", text);
            assert_eq!(find(path).ok().as_deref(), expected.map(Path::new), "{text}");
        }
    }

    #[test]
    fn without_a_superset_the_error_says_what_to_set() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("superset"), "#!/bin/python\n").unwrap();
        let error = find(Some(folder.path().as_os_str())).unwrap_err();
        assert!(matches!(error, CheckError::NoProgram), "a file that nobody may run is no program");
        assert!(error.hint().unwrap().starts_with("set check.python"));
        assert!(matches!(find(None).unwrap_err(), CheckError::NoProgram));
    }
}
