//! Line → packet, as the daemon and `replay` count it.
//!
//! In: a line, or the record of one. Out: its packet when it begins with the configured prefix at
//! column 0 of the kernel's message and holds the kernel's grammar to its end; `None` for a line
//! that is about something else; otherwise the [`Reason`]. Who may write such a line at all
//! ([`Origin`](super::line::Origin)) is for the source to say.

use super::line::{self, Record, Writer};
use super::packet::{self, Packet};
use super::reason::Reason;

/// What a line must begin with.
#[derive(Clone, PartialEq, Eq)]
pub enum Expected {
    /// Exactly this log prefix.
    Prefix(Box<[u8]>),
    /// Any prefix: the operator has accepted that lines can be forged.
    AnyPrefix,
}

impl std::fmt::Debug for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Prefix(_) => "Prefix(*)",
            Self::AnyPrefix => "AnyPrefix",
        })
    }
}

impl Expected {
    /// Reads a line.
    pub fn read<'a>(&self, line: &'a [u8]) -> Result<Option<(Record<'a>, Packet<'a>)>, Reason> {
        let record = line::read(line);
        Ok(self.read_record(&record)?.map(|packet| (record, packet)))
    }

    /// Reads what the kernel wrote, from its column 0.
    pub fn read_message<'a>(&self, message: &'a [u8]) -> Result<Option<Packet<'a>>, Reason> {
        match self {
            Self::Prefix(prefix) => packet::read_behind(message, prefix),
            Self::AnyPrefix => packet::read(message),
        }
    }

    /// Whether a log prefix that was logged by itself is the right one.
    pub fn is(&self, logged: &[u8]) -> bool {
        match self {
            Self::Prefix(prefix) => **prefix == *logged,
            Self::AnyPrefix => true,
        }
    }

    /// Reads a line whose framing has been taken off.
    pub fn read_record<'a>(&self, record: &Record<'a>) -> Result<Option<Packet<'a>>, Reason> {
        let packet = match self {
            // A prefix may itself look like a program's tag.
            Self::Prefix(prefix) if record.writer == Writer::Program => {
                match packet::read_behind(record.tagged, prefix) {
                    Err(Reason::Prefix) => Err(Reason::Program),
                    other => other,
                }
            }
            Self::AnyPrefix if record.writer == Writer::Program => packet::read(record.message)
                .ok()
                .flatten()
                .map_or(Ok(None), |_| Err(Reason::Program)),
            Self::Prefix(_) | Self::AnyPrefix => self.read_message(record.message),
        }?;
        match packet {
            Some(_) if record.repeated.is_some() => Err(Reason::Repeated),
            packet => Ok(packet),
        }
    }
}
