//! Lines as a syslog wrote them.

use super::time::Time;

/// Whether the transport vouches that the kernel wrote a line, or only its text says so. Decided by
/// the source, never by the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// `/dev/kmsg` with facility 0, or a journal entry with `_TRANSPORT=kernel` and `SYSLOG_FACILITY=0`.
    Kernel,
    /// A file, a syslog socket, standard input: whoever may write there may write anything.
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
    /// Who the header says wrote it.
    pub writer: Writer,
    /// What a syslog daemon's `message repeated N times: [ … ]` wrapped: N.
    pub repeated: Option<u32>,
    /// The message from column 0, behind tag and kernel stamp.
    pub message: &'a [u8],
    /// The same, but from the tag of another program on; equal to `message` otherwise.
    pub tagged: &'a [u8],
}

/// The stamp of a syslog header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// With a zone: nanoseconds since the Unix epoch.
    Utc(Time),
    /// Without a zone, and perhaps without a year; whoever knows the zone resolves it.
    Local(Civil),
}

/// A calendar date and time of day without a zone. Fields are within their ranges (a leap second is
/// folded into 59), but the day need not exist in `year`.
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

/// Who a line's tag says wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Writer {
    /// The tag `kernel:` in tag position, or a record that needs none.
    Kernel,
    /// No tag.
    Untagged,
    /// Any other program's tag, or a saved kmsg record whose facility is not 0.
    Program,
}
