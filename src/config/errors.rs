//! Shows what is wrong.
//!
//! In: what was found. Out: [`Diagnostic`]s by file and line, each once. Bounded: a file full of mistakes costs a
//! hundred excerpts, not a hundred thousand.

use std::borrow::Cow;

use super::diagnostic::{Diagnostic, ErrorKind, Errors};
use super::document::Document;
use super::problem::Problem;
use super::report::{Report, Where};

/// Most diagnostics shown.
const MAX_SHOWN: usize = 100;

/// Everything in `report`, about these documents.
pub(super) fn of(report: Report, documents: &[Document<'_>]) -> Errors {
    let kind = report.kind().unwrap_or(ErrorKind::Invalid);
    let mut diagnostics: Vec<Diagnostic> = Vec::new();
    let mut suppressed = 0;
    for (place, problem) in &report.into_found() {
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
