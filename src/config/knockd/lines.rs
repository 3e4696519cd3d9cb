//! knockd.conf as lines: sections and directives, each with its place.
//!
//! In: the file's text. Out: what each line that says something is, cut as knockd cuts it: blanks at
//! both ends go, a line in brackets is a section, the first `=` parts a key from its value, and only
//! a `#` in front makes a comment; one that begins with `#logknock:` is ours. It knows no key.

use std::ops::Range;

/// Longest line that knockd reads as one, in bytes.
const MAX_LINE: usize = 4095;

/// What a comment begins with that is meant for us.
const OURS: &str = "#logknock:";

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
    /// `#logknock: key = value`: a comment to knockd.
    Ours {
        /// What stands before the `=`.
        key: Word<'a>,
        /// What stands behind it, if there is one.
        value: Option<Word<'a>>,
    },
    /// A line that knockd would split in two, or read only up to its NUL byte.
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
        if let Some(rest) = word.text.strip_prefix(OURS) {
            let (key, value) = parts(&Word::trimmed(rest, word.at.end - rest.len()));
            lines.push(Line::Ours { key, value });
        } else if !word.text.is_empty() && !word.text.starts_with('#') {
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
    let (key, value) = parts(&word);
    Line::Directive { key, value }
}

/// What stands before the first `=`, and what behind it.
fn parts<'a>(word: &Word<'a>) -> (Word<'a>, Option<Word<'a>>) {
    match word.text.split_once('=') {
        None => (word.clone(), None),
        Some((key, value)) => {
            let behind = word.at.start + key.len() + 1;
            let key = Word::trimmed(key, word.at.start);
            (key, Some(Word::trimmed(value, behind)))
        }
    }
}

#[cfg(test)]
#[path = "lines_test.rs"]
mod tests;
