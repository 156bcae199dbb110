//! `docs/troubleshooting.md`: each message that it quotes is one of the sources', as far as its words are fixed.

use std::fs;
use std::path::PathBuf;

use crate::papers::reading::{paper, root};

#[test]
fn every_quoted_message_is_in_the_sources() {
    let text = paper("docs/troubleshooting.md");
    let quoted: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("> `")?.strip_suffix('`')).collect();
    let sources = sources();
    let mut unsaid = Vec::new();
    for message in &quoted {
        let parts: Vec<_> = message.split('…').map(str::trim).filter(|part| !part.is_empty()).collect();
        assert!(parts.iter().any(|part| part.len() > 6), "{message}: too little of it is fixed");
        if !sources.iter().any(|source| source.contains_all(&parts)) {
            unsaid.push(*message);
        }
    }
    assert_eq!(unsaid, [""; 0]);
    assert!(quoted.len() > 40, "only {} messages were found", quoted.len());
}

/// A source's text without its tests, in which strings that go on in the next line are joined.
struct Said(String);

impl Said {
    /// Whether one string of it has all the parts, in their order.
    fn contains_all(&self, parts: &[&str]) -> bool {
        let is_whole = |from: usize| {
            let mut at = from;
            parts.iter().all(|part| {
                let end = self.0[at..].find('\n').map_or(self.0.len(), |end| at + end);
                match self.0[at..end].find(part) {
                    Some(found) => {
                        at += found + part.len();
                        true
                    }
                    None => false,
                }
            })
        };
        self.0.match_indices(parts[0]).any(|(from, _)| is_whole(from))
    }
}

fn sources() -> Vec<Said> {
    let mut folders: Vec<PathBuf> = vec![root().join("src")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "py")
                && !path.ends_with("tests.rs")
            {
                let lines = fs::read_to_string(path).unwrap();
                let lines = lines.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
                let mut text = String::new();
                for line in lines.lines().map(str::trim) {
                    match line.strip_suffix('\\') {
                        Some(part) => text.push_str(part),
                        None => text.extend([line, "\n"]),
                    }
                }
                found.push(Said(text));
            }
        }
    }
    found
}
