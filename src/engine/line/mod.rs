//! Lines as a syslog wrote them.
//!
//! In: the bytes of one line. Out: a [`Record`]: who the line says wrote it, when, and the message from its column 0.
//! Total, linear, without allocation; believes nothing: what the framing claims is for the caller to weigh. A log
//! prefix like `lk-4f9a1c7e: ` looks like a program's tag, so a record keeps the message both without such a tag and
//! with it.

#![expect(
    clippy::inline_always,
    reason = "what each line has is read in one piece, and what few have is called"
)]

mod header;
mod kmsg;
mod stamp;

use super::scan::Scan;
use super::time::Time;

pub use kmsg::KmsgHead;

/// Whether the transport vouches that the kernel wrote a line, or only its text says so. Decided by
/// the source, never by the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// `/dev/kmsg` with facility 0, or a journal entry with `_TRANSPORT=kernel` and `SYSLOG_FACILITY=0`.
    Kernel,
    /// A file, a syslog socket, standard input: its writers may write anything.
    Claimed,
}

/// A line without its framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The header's stamp, if it has one.
    pub stamp: Option<Stamp>,
    /// The kernel's own stamp (`[secs.usecs]`, or a kmsg record's), since its boot.
    pub uptime: Option<Time>,
    /// The header's host; empty where there is none.
    pub host: &'a [u8],
    /// The writer that the header names.
    pub writer: Writer,
    /// Whether its header is that of Proxmox VE's firewall logger.
    pub is_proxmox: bool,
    /// Whether its writer may put one blank in front of the message.
    pub is_padded: bool,
    /// What a syslog daemon's `message repeated N times: [ … ]` wrapped: N.
    pub repeated: Option<u32>,
    /// The message from column 0, behind tag and kernel stamp.
    pub message: &'a [u8],
    /// The same, but from the tag of another program on; equal to `message` otherwise.
    pub tagged: &'a [u8],
}

impl<'a> Record<'a> {
    /// The program that printed the packet, if it holds one.
    pub fn printer(&self) -> Printer {
        match self.writer {
            _ if self.is_proxmox => Printer::Proxmox,
            Writer::Kernel => Printer::Kernel,
            Writer::Untagged | Writer::Program | Writer::Facility => Printer::Ulogd,
        }
    }

    /// Text without any framing.
    pub const fn bare(text: &'a [u8]) -> Self {
        Self {
            stamp: None,
            uptime: None,
            host: b"",
            writer: Writer::Untagged,
            is_proxmox: false,
            is_padded: false,
            repeated: None,
            message: text,
            tagged: text,
        }
    }
}

/// Reads the framing of `line`, which comes without its newline. A line without framing is the message of an untagged
/// line.
pub fn read(line: &[u8]) -> Record<'_> {
    header::fast_path(line).unwrap_or_else(|| any(line))
}

/// [`read`], whatever framing it is.
#[inline(never)]
fn any(line: &[u8]) -> Record<'_> {
    let text = trim(line);
    if let Some(record) = kmsg::read(text) {
        return record;
    }
    if let Some(message) = text.strip_prefix(b"MESSAGE=") {
        return body(Record::bare(message)); // a line of `journalctl -o export`
    }
    header::read(text)
}

/// The `<PRI>` that a syslog datagram begins with; `None` when it has none that can be.
pub fn priority(datagram: &[u8]) -> Option<u16> {
    header::priority(&mut Scan::new(datagram))
}

/// Without what is glued on: the NULs of a hole in front (power loss, copytruncate), a byte order mark,
/// the carriage return of CRLF.
fn trim(line: &[u8]) -> &[u8] {
    let mut scan = Scan::new(line);
    scan.take(b"\xef\xbb\xbf");
    scan.run(|byte| byte == 0);
    let text = scan.rest();
    text.strip_suffix(b"\r").unwrap_or(text)
}

/// Takes printk's stamp and a `message repeated` wrapper off the message.
fn body(mut record: Record<'_>) -> Record<'_> {
    record = without_uptime(record);
    if let Some((count, wrapped)) = unwrap_repeated(record.message) {
        record.repeated = Some(count);
        record = without_uptime(with_message(record, wrapped));
    }
    record
}

fn with_message<'a>(record: Record<'a>, message: &'a [u8]) -> Record<'a> {
    let tagged = match record.writer {
        Writer::Program | Writer::Facility => record.tagged,
        Writer::Kernel | Writer::Untagged => message,
    };
    Record {
        message,
        tagged,
        ..record
    }
}

/// Exactly one blank goes with the stamp: a second one begins the log prefix.
fn without_uptime(record: Record<'_>) -> Record<'_> {
    let mut scan = Scan::new(record.message);
    scan.blanks();
    let Some(uptime) = stamp::uptime(&mut scan) else {
        return record;
    };
    scan.take(b" ");
    Record {
        uptime: record.uptime.or(Some(uptime)),
        ..with_message(record, scan.rest())
    }
}

/// What rsyslog's `message repeated N times: [ … ]` wraps. A message that is not closed was cut, and stays as it is:
/// no prefix begins like that.
fn unwrap_repeated(message: &[u8]) -> Option<(u32, &[u8])> {
    let mut scan = Scan::new(message);
    scan.need(b"message repeated ")?;
    let count = scan.number()?;
    scan.need(b" times: [")?;
    scan.take(b" ");
    let wrapped = scan.rest().trim_ascii_end().strip_suffix(b"]")?;
    Some((count, wrapped))
}

/// The stamp of a syslog header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// With a zone: nanoseconds since the Unix epoch.
    Utc(Time),
    /// Without a zone, and perhaps without a year; the caller knows the zone.
    Local(Civil),
}

impl Stamp {
    /// The stamp in `text`, which must be a stamp as a whole, in any form of a header's.
    pub fn whole(text: &[u8]) -> Option<Self> {
        stamp::whole(text)
    }
}

/// A calendar date and time of day without a zone. Fields are within their ranges (a leap second is
/// folded into 59); without a year, 29 February is a day like others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Civil {
    /// `None` in RFC 3164.
    pub year: Option<u16>,
    /// 1 to 12
    pub month: u8,
    /// 1 to 31
    pub day: u8,
    /// 0 to 23
    pub hour: u8,
    /// 0 to 59
    pub minute: u8,
    /// 0 to 59
    pub second: u8,
    /// Below 1,000,000,000
    pub nanos: u32,
}

/// The writer that a line's tag names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Writer {
    /// The tag `kernel:` in tag position, or a record that needs none.
    Kernel,
    /// No tag.
    Untagged,
    /// Any other program's tag.
    Program,
    /// Whatever its tag says: the header's facility is not the kernel's.
    Facility,
}

/// The program that printed a packet's fields: all but the kernel leave out or add something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Printer {
    /// The kernel that we run on, as the transport proves: its grammar to the letter.
    ThisKernel,
    /// A kernel, or a program that prints as one does.
    Kernel,
    /// ulogd2, which puts a blank of its own behind the prefix.
    Ulogd,
    /// Proxmox VE's firewall logger, which leaves out an empty `OUT=`.
    Proxmox,
}

#[cfg(test)]
#[path = "line_test.rs"]
mod tests;
