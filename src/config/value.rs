//! Values as written, and what they are read as.
//!
//! In: a TOML value with its place. Out: a typed value, or a report of why it is none. Each type of
//! value has its [`Value`] here or where its rules are; a rule that needs a second key is in
//! [`super::door`] or [`super::resolve`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeValue;

use crate::dialect::{Format, Keys, Pattern};
use crate::engine::door::OnRepeat;
use crate::firewall::Backend;
use crate::source_spec::SourceSpec;

use super::OnExit;
use super::duration;
use super::nearest::nearest;
use super::prefix::Prefix;
use super::problem::{Problem, UserFlaw};
use super::report::{Report, Span};

/// Most `sources`.
const MAX_SOURCES: usize = 64;

/// What can be read from a TOML value.
pub(super) trait Value: Sized {
    /// Whether it must never be shown.
    const SECRET: bool = false;

    /// Reads it; `None` when it is none, which has been reported.
    fn read(written: Written<'_>, report: &mut Report) -> Option<Self>;
}

/// A value as written.
#[derive(Clone, Copy)]
pub(super) struct Written<'a> {
    pub(super) value: &'a DeValue<'a>,
    pub(super) span: Span,
}

/// What was given for a key.
#[derive(Clone)]
pub(super) struct Given<T> {
    /// Where the key stands.
    pub(super) key: Span,
    /// Where the value stands.
    pub(super) span: Span,
    /// The value; `None` when it was none, which has been reported.
    pub(super) value: Option<T>,
}

/// The value of a key that may be left out.
pub(super) fn value<T: Clone>(given: Option<&Given<T>>) -> Option<T> {
    given.and_then(|given| given.value.clone())
}

/// Where a key stands that has a value.
pub(super) fn written<T>(given: Option<&Given<T>>) -> Option<Span> {
    given
        .filter(|given| given.value.is_some())
        .map(|given| given.key)
}

impl<'a> Written<'a> {
    /// Its text, if it is a string.
    pub(super) fn string(self, expected: &'static str, report: &mut Report) -> Option<&'a str> {
        match self.value {
            DeValue::String(text) => Some(text),
            _ => self.wrong_type(expected, report),
        }
    }

    /// Its elements, if it is an array.
    pub(super) fn items(
        self,
        expected: &'static str,
        report: &mut Report,
    ) -> Option<impl ExactSizeIterator<Item = Written<'a>> + use<'a>> {
        let DeValue::Array(items) = self.value else {
            return self.wrong_type(expected, report);
        };
        let item = move |item: &'a toml::Spanned<DeValue<'a>>| Written {
            value: item.get_ref(),
            span: Span {
                document: self.span.document,
                start: item.span().start,
                end: item.span().end,
            },
        };
        Some(items.iter().map(item))
    }

    /// Its elements, if it is an array of at most `most`.
    pub(super) fn few(
        self,
        what: &'static str,
        most: usize,
        expected: &'static str,
        report: &mut Report,
    ) -> Option<impl ExactSizeIterator<Item = Written<'a>> + use<'a>> {
        let items = self.items(expected, report)?;
        if items.len() > most {
            return self.refuse(Problem::TooMany { what, most }, report);
        }
        Some(items)
    }

    /// What it has under each of `names`, if it is a table; any other key is reported.
    fn keys<const N: usize>(
        self,
        names: [&str; N],
        listed: &'static str,
        report: &mut Report,
    ) -> Option<[Option<Self>; N]> {
        let DeValue::Table(table) = self.value else {
            return self.wrong_type("a table", report);
        };
        let at = |span: std::ops::Range<usize>| Span {
            start: span.start,
            end: span.end,
            ..self.span
        };
        for (key, _) in table {
            if !names.contains(&&**key.get_ref()) {
                report.add(at(key.span()), Problem::FormatKey(listed));
            }
        }
        Some(names.map(|name| {
            let value = table.get(name)?;
            Some(Self {
                value: value.get_ref(),
                span: at(value.span()),
            })
        }))
    }

    /// Reports that it is not `expected`.
    pub(super) fn wrong_type<T>(self, expected: &'static str, report: &mut Report) -> Option<T> {
        let found = match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        self.refuse(Problem::WrongType { expected, found }, report)
    }

    /// Reports `problem` here.
    pub(super) fn refuse<T>(self, problem: Problem, report: &mut Report) -> Option<T> {
        report.add(self.span, problem);
        None
    }
}

/// The integer that TOML wrote as text; `None` when it does not fit.
pub(super) fn integer(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

impl Value for bool {
    fn read(written: Written<'_>, report: &mut Report) -> Option<Self> {
        match written.value {
            DeValue::Boolean(value) => Some(*value),
            _ => written.wrong_type("true or false", report),
        }
    }
}

impl Value for i64 {
    fn read(written: Written<'_>, report: &mut Report) -> Option<Self> {
        integer(written.value).or_else(|| written.wrong_type("a whole number", report))
    }
}

impl Value for Duration {
    fn read(written: Written<'_>, report: &mut Report) -> Option<Self> {
        let span = match written.value {
            DeValue::Integer(_) => integer(written.value)
                .ok_or(duration::DurationError::TooLong)
                .and_then(duration::from_seconds),
            DeValue::Float(float) => float
                .as_str()
                .parse()
                .map_err(|_| duration::DurationError::Form)
                .and_then(duration::from_float),
            DeValue::String(text) => duration::from_text(text),
            _ => return written.wrong_type("a duration", report),
        };
        span.map_err(|error| report.add(written.span, Problem::Duration(error)))
            .ok()
    }
}

impl Value for PathBuf {
    fn read(written: Written<'_>, report: &mut Report) -> Option<Self> {
        let text = written.string("a path in quotes", report)?;
        absolute(text).or_else(|| written.refuse(Problem::Path, report))
    }
}

/// The path of a file from `/` on: the daemon's working directory is nobody's.
pub(super) fn absolute(text: &str) -> Option<PathBuf> {
    let path = Path::new(text);
    let whole = path.is_absolute() && path.file_name().is_some() && !text.contains('\0');
    whole.then(|| path.to_owned())
}

/// `group`: a name as it stands in `/etc/group`, or a number.
#[derive(Clone)]
pub(super) struct Group(pub(super) Box<str>);

impl Value for Group {
    fn read(written: Written<'_>, report: &mut Report) -> Option<Self> {
        let name = written.string("a group's name in quotes", report)?;
        if !is_account(name) {
            return written.refuse(Problem::Group, report);
        }
        Some(Self(name.into()))
    }
}

/// `user`, `relay_user`: a name as it stands in `/etc/passwd`, or a number.
#[derive(Clone)]
pub(super) struct User(pub(super) Box<str>);

impl Value for User {
    fn read(written: Written<'_>, report: &mut Report) -> Option<Self> {
        let name = written.string("a user's name in quotes", report)?;
        if !is_account(name) {
            return written.refuse(Problem::User(UserFlaw::Name), report);
        }
        Some(Self(name.into()))
    }
}

/// Whether an account of the machine can have this name.
fn is_account(name: &str) -> bool {
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=32).contains(&name.len()) && name.bytes().all(fit)
}

impl Value for OnExit {
    fn read(written: Written<'_>, report: &mut Report) -> Option<Self> {
        choice(
            written,
            [("close", Self::Close), ("keep", Self::Keep)],
            report,
        )
    }
}

impl Value for OnRepeat {
    fn read(written: Written<'_>, report: &mut Report) -> Option<Self> {
        let choices = [
            ("extend", Self::Extend),
            ("ignore", Self::Ignore),
            ("reopen", Self::Reopen),
        ];
        choice(written, choices, report)
    }
}

impl Value for Backend {
    fn read(written: Written<'_>, report: &mut Report) -> Option<Self> {
        choice(written, Self::ALL, report)
    }
}

fn choice<T, const N: usize>(
    written: Written<'_>,
    choices: [(&'static str, T); N],
    report: &mut Report,
) -> Option<T> {
    let text = written.string("a string", report)?;
    let words = choices.each_ref().map(|(word, _)| *word);
    match choices.into_iter().find(|(word, _)| *word == text) {
        Some((_, value)) => Some(value),
        None => written.refuse(
            Problem::Choice {
                words: words.to_vec(),
                nearest: nearest(text, words),
            },
            report,
        ),
    }
}

impl Value for Prefix {
    const SECRET: bool = true;

    fn read(written: Written<'_>, report: &mut Report) -> Option<Self> {
        let text = written.string("a string", report)?;
        text.parse()
            .map_err(|error| report.add(written.span, Problem::Prefix(error)))
            .ok()
    }
}

impl Value for Format {
    /// A regex may hold the prefix.
    const SECRET: bool = true;

    fn read(written: Written<'_>, report: &mut Report) -> Option<Self> {
        match written.value {
            DeValue::String(_) => choice(written, Self::named(), report),
            DeValue::Table(_) => {
                let [regex, json] = written.keys(["regex", "json"], "regex, json", report)?;
                match (regex, json) {
                    (Some(regex), None) => pattern(regex, report).map(Self::Pattern),
                    (None, Some(json)) => keys(json, report).map(|keys| Self::Json(keys.into())),
                    _ => written.refuse(Problem::FormatTable, report),
                }
            }
            _ => written.wrong_type(
                "a name in quotes, or a table with 'regex' or 'json'",
                report,
            ),
        }
    }
}

fn pattern(written: Written<'_>, report: &mut Report) -> Option<Pattern> {
    let text = written.string("a string", report)?;
    text.parse()
        .map_err(|error| report.add(written.span, Problem::Format(error)))
        .ok()
}

/// The keys of a JSON object, one each.
fn keys(written: Written<'_>, report: &mut Report) -> Option<Keys> {
    let names = ["message", "program", "facility", "time", "host"];
    let [message, program, facility, time, host] =
        written.keys(names, "message, program, facility, time, host", report)?;
    let mut key = |written: Option<Written<'_>>| {
        let text = written.and_then(|written| written.string("a string", report));
        text.map(Box::from).into_iter().collect::<Vec<Box<str>>>()
    };
    let keys = Keys {
        message: key(message),
        program: key(program),
        facility: key(facility),
        time: key(time),
        host: key(host),
    };
    if message.is_none() {
        return written.refuse(Problem::NoMessageKey, report);
    }
    Some(keys)
}

impl Value for Vec<SourceSpec> {
    fn read(written: Written<'_>, report: &mut Report) -> Option<Self> {
        let mut sources = Self::new();
        let mut complete = true;
        for item in written.few("sources", MAX_SOURCES, "an array of sources", report)? {
            match source(item, report) {
                Some(source) if sources.contains(&source) => {
                    report.add(item.span, Problem::RepeatedSource);
                }
                Some(source) => sources.push(source),
                None => complete = false,
            }
        }
        complete.then_some(sources)
    }
}

fn source(item: Written<'_>, report: &mut Report) -> Option<SourceSpec> {
    let text = item.string("a string that names a source", report)?;
    match text.parse::<SourceSpec>() {
        Err(error) => item.refuse(Problem::Source(error), report),
        // The daemon's working directory is nobody's.
        Ok(source) if source.relative_path().is_some() => {
            item.refuse(Problem::RelativeSource, report)
        }
        Ok(source) => Some(source),
    }
}
