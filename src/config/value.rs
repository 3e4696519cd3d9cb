//! Values as written, and what they are read as.
//!
//! In: a TOML value with its place. Out: a typed value, or a finding that says what is wrong. Each type of value has
//! its [`Value`] here or where its rules are; a rule that needs a second key is in [`super::door`] or
//! [`super::resolve`].

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use strum::VariantArray;
use toml::de::{DeTable, DeValue};

use crate::dialect::{Format, Keys as JsonKeys, Pattern, PatternError};
use crate::engine::door::{Door, Lockout, OnRepeat, Sharing};
use crate::engine::event::Occasion;
use crate::engine::knock::KnockerPrefix;
use crate::engine::sequence::Transport;
use crate::firewall::Backend;
use crate::fleet::WithoutBus;
use crate::source_spec::SourceSpec;

use super::OnExit;
use super::duration::{self, DurationError};
use super::prefix::Prefix;
use super::read::fill;
use super::report::{Finding, Report, Span, error, warning};
use super::schema::{Secrecy, SourceTable};

/// Most `sources`.
const MAX_SOURCES: usize = 64;

/// What can be read from a TOML value.
pub(super) trait Value: Sized {
    /// Whether it may be shown.
    const SECRECY: Secrecy = Secrecy::Public;

    /// Reads it; `None` when it is wrong, which has been reported.
    fn read(written: Written<'_>) -> Option<Self>;
}

/// A value as written.
#[derive(Clone, Copy)]
pub(super) struct Written<'a> {
    pub(super) value: &'a DeValue<'a>,
    pub(super) span: Span,
    /// Where what is wrong with it goes.
    pub(super) report: &'a Report,
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

impl<T> Given<T> {
    /// A table that is at `at` as a whole: nothing was written but what implies it.
    pub(super) fn implied(at: Span, value: T) -> Self {
        Self {
            key: at,
            span: at,
            value: Some(value),
        }
    }
}

/// A key that may be left out.
pub(super) trait Optional<T> {
    /// Its value, as it stands there.
    fn set(&self) -> Option<&T>;

    /// Its value.
    fn value(&self) -> Option<T>
    where
        T: Clone,
    {
        self.set().cloned()
    }

    /// Where it stands, if it has a value.
    fn written(&self) -> Option<Span>;
}

impl<T> Optional<T> for Option<Given<T>> {
    fn set(&self) -> Option<&T> {
        self.as_ref()?.value.as_ref()
    }

    fn written(&self) -> Option<Span> {
        self.set()?;
        self.as_ref().map(|given| given.key)
    }
}

impl<'a> Written<'a> {
    /// An element or a value inside of this one.
    pub(super) fn inner(self, inner: &'a toml::Spanned<DeValue<'a>>) -> Self {
        Self {
            value: inner.get_ref(),
            span: self.span.beside(inner.span()),
            ..self
        }
    }

    /// Its text, if it is a string.
    pub(super) fn string(self, expected: &str) -> Option<&'a str> {
        match self.value {
            DeValue::String(text) => Some(text),
            _ => self.wrong_type(expected),
        }
    }

    /// Its elements, if it is an array of at most `most`.
    pub(super) fn few(
        self,
        what: &str,
        most: usize,
    ) -> Option<impl ExactSizeIterator<Item = Written<'a>> + use<'a>> {
        let DeValue::Array(items) = self.value else {
            return self.wrong_type(&format!("an array of {what}"));
        };
        if items.len() > most {
            return self.refuse(format!("more than {most} {what}"));
        }
        Some(items.iter().map(move |item| self.inner(item)))
    }

    /// What `read` makes of each element of an array of at most `most`. All are read before the first error is
    /// returned, so that every error is shown.
    pub(super) fn each<T>(
        self,
        what: &str,
        most: usize,
        mut read: impl FnMut(usize, Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let items = self.few(what, most)?;
        let read: Vec<_> = (1..)
            .zip(items)
            .map(|(number, item)| read(number, item))
            .collect();
        read.into_iter().collect()
    }

    /// Its keys, if it is a table; those that are not `names` are reported.
    pub(super) fn table(self, names: &[&'static str], example: &str) -> Option<Keys<'a>> {
        let DeValue::Table(table) = self.value else {
            return self.wrong_type(&format!("a table such as {example}"));
        };
        for name in table.keys() {
            if !names.contains(&name.get_ref().as_ref()) {
                let message = format!("unknown key; valid are {}", names.join(", "));
                let at = self.span.beside(name.span());
                self.report
                    .add(error(at, message).fix(format!("write {example}")));
            }
        }
        Some(Keys {
            written: self,
            table,
        })
    }

    /// Reports that it is not `expected`.
    pub(super) fn wrong_type<T>(self, expected: &str) -> Option<T> {
        let found = match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        self.refuse(format!("must be {expected}, but is {found}"))
    }

    /// Reports what was found in it.
    pub(super) fn add(self, finding: Finding) {
        self.report.add(finding);
    }

    /// An error at this place.
    pub(super) fn error(self, message: impl Into<String>) -> Finding {
        error(self.span, message)
    }

    /// Reports an error here.
    pub(super) fn refuse<T>(self, message: impl Into<String>) -> Option<T> {
        self.add(self.error(message));
        None
    }

    /// Reports an error here, and what to do about it.
    pub(super) fn refuse_with<T>(
        self,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Option<T> {
        self.add(self.error(message).fix(fix));
        None
    }

    /// The whole number that it is, if that is in `range`.
    pub(super) fn within(self, range: RangeInclusive<i64>) -> Option<i64> {
        let number = i64::read(self)?;
        if !range.contains(&number) {
            let message = format!("must be from {} to {}", range.start(), range.end());
            return self.refuse(message);
        }
        Some(number)
    }
}

/// A whole number in a range.
#[derive(Clone, Copy)]
pub(super) struct Within<const LEAST: u32, const MOST: u32>(pub(super) u32);

impl<const LEAST: u32, const MOST: u32> Value for Within<LEAST, MOST> {
    fn read(written: Written<'_>) -> Option<Self> {
        let number = written.within(LEAST.into()..=MOST.into())?;
        u32::try_from(number).ok().map(Self)
    }
}

/// The keys of a table that is a value.
#[derive(Clone, Copy)]
pub(super) struct Keys<'a> {
    /// The table.
    pub(super) written: Written<'a>,
    table: &'a DeTable<'a>,
}

impl<'a> Keys<'a> {
    /// The value of a key, if it is there.
    pub(super) fn get(&self, name: &str) -> Option<Written<'a>> {
        Some(self.written.inner(self.table.get(name)?))
    }

    /// What `read` makes of the value of a key; `usual` if it is missing.
    pub(super) fn read<T>(
        &self,
        name: &str,
        usual: T,
        read: impl FnOnce(Written<'a>) -> Option<T>,
    ) -> Option<T> {
        match self.get(name) {
            None => Some(usual),
            Some(item) => read(item),
        }
    }
}

/// The integer that TOML wrote as text; `None` when it does not fit.
pub(super) fn integer(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

impl Value for bool {
    fn read(written: Written<'_>) -> Option<Self> {
        match written.value {
            DeValue::Boolean(value) => Some(*value),
            _ => written.wrong_type("true or false"),
        }
    }
}

impl Value for i64 {
    fn read(written: Written<'_>) -> Option<Self> {
        integer(written.value).or_else(|| written.wrong_type("a whole number"))
    }
}

/// The forms of a duration.
const DURATION_FORMS: &str = "write seconds (15, 0.5), or numbers with the units d, h, m, s, ms \
                              (\"15s\", \"1m30s\", \"500ms\")";

impl Value for KnockerPrefix {
    fn read(written: Written<'_>) -> Option<Self> {
        let bits = written.within(Self::LEAST.into()..=Self::MOST.into())?;
        Self::new(u8::try_from(bits).ok()?)
    }
}

impl Value for Duration {
    fn read(written: Written<'_>) -> Option<Self> {
        let span = match written.value {
            DeValue::Integer(_) => integer(written.value)
                .ok_or(DurationError::TooLong)
                .and_then(duration::from_seconds),
            DeValue::Float(float) => float
                .as_str()
                .parse()
                .map_err(|_| DurationError::Form)
                .and_then(duration::from_float),
            DeValue::String(text) => duration::from_text(text),
            _ => {
                return written.refuse_with("must be a duration", DURATION_FORMS);
            }
        };
        span.map_err(|why| written.add(duration_flaw(written.span, why)))
            .ok()
    }
}

/// The message for a wrong duration.
pub(super) fn duration_flaw(at: Span, why: DurationError) -> Finding {
    let found = error(at, why.to_string());
    match why {
        DurationError::Form => found.fix(DURATION_FORMS),
        DurationError::TooLong => found.fix(format!("write at most {} days", duration::MAX_DAYS)),
        DurationError::NotPositive => found,
    }
}

impl Value for PathBuf {
    fn read(written: Written<'_>) -> Option<Self> {
        let text = written.string("a path in quotes")?;
        absolute(text, written.span, written.report)
    }
}

/// The path of a file from `/` on: the daemon's working directory is not known to the user.
pub(super) fn absolute(text: &str, at: Span, report: &Report) -> Option<PathBuf> {
    let path = Path::new(text);
    if path.is_absolute() && path.file_name().is_some() && !text.contains('\0') {
        return Some(path.to_owned());
    }
    report.add(error(at, "not the absolute path of a file").fix("write the whole path, from / on"));
    None
}

/// `group`: a name in `/etc/group`, or a number.
#[derive(Clone)]
pub(super) struct Group(pub(super) Box<str>);

impl Value for Group {
    fn read(written: Written<'_>) -> Option<Self> {
        account(written, "group").map(Self)
    }
}

/// `user`, `relay_user`: a name in `/etc/passwd`, or a number.
#[derive(Clone)]
pub(super) struct User(pub(super) Box<str>);

impl Value for User {
    fn read(written: Written<'_>) -> Option<Self> {
        account(written, "user").map(Self)
    }
}

/// The name of an account that the machine can have.
fn account(written: Written<'_>, what: &str) -> Option<Box<str>> {
    let name = written.string(&format!("a {what}'s name in quotes"))?;
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if !(1..=32).contains(&name.len()) || !name.bytes().all(fit) {
        return written.refuse(format!("no {what} can have this name"));
    }
    Some(name.into())
}

/// What is written as one of some words.
pub(super) trait Words: VariantArray + Copy + Into<&'static str> {}

impl<T: Words> Value for T {
    fn read(written: Written<'_>) -> Option<Self> {
        choice(
            written,
            Self::VARIANTS.iter().map(|value| ((*value).into(), *value)),
        )
    }
}

/// The value of the word in `choices` that is written.
fn choice<T>(
    written: Written<'_>,
    choices: impl IntoIterator<Item = (&'static str, T)>,
) -> Option<T> {
    let text = written.string("a string")?;
    let (words, values): (Vec<_>, Vec<_>) = choices.into_iter().unzip();
    let place = words.iter().position(|word| *word == text);
    let value = place.and_then(|place| values.into_iter().nth(place));
    if value.is_none() {
        written.add(no_choice(written.span, text, &words));
    }
    value
}

/// The error that `text` is not one of `words`.
pub(super) fn no_choice(at: Span, text: &str, words: &[&str]) -> Finding {
    let found = error(at, format!("must be one of {}", words.join(", ")));
    match nearest(text, words) {
        Some(word) => found.fix(format!("did you mean '{word}'?")),
        None => found,
    }
}

/// The first of `names` that `word` becomes with the fewest edits, if these are few for its length, or that
/// one of the two begins with.
pub(super) fn nearest<'a>(word: &str, names: &[&'a str]) -> Option<&'a str> {
    if word.len() > 32 {
        return None;
    }
    let word = word.to_ascii_lowercase().replace('-', "_");
    let edits = |name: &str| strsim::osa_distance(&word, &name.replace('-', "_"));
    let near = names
        .iter()
        .copied()
        .filter(|name| edits(name) <= name.len().div_ceil(4).min(3))
        .min_by_key(|name| edits(name));
    // What begins alike is meant more surely than what differs by a few letters: nftables is nft.
    let begun = |is_so: &dyn Fn(&str) -> bool| {
        let mut names = names.iter().copied();
        names.find(|name| name.len().min(word.len()) > 2 && is_so(name))
    };
    near.filter(|name| edits(name) == 1)
        .or_else(|| begun(&|name| word.starts_with(name)))
        .or(near)
        .or_else(|| begun(&|name| name.starts_with(&word)))
}

impl Words for OnExit {}
impl Words for OnRepeat {}
impl Words for Backend {}
impl Words for Transport {}
impl Words for WithoutBus {}
impl Words for Sharing {}

/// `on`: the events to report.
#[derive(Clone)]
pub(super) struct Occasions(pub(super) Vec<Occasion>);

impl Value for Occasions {
    fn read(written: Written<'_>) -> Option<Self> {
        let choices = Occasion::ALL.map(|occasion| (occasion.texts().0, occasion));
        let occasion = |_, item: Written<'_>| choice(item, choices);
        let most = choices.len();
        written.each("occasions", most, occasion).map(Self)
    }
}

impl Value for Prefix {
    const SECRECY: Secrecy = Secrecy::Secret;

    fn read(written: Written<'_>) -> Option<Self> {
        let text = written.string("a string")?;
        let fix = "write the prefix of the LOG rule, as 'logknock init' makes one";
        text.parse()
            .or_else(|why: super::PrefixError| written.refuse_with(why.to_string(), fix).ok_or(()))
            .ok()
    }
}

impl Value for Format {
    /// A regex may hold the prefix.
    const SECRECY: Secrecy = Secrecy::Secret;

    fn read(written: Written<'_>) -> Option<Self> {
        const EXAMPLE: &str = "regex = '^…$' with the groups src, dpt and proto, or json = { message = \"KEY\", program = \"KEY\" }";
        if written.value.is_str() {
            return choice(written, Self::named());
        }
        if !written.value.is_table() {
            return written.wrong_type("a name in quotes, or a table with 'regex' or 'json'");
        }
        let keys = written.table(&["regex", "json"], EXAMPLE)?;
        match (keys.get("regex"), keys.get("json")) {
            (Some(regex), None) => pattern(regex).map(Self::Pattern),
            (None, Some(json)) => json_keys(json).map(|keys| Self::Json(keys.into())),
            _ => {
                let message = "the format needs exactly one of 'regex' and 'json'";
                written.refuse_with(message, format!("write {EXAMPLE}"))
            }
        }
    }
}

fn pattern(written: Written<'_>) -> Option<Pattern> {
    let read: Result<Pattern, PatternError> = written.string("a string")?.parse();
    read.map_err(|why| {
        let found = written.error(why.to_string());
        written.add(match why.fix() {
            Some(fix) => found.fix(fix),
            None => found,
        });
    })
    .ok()
}

/// The keys of a JSON object, one each.
fn json_keys(written: Written<'_>) -> Option<JsonKeys> {
    const NAMES: [&str; 5] = ["message", "program", "facility", "time", "host"];
    let table = written.table(&NAMES, "{ message = \"KEY\", program = \"KEY\" }")?;
    let key = |name| {
        let text = table.get(name).and_then(|item| item.string("a string"));
        text.map(Box::from).into_iter().collect::<Vec<Box<str>>>()
    };
    let keys = JsonKeys {
        message: key("message"),
        program: key("program"),
        facility: key("facility"),
        time: key("time"),
        host: key("host"),
    };
    if table.get("message").is_none() {
        let fix = "add message = \"KEY\" with the key of the message";
        return written.refuse_with("the JSON format has no 'message'", fix);
    }
    Some(keys)
}

impl Value for Vec<SourceSpec> {
    fn read(written: Written<'_>) -> Option<Self> {
        let mut sources = Self::new();
        written.each("sources", MAX_SOURCES, |_, item| {
            let source = source(item)?;
            if sources.contains(&source) {
                item.add(warning(item.span, "this source is listed twice"));
            } else {
                sources.push(source);
            }
            Some(())
        })?;
        Some(sources)
    }
}

impl Value for SourceSpec {
    fn read(written: Written<'_>) -> Option<Self> {
        source(written)
    }
}

impl Value for Vec<SourceTable> {
    /// Its prefixes are.
    const SECRECY: Secrecy = Secrecy::Secret;

    fn read(written: Written<'_>) -> Option<Self> {
        let what = "tables, each below a [[log.source]]";
        written.each(what, MAX_SOURCES, |_, item| {
            let DeValue::Table(keys) = item.value else {
                return item.wrong_type("a table, below [[log.source]]");
            };
            let mut table = SourceTable::default();
            fill(&mut table, "[[log.source]]", keys, item.span, item.report);
            if table.path.is_none() {
                let message = "a [[log.source]] needs a 'path'";
                return item.refuse_with(message, "add path = \"/PATH\"");
            }
            Some(table)
        })
    }
}

/// `doors`: names of doors, which may be anywhere in the config.
#[derive(Clone)]
pub(super) struct DoorNames(pub(super) Vec<(Arc<str>, Span)>);

/// Most names in one list of doors.
const MAX_DOORS: usize = 1024;

impl Value for DoorNames {
    fn read(written: Written<'_>) -> Option<Self> {
        let names = written.each("names of doors", MAX_DOORS, |_, item| {
            let name = item.string("a door's name in quotes")?;
            Some((name.into(), item.span))
        })?;
        Some(Self(names))
    }
}

impl DoorNames {
    /// The names, if each is one of `doors`; a name that is no door is reported.
    pub(super) fn among(&self, doors: &[Arc<Door>], report: &Report) -> Option<Arc<[Arc<str>]>> {
        let mut all = Some(());
        for (name, at) in &self.0 {
            if !doors.iter().any(|door| door.name == *name) {
                let names: Vec<_> = doors.iter().map(|door| &*door.name).collect();
                let found = error(*at, "there is no door of this name");
                report.add(match nearest(name, &names) {
                    Some(name) => found.fix(format!("did you mean '{name}'?")),
                    None => found.fix("name a [door.NAME], or remove it"),
                });
                all = None;
            }
        }
        all.map(|()| self.0.iter().map(|(name, _)| Arc::clone(name)).collect())
    }
}

fn source(item: Written<'_>) -> Option<SourceSpec> {
    let text = item.string("a string that names a source")?;
    match text.parse::<SourceSpec>() {
        Err(why) => item.refuse(why.to_string()),
        // The daemon's working directory is not known to the user.
        Ok(source) if source.relative_path().is_some() => item.refuse_with(
            "the path is not absolute",
            "write the whole path, from / on",
        ),
        Ok(source) => Some(source),
    }
}

impl Value for Lockout {
    fn read(written: Written<'_>) -> Option<Self> {
        const EXAMPLE: &str = "{ fails = 5, within = \"10m\", for = \"1h\" }";
        let keys = written.table(&["fails", "within", "for"], EXAMPLE)?;
        let values = (keys.get("fails"), keys.get("within"), keys.get("for"));
        let (Some(fails), Some(within), Some(time)) = values else {
            let message = "a lockout needs 'fails', 'within' and 'for'";
            return written.refuse_with(message, format!("write lockout = {EXAMPLE}"));
        };
        let fails = fails.within(1..=1000);
        let (within, time) = (Duration::read(within), Duration::read(time));
        Some(Self {
            fails: u32::try_from(fails?).ok()?,
            within: within?,
            time: time?,
        })
    }
}

#[cfg(test)]
#[path = "value_test.rs"]
mod tests;
