//! The catalogue: what Superset's settings and feature flags are called, and of which type each is, version by version.
//!
//! In: a name, and the version of Superset that is asked about. Out: the types that it takes there, or what was probably
//! meant. The table (`superset.txt`) is read from installed Supersets by `tests/services/catalogue`; a live test holds it to
//! them. It stays text, searched in place, so that it costs an agent no memory of its own. It knows nothing of fragments:
//! what a wrong type means there is for [`crate::desired`] to say.

pub mod types;

use std::sync::LazyLock;

use types::Types;

const TABLE: &str = include_str!("superset.txt");

/// The parts of the table, each lines in the order of their first words.
struct Sections {
    versions: Vec<&'static str>,
    families: &'static str,
    flags: &'static str,
    settings: &'static str,
}

static SECTIONS: LazyLock<Sections> = LazyLock::new(|| {
    let section = |name: &str| {
        let (_, rest) = TABLE.split_once(name).unwrap_or_default();
        rest.split_once("\n[").map_or(rest, |(section, _)| section).trim_matches('\n')
    };
    Sections {
        versions: section("[versions]\n").lines().collect(),
        families: section("[families]\n"),
        flags: section("[flags]\n"),
        settings: section("[settings]\n"),
    }
});

/// The Superset that is asked about: one of the versions in the table, or all of them where it is not known which.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Edition(Option<usize>);

/// What the catalogue says of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Superset, or a package that it loads, reads it, and these types are right.
    Known(Types),
    /// It is none of this version's, but of these.
    Elsewhere {
        /// The oldest and the newest of the versions that have it.
        versions: (&'static str, &'static str),
    },
    /// Nobody is known to read it.
    Unknown {
        /// What was probably meant: a name that is one slip away, or two or three where it is long.
        near: Option<&'static str>,
    },
}

impl Edition {
    /// The newest version in the table that is not newer than this one, the oldest where all are, and all versions where none
    /// is said or it is no release's (an image built from the main branch calls itself `0.0.0-dev`).
    #[must_use]
    pub fn of(version: Option<&str>) -> Self {
        let Some(version) = version.and_then(numbers) else { return Self(None) };
        let not_newer = |known: &&str| numbers(known).is_some_and(|known| known <= version);
        Self(Some(SECTIONS.versions.iter().take_while(|known| not_newer(known)).count().saturating_sub(1)))
    }

    /// The version in the table, where it is one.
    #[must_use]
    pub fn version(self) -> Option<&'static str> {
        self.0.and_then(|index| SECTIONS.versions.get(index).copied())
    }
}

/// What is known of a setting.
#[must_use]
pub fn setting(name: &str, edition: Edition) -> Entry {
    let sections = &*SECTIONS;
    let Some(line) = find(sections.settings, name) else {
        let near = near(sections.settings, name, |line| setting_types(line, edition).is_some());
        // The packages' own names are many and not all can be found in their sources: only a slip is told.
        let is_family = near.is_none() && sections.families.lines().any(|family| name.starts_with(family));
        return if is_family { Entry::Known(Types::ANY) } else { Entry::Unknown { near } };
    };
    match setting_types(line, edition) {
        Some(types) => Entry::Known(types),
        None => {
            Entry::Elsewhere { versions: ends((0..).zip(columns(line)).filter(|(_, types)| *types != "-").map(|(at, _)| at)) }
        }
    }
}

/// What is known of a feature flag: a key of `FEATURE_FLAGS`.
#[must_use]
pub fn flag(name: &str, edition: Edition) -> Entry {
    let sections = &*SECTIONS;
    let has = |line: &str| {
        let mut versions = line.split(' ').skip(1).peekable();
        versions.peek().is_none() || edition.version().is_none_or(|version| versions.any(|other| other == version))
    };
    match find(sections.flags, name) {
        Some(line) if has(line) => Entry::Known(Types::BOOL),
        Some(line) => Entry::Elsewhere { versions: ends(line.split(' ').skip(1).filter_map(index_of)) },
        None => Entry::Unknown { near: near(sections.flags, name, has) },
    }
}

/// The types that a setting takes; `None` where this version has no such setting.
fn setting_types(line: &str, edition: Edition) -> Option<Types> {
    match edition.0 {
        Some(index) => columns(line).nth(index).and_then(Types::parse),
        None => columns(line).filter_map(Types::parse).reduce(Types::or),
    }
}

/// The types of a line, version by version: one word stands for all versions.
fn columns(line: &str) -> impl Iterator<Item = &str> {
    let words = || line.split(' ').skip(1).filter(|word| !word.starts_with('@'));
    let repeated = if words().nth(1).is_none() { SECTIONS.versions.len() } else { 1 };
    words().flat_map(move |word| std::iter::repeat_n(word, repeated))
}

/// The oldest and the newest of these versions.
fn ends(mut indices: impl Iterator<Item = usize>) -> (&'static str, &'static str) {
    let version = |index: usize| SECTIONS.versions.get(index).copied().unwrap_or_default();
    let first = indices.next().unwrap_or_default();
    (version(first), version(indices.last().unwrap_or(first)))
}

fn index_of(version: &str) -> Option<usize> {
    SECTIONS.versions.iter().position(|known| *known == version)
}

fn name_of(line: &str) -> &str {
    line.split(' ').next().unwrap_or_default()
}

/// The line that begins with a name, by halving the text.
fn find<'t>(section: &'t str, name: &str) -> Option<&'t str> {
    let (mut low, mut high) = (0, section.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let start = section.get(low..middle)?.rfind('\n').map_or(low, |at| low + at + 1);
        let line = section.get(start..)?.lines().next()?;
        match name_of(line).cmp(name) {
            std::cmp::Ordering::Equal => return Some(line),
            std::cmp::Ordering::Less => low = start + line.len() + 1,
            std::cmp::Ordering::Greater => high = start,
        }
    }
    None
}

/// The name that an unknown one is probably a misspelling of.
fn near<'t>(section: &'t str, name: &str, counts: impl Fn(&str) -> bool) -> Option<&'t str> {
    let allowed = match name.len() {
        0..10 => 1,
        10..18 => 2,
        _ => 3,
    };
    // A tree may hold ten thousand names of its own: only names with the same beginning are looked at, and cheap refusals come first.
    let first = name.get(..1)?;
    let start = if section.starts_with(first) { 0 } else { section.find(&format!("\n{first}"))? + 1 };
    let slips = section.get(start..)?.lines().take_while(|line| line.starts_with(first)).filter_map(|line| {
        let known = name_of(line);
        let may_be = known.len().abs_diff(name.len()) <= allowed;
        let slips = may_be.then(|| strsim::osa_distance(known, name)).filter(|slips| *slips <= allowed)?;
        counts(line).then_some((slips, known))
    });
    slips.min_by_key(|(slips, _)| *slips).map(|(_, known)| known)
}

/// A version as numbers; what follows the third, like `rc1`, does not count. `None` where it begins with none, or is all zeros.
fn numbers(version: &str) -> Option<[u32; 3]> {
    let mut numbers = [0; 3];
    for (number, part) in numbers.iter_mut().zip(version.trim().split('.')) {
        let digits = part.find(|c: char| !c.is_ascii_digit()).map_or(part, |end| &part[..end]);
        *number = digits.parse().ok()?;
    }
    (numbers != [0; 3]).then_some(numbers)
}

#[cfg(test)]
mod tests;
