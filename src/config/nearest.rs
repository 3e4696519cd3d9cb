//! The valid name that a misspelt one is closest to.

/// The first of `names` that `word` becomes with the fewest edits, if these are few for its length.
pub(super) fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 32 {
        return None;
    }
    let word = word.to_ascii_lowercase().replace('-', "_");
    names
        .into_iter()
        .map(|name| (edits(word.as_bytes(), name.as_bytes()), name))
        .filter(|(edits, name)| *edits <= name.len().div_ceil(4).min(3))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}

/// Insertions, deletions and replacements of one byte, and swaps of two neighbours, that make `from`
/// into `to` (optimal string alignment).
fn edits(from: &[u8], to: &[u8]) -> usize {
    let mut older: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    let mut before: Option<u8> = None;
    for (number, &byte) in from.iter().enumerate() {
        let mut row = vec![number + 1];
        let mut left = number + 1;
        for (column, &other) in to.iter().enumerate() {
            let cost =
                |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX);
            let replaced = cost(&above, column).saturating_add(usize::from(byte != other));
            let mut least = replaced.min(cost(&above, column + 1) + 1).min(left + 1);
            let beside = column.checked_sub(1).and_then(|column| to.get(column));
            if before == Some(other) && beside == Some(&byte) {
                least = least.min(cost(&older, column - 1).saturating_add(1));
            }
            row.push(least);
            left = least;
        }
        older = std::mem::replace(&mut above, row);
        before = Some(byte);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 4] = ["sequence", "seq_timeout", "cmd_timeout", "min_gap"];

    #[test]
    fn a_misspelt_name_finds_its_own() {
        for (word, name) in [
            ("sequenc", "sequence"),
            ("SEQUENCE", "sequence"),
            ("seq-timeout", "seq_timeout"),
            ("comd_timeot", "cmd_timeout"),
            ("mingap", "min_gap"),
            ("mni_gap", "min_gap"),
        ] {
            assert_eq!(nearest(word, NAMES), Some(name));
        }
    }

    #[test]
    fn a_strange_name_finds_none() {
        assert_eq!(nearest("user", NAMES), None);
        assert_eq!(nearest("", NAMES), None);
        assert_eq!(nearest(&"s".repeat(4000), NAMES), None);
    }

    #[test]
    fn edits_are_counted() {
        assert_eq!(edits(b"kitten", b"sitting"), 3);
        assert_eq!(edits(b"", b"abc"), 3);
        assert_eq!(edits(b"abc", b""), 3);
        assert_eq!(edits(b"abc", b"abc"), 0);
        assert_eq!(edits(b"akc", b"ack"), 1);
        assert_eq!(edits(b"upd", b"udp"), 1);
    }
}
