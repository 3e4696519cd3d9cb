//! What of a config file may be shown: its text with everything else masked, character by character.
//!
//! In: the text. Out: the same number of bytes and characters, with `*` for what could be a secret. It works by
//! permission: shown are the words of the config language, punctuation, and the values of keys that hold no secret. So
//! a port under a misspelt key, in a comment or behind a missing bracket is masked without a rule for that case.

use std::ops::Range;

use toml_parser::Source;
use toml_parser::lexer::TokenKind;

use super::knockd::{self, Line, Word};
use super::schema::{self, Secrecy, Section};

/// Deeper tables than this one hold nothing that may be shown.
const MAX_DEPTH: usize = 4;

/// The TOML `text`, masked. If it is `broken`, only keys, headers and single plain words are shown.
pub(super) fn of_toml(text: &str, broken: bool) -> String {
    let tokens: Vec<Token<'_>> = Source::new(text)
        .lex()
        .map(|token| {
            let range = token.span().start()..token.span().end();
            Token {
                kind: token.kind(),
                text: text.get(range.clone()).unwrap_or(""),
                range,
            }
        })
        .collect();
    let mut reader = Reader {
        tokens: &tokens,
        broken,
        shown: Vec::new(),
    };
    reader.file();
    let mut shown = reader.shown;
    shown.sort_by_key(|range| range.start);
    masked(text, &shown)
}

/// The knockd.conf `text`, which has these `lines`, masked.
pub(super) fn of_lines(text: &str, lines: &[Line<'_>]) -> String {
    let mut shown = Vec::new();
    for line in lines {
        match line {
            Line::Section(name) => {
                shown.push(name.at.start - 1..name.at.start);
                if !begins_like_a_step(name.text) {
                    shown.push(name.at.clone());
                }
                shown.push(name.at.end..name.at.end + 1);
            }
            Line::Directive { key, value } => {
                let known = knockd::Key::of(key.text);
                if known.is_some() || schema::looks_like_a_key(key.text) {
                    shown.push(key.at.clone());
                }
                if let Some(value) = value {
                    shown.push(key.at.end..value.at.start);
                    if known.is_some_and(|key| is_public(key, value)) {
                        shown.push(value.at.clone());
                    }
                }
            }
            Line::Ours { key, value } => {
                let before = text.get(..key.at.start).unwrap_or("");
                let start = before.rfind('#').unwrap_or(key.at.start);
                let end = value.as_ref().map_or(key.at.end, |value| value.at.end);
                shown.push(start..end);
            }
            Line::Unreadable(_) => {}
        }
    }
    masked(text, &shown)
}

/// Of a command everything is shown, but a value that could be the sequence of a lost line.
fn is_public(key: knockd::Key, value: &Word<'_>) -> bool {
    let is_alone = key.is_command() || !value.text.contains('=');
    key != knockd::Key::Sequence && !begins_like_a_step(value.text) && is_alone
}

/// `text` with `*` for each character that is neither in a range of `shown`, which are in order, nor a blank at an end
/// of a line. Control characters never reach a terminal.
fn masked(text: &str, shown: &[Range<usize>]) -> String {
    let mut ranges = shown.iter().peekable();
    let mut masked = String::with_capacity(text.len());
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let content = start + (line.len() - line.trim_start().len())..start + line.trim_end().len();
        for (at, character) in line
            .char_indices()
            .map(|(at, character)| (start + at, character))
        {
            while ranges.next_if(|range| range.end <= at).is_some() {}
            let is_shown = ranges.peek().is_some_and(|range| range.start <= at);
            let is_blank = character.is_whitespace() && !content.contains(&at);
            masked.push(match character.len_utf8() {
                _ if is_blank || character == '\t' => character,
                _ if is_shown && !character.is_control() => character,
                // As many bytes as before, so that places stay what they are.
                1 => '*',
                2 => '×',
                3 => '∗',
                _ => '𝄪',
            });
        }
        start += line.len();
    }
    masked
}

struct Token<'a> {
    kind: TokenKind,
    text: &'a str,
    range: Range<usize>,
}

impl Token<'_> {
    fn is_scalar(&self) -> bool {
        use TokenKind::{Atom, BasicString, LiteralString, MlBasicString, MlLiteralString};
        matches!(
            self.kind,
            Atom | BasicString | LiteralString | MlBasicString | MlLiteralString
        )
    }

    /// The name that it is as a part of a key.
    fn name(&self) -> &str {
        self.text.trim_matches(['"', '\''])
    }
}

/// Goes through the tokens and notes which may be shown.
struct Reader<'a> {
    tokens: &'a [Token<'a>],
    broken: bool,
    shown: Vec<Range<usize>>,
}

impl<'a> Reader<'a> {
    fn file(&mut self) {
        let mut table: Vec<&'a str> = Vec::new();
        while let Some(token) = self.tokens.first() {
            match token.kind {
                TokenKind::LeftSquareBracket => table = self.header(),
                _ if token.is_scalar() => self.pair(&table, 0),
                _ => self.skip(),
            }
        }
    }

    /// Passes over a token; what is punctuation is shown.
    fn skip(&mut self) {
        let Some((token, rest)) = self.tokens.split_first() else {
            return;
        };
        if !token.is_scalar() && token.kind != TokenKind::Comment {
            self.shown.push(token.range.clone());
        }
        let is_long = token.text.starts_with("\"\"\"") || token.text.starts_with("'''");
        // What stands behind a long string of a broken file may be in it.
        self.tokens = if self.broken && is_long { &[] } else { rest };
    }

    /// The names that a table's header has; none where it is no header.
    fn header(&mut self) -> Vec<&'a str> {
        let mut names = Vec::new();
        let mut is_header = true;
        let end = |token: &Token<'_>| {
            use TokenKind::{Comment, Eof, Newline};
            matches!(token.kind, Newline | Comment | Eof)
        };
        let line = self.tokens.iter().take_while(|token| !end(token));
        for token in line.clone() {
            use TokenKind::{Dot, LeftSquareBracket, RightSquareBracket, Whitespace};
            let is_mark = matches!(
                token.kind,
                LeftSquareBracket | RightSquareBracket | Dot | Whitespace
            );
            is_header &= token.is_scalar() || is_mark;
        }
        for token in line.filter(|token| token.is_scalar()) {
            names.push(token.name());
            if is_header && is_word(&names) {
                self.shown.push(token.range.clone());
            }
        }
        while self.tokens.first().is_some_and(|token| !end(token)) {
            self.skip();
        }
        if is_header { names } else { Vec::new() }
    }

    /// A key with its value, in the table that is called `table`.
    fn pair(&mut self, table: &[&'a str], depth: usize) {
        use TokenKind::{Dot, Equals, Whitespace};
        let mut names = table.to_vec();
        let is_key =
            |token: &Token<'_>| token.is_scalar() || matches!(token.kind, Dot | Whitespace);
        let key: Vec<_> = self
            .tokens
            .iter()
            .take_while(|token| is_key(token))
            .collect();
        if self
            .tokens
            .get(key.len())
            .is_none_or(|token| token.kind != Equals)
        {
            return self.skip();
        }
        for token in key {
            if token.is_scalar() {
                names.push(token.name());
                if is_word(&names) {
                    self.shown.push(token.range.clone());
                }
            }
            self.skip();
        }
        self.skip();
        self.value(&names, depth);
    }

    /// The value of the key that is called `names`.
    fn value(&mut self, names: &[&'a str], depth: usize) {
        use TokenKind::{
            Comma, Eof, LeftCurlyBracket, LeftSquareBracket, Newline, RightCurlyBracket,
            RightSquareBracket, Whitespace,
        };
        let secrecy = secrecy(names);
        let mut arrays = 0_usize;
        let mut is_over = false;
        while let Some(token) = self.tokens.first() {
            match token.kind {
                Eof => return self.skip(),
                Newline | Comma | RightCurlyBracket if arrays == 0 => return,
                LeftSquareBracket => arrays += 1,
                RightSquareBracket => arrays = arrays.saturating_sub(1),
                LeftCurlyBracket if depth < MAX_DEPTH => {
                    self.skip();
                    self.inline_table(names, depth + 1);
                    continue;
                }
                _ if token.is_scalar() => {
                    if !is_over && self.may_show(token, secrecy, arrays > 0) {
                        self.shown.push(token.range.clone());
                    }
                }
                Whitespace | Newline | Comma | TokenKind::Comment => {}
                // What follows belongs to a line whose beginning is lost.
                _ => is_over = true,
            }
            is_over |= arrays == 0 && token.kind != Whitespace;
            self.skip();
            if self.broken && token.kind == Newline && self.is_at_a_key() {
                return;
            }
        }
    }

    fn inline_table(&mut self, names: &[&'a str], depth: usize) {
        while let Some(token) = self.tokens.first() {
            match token.kind {
                TokenKind::RightCurlyBracket => return self.skip(),
                TokenKind::Newline if self.broken => return,
                _ if token.is_scalar() => self.pair(names, depth),
                _ => self.skip(),
            }
        }
    }

    /// Whether a key of ours begins here: the array around it has lost its bracket.
    fn is_at_a_key(&self) -> bool {
        let mut tokens = self.tokens.iter();
        let mut tokens = tokens
            .by_ref()
            .filter(|token| token.kind != TokenKind::Whitespace);
        let is_ours = |token: &Token<'_>| schema::is_key(token.text);
        tokens.next().is_some_and(is_ours)
            && tokens
                .next()
                .is_some_and(|token| token.kind == TokenKind::Equals)
    }

    /// The value of a key without a secret is masked nevertheless if that key cannot have it: lost lines can put the
    /// end of a sequence behind another key.
    fn may_show(&self, token: &Token<'_>, secrecy: Secrecy, in_array: bool) -> bool {
        let is_number = token.kind == TokenKind::Atom;
        match secrecy {
            Secrecy::Secret => false,
            _ if self.broken => !in_array && self.is_alone() && is_plain_word(token.text),
            Secrecy::Ports => !token.text.contains(['=', '\n']),
            Secrecy::Public => !(could_be_a_step(token.text) || in_array && is_number),
        }
    }

    /// Whether nothing but a comment follows on the line.
    fn is_alone(&self) -> bool {
        use TokenKind::{Comment, Eof, Newline, Whitespace};
        let mut behind = self.tokens.iter().skip(1);
        let next = behind.find(|token| token.kind != Whitespace);
        next.is_none_or(|token| matches!(token.kind, Comment | Newline | Eof))
    }
}

/// Whether the last of `names`, which lead to it, is a word of the config language or like one.
fn is_word(names: &[&str]) -> bool {
    match names {
        [section, door] if is_doors(section) => {
            schema::is_door_name(door) && !begins_like_a_step(door)
        }
        [.., name] => {
            schema::section(name).is_some()
                || schema::is_key(name)
                || schema::looks_like_a_key(name)
        }
        [] => false,
    }
}

fn is_doors(section: &str) -> bool {
    matches!(schema::section(section), Some(Section::Doors(_)))
}

/// What is known of the value of the key to which `names` lead.
fn secrecy(names: &[&str]) -> Secrecy {
    let inner = |outer: &str, inner: &str| schema::section(&format!("{outer}.{inner}"));
    let (keys, name) = match names {
        [outer, table, name] if inner(outer, table).is_some() => match inner(outer, table) {
            Some(Section::Keys(keys)) => (keys, name),
            _ => return Secrecy::Secret,
        },
        [section, name] => match schema::section(section) {
            Some(Section::Keys(keys)) => (keys, name),
            _ => return Secrecy::Secret,
        },
        [section, _, name] => match schema::section(section) {
            Some(Section::Doors(keys)) => (keys, name),
            _ => return Secrecy::Secret,
        },
        _ => return Secrecy::Secret,
    };
    let key = keys.iter().find(|key| key.name == *name);
    key.map_or(Secrecy::Secret, |key| key.secrecy)
}

/// Whether a value is a port, begins like a step, or has swallowed a line of the config, as a string
/// does whose quote is lost. Ports below 100 are not taken for one.
fn could_be_a_step(text: &str) -> bool {
    begins_like_a_step(&text.replace('_', "")) || text.contains(['=', '\n'])
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

/// One word, perhaps in quotes, and no port: `15s`, `"15s`, `yes`.
fn is_plain_word(value: &str) -> bool {
    let word = value.trim_matches(['"', '\'']);
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
#[path = "mask_test.rs"]
mod tests;
