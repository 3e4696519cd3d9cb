//! What is wrong with a config: found in any order, shown by file and line.
//!
//! In: findings with their places, as the rules make them. Out: [`Errors`] of [`Diagnostic`]s, each once, which
//! `annotate-snippets` draws. They are safe to show: the source that they quote has its secrets masked, and no
//! message holds a port of a sequence, a prefix or a secret. A message repeats only names of keys, doors, files and
//! users.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};
use serde::Serialize;

use super::document::Document;

/// Most diagnostics shown: a file full of mistakes costs a hundred excerpts.
const MAX_SHOWN: usize = 100;

/// All errors and warnings of a config that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors {
    /// In the order of the files and of their lines; warnings are among them, never alone.
    pub diagnostics: Vec<Diagnostic>,
    /// Further ones, after the first hundred.
    pub suppressed: usize,
    /// The gravest kind among them.
    pub kind: ErrorKind,
}

/// The kind of error in a config, the gravest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorKind {
    /// What the files say.
    Invalid,
    /// There is no such file.
    Missing,
    /// A file may not be read, or others may write it.
    Permission,
}

/// One error or warning; `check --json` prints these fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Whether the config can be used in spite of it.
    pub severity: Severity,
    /// The file, as it was named.
    pub path: String,
    /// Where in the file; `None` when it is about the file as a whole.
    #[serde(flatten)]
    pub place: Option<Place>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// Whether a config can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but should not stay as it is.
    Warning,
}

/// A place in a file.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The character in it, from 1.
    pub column: usize,
    /// The bytes of `source` that it is about, in one line.
    #[serde(skip)]
    pub(super) span: Range<usize>,
    /// The text of the file, with its secrets masked.
    #[serde(skip)]
    pub(super) source: Arc<str>,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl Diagnostic {
    /// The diagnostic with colours, for a stream that strips them where they are not wanted.
    pub fn styled(&self) -> String {
        self.drawn(&Renderer::styled())
    }

    fn drawn(&self, renderer: &Renderer) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(&*self.message);
        let group = match &self.place {
            Some(Place { span, source, .. }) => title.element(
                Snippet::source(&**source)
                    .path(&*self.path)
                    .annotation(AnnotationKind::Primary.span(span.clone())),
            ),
            None => title.element(Origin::path(&*self.path)),
        };
        let fix = self.fix.as_deref();
        let fix = fix.map(|fix| Level::HELP.with_name("fix").message(fix));
        renderer.render(&[group.elements(fix)])
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.drawn(&Renderer::plain()))
    }
}

impl Errors {
    /// All diagnostics with colours, as [`Diagnostic::styled`].
    pub fn styled(&self) -> String {
        self.joined(Diagnostic::styled)
    }

    fn joined(&self, draw: impl Fn(&Diagnostic) -> String) -> String {
        let mut drawn: Vec<_> = self.diagnostics.iter().map(draw).collect();
        if self.suppressed > 0 {
            drawn.push(format!("… and {} more", self.suppressed));
        }
        drawn.join("\n")
    }
}

impl fmt::Display for Errors {
    /// All diagnostics, each on lines of its own, without a newline at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.joined(Diagnostic::to_string))
    }
}

impl std::error::Error for Errors {}

/// A part of one of the config's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    /// The number of the file.
    pub(super) document: usize,
    /// First byte.
    pub(super) start: usize,
    /// Behind the last byte.
    pub(super) end: usize,
}

impl Span {
    /// `range` of the same file.
    pub(super) fn beside(self, range: Range<usize>) -> Self {
        Self {
            start: range.start,
            end: range.end,
            ..self
        }
    }
}

/// Where something was found. Files come before what is in them.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Where {
    /// In a file as a whole.
    File(String),
    /// At a place in one.
    Span(Span),
}

impl From<Span> for Where {
    fn from(span: Span) -> Self {
        Self::Span(span)
    }
}

impl From<&Path> for Where {
    fn from(path: &Path) -> Self {
        Self::File(path.display().to_string())
    }
}

/// Something that was found.
pub(super) struct Finding {
    at: Where,
    severity: Severity,
    kind: ErrorKind,
    message: String,
    fix: Option<String>,
}

/// A finding that keeps the config from being used.
pub(super) fn error(at: impl Into<Where>, message: impl Into<String>) -> Finding {
    Finding {
        at: at.into(),
        severity: Severity::Error,
        kind: ErrorKind::Invalid,
        message: message.into(),
        fix: None,
    }
}

/// A finding that should be changed, and that the config can be used with.
pub(super) fn warning(at: impl Into<Where>, message: impl Into<String>) -> Finding {
    Finding {
        severity: Severity::Warning,
        ..error(at, message)
    }
}

impl Finding {
    /// Says what to do about it.
    pub(super) fn fix(self, fix: impl Into<String>) -> Self {
        let fix = Some(fix.into());
        Self { fix, ..self }
    }

    /// Says what kind of failure it is; [`ErrorKind::Invalid`] unless said.
    pub(super) fn kind(self, kind: ErrorKind) -> Self {
        Self { kind, ..self }
    }
}

/// What has been found so far. Every rule adds to it, so it is shared.
#[derive(Default)]
pub(super) struct Report {
    pub(super) found: RefCell<Vec<Finding>>,
    /// The files that the config names, as they were read.
    pub(super) named: RefCell<Vec<(String, Vec<u8>)>>,
    /// A file that contains the log prefix, instead of the configured one.
    pub(super) prefix_file: Option<PathBuf>,
    /// Whether these are all that there is: another process has read them.
    pub(super) is_handed_over: bool,
    /// Whether its commands are to be run by this process.
    pub(super) is_to_run: bool,
}

impl Report {
    /// Adds what was found.
    pub(super) fn add(&self, finding: Finding) {
        self.found.borrow_mut().push(finding);
    }

    /// Whether something found keeps the config from being used.
    pub(super) fn has_errors(&self) -> bool {
        self.kind().is_some()
    }

    /// The gravest kind of error.
    fn kind(&self) -> Option<ErrorKind> {
        let found = self.found.borrow();
        let errors = found.iter();
        let errors = errors.filter(|finding| finding.severity == Severity::Error);
        errors.map(|finding| finding.kind).max()
    }

    /// Everything that was found, in the order of the files.
    pub(super) fn errors(&self, documents: &[Document<'_>]) -> Errors {
        let kind = self.kind().unwrap_or(ErrorKind::Invalid);
        let mut found = self.found.take();
        found.sort_by(|left, right| left.at.cmp(&right.at));
        let masked: Vec<Arc<str>> = documents.iter().map(Document::masked).collect();
        let mut diagnostics: Vec<Diagnostic> = Vec::new();
        let mut suppressed = 0;
        for finding in found {
            if diagnostics.len() >= MAX_SHOWN {
                suppressed += 1;
                continue;
            }
            let (path, place) = match finding.at {
                Where::File(path) => (path, None),
                Where::Span(span) => {
                    let document = documents.get(span.document);
                    let place = document
                        .zip(masked.get(span.document))
                        .map(|(document, masked)| document.place(span, masked));
                    let name = document.map_or("", |document| document.name);
                    (name.to_owned(), place)
                }
            };
            let diagnostic = Diagnostic {
                severity: finding.severity,
                path,
                message: finding.message,
                fix: finding.fix,
                place,
            };
            // A value of `[defaults]` is looked at once for each door.
            if !diagnostics.contains(&diagnostic) {
                diagnostics.push(diagnostic);
            }
        }
        Errors {
            diagnostics,
            suppressed,
            kind,
        }
    }
}
