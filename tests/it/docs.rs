//! The documents in `docs/` and the alert rules are held to the code.
//!
//! Tables are compared with what they tell of: settings with the example and with what loading them says, metrics with what is
//! registered, messages with the sources, commands with the command line. Links lead somewhere. Whether a sentence is true is for
//! people to see.

mod messages;
mod metrics;
mod settings;

use std::collections::BTreeSet;
use std::fs;

use setkeeper::cli;

use crate::papers::reading::{paper, root, slug};

#[test]
fn every_document_is_in_the_list_and_every_link_leads_somewhere() {
    let all = documents();
    let list = paper("docs/README.md");
    for (name, text) in &all {
        let own = name.trim_start_matches("docs/");
        assert!(own == "README.md" || list.contains(&format!("]({own})")), "docs/README.md does not list {own}");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            assert!(link.starts_with("https://") || leads_somewhere(link, text), "{name}: {link}");
        }
    }
    assert!(all.len() > 5);
}

fn leads_somewhere(link: &str, own: &str) -> bool {
    let (file, heading) = link.split_once('#').map_or((link, None), |(file, heading)| (file, Some(heading)));
    let path = root().join("docs").join(file);
    let text = if file.is_empty() { Some(own.to_owned()) } else { fs::read_to_string(&path).ok() };
    match heading {
        Some(heading) => text.is_some_and(|text| headings(&text).contains(heading)),
        None => path.exists(),
    }
}

#[test]
fn every_command_in_a_block_is_understood() {
    let mut shown = 0;
    for (name, text) in documents() {
        for line in text.split("```sh\n").skip(1).flat_map(|block| block.split("```").next().unwrap_or_default().lines()) {
            for command in commands(line) {
                let understood = cli::command().try_get_matches_from(&command);
                let refused = understood.err().filter(|error| !matches!(error.kind(), clap::error::ErrorKind::DisplayHelp));
                assert!(refused.is_none(), "{name}: `{line}`: {}", refused.unwrap());
                shown += 1;
            }
        }
    }
    assert!(shown > 30, "only {shown} commands were found");
}

/// The documents, by their names.
fn documents() -> Vec<(String, String)> {
    let names = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.map(|name| format!("docs/{name}")).map(|name| (name.clone(), paper(&name))).collect()
}

fn headings(text: &str) -> BTreeSet<String> {
    text.lines().filter(|line| line.starts_with('#')).map(slug).collect()
}

/// Every `setkeeper …` in a line of a shell, as its words.
fn commands(line: &str) -> Vec<Vec<String>> {
    let mut all = vec![Vec::new()];
    let (mut word, mut quote, mut is_word) = (String::new(), None, false);
    for c in format!("{line} ").chars() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => word.push(c),
            (None, '\'' | '"') => (quote, is_word) = (Some(c), true),
            (None, ' ') if is_word => {
                is_word = false;
                match std::mem::take(&mut word) {
                    end if ["|", "&&", "||", ">", "then", "do"].contains(&end.as_str()) => all.push(Vec::new()),
                    comment if comment.starts_with('#') => break,
                    next => all.last_mut().unwrap().push(next),
                }
            }
            (None, ' ') => {}
            (None, _) => (word, is_word) = (format!("{word}{c}"), true),
        }
    }
    all.retain(|words: &Vec<String>| words.first().is_some_and(|first| first == "setkeeper"));
    all
}

#[test]
fn commands_are_found_as_a_shell_reads_them() {
    let found = commands("a && setkeeper apply -m 'b c' ./d | grep \"e f\" # setkeeper g");
    assert_eq!(found, [["setkeeper", "apply", "-m", "b c", "./d"]]);
}

/// What a cell of a table shows as code.
fn code(cell: &str) -> &str {
    match cell.strip_prefix("``").and_then(|rest| rest.strip_suffix("``")) {
        Some(double) => double.trim(),
        None => cell.trim_matches('`'),
    }
}
