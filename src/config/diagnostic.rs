//! What is wrong with a config, ready to be printed or to be written as JSON.
//!
//! In: nothing by itself; [`super::report`] makes these. Out: `path:line:col: message`, the line with
//! a caret under it, and the fix. Every text in here is already safe to show: the excerpt has
//! secrets and terminal escapes taken out, and no message holds a value from the file.

use std::fmt;
use std::ops::Range;

/// Everything found in a config that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors {
    /// In the order of the files and of their lines; warnings are among them, never alone.
    pub diagnostics: Vec<Diagnostic>,
    /// How many more there were, after the first hundred.
    pub suppressed: usize,
    /// What kind of failure this is as a whole.
    pub kind: ErrorKind,
}

/// What kind of failure keeps a config from being used. The gravest of several stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorKind {
    /// What the files say.
    Invalid,
    /// There is no such file.
    Missing,
    /// A file may not be read, or others may write it.
    Permission,
}

/// One thing found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether the config can be used in spite of it.
    pub severity: Severity,
    /// The file, as it was named.
    pub path: String,
    /// Where in it; `None` when it is about the file as a whole.
    pub place: Option<Place>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub fix: Option<String>,
}

/// Whether a config can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but should not stay as it is.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The character in it, from 1.
    pub column: usize,
    /// The line as it may be shown.
    pub excerpt: Excerpt,
}

/// A line as it may be shown: secrets are `*`, columns are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The line, or the part of a long one around the caret.
    pub text: String,
    /// Which characters of `text` it is about; at least one, perhaps just behind the end.
    pub caret: Range<usize>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        if let Some(place) = &self.place {
            write!(f, ":{}:{}", place.line, place.column)?;
        }
        f.write_str(match self.severity {
            Severity::Error => ": ",
            Severity::Warning => ": warning: ",
        })?;
        f.write_str(&self.message)?;
        if let Some(Place { excerpt, .. }) = &self.place {
            let (indent, width) = (excerpt.caret.start, excerpt.caret.len());
            write!(f, "\n  {}\n  {:indent$}{:^<width$}", excerpt.text, "", "")?;
        }
        match &self.fix {
            Some(fix) => write!(f, "\n  fix: {fix}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Errors {
    /// All diagnostics, each on lines of its own, without a newline at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, diagnostic) in self.diagnostics.iter().enumerate() {
            let newline = if number == 0 { "" } else { "\n" };
            write!(f, "{newline}{diagnostic}")?;
        }
        match self.suppressed {
            0 => Ok(()),
            more => write!(f, "\n… and {more} more"),
        }
    }
}

impl std::error::Error for Errors {}
