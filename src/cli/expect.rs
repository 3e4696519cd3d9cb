//! `replay --expect FILE`: the events that a log must give.
//!
//! FILE holds what `replay` or `replay --json` prints; empty lines and lines that begin with `#` are
//! for the reader. A JSON object need not name every key: those it names must be equal.

use std::fs;
use std::io::Write;
use std::path::Path;

use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use super::exit::{Code, Failure};
use super::{Format, input};

/// Expected events, and those that came.
#[derive(Debug)]
pub(super) struct Expected {
    /// The form in which the events must be given to [`Self::got`].
    pub(super) format: Format,
    wanted: Vec<String>,
    got: Vec<String>,
}

impl Expected {
    /// Reads the expected events.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        #[expect(clippy::disallowed_methods, reason = "a file that the user named")]
        let text = fs::read_to_string(path).map_err(|error| input::unreadable(path, &error))?;
        let lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let wanted: Vec<_> = lines.map(words).collect();
        let json = wanted.first().is_some_and(|line| line.starts_with('{'));
        Ok(Self {
            format: if json { Format::Json } else { Format::Text },
            wanted,
            got: Vec::new(),
        })
    }

    /// Takes the next event that came.
    pub(super) fn got(&mut self, line: &str) {
        let line = words(&anstream::adapter::strip_str(line).to_string());
        // What is equal in all that is asked for is shown as it was asked for.
        let wanted = self
            .wanted
            .get(self.got.len())
            .filter(|wanted| self.format == Format::Json && covers(&line, wanted));
        self.got.push(wanted.cloned().unwrap_or(line));
    }

    /// Ends with a diff when the events differ.
    pub(super) fn verdict(self, out: &mut impl Write) -> Result<(), Failure> {
        if self.wanted == self.got {
            return Ok(());
        }
        let (wanted, got): (Vec<_>, Vec<_>) = (
            self.wanted.iter().map(String::as_str).collect(),
            self.got.iter().map(String::as_str).collect(),
        );
        for change in TextDiff::from_slices(&wanted, &got).iter_all_changes() {
            let sign = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            writeln!(out, "{sign}{}", change.value())?;
        }
        out.flush()?;
        Err(Failure::new(
            Code::Failed,
            "the events differ from what was expected (- expected, + happened)",
        ))
    }
}

/// Columns are for the eye: only the words count.
fn words(line: &str) -> String {
    if line.starts_with('{') {
        line.to_owned()
    } else {
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// Whether the object `got` has all that the object `wanted` names.
fn covers(got: &str, wanted: &str) -> bool {
    let object = |text: &str| match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    };
    let (Some(got), Some(wanted)) = (object(got), object(wanted)) else {
        return false;
    };
    wanted
        .iter()
        .all(|(key, value)| got.get(key) == Some(value))
}
