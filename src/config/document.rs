//! One config file as text: what it says, and where its lines are.
//!
//! In: a name and a text. Out: its TOML tree, or knockd's lines, with byte spans, syntax errors into the report, and for each
//! span a [`Place`] with its excerpt. A text with a syntax error has a tree too, but one that is
//! guessed: nobody looks at it, so that one missing quote is not reported as ten missing keys.

use std::ops::Range;

use toml::de::DeTable;

use super::diagnostic::Place;
use super::excerpt::Veil;
use super::knockd;
use super::problem::Problem;
use super::report::{Report, Span};
use super::text::{MAX_BYTES, Text};

/// Most syntax errors reported for one file: one missing bracket makes many.
const MAX_SYNTAX_ERRORS: usize = 8;

/// What a file says.
pub(super) enum Content<'a> {
    /// In TOML; nothing when it has a syntax error.
    Toml(DeTable<'a>),
    /// In knockd's words.
    Knockd(Vec<knockd::Line<'a>>),
}

/// A file that has been parsed.
pub(super) struct Document<'a> {
    /// As it is named in diagnostics.
    pub(super) name: &'a str,
    /// Which one of the files it is.
    pub(super) number: usize,
    /// What it says.
    pub(super) content: Content<'a>,
    text: &'a str,
    not_utf8: bool,
    line_starts: Vec<usize>,
    veil: Veil,
}

impl<'a> Document<'a> {
    /// Parses the file that is `number` among those of the config.
    pub(super) fn parse(number: usize, file: &'a Text, report: &mut Report) -> Self {
        let mut document = Document {
            name: &file.name,
            number,
            content: Content::Toml(DeTable::new()),
            text: &file.content,
            not_utf8: file.not_utf8.is_some(),
            line_starts: line_starts(&file.content),
            veil: Veil::of_broken_text(),
        };
        if file.content.len() > MAX_BYTES {
            report.add(document.span(0..0), Problem::TooLarge);
            return document;
        }
        if file.is_knockds() {
            let lines = knockd::lines(&file.content);
            document.veil = Veil::of_lines(&lines);
            document.content = Content::Knockd(lines);
            return document;
        }
        if let Some(offset) = file.not_utf8 {
            report.add(document.span(offset..offset), Problem::NotUtf8);
            return document;
        }
        let (tree, errors) = DeTable::parse_recoverable(&file.content);
        if errors.is_empty() {
            let tree = tree.into_inner();
            document.veil = Veil::of_tree(&tree);
            document.content = Content::Toml(tree);
        } else {
            document.report_syntax(&errors, report);
        }
        document
    }

    /// One error a line: what follows the first is mostly its echo.
    fn report_syntax(&self, errors: &[toml::de::Error], report: &mut Report) {
        let mut lines = Vec::new();
        for error in errors {
            let range = error.span().unwrap_or(0..0);
            let line = self.line_at(range.start);
            if !lines.contains(&line) && lines.len() < MAX_SYNTAX_ERRORS {
                lines.push(line);
                report.add(
                    self.span(range),
                    Problem::Syntax(error.message().to_owned()),
                );
            }
        }
    }

    /// Whether it could not be parsed, which has been reported.
    pub(super) fn is_broken(&self) -> bool {
        self.veil.is_of_broken_text()
    }

    /// Whether it is one of knockd's.
    pub(super) fn is_knockds(&self) -> bool {
        matches!(self.content, Content::Knockd(_))
    }

    /// Whether `part` of it was no text.
    pub(super) fn was_not_text(&self, part: &str) -> bool {
        self.not_utf8 && part.contains(char::REPLACEMENT_CHARACTER)
    }

    /// `range` of this document.
    pub(super) fn span(&self, range: Range<usize>) -> Span {
        Span {
            document: self.number,
            start: range.start,
            end: range.end,
        }
    }

    /// Where `span` begins, with its line as it may be shown.
    pub(super) fn place(&self, span: Span) -> Place {
        let line = self.line_at(span.start);
        let start = self.line_starts.get(line).copied().unwrap_or(0);
        let rest = self.text.get(start..).unwrap_or("");
        let content = rest.lines().next().unwrap_or("");
        // A span may end on a later line, and an error may stand behind the last character.
        let characters = |offset: usize| {
            let bytes = offset.saturating_sub(start);
            content
                .char_indices()
                .take_while(|(at, _)| *at < bytes)
                .count()
        };
        let caret = characters(span.start)..characters(span.end);
        Place {
            line: line + 1,
            column: caret.start + 1,
            excerpt: self.veil.excerpt(self.text, start, content, caret),
        }
    }

    /// The line, from 0, that holds the byte at `offset`.
    fn line_at(&self, offset: usize) -> usize {
        self.line_starts
            .partition_point(|&start| start <= offset)
            .saturating_sub(1)
    }
}

fn line_starts(text: &str) -> Vec<usize> {
    let behind_newlines = text.match_indices('\n').map(|(at, _)| at + 1);
    std::iter::once(0).chain(behind_newlines).collect()
}
