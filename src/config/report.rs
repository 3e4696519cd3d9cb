//! Collects what is wrong, and shows it in the order of the files.
//!
//! In: problems with their spans, in whatever order they are found. Out: [`Diagnostic`]s by file and
//! line, each once. Bounded: a file full of mistakes costs a hundred excerpts, not a hundred thousand.

use std::borrow::Cow;

use super::diagnostic::{Diagnostic, ErrorKind, Errors, Severity};
use super::document::Document;
use super::problem::Problem;

/// Most diagnostics shown.
const MAX_SHOWN: usize = 100;

/// A part of one of the config's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    /// Which file.
    pub(super) document: usize,
    /// First byte.
    pub(super) start: usize,
    /// Behind the last byte.
    pub(super) end: usize,
}

/// What has been found so far.
#[derive(Default)]
pub(super) struct Report {
    found: Vec<(Where, Problem)>,
    /// The files that the config names, as they were read.
    pub(super) named: Vec<(String, Vec<u8>)>,
    /// Whether these are all that there is: another process has read them.
    pub(super) is_handed_over: bool,
    /// Whether its commands are to be run by this process.
    pub(super) is_to_run: bool,
}

/// Files come before what is in them.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Where {
    File(String),
    Span(Span),
}

impl Report {
    /// Something at a place in a file.
    pub(super) fn add(&mut self, span: Span, problem: Problem) {
        self.found.push((Where::Span(span), problem));
    }

    /// Something about a file as a whole.
    pub(super) fn add_file(&mut self, path: &str, problem: Problem) {
        self.found.push((Where::File(path.to_owned()), problem));
    }

    /// Whether something found keeps the config from being used.
    pub(super) fn has_errors(&self) -> bool {
        self.kind().is_some()
    }

    /// The gravest kind of error.
    fn kind(&self) -> Option<ErrorKind> {
        self.found
            .iter()
            .filter(|(_, problem)| problem.severity() == Severity::Error)
            .map(|(_, problem)| problem.kind())
            .max()
    }

    /// Everything that was found, in the order of `documents`.
    pub(super) fn into_errors(mut self, documents: &[Document<'_>]) -> Errors {
        let kind = self.kind().unwrap_or(ErrorKind::Invalid);
        self.found.sort_by(|(left, _), (right, _)| left.cmp(right));
        let mut diagnostics: Vec<Diagnostic> = Vec::new();
        let mut suppressed = 0;
        for (place, problem) in &self.found {
            if diagnostics.len() >= MAX_SHOWN {
                suppressed += 1;
                continue;
            }
            let diagnostic = show(place, problem, documents);
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

fn show(place: &Where, problem: &Problem, documents: &[Document<'_>]) -> Diagnostic {
    let (path, place) = match place {
        Where::File(path) => (path.clone(), None),
        Where::Span(span) => match documents.get(span.document) {
            Some(document) => (document.name.to_owned(), Some(document.place(*span))),
            None => (String::new(), None),
        },
    };
    Diagnostic {
        severity: problem.severity(),
        path,
        place,
        message: problem.to_string(),
        fix: problem.fix().map(Cow::into_owned),
    }
}
