//! knockd.conf as lines: sections and directives, each with its place.
//!
//! In: the file's text. Out: what each line that says something is, cut as knockd cuts it: blanks at
//! both ends go, a line in brackets is a section, the first `=` parts a key from its value, and only
//! a `#` in front makes a comment. It knows no key.

use std::ops::Range;

/// Longest line that knockd reads as one, in bytes.
const MAX_LINE: usize = 4095;

/// What C's `isspace` takes for a blank.
const BLANKS: [char; 6] = [' ', '\t', '\n', '\x0b', '\x0c', '\r'];

/// A line that says something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) enum Line<'a> {
    /// `[name]`.
    Section(Word<'a>),
    /// `key = value`, or `key` alone.
    Directive {
        /// What stands before the `=`.
        key: Word<'a>,
        /// What stands behind it, if there is one.
        value: Option<Word<'a>>,
    },
    /// One that knockd would read as two, or to its NUL byte.
    Unreadable(Word<'a>),
}

/// A part of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) struct Word<'a> {
    /// It.
    pub(in crate::config) text: &'a str,
    /// Where it stands, in bytes of the file.
    pub(in crate::config) at: Range<usize>,
}

impl<'a> Word<'a> {
    /// What stands between commas, blanks included.
    pub(super) fn items(&self) -> Vec<Self> {
        let mut start = self.at.start;
        let mut items = Vec::new();
        for text in self.text.split(',') {
            let at = start..start + text.len();
            start = at.end + 1;
            items.push(Self { text, at });
        }
        items
    }

    /// The blanks around `text`, which begins at `start`, taken away.
    pub(super) fn trimmed(text: &'a str, start: usize) -> Self {
        let behind = text.trim_start_matches(BLANKS);
        let start = start + (text.len() - behind.len());
        let text = behind.trim_end_matches(BLANKS);
        Self {
            text,
            at: start..start + text.len(),
        }
    }
}

/// The lines of `text` that are neither blank nor comments.
pub(in crate::config) fn lines(text: &str) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    let mut start = 0;
    for whole in text.split_inclusive('\n') {
        let word = Word::trimmed(whole, start);
        if !word.text.is_empty() && !word.text.starts_with('#') {
            lines.push(line(whole, word));
        }
        start += whole.len();
    }
    lines
}

fn line<'a>(whole: &str, word: Word<'a>) -> Line<'a> {
    if whole.len() > MAX_LINE || whole.contains('\0') {
        return Line::Unreadable(word);
    }
    let inner = word
        .text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if let Some(text) = inner {
        let at = word.at.start + 1..word.at.end - 1;
        return Line::Section(Word { text, at });
    }
    match word.text.split_once('=') {
        None => Line::Directive {
            key: word,
            value: None,
        },
        Some((key, value)) => {
            let behind = word.at.start + key.len() + 1;
            Line::Directive {
                key: Word::trimmed(key, word.at.start),
                value: Some(Word::trimmed(value, behind)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let show = |line: &Line<'_>| match line {
            Line::Section(name) => format!("[{}]", name.text),
            Line::Directive { key, value: None } => key.text.to_owned(),
            Line::Directive {
                key,
                value: Some(value),
            } => format!("{}={}", key.text, value.text),
            Line::Unreadable(_) => "?".to_owned(),
        };
        lines(text).iter().map(show).collect()
    }

    #[test]
    fn lines_are_cut_as_knockd_cuts_them() {
        for (text, expected) in [
            (
                "\t[a b] \r\n\x0bK = v = w\x0c\nUseSyslog",
                "[a b]|K=v = w|UseSyslog",
            ),
            ("[ options ]\n# c\n  # c\n; c\n\n", "[ options ]|; c"),
            ("[A] # x\n[A]]\n[]\n[\n]", "[A] # x|[A]]|[]|[|]"),
            ("=5\nk=\n k =", "=5|k=|k="),
        ] {
            assert_eq!(shown(text).join("|"), expected, "{text:?}");
        }
    }

    #[test]
    fn a_line_that_knockd_reads_otherwise_is_told_apart() {
        let long = format!("command = {}", "x".repeat(MAX_LINE));
        assert_eq!(shown(&long), ["?"]);
        assert_eq!(shown("command = a\0b"), ["?"]);
    }

    #[test]
    fn places_are_those_of_the_text() {
        let text = "[A]\n\t k =  v \n";
        let [Line::Section(name), Line::Directive { key, value }] = &lines(text)[..] else {
            panic!("a section and a directive");
        };
        assert_eq!(&text[name.at.clone()], "A");
        assert_eq!(&text[key.at.clone()], "k");
        assert_eq!(&text[value.as_ref().unwrap().at.clone()], "v");
    }
}
