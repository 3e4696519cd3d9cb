//! A line of unknown form, as `parse` shows it.
//!
//! In: a line, text or JSON. Out: its framing, and its packet or why it is not to be believed. Another program's line
//! is shown as the packet that it holds, because ulogd and many routers log under their own tag; but not if that
//! program quotes the kernel.

use super::json::{self, Entry, Keys, Object};
use super::ulogd;
use crate::engine::line::{self, Record, Writer};
use crate::engine::packet::{self, OwnedPacket, Packet};
use crate::engine::reading;
use crate::engine::reason::Reason;

/// One line as it was understood.
#[derive(Clone, Debug)]
pub struct Reading<'a>(Content<'a>);

#[derive(Clone, Debug)]
enum Content<'a> {
    Line(&'a [u8]),
    Entry(Entry),
    Fields(Result<OwnedPacket, Reason>),
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// A packet line.
    Packet(Packet<'a>),
    /// Not a packet line.
    Other,
    /// Looks like a packet line, but is not to be believed.
    Rejected(Reason),
}

/// Reads one line, which comes without its newline.
pub fn read(line: &[u8]) -> Reading<'_> {
    let content = Object::of(line).and_then(|object| {
        if let Some(fields) = ulogd::read(object.fields()) {
            return Some(Content::Fields(fields));
        }
        let entry = if object.is_journals() {
            json::journal(&object)
        } else {
            Keys::common().entry(&object)
        };
        entry.map(Content::Entry)
    });
    Reading(content.unwrap_or(Content::Line(line)))
}

impl Reading<'_> {
    /// The line's framing: who wrote it and when. An envelope fills in what the line itself lacks.
    pub fn record(&self) -> Record<'_> {
        match &self.0 {
            Content::Line(line) => line::read(line),
            Content::Entry(entry) => entry.record().0,
            Content::Fields(_) => line::read(b""),
        }
    }

    /// What the line is.
    pub fn verdict(&self) -> Verdict<'_> {
        let read = match &self.0 {
            Content::Line(line) => packet_of(line),
            Content::Entry(entry) => {
                let (record, refused) = entry.record();
                match refused {
                    Some(reason) => packet::refuse(record.message, reason),
                    None => packet::read(record.message, record.printer()),
                }
            }
            Content::Fields(fields) => match fields {
                Ok(logged) => Ok(Some(logged.as_packet())),
                Err(reason) => Err(*reason),
            },
        };
        match read {
            Ok(Some(packet)) => Verdict::Packet(packet),
            Ok(None) => Verdict::Other,
            Err(reason) => Verdict::Rejected(reason),
        }
    }
}

fn packet_of(line: &[u8]) -> Result<Option<Packet<'_>>, Reason> {
    let record = line::read(line);
    let text = match record.writer {
        Writer::Program if tag_is_prefix(&record) => record.tagged,
        _ => record.message,
    };
    if reading::is_one_of_several(line) {
        return packet::refuse(text, Reason::Multiline);
    }
    let packet = packet::read(text, record.printer())?;
    match (packet, record.writer) {
        (Some(_), Writer::Facility) => Err(Reason::Facility),
        (Some(packet), Writer::Program)
            if memchr::memmem::find(packet.prefix, b"kernel:").is_some() =>
        {
            Err(Reason::Program)
        }
        (packet, _) => Ok(packet),
    }
}

/// Whether what looks like a program's tag is a log prefix: one without a process number, with nothing
/// between it and the packet but ulogd's blank. A program that logs packets would put a prefix of its own there.
fn tag_is_prefix(record: &Record<'_>) -> bool {
    let end = record.tagged.len().saturating_sub(record.message.len());
    let tag = record.tagged.get(..end).unwrap_or_default();
    let message = record.message.strip_prefix(b" ").unwrap_or(record.message);
    message.starts_with(b"IN=")
        && tag.ends_with(b": ")
        && !tag.ends_with(b"]: ")
        && !matches!(tag, b"ulogd: " | b"vmunix: ")
}

#[cfg(test)]
#[path = "guess_test.rs"]
mod tests;
