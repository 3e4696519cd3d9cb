//! Whatever form a log line has: guessed for a human, or as the config names it.
//!
//! In: one line, text or JSON. Out: its [`Reading`], which `parse` shows, or through a [`Reader`] what
//! the daemon counts. For `parse` more is guessed than a daemon may guess: any prefix, any tag, JSON
//! envelopes, ulogd's JSON. The surprise: another program's line is shown as the
//! packet it holds, since ulogd and many routers log under a tag of their own, unless that program
//! quotes the kernel.

mod envelope;
mod format;
mod reader;
mod ulogd;

use std::borrow::Cow;

use crate::engine::line::{self, Record, Stamp, Writer};
use crate::engine::packet::{self, Packet};
use crate::engine::reason::Reason;
use crate::engine::time::Time;

pub use format::{Format, FormatError};
pub use reader::{Dialect, Opened, Reader};

/// A line's framing and its packet.
pub type Read<'a> = (Record<'a>, Packet<'a>);

/// One line as it was understood.
#[derive(Clone, Debug)]
pub struct Reading<'a> {
    header: Header,
    content: Content<'a>,
}

/// What an envelope says of the line in it. Empty for plain text.
#[derive(Clone, Debug, Default)]
struct Header {
    stamp: Option<Stamp>,
    uptime: Option<Time>,
    host: String,
    /// It names a program that is not the kernel.
    foreign: bool,
    /// The journal's trusted fields say that the kernel wrote it.
    is_kernels: bool,
    /// Why what the envelope holds is not the kernel's.
    distrust: Option<Reason>,
}

#[derive(Clone, Debug)]
enum Content<'a> {
    Line(Cow<'a, [u8]>),
    Fields(Result<ulogd::Logged, Reason>),
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
    envelope::read(line).unwrap_or_else(|| Reading {
        header: Header::default(),
        content: Content::Line(Cow::Borrowed(line)),
    })
}

impl Reading<'_> {
    /// The line's framing: who wrote it and when. An envelope fills in what the line itself lacks.
    pub fn record(&self) -> Record<'_> {
        let record = match &self.content {
            Content::Line(line) => line::read(line),
            Content::Fields(_) => line::read(b""),
        };
        Record {
            stamp: record.stamp.or(self.header.stamp),
            uptime: record.uptime.or(self.header.uptime),
            host: match record.host {
                b"" => self.header.host.as_bytes(),
                host => host,
            },
            writer: if self.header.foreign || self.header.distrust.is_some() {
                Writer::Program
            } else {
                record.writer
            },
            ..record
        }
    }

    /// What the line is.
    pub fn verdict(&self) -> Verdict<'_> {
        let read = match &self.content {
            Content::Line(line) => packet_of(line, self.header.foreign).transpose(),
            Content::Fields(fields) => {
                let packet = fields.as_ref().map(ulogd::Logged::packet);
                Some(packet.map_err(|reason| *reason))
            }
        };
        match (read, self.header.distrust) {
            (None, _) => Verdict::Other,
            (Some(_), Some(reason)) | (Some(Err(reason)), None) => Verdict::Rejected(reason),
            (Some(Ok(packet)), None) => Verdict::Packet(packet),
        }
    }
}

fn packet_of(line: &[u8], foreign: bool) -> Result<Option<Packet<'_>>, Reason> {
    let record = line::read(line);
    let text = match record.writer {
        Writer::Program if tag_is_prefix(&record) => record.tagged,
        _ => record.message,
    };
    let packet = packet::read(text)?;
    if let Some(packet) = packet
        && (foreign || record.writer == Writer::Program)
    {
        if line::KmsgHead::of(line).is_some() {
            return Err(Reason::Facility);
        }
        let quotes_kernel = record.writer == Writer::Kernel
            || memchr::memmem::find(packet.prefix, b"kernel:").is_some();
        if quotes_kernel {
            return Err(Reason::Program);
        }
    }
    Ok(packet)
}

/// Whether what looks like a program's tag is a log prefix: one without a process number, with nothing
/// between it and the packet. A program that logs packets would put a prefix of its own there.
fn tag_is_prefix(record: &Record<'_>) -> bool {
    let end = record.tagged.len().saturating_sub(record.message.len());
    let tag = record.tagged.get(..end).unwrap_or_default();
    record.message.starts_with(b"IN=")
        && tag.ends_with(b": ")
        && !tag.ends_with(b"]: ")
        && !matches!(tag, b"ulogd: " | b"vmunix: ")
}

#[cfg(test)]
#[path = "dialect_test.rs"]
mod tests;
