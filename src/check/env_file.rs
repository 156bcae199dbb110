//! Superset's environment, as `check.env_file` lists it: one `NAME=value` a line.
//!
//! Blank lines and lines that begin with `#` are passed over, `export` before a name too; a value in single or double quotes is
//! what stands between them. What the readers of such files disagree about is refused: backslashes within double quotes, a
//! quote that is not closed, a name that comes twice. Problems name the line, never its content.

use std::collections::BTreeMap;

use crate::model::secret::SecretText;

/// What was wrong with such a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", show(problems))]
pub struct EnvFileError {
    /// Line numbers from 1, and what was wrong there.
    pub problems: Vec<(usize, &'static str)>,
}

fn show(problems: &[(usize, &'static str)]) -> String {
    problems.iter().map(|(line, what)| format!("line {line}: {what}")).collect::<Vec<_>>().join("; ")
}

/// The variables of such a file, or every problem in it.
pub fn parse(text: &str) -> Result<BTreeMap<String, SecretText>, EnvFileError> {
    let (mut variables, mut problems) = (BTreeMap::new(), Vec::new());
    for (at, line) in text.lines().enumerate() {
        match variable(line) {
            Ok(None) => {}
            Ok(Some((name, value))) => {
                if variables.insert(name.to_owned(), SecretText::new(value)).is_some() {
                    problems.push((at + 1, "the name stands in an earlier line already"));
                }
            }
            Err(what) => problems.push((at + 1, what)),
        }
    }
    if problems.is_empty() { Ok(variables) } else { Err(EnvFileError { problems }) }
}

fn variable(line: &str) -> Result<Option<(&str, &str)>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    if line.contains('\0') {
        return Err("a zero byte");
    }
    let (name, value) = line.split_once('=').ok_or("no `=`")?;
    let name = name.strip_prefix("export ").map_or(name, str::trim_start);
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(is_name) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("what stands before `=` is no name of a variable");
    }
    Ok(Some((name, unquoted(value)?)))
}

fn unquoted(value: &str) -> Result<&str, &'static str> {
    let Some(quote) = value.chars().next().filter(|first| matches!(first, '"' | '\'')) else { return Ok(value) };
    let inner = value[1..].strip_suffix(quote).ok_or("a quote that is not closed at the end of the line")?;
    if inner.contains(quote) {
        return Err("a quote within quotes");
    }
    if quote == '"' && inner.contains('\\') {
        return Err("a backslash within double quotes, which not everybody reads alike: use single quotes");
    }
    Ok(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_read_as_they_stand() {
        let text = "# of Superset\n\nA=1\nexport B=two words \nC='it is # \\n'\nD=\"x y\"\nE=\nF=a=b'c\n  G=x\n";
        let read = parse(text).unwrap();
        let read: Vec<_> = read.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
        let expected =
            [("A", "1"), ("B", "two words"), ("C", "it is # \\n"), ("D", "x y"), ("E", ""), ("F", "a=b'c"), ("G", "x")];
        assert_eq!(read, expected);
    }

    #[test]
    fn law_9_every_problem_names_its_line_and_no_content() {
        let text = "canary\nA=1\nA=canary\n1B=canary\nC='canary\nD=\"can\\ary\"\n=canary\nE='a'b'\nF X=canary\nG=\0";
        let error = parse(text).unwrap_err();
        let lines: Vec<_> = error.problems.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [1, 3, 4, 5, 6, 7, 8, 9, 10]);
        assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
        assert!(error.to_string().starts_with("line 1: no `=`; line 3: the name stands"), "{error}");
    }
}
