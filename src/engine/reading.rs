//! Line → packet, as the daemon and `replay` count it.
//!
//! In: a line, or the record of one. Out: its packet when it begins with the configured prefix at
//! column 0 of the kernel's message and holds the kernel's grammar to its end; `None` for a line
//! that is about something else; otherwise the [`Reason`]. Whether the kernel is known to have written it
//! ([`Origin`]) is for the source to say; then its grammar is the kernel's to the letter.

use memchr::memmem;

use super::line::{self, Origin, Record, Writer};
use super::packet::{self, Packet, Printer};
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
    /// Reads a line of a source that vouches for `origin`.
    pub fn read<'a>(
        &self,
        line: &'a [u8],
        origin: Origin,
    ) -> Result<Option<(Record<'a>, Packet<'a>)>, Reason> {
        let record = line::read(line);
        let printer = match origin {
            Origin::Kernel => Printer::ThisKernel,
            Origin::Claimed => record.printer(),
        };
        let packet = self.read_printed(&record, printer)?;
        Ok(packet.map(|packet| (record, packet)))
    }

    /// Reads what the kernel wrote, from its column 0.
    pub fn read_message<'a>(
        &self,
        message: &'a [u8],
        printer: Printer,
    ) -> Result<Option<Packet<'a>>, Reason> {
        match self {
            Self::Prefix(prefix) => packet::read_behind(message, prefix, printer),
            Self::AnyPrefix => packet::read(message, printer),
        }
    }

    /// Whether a log prefix that was logged by itself is the right one.
    pub fn is(&self, logged: &[u8]) -> bool {
        match self {
            Self::Prefix(prefix) => **prefix == *logged,
            Self::AnyPrefix => true,
        }
    }

    /// Where in `line` a packet stands behind the log prefix, from 1.
    pub fn column(&self, line: &[u8]) -> Option<usize> {
        let Self::Prefix(prefix) = self else {
            return None;
        };
        let stands = |place: &usize| {
            let behind = line.get(place + prefix.len()..).unwrap_or_default();
            behind.starts_with(b"IN=") || behind.starts_with(b" IN=")
        };
        Some(memmem::find_iter(line, prefix).find(stands)? + 1)
    }

    /// Why a line with a packet behind a header that is not read does not count; `None` for any other line.
    pub fn unread(&self, line: &[u8]) -> Option<Reason> {
        self.column(line)?;
        let is_one_of_several = is_one_of_several(line);
        Some(if is_one_of_several {
            Reason::Multiline
        } else {
            Reason::Header
        })
    }

    /// Reads a line whose framing has been taken off.
    pub fn read_record<'a>(&self, record: &Record<'a>) -> Result<Option<Packet<'a>>, Reason> {
        self.read_printed(record, record.printer())
    }

    fn read_printed<'a>(
        &self,
        record: &Record<'a>,
        printer: Printer,
    ) -> Result<Option<Packet<'a>>, Reason> {
        // A packet is large: it is looked at where it is, and not moved.
        let packet = self.packet_of(record, printer);
        if record.repeated.is_some() && matches!(packet, Ok(Some(_))) {
            return Err(Reason::Repeated);
        }
        packet
    }

    fn packet_of<'a>(
        &self,
        record: &Record<'a>,
        printer: Printer,
    ) -> Result<Option<Packet<'a>>, Reason> {
        let message = record.message;
        match (self, record.writer) {
            (_, Writer::Facility) => packet::refuse(message, Reason::Facility),
            // A prefix may itself look like a program's tag.
            (Self::Prefix(prefix), Writer::Program) => {
                match packet::read_behind(record.tagged, prefix, printer) {
                    Err(Reason::Prefix) => Err(Reason::Program),
                    other => other,
                }
            }
            (Self::AnyPrefix, Writer::Program) => packet::refuse(message, Reason::Program),
            (_, Writer::Kernel | Writer::Untagged) => {
                let packet = self.read_message(message, printer);
                if !matches!(packet, Err(Reason::Prefix)) {
                    return packet;
                }
                match message.split_first() {
                    Some((b' ', behind)) if record.is_padded => self.read_message(behind, printer),
                    _ if record.writer == Writer::Untagged => {
                        Err(self.unread(message).unwrap_or(Reason::Prefix))
                    }
                    _ => packet,
                }
            }
        }
    }
}

/// Whether `line` is one of several that make a record: a field of `journalctl -o verbose`, or a key of JSON that
/// was written for people (`-o json-pretty`, `dmesg -J`).
pub fn is_one_of_several(line: &[u8]) -> bool {
    let text = line.trim_ascii_start();
    let is_field = || text.len() < line.len() && text.starts_with(b"MESSAGE=");
    let is_key = || {
        let rest = text.strip_prefix(b"\"")?;
        let (_, rest) = rest.split_at_checked(memchr::memchr(b'"', rest)? + 1)?;
        let value = rest.trim_ascii_start().strip_prefix(b":")?;
        Some(value.trim_ascii_start().starts_with(b"\""))
    };
    is_field() || is_key() == Some(true)
}
