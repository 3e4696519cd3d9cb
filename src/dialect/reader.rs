//! Lines in the form that the config names: what the daemon and `replay` count.
//!
//! In: a line. Out: its record and packet, in two steps, because a line in JSON has to be taken out of
//! it before anything can borrow from it. Nothing is guessed here: text in the kernel's own form is
//! the default, JSON is read only where it is configured, and as the one JSON that was named.

use super::format::{Format, Match};
use super::{Content, Read, Reading, envelope};
use crate::engine::line::{self, Writer};
use crate::engine::reading::Expected;
use crate::engine::reason::Reason;
use crate::source_spec::SourceSpec;

/// How the lines of the sources are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// The kernel's text behind whatever header a syslog, dmesg or journalctl puts there.
    #[default]
    Kernel,
    /// The same under the tag of `ulogd` too (its SYSLOG and LOGEMU outputs).
    Ulogd,
    /// ulogd's JSON output, a key for each field.
    UlogdJson,
    /// `journalctl -o json`: what is not the kernel's by its trusted fields does not count.
    JournalJson,
    /// A log shipper's JSON object with the syslog line in it.
    Json,
    /// A format of the operator's own.
    Own(Format),
}

impl Dialect {
    /// Whether a line counts only behind the configured log prefix.
    pub fn checks_prefix(&self) -> bool {
        match self {
            Self::Own(format) => format.has_prefix(),
            _ => true,
        }
    }
}

/// Reads lines as they are configured.
#[derive(Clone, Debug)]
pub struct Reader {
    dialect: Dialect,
    expected: Expected,
}

/// A line that has been taken out of its envelope.
pub struct Opened<'a>(Form<'a>);

enum Form<'a> {
    Text(&'a [u8]),
    Json(Option<Box<Reading<'static>>>),
    Own(Option<Box<Match<'a>>>),
}

impl Reader {
    /// A reader of `dialect`, for lines with the `expected` prefix.
    pub fn new(dialect: Dialect, expected: Expected) -> Self {
        Self { dialect, expected }
    }

    /// The reader for lines of `source`: the kernel's own transports have one form only.
    #[must_use]
    pub fn of(&self, source: &SourceSpec) -> Self {
        let dialect = match source {
            SourceSpec::Kmsg | SourceSpec::Journald => Dialect::Kernel,
            _ => self.dialect.clone(),
        };
        Self::new(dialect, self.expected.clone())
    }

    /// A text without which a line is about something else: its packet begins with it. `None` where it
    /// may stand there in another form (JSON's escapes), or not at all (a format of the operator's own).
    pub fn hint(&self) -> Option<&'static [u8]> {
        matches!(self.dialect, Dialect::Kernel | Dialect::Ulogd).then_some(b"IN=")
    }

    /// Takes `line`, which comes without its newline, out of its envelope.
    pub fn open<'a>(&self, line: &'a [u8]) -> Opened<'a> {
        Opened(match &self.dialect {
            Dialect::Kernel | Dialect::Ulogd => Form::Text(line),
            Dialect::UlogdJson | Dialect::JournalJson | Dialect::Json => {
                Form::Json(envelope::read(line).map(Box::new))
            }
            Dialect::Own(format) => Form::Own(format.find(line).map(Box::new)),
        })
    }

    /// The packet in it; `None` for a line that is about something else.
    pub fn read<'a>(&self, opened: &'a Opened<'_>) -> Result<Option<Read<'a>>, Reason> {
        match &opened.0 {
            Form::Text(line) if self.dialect == Dialect::Ulogd => self.read_ulogd(line),
            Form::Text(line) => self.expected.read(line),
            Form::Json(reading) => reading
                .as_ref()
                .map_or(Ok(None), |read| self.read_json(read)),
            Form::Own(found) => found
                .as_ref()
                .map_or(Ok(None), |found| found.read(&self.expected)),
        }
    }

    fn read_ulogd<'a>(&self, line: &'a [u8]) -> Result<Option<Read<'a>>, Reason> {
        let record = line::read(line);
        if record.writer != Writer::Program || !is_of_ulogd(record.tagged) {
            return self.expected.read(line);
        }
        let packet = self.expected.read_message(record.message)?;
        Ok(packet.map(|packet| (record, packet)))
    }

    fn read_json<'a>(&self, reading: &'a Reading<'_>) -> Result<Option<Read<'a>>, Reason> {
        let packet = match (&self.dialect, &reading.content) {
            (Dialect::UlogdJson, Content::Fields(fields)) => {
                let packet = fields.as_ref().map_err(|&reason| reason)?.packet();
                if !self.expected.is(packet.prefix) {
                    return Err(Reason::Prefix);
                }
                Some(packet)
            }
            (Dialect::Json, Content::Line(line)) => self.expected.read_record(&line::read(line))?,
            (Dialect::JournalJson, Content::Line(message)) => {
                self.expected.read_message(message)?
            }
            _ => None,
        };
        let header = &reading.header;
        match (packet, header.distrust) {
            (None, _) => Ok(None),
            (Some(_), Some(reason)) => Err(reason),
            (Some(_), None) if header.foreign => Err(Reason::Program),
            (Some(_), None) if self.dialect == Dialect::JournalJson && !header.is_kernels => {
                Err(Reason::Transport)
            }
            (Some(packet), None) => Ok(Some((reading.record(), packet))),
        }
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
