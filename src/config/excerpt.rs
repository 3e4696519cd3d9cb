//! What of a config line may be shown.
//!
//! In: a line and what is known of the file. Out: the line with as many characters, those that could
//! be a secret as `*`. It works by permission: shown are the words of the config language, the
//! values of keys that hold no secret, and punctuation between them. So a port under a misspelt key,
//! in a comment or behind a missing bracket is hidden without anybody having thought of it.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::Excerpt;
use super::knockd::{self, Line, Word};
use super::schema::{self, Key};

/// Longest excerpt, in characters.
const WIDTH: usize = 200;

/// How much of a long line stands in front of the caret.
const BEFORE_CARET: usize = 80;

/// What may be shown of one file.
pub(super) struct Veil {
    /// Keys and values in the order of the file; `None` when the file's syntax is broken.
    stretches: Option<Vec<Stretch>>,
}

/// A key or a value, and whether it may be shown.
struct Stretch {
    range: Range<usize>,
    shown: bool,
}

impl Veil {
    /// For a text that could not be parsed.
    pub(super) fn of_broken_text() -> Self {
        Self { stretches: None }
    }

    /// Whether the text could not be parsed.
    pub(super) fn is_of_broken_text(&self) -> bool {
        self.stretches.is_none()
    }

    /// For a text that says `tree`.
    pub(super) fn of_tree(tree: &DeTable<'_>) -> Self {
        let mut stretches = Vec::new();
        for (name, value) in tree {
            match (schema::section(name.get_ref()), value.get_ref()) {
                (Some(schema::Section::Keys(keys)), DeValue::Table(table)) => {
                    stretches.push(shown(name.span()));
                    visit_keys(table, keys, &mut stretches);
                }
                (Some(schema::Section::Doors(keys)), DeValue::Table(doors)) => {
                    stretches.push(shown(name.span()));
                    visit_doors(doors, keys, &mut stretches);
                }
                _ => visit_unknown(name.span(), name.get_ref(), value, &mut stretches),
            }
        }
        stretches.sort_by_key(|stretch| stretch.range.start);
        Self {
            stretches: Some(stretches),
        }
    }

    /// For a text that has knockd's `lines`.
    pub(super) fn of_lines(lines: &[Line<'_>]) -> Self {
        let mut stretches = Vec::new();
        for line in lines {
            match line {
                Line::Section(name) => stretches.push(Stretch {
                    range: name.at.clone(),
                    shown: !begins_like_a_step(name.text),
                }),
                Line::Directive { key, value } => {
                    visit_directive(key, value.as_ref(), &mut stretches);
                }
                Line::Unreadable(_) => {}
            }
        }
        Self {
            stretches: Some(stretches),
        }
    }

    /// The line `content`, which begins at `start` of `text`, with its caret.
    pub(super) fn excerpt(
        &self,
        text: &str,
        start: usize,
        content: &str,
        caret: Range<usize>,
    ) -> Excerpt {
        let characters: Vec<char> = match &self.stretches {
            Some(stretches) => unveil(stretches, start, content),
            None => unveil_broken(text.get(..start).unwrap_or(""), content),
        };
        let from = match characters.len() {
            0..=WIDTH => 0,
            _ => caret.start.saturating_sub(BEFORE_CARET),
        };
        let caret_start = caret.start - from;
        let text: String = characters.into_iter().skip(from).take(WIDTH).collect();
        Excerpt {
            text: text.trim_end().to_owned(),
            caret: caret_start..(caret.end.saturating_sub(from)).clamp(caret_start + 1, WIDTH + 1),
        }
    }
}

fn shown(range: Range<usize>) -> Stretch {
    Stretch { range, shown: true }
}

/// Of a command everything is shown, but a value that could be the sequence of a lost line.
fn visit_directive(key: &Word<'_>, value: Option<&Word<'_>>, stretches: &mut Vec<Stretch>) {
    let known = knockd::Key::of(key.text);
    stretches.push(Stretch {
        range: key.at.clone(),
        shown: known.is_some() || schema::looks_like_a_key(key.text),
    });
    let public = |value: &Word<'_>| {
        known.is_some_and(|key| {
            !key.is_secret()
                && !begins_like_a_step(value.text)
                && (key.is_command() || !value.text.contains('='))
        })
    };
    stretches.extend(value.map(|value| Stretch {
        range: value.at.clone(),
        shown: public(value),
    }));
}

fn visit_doors(doors: &DeTable<'_>, keys: &[Key], stretches: &mut Vec<Stretch>) {
    for (name, value) in doors {
        match value.get_ref() {
            DeValue::Table(table) if schema::is_door_name(name.get_ref()) => {
                stretches.push(shown(name.span()));
                visit_keys(table, keys, stretches);
            }
            _ => visit_unknown(name.span(), name.get_ref(), value, stretches),
        }
    }
}

fn visit_keys(table: &DeTable<'_>, keys: &[Key], stretches: &mut Vec<Stretch>) {
    for (name, value) in table {
        match keys.iter().find(|key| key.name == name.get_ref()) {
            Some(key) => {
                stretches.push(shown(name.span()));
                let public = !key.secret;
                visit_value(value, public, stretches);
            }
            None => visit_unknown(name.span(), name.get_ref(), value, stretches),
        }
    }
}

fn visit_unknown(
    span: Range<usize>,
    name: &str,
    value: &Spanned<DeValue<'_>>,
    stretches: &mut Vec<Stretch>,
) {
    stretches.push(Stretch {
        range: span,
        shown: schema::looks_like_a_key(name),
    });
    visit_value(value, false, stretches);
}

/// A value of a key that holds no secret is hidden all the same where it is not such a value as
/// that key may have: lost lines can put the end of a sequence behind another key.
fn visit_value(value: &Spanned<DeValue<'_>>, public: bool, stretches: &mut Vec<Stretch>) {
    match value.get_ref() {
        DeValue::Array(items) => {
            for item in items {
                visit_value(item, public && item.get_ref().is_str(), stretches);
            }
        }
        DeValue::Table(table) => {
            for (name, value) in table {
                visit_unknown(name.span(), name.get_ref(), value, stretches);
            }
        }
        _ => stretches.push(Stretch {
            range: value.span(),
            shown: public && !could_be_a_step(value.get_ref()),
        }),
    }
}

/// Whether a value is a port, begins like a step, or has swallowed a line of the config, as a string
/// does whose quote is lost. Whoever knocks at ports below 100 has less to hide.
fn could_be_a_step(value: &DeValue<'_>) -> bool {
    let text = match value {
        DeValue::String(text) => text.as_ref(),
        DeValue::Integer(integer) => integer.as_str(),
        _ => return false,
    };
    begins_like_a_step(text) || text.contains('=')
}

fn begins_like_a_step(text: &str) -> bool {
    let text = text.trim_start_matches(|character: char| !character.is_ascii_alphanumeric());
    let behind = text.trim_start_matches(|character: char| character.is_ascii_digit());
    text.len() - behind.len() > 2 && {
        let mut behind = behind.chars();
        match behind.next() {
            // Not `2001:db8::1`, but `7000:udp`.
            Some(':') => !behind
                .next()
                .is_some_and(|next| next == ':' || next.is_ascii_hexdigit()),
            next => next.is_none_or(|next| next != '.' && !next.is_ascii_alphanumeric()),
        }
    }
}

/// A line of a file whose tree is known.
fn unveil(stretches: &[Stretch], start: usize, content: &str) -> Vec<char> {
    let named = section_names(content);
    let mut in_comment = false;
    let mut characters = Vec::with_capacity(content.len());
    for (at, character) in content.char_indices() {
        let behind = stretches.partition_point(|stretch| stretch.range.start <= start + at);
        let stretch = behind
            .checked_sub(1)
            .and_then(|index| stretches.get(index))
            .filter(|stretch| start + at < stretch.range.end);
        in_comment |= stretch.is_none() && character == '#';
        characters.push(match stretch {
            Some(Stretch { shown: false, .. }) => '*',
            Some(_) => printable(character),
            None if character.is_whitespace() => ' ',
            None if !in_comment && is_punctuation(character) => character,
            None if !in_comment && named.get(at) == Some(&true) => character,
            None => '*',
        });
    }
    characters
}

/// For each byte, whether it is in the name of a section: a tree has the key `door` only once, however
/// many headers name it.
fn section_names(content: &str) -> Vec<bool> {
    let is_word = |character: char| character.is_ascii_alphanumeric() || "_-".contains(character);
    let mut named = Vec::with_capacity(content.len());
    for piece in content.split_inclusive(|character| !is_word(character)) {
        let word = piece.trim_end_matches(|character| !is_word(character));
        let is_section = schema::section(word).is_some();
        named.extend((0..piece.len()).map(|at| is_section && at < word.len()));
    }
    named
}

fn is_punctuation(character: char) -> bool {
    "[]{}=,.".contains(character)
}

/// Tabs are one column wide, and nothing reaches the terminal that could move its cursor or turn
/// the direction of its text.
fn printable(character: char) -> char {
    match character {
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '?',
        _ if character.is_control() => ' ',
        _ => character,
    }
}

/// A line of a file whose syntax is broken: the key or the header it begins with, if it is one of
/// ours, and a single plain value behind a key that holds no secret.
fn unveil_broken(before: &str, content: &str) -> Vec<char> {
    let in_long_string = before.contains("\"\"\"") || before.contains("'''");
    let visible = if in_long_string {
        0
    } else {
        visible_head(content)
    };
    let mask = |(at, character): (usize, char)| {
        if character.is_whitespace() {
            ' '
        } else if at < visible {
            printable(character)
        } else {
            '*'
        }
    };
    content.char_indices().map(mask).collect()
}

/// How many bytes at the start of a line of a broken file may be shown.
fn visible_head(content: &str) -> usize {
    let head = content.trim_start();
    if head.starts_with('[') {
        return if is_header(head) { content.len() } else { 0 };
    }
    let Some((name, value)) = head.split_once('=') else {
        return 0;
    };
    match schema::key(name.trim_end()) {
        Some(key) if !key.secret && is_plain_word(value) => content.len(),
        Some(_) => content.len() - value.len(),
        None => 0,
    }
}

/// `[log]`, `[door.ssh]`, or one with a bracket too many or too few.
fn is_header(head: &str) -> bool {
    let name = head.trim_matches(|character: char| "[] \t".contains(character));
    let (section, door) = name.split_once('.').unwrap_or((name, "x"));
    schema::section(section).is_some() && schema::is_door_name(door)
}

/// One word, perhaps in quotes, and no port: `15s`, `"15s`, `yes`.
fn is_plain_word(value: &str) -> bool {
    let word = value.trim().trim_matches(['"', '\'']);
    let port_free = |digits: &str| digits.len() <= 2;
    word.len() <= 64
        && word
            .split(|character: char| !character.is_ascii_digit())
            .all(port_free)
        && word
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || "._-/".contains(character))
}

#[cfg(test)]
#[path = "excerpt_test.rs"]
mod tests;
