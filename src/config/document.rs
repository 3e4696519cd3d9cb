//! One config file as text: what it says, and where its lines are.
//!
//! In: a name and bytes. Out: its TOML tree, or knockd's lines, with byte spans; syntax errors into the report; and
//! for each span a [`Place`]. The tree of a text with a syntax error is not used: one missing quote would be reported
//! as ten missing keys.

use std::ops::Range;
use std::sync::Arc;

use toml::de::DeTable;

use super::knockd;
use super::mask;
use super::report::{Finding, Place, Report, Span, error};

/// Longest config file, in bytes.
pub const MAX_BYTES: usize = 256 * 1024;

/// Most syntax errors reported for one file: one missing bracket makes many.
const MAX_SYNTAX_ERRORS: usize = 8;

/// A file's name and text, as read.
pub(super) struct Text {
    /// As it is named in diagnostics.
    pub(super) name: String,
    /// Its text; what is not UTF-8 is replaced.
    pub(super) content: String,
    /// The first byte that was not UTF-8.
    pub(super) not_utf8: Option<usize>,
}

impl Text {
    /// The file called `name` that holds `bytes`.
    pub(super) fn new(name: &str, bytes: &[u8]) -> Self {
        Self {
            name: name.to_owned(),
            not_utf8: str::from_utf8(bytes).err().map(|error| error.valid_up_to()),
            content: String::from_utf8_lossy(bytes).into_owned(),
        }
    }

    /// Whether it is to be read as knockd reads it.
    pub(super) fn is_knockds(&self) -> bool {
        knockd::is_knockd(&self.name, &self.content)
    }
}

/// What a file says.
pub(super) enum Content<'a> {
    /// In TOML.
    Toml(DeTable<'a>),
    /// In knockd's words.
    Knockd(Vec<knockd::Line<'a>>),
    /// It could not be parsed, which has been reported.
    Broken,
}

/// A file that has been parsed.
pub(super) struct Document<'a> {
    /// As it is named in diagnostics.
    pub(super) name: &'a str,
    /// Its number among the files.
    pub(super) number: usize,
    /// What it says.
    pub(super) content: Content<'a>,
    /// Where what is wrong with it goes.
    pub(super) report: &'a Report,
    text: &'a str,
    not_utf8: bool,
}

impl<'a> Document<'a> {
    /// Parses the file that is `number` among those of the config.
    pub(super) fn parse(number: usize, file: &'a Text, report: &'a Report) -> Self {
        let mut document = Document {
            name: &file.name,
            number,
            content: Content::Broken,
            report,
            text: &file.content,
            not_utf8: file.not_utf8.is_some(),
        };
        if file.content.len() > MAX_BYTES {
            let message = format!("larger than {} KiB", MAX_BYTES / 1024);
            report.add(error(document.span(0..0), message));
        } else if knockd::is_uci(&file.content) {
            let message = "this is a UCI file of OpenWrt, not a configuration of logknock";
            let fix = "name the knockd.conf that OpenWrt's init script writes from it";
            report.add(error(document.span(0..0), message).fix(fix));
        } else if file.is_knockds() {
            document.content = Content::Knockd(knockd::lines(&file.content));
        } else if let Some(offset) = file.not_utf8 {
            let at = document.span(offset..offset);
            report.add(error(at, "not UTF-8, as TOML must be"));
        } else {
            let (tree, errors) = DeTable::parse_recoverable(&file.content);
            document.report_syntax(&errors);
            if errors.is_empty() {
                document.content = Content::Toml(tree.into_inner());
            }
        }
        document
    }

    /// Reports what was found in it.
    pub(super) fn add(&self, finding: Finding) {
        self.report.add(finding);
    }

    /// One error a line: what follows the first is mostly its echo. The parser's messages are constant.
    fn report_syntax(&self, errors: &[toml::de::Error]) {
        let mut lines = Vec::new();
        for found in errors {
            let range = found.span().unwrap_or(0..0);
            let line = self.line_start(range.start);
            if !lines.contains(&line) && lines.len() < MAX_SYNTAX_ERRORS {
                lines.push(line);
                self.report.add(error(self.span(range), found.message()));
            }
        }
    }

    /// Whether it could not be parsed, which has been reported.
    pub(super) fn is_broken(&self) -> bool {
        matches!(self.content, Content::Broken)
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

    /// Its text with its secrets masked. A file that is too large is not shown.
    pub(super) fn masked(&self) -> Arc<str> {
        match &self.content {
            _ if self.text.len() > MAX_BYTES => Arc::from(""),
            Content::Knockd(lines) => mask::of_lines(self.text, lines).into(),
            Content::Toml(_) => mask::of_toml(self.text, false).into(),
            Content::Broken => mask::of_toml(self.text, true).into(),
        }
    }

    /// Where `span` begins, in the text that is `masked`. Of a span over several lines the first is shown.
    pub(super) fn place(&self, span: Span, masked: &Arc<str>) -> Place {
        let line_start = self.line_start(span.start);
        let before = self.text.get(..span.start).unwrap_or("");
        let column = before.get(line_start..).unwrap_or("").chars().count() + 1;
        let rest = masked.get(span.start..).unwrap_or("");
        let line_end = span.start + rest.find(['\n', '\r']).unwrap_or(rest.len());
        Place {
            line: before.matches('\n').count() + 1,
            column,
            span: span.start.min(masked.len())
                ..span.end.clamp(span.start, line_end).min(masked.len()),
            source: Arc::clone(masked),
        }
    }

    /// The first byte of the line that holds the byte at `offset`.
    fn line_start(&self, offset: usize) -> usize {
        let before = self.text.get(..offset).unwrap_or("");
        before.rfind('\n').map_or(0, |at| at + 1)
    }
}
