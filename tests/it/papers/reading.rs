//! Reading the papers: their sections, tables, code and examples.

use std::fs;
use std::path::Path;

const PAPERS: [&str; 6] = ["README.md", "ARCHITECTURE.md", "DESIGN.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"];

/// The project's folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the project.
pub fn paper(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

/// Every paper, by its name.
pub fn papers() -> impl Iterator<Item = (&'static str, String)> {
    PAPERS.into_iter().map(|name| (name, paper(name)))
}

/// The text below a heading of the second rank.
pub fn section(text: &str, heading: &str) -> String {
    let rest = text.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no section {heading}")).1;
    rest.split("\n## ").next().unwrap_or_default().to_owned()
}

/// The rows of the tables in a text, by their cells, without headings.
pub fn table(text: &str) -> Vec<Vec<String>> {
    let lines: Vec<_> = text.lines().collect();
    let is_row = |line: &str| line.starts_with("| ");
    let is_heading = |at: usize| lines.get(at + 1).is_some_and(|next| next.starts_with("|--"));
    let rows = lines.iter().enumerate().filter(|(at, line)| is_row(line) && !is_heading(*at));
    rows.map(|(_, line)| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// What stands between single backticks outside blocks.
pub fn spans(text: &str) -> Vec<String> {
    let outside: String = text.split("```").step_by(2).collect();
    outside.split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect()
}

/// The blocks of code, each with its language's name.
fn blocks(text: &str) -> Vec<(String, String)> {
    let blocks = text.split("```").skip(1).step_by(2).filter_map(|block| block.split_once('\n'));
    blocks.map(|(language, body)| (language.to_owned(), body.to_owned())).collect()
}

/// The command lines of a text.
pub fn commands(text: &str) -> Vec<String> {
    let shell = blocks(text).into_iter().filter(|(language, _)| language == "sh" || language.is_empty());
    let lines: Vec<_> = shell.flat_map(|(_, body)| body.lines().map(ToOwned::to_owned).collect::<Vec<_>>()).collect();
    let lines =
        lines.into_iter().map(|line| line.trim_start_matches("$ ").split(" #").next().unwrap_or_default().trim().to_owned());
    lines.chain(spans(text)).filter(|line| line.starts_with("setkeeper ")).collect()
}

/// A command line's words.
pub fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(|word| word.trim_matches('\'').to_owned()).collect()
}

/// Whether a name is a sentence.
pub fn is_test_name(span: &str) -> bool {
    let fits = span.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    fits && span.matches('_').count() >= 3 && !span.starts_with("setkeeper_")
}

/// What a link calls a heading.
pub fn slug(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    heading.trim_start_matches('#').trim().to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")
}

/// All Rust there is, tests too.
pub fn sources() -> String {
    let mut folders = vec![root().join("src"), root().join("tests")];
    let mut text = String::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    text
}

/// The YAML examples of the README, by the file or node that their first line names.
pub fn examples() -> Vec<(String, String)> {
    let yaml = blocks(&paper("README.md")).into_iter().filter(|(language, _)| language == "yaml");
    yaml.map(|(_, body)| (body.split('\n').next().unwrap_or_default().trim_start_matches("# ").to_owned(), body)).collect()
}
