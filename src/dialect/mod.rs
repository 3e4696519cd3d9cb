//! Whatever form a log line has: as `format` names it, or guessed for a human.
//!
//! In: a line. Out: its record and packet, in two steps, because a line in JSON has to be taken out of it before
//! anything can borrow from it. A [`Reader`] guesses nothing: text in the kernel's own form is the default, and
//! every other form is a [`Format`], by its name or as the operator describes it. [`read`] is for `parse`, which
//! guesses what a daemon may not: any prefix, any tag, any JSON.

mod guess;
mod json;
mod pattern;
mod ulogd;

pub use guess::{Reading, Verdict, read};
pub use json::Keys;
pub use pattern::{Pattern, PatternError};

use std::path::Path;
use std::sync::Arc;

use crate::engine::line::{self, Origin, Record, Writer};
use crate::engine::packet::{self, OwnedPacket, Packet, Printer};
use crate::engine::reading::Expected;
use crate::engine::reason::Reason;
use crate::source_spec::SourceSpec;
use json::{Entry, Object};
use pattern::Match;

/// A line's framing and its packet.
pub type Read<'a> = (Record<'a>, Packet<'a>);

/// How the lines of the sources are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// The kernel's text behind whatever header a syslog, dmesg or journalctl puts there.
    #[default]
    Kernel,
    /// The same under the tag of `ulogd` too (its SYSLOG output).
    Ulogd,
    /// ulogd's JSON output, a key for each field.
    UlogdJson,
    /// `journalctl -o json`: what is not the kernel's by its trusted fields does not count.
    JournalJson,
    /// An object with the line or the message in it, and who wrote it.
    Json(Box<Keys>),
    /// A regex for the whole line.
    Pattern(Pattern),
}

impl Format {
    /// The built-in formats by their names.
    pub fn named() -> [(&'static str, Self); 6] {
        [
            ("kernel", Self::Kernel),
            ("ulogd", Self::Ulogd),
            ("ulogd-json", Self::UlogdJson),
            ("journal-json", Self::JournalJson),
            ("syslog-ng-json", Self::Json(Box::new(Keys::syslog_ng()))),
            ("json", Self::Json(Box::new(Keys::common()))),
        ]
    }

    /// Whether a line counts only behind the configured log prefix.
    pub fn checks_prefix(&self) -> bool {
        match self {
            Self::Pattern(pattern) => pattern.has_prefix(),
            _ => true,
        }
    }
}

/// Reads lines as they are configured.
#[derive(Clone, Debug)]
pub struct Reader {
    format: Format,
    expected: Expected,
    /// Whether the source vouches for the kernel.
    origin: Origin,
}

/// How the lines of each source are taken: those of most by one reader, for every door.
#[derive(Clone, Debug)]
pub struct Readers {
    /// For sources that are not named apart.
    pub usual: Reader,
    /// Sources with a prefix or doors of their own.
    pub own: Vec<(SourceSpec, Feed)>,
}

/// How the lines of one source are taken.
#[derive(Clone, Debug)]
pub struct Feed {
    /// How they are read.
    pub reader: Reader,
    /// At which doors they may knock; `None` for all of them.
    pub doors: Option<Arc<[Arc<str>]>>,
}

impl Readers {
    /// How lines of `source` are taken. A source that had its own doors (`was_own`) and is no longer named has none.
    pub fn of(&self, source: &SourceSpec, was_own: bool) -> Feed {
        let own = self.own.iter().find(|(own, _)| own == source);
        let usual = || Feed {
            reader: self.usual.clone(),
            doors: was_own.then(Arc::default),
        };
        let Feed { reader, doors } = own.map_or_else(usual, |(_, feed)| feed.clone());
        Feed {
            reader: reader.of(source),
            doors,
        }
    }

    /// How the finished log at `path` is taken, where it belongs to a source that is named apart.
    pub fn of_file(&self, path: &Path) -> Option<Feed> {
        let own = self.own.iter().find(|(own, _)| own.wrote(path));
        own.map(|(_, feed)| feed.clone())
    }

    /// Whether `source` is named apart.
    pub fn is_own(&self, source: &SourceSpec) -> bool {
        self.own.iter().any(|(own, _)| own == source)
    }
}

/// A line that has been taken out of its envelope.
pub struct Opened<'a> {
    line: &'a [u8],
    form: Form<'a>,
}

enum Form<'a> {
    Text,
    Entry(Box<Entry>),
    Fields(Box<Result<OwnedPacket, Reason>>),
    Match(Box<Match<'a>>),
    /// It has another form than is configured.
    Other,
}

impl Reader {
    /// A reader of `format`, for lines with the `expected` prefix.
    pub fn new(format: Format, expected: Expected) -> Self {
        let origin = Origin::Claimed;
        Self {
            format,
            expected,
            origin,
        }
    }

    /// The reader for lines of `source`: the kernel's own transports have one form only.
    #[must_use]
    pub fn of(&self, source: &SourceSpec) -> Self {
        let (format, origin) = match source {
            SourceSpec::Kmsg | SourceSpec::Journald | SourceSpec::Nflog(_) => {
                (Format::Kernel, Origin::Kernel)
            }
            _ => (self.format.clone(), Origin::Claimed),
        };
        let expected = self.expected.clone();
        Self {
            format,
            expected,
            origin,
        }
    }

    /// Where in `line` a packet stands behind the configured prefix, from 1.
    pub fn column(&self, line: &[u8]) -> Option<usize> {
        self.expected.column(line)
    }

    /// Whether a log prefix that came by itself is the configured one.
    pub fn expects(&self, prefix: &[u8]) -> bool {
        self.expected.is(prefix)
    }

    /// A text without which a line is about something else: its packet begins with it. `None` where it
    /// may stand there in another form (JSON's escapes), or not at all (a format of the operator's own).
    pub fn hint(&self) -> Option<&'static [u8]> {
        matches!(self.format, Format::Kernel | Format::Ulogd).then_some(b"IN=")
    }

    /// Takes `line`, which comes without its newline, out of its envelope.
    pub fn open<'a>(&self, line: &'a [u8]) -> Opened<'a> {
        let entry = |entry: Option<Entry>| Some(Form::Entry(Box::new(entry?)));
        let form = match &self.format {
            Format::Kernel | Format::Ulogd => Some(Form::Text),
            Format::UlogdJson => Object::of(line)
                .and_then(|object| Some(Form::Fields(Box::new(ulogd::read(object.fields())?)))),
            Format::JournalJson => {
                entry(Object::of(line).and_then(|object| json::journal(&object)))
            }
            Format::Json(keys) => entry(Object::of(line).and_then(|object| keys.entry(&object))),
            Format::Pattern(pattern) => {
                pattern.find(line).map(|found| Form::Match(Box::new(found)))
            }
        };
        Opened {
            line,
            form: form.unwrap_or(Form::Other),
        }
    }

    /// The packet in it; `None` for a line that is about something else.
    pub fn read<'a>(&self, opened: &'a Opened<'_>) -> Result<Option<Read<'a>>, Reason> {
        match &opened.form {
            Form::Text if self.format == Format::Ulogd => self.read_ulogd(opened.line),
            Form::Text => self.expected.read(opened.line, self.origin),
            Form::Entry(entry) => {
                let (record, refused) = entry.record();
                let packet = match refused {
                    Some(reason) => packet::refuse(record.message, reason)?,
                    None => self.expected.read_record(&record)?,
                };
                Ok(packet.map(|packet| (record, packet)))
            }
            Form::Fields(fields) => {
                let packet = fields
                    .as_ref()
                    .as_ref()
                    .map_err(|&reason| reason)?
                    .as_packet();
                if !self.expected.is(packet.prefix) {
                    return Err(Reason::Prefix);
                }
                Ok(Some((line::read(b""), packet)))
            }
            Form::Match(found) => found.read(&self.expected),
            Form::Other => match self.expected.unread(opened.line) {
                Some(reason) => Err(reason),
                None => Ok(None),
            },
        }
    }

    fn read_ulogd<'a>(&self, line: &'a [u8]) -> Result<Option<Read<'a>>, Reason> {
        let record = line::read(line);
        let may_be_ulogds = matches!(record.writer, Writer::Program | Writer::Facility);
        if !may_be_ulogds || !is_of_ulogd(record.tagged) {
            return self.expected.read(line, self.origin);
        }
        let packet = self.expected.read_message(record.message, Printer::Ulogd)?;
        Ok(packet.map(|packet| (record, packet)))
    }
}

/// Whether a record's tag is ulogd's, with or without its process number.
fn is_of_ulogd(tagged: &[u8]) -> bool {
    let Some(rest) = tagged.strip_prefix(b"ulogd") else {
        return false;
    };
    let number = rest.strip_prefix(b"[").and_then(|rest| {
        let end = memchr::memchr(b']', rest)?;
        let (digits, rest) = rest.split_at_checked(end)?;
        digits
            .iter()
            .all(u8::is_ascii_digit)
            .then_some(rest.get(1..)?)
    });
    number.unwrap_or(rest).starts_with(b": ")
}

#[cfg(test)]
#[path = "reader_test.rs"]
mod tests;
