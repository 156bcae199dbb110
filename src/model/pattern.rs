//! Patterns of the allow-lists: `*` stands for any text, everything else for itself.

/// Whether all of `text` fits `pattern`.
#[must_use]
pub fn fits(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let mut parts: Vec<_> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        // The leftmost place is as good as any other: what comes after may only grow.
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(end)
}

/// Whether `text` fits one of `patterns`.
#[must_use]
pub fn fits_any<'a>(patterns: impl IntoIterator<Item = &'a String>, text: &str) -> bool {
    patterns.into_iter().any(|pattern| fits(pattern, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text) in [
            ("A", "A"),
            ("A_*", "A_B"),
            ("A_*", "A_"),
            ("*", ""),
            ("*", "x"),
            ("*_B", "A_B"),
            ("A*B*C", "AxxBxxC"),
            ("A*B*C", "ABC"),
            ("A*B*C", "ABCBC"),
            ("**", "x"),
            ("cachelib.*", "cachelib.redis.RedisCache"),
        ] {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("A", "AB"),
            ("A", ""),
            ("", "A"),
            ("A_*", "A"),
            ("A_*", "BA_"),
            ("A*B", "AxBx"),
            ("AB*BC", "ABC"),
            ("A*B*C", "AC"),
            ("A*BB*B", "ABB"),
            ("cachelib.*", "os.system"),
            ("A?", "AB"),
        ] {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
    }
}
