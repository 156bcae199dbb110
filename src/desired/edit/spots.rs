//! Spots: where in a YAML text each key and value stands.
//!
//! The parser names where scalars begin and end, and where collections begin; that a flow collection ends at the bracket after
//! its last item, and a block one with its last item, is all that is added here.

use std::ops::Range;

use serde_yaml::{Location, Spanned};

use super::super::yaml::options;
use super::super::yaml::raw::Raw;

/// One value in its text.
#[derive(Debug)]
pub(super) struct Spot {
    /// From its first to its last character; a block collection without its last line end.
    pub at: Range<usize>,
    /// What it is made of.
    pub shape: Shape,
}

/// What a value is made of.
#[derive(Debug)]
pub(super) enum Shape {
    /// A scalar, or an alias.
    Scalar,
    /// A sequence.
    List(Vec<Spot>),
    /// A mapping, in the order in which it was written.
    Map {
        /// Whether it stands in braces.
        is_flow: bool,
        /// The keys and their values.
        entries: Vec<(Range<usize>, Spot)>,
    },
}

impl Spot {
    /// Where everything stands; `None` where the parser does not tell.
    pub fn of(text: &str) -> Option<Self> {
        let raw: Spanned<Raw> = serde_yaml::from_str_with_options(text, options()).ok()?;
        Self::from_raw(&raw, text)
    }

    fn from_raw(raw: &Spanned<Raw>, text: &str) -> Option<Self> {
        let at = range(raw.referenced)?;
        if raw.referenced != raw.defined {
            return Some(Self { at, shape: Shape::Scalar });
        }
        Some(match &raw.value {
            Raw::List(items) => {
                let items: Vec<_> = items.iter().map(|item| Self::from_raw(item, text)).collect::<Option<_>>()?;
                let end = items.last().map_or(at.end, |last| last.at.end);
                Self { at: at.start..closed(text, &at, end), shape: Shape::List(items) }
            }
            Raw::Map(entries) => {
                let spot =
                    |(key, value): &(Spanned<Raw>, Spanned<Raw>)| Some((range(key.referenced)?, Self::from_raw(value, text)?));
                let entries: Vec<_> = entries.iter().map(spot).collect::<Option<_>>()?;
                let end = entries.last().map_or(at.end, |(key, value)| value.at.end.max(key.end));
                let is_flow = text.get(at.start..at.end) == Some("{");
                Self { at: at.start..closed(text, &at, end), shape: Shape::Map { is_flow, entries } }
            }
            _ => {
                let written = text.get(at.clone())?;
                // A block scalar is told with the blank lines after it.
                let end = at.start + written.trim_end_matches(['\n', '\r', ' ']).len();
                Self { at: at.start..if written.starts_with(['"', '\'']) { at.end } else { end }, shape: Shape::Scalar }
            }
        })
    }

    /// Every comment of the text.
    pub fn comments<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let mut scalars = Vec::new();
        self.scalars(&mut scalars);
        scalars.sort_unstable_by_key(|range| range.start);
        let (mut comments, mut at) = (Vec::new(), 0);
        for scalar in scalars.into_iter().chain(std::iter::once(text.len()..text.len())) {
            if scalar.start > at {
                comments.extend(comments_between(text, at..scalar.start));
            }
            at = at.max(scalar.end);
        }
        comments
    }

    fn scalars(&self, found: &mut Vec<Range<usize>>) {
        match &self.shape {
            Shape::Scalar => found.push(self.at.clone()),
            Shape::List(items) => items.iter().for_each(|item| item.scalars(found)),
            Shape::Map { entries, .. } => entries.iter().for_each(|(key, value)| {
                found.push(key.clone());
                value.scalars(found);
            }),
        }
    }
}

fn range(location: Location) -> Option<Range<usize>> {
    let span = location.span();
    let start = usize::try_from(span.byte_offset()?).ok()?;
    Some(start..start.checked_add(usize::try_from(span.byte_len()?).ok()?)?)
}

/// Where a collection ends whose last item ends at `end`.
fn closed(text: &str, at: &Range<usize>, end: usize) -> usize {
    if !matches!(text.get(at.clone()), Some("{" | "[")) {
        return end;
    }
    let mut comment = false;
    for (offset, c) in text[end..].char_indices() {
        match c {
            '\n' => comment = false,
            '#' => comment = true,
            '}' | ']' if !comment => return end + offset + 1,
            _ => {}
        }
    }
    text.len()
}

/// The comments in a part of the text that holds no scalar.
fn comments_between(text: &str, part: Range<usize>) -> Vec<&str> {
    let mut comments = Vec::new();
    let mut at = part.start;
    while let Some(found) = text[at..part.end].find('#').map(|found| at + found) {
        let is_comment = found == 0 || text[..found].ends_with(char::is_whitespace);
        let end = text[found..].find('\n').map_or(text.len(), |end| found + end);
        if is_comment {
            comments.push(text[found..end].trim_end());
            at = end.min(part.end);
        } else {
            at = found + 1;
        }
    }
    comments
}
