//! Collects what is wrong.
//!
//! In: problems with their spans, in whatever order they are found. Out: the same in the order of the files.

use super::diagnostic::{ErrorKind, Severity};
use super::problem::Problem;

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

/// Where something was found. Files come before what is in them.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Where {
    /// In a file as a whole.
    File(String),
    /// At a place in one.
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
    pub(super) fn kind(&self) -> Option<ErrorKind> {
        self.found
            .iter()
            .filter(|(_, problem)| problem.severity() == Severity::Error)
            .map(|(_, problem)| problem.kind())
            .max()
    }

    /// Everything that was found, in the order of the files.
    pub(super) fn into_found(mut self) -> Vec<(Where, Problem)> {
        self.found.sort_by(|(left, _), (right, _)| left.cmp(right));
        self.found
    }
}
