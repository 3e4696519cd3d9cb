//! Log files by their names: `/var/log/fw/*.log`.
//!
//! In: a path whose last part has `*`, `?` or `[…]`. Out: which names in that directory it means. What log
//! rotation calls an old file is not meant, because it was read under its first name. Opens nothing.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use glob::MatchOptions;

use super::SourceSpecError;

/// Some files of one directory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    directory: PathBuf,
    name: glob::Pattern,
}

/// What compressed files end in.
const PACKED: [&str; 8] = [".gz", ".bz2", ".xz", ".zst", ".lz4", ".lzma", ".Z", ".zip"];
/// What copies, and files that are being written, end in.
const ASIDE: [&str; 8] = [
    ".old", ".bak", ".orig", ".save", ".tmp", ".new", ".swp", "~",
];
/// The fewest digits of a date.
const DATE: usize = 8;

/// As a shell reads it: a leading dot is not matched by `*`.
const SHELL: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

impl Pattern {
    /// Whether a path is a pattern.
    pub(super) fn is_one(text: &str) -> bool {
        text.contains(['*', '?', '['])
    }

    pub(super) fn parse(text: &str) -> Result<Self, SourceSpecError> {
        let (directory, name) = match text.rsplit_once('/') {
            Some(("", name)) => ("/", name),
            Some(parts) => parts,
            None => ("", text),
        };
        if Self::is_one(directory) || !Self::is_one(name) {
            return Err(SourceSpecError::Wildcard);
        }
        Ok(Self {
            directory: directory.into(),
            name: glob::Pattern::new(name).map_err(|_| SourceSpecError::Pattern)?,
        })
    }

    /// Where the files are.
    pub fn directory(&self) -> &Path {
        if self.directory.as_os_str().is_empty() {
            return Path::new(".");
        }
        &self.directory
    }

    /// Whether a file of this name is meant. A name that ends in a date is that of an old file, unless the
    /// pattern itself has digits in it.
    pub fn means(&self, name: &OsStr) -> bool {
        let digits = |character: char| character.is_ascii_digit() || character == '[';
        name.to_str().is_some_and(|name| {
            self.name.matches_with(name, SHELL)
                && !is_aside(name)
                && (self.name.as_str().contains(digits) || !is_rotated(name))
        })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.directory.join(self.name.as_str());
        write!(f, "{}", path.display())
    }
}

fn is_aside(name: &str) -> bool {
    PACKED.iter().chain(&ASIDE).any(|end| name.ends_with(end))
}

/// Whether it is called as logrotate calls what it has rotated: with a number or a date behind the name, or
/// in front of `.log`.
fn is_rotated(name: &str) -> bool {
    let name = name.strip_suffix(".log").unwrap_or(name);
    let base = name.trim_end_matches(|end: char| end.is_ascii_digit() || "-_.".contains(end));
    let Some(end) = name.strip_prefix(base).filter(|_| !base.is_empty()) else {
        return false;
    };
    let number = end.rsplit('.').next().unwrap_or_default();
    let is_number = end.contains('.') && (1..=3).contains(&number.len());
    let digits = end.chars().filter(char::is_ascii_digit).count();
    let is_date = digits >= DATE && !end.starts_with(|first: char| first.is_ascii_digit());
    is_date || (is_number && number.chars().all(|digit| digit.is_ascii_digit()))
}

#[cfg(test)]
#[path = "pattern_test.rs"]
mod tests;
