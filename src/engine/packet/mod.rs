//! Packets as a firewall logged them.
//!
//! In: the message of a line. Out: the packet of its first header, or why it is not to be believed.
//! Three answers: a packet, no packet line at all (`Ok(None)`), or one that is damaged, cut or forged
//! (`Err`). Strict from `IN=` to the last byte: a field counts only when its end was seen. What an ICMP
//! error quotes in brackets is a stranger's text and never read.

#![expect(
    clippy::inline_always,
    reason = "a key that is known where it is taken is compared as a number, and not by a call"
)]

mod fast_path;
mod fields;
mod grammar;
mod headers;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use memchr::{memchr_iter, memmem, memrchr, memrchr_iter};
use strum::Display;

use super::reason::Reason;

pub use self::headers::{Family, Headers};
pub use super::line::Printer;

/// Reads `message` with whatever log prefix it has: for `parse`, which must show a packet before its
/// prefix is known. The prefix ends at the last `IN=… OUT=…` pair.
pub fn read(message: &[u8], printer: Printer) -> Result<Option<Packet<'_>>, Reason> {
    let split = split(message).or_else(|| split_alone(message));
    match split {
        Some((prefix, body)) if is_prefix(prefix) => believe(prefix, body, printer),
        Some(_) => Err(Reason::Grammar),
        None => Ok(None),
    }
}

/// Reads `message` behind exactly `prefix`, `IN=` at once behind it: what the daemon believes. A
/// packet line with another prefix is [`Reason::Prefix`].
pub fn read_behind<'a>(
    message: &'a [u8],
    prefix: &[u8],
    printer: Printer,
) -> Result<Option<Packet<'a>>, Reason> {
    if let Some((mut head, mut body)) = message.split_at_checked(prefix.len())
        && head == prefix
    {
        if printer == Printer::Ulogd && body.starts_with(b" IN=") {
            (head, body) = message
                .split_at_checked(prefix.len() + 1)
                .unwrap_or((head, body));
        }
        if body.starts_with(b"IN=") {
            return believe(head, body, printer);
        }
    }
    refuse(message, Reason::Prefix)
}

/// `reason`, if a packet's fields stand anywhere in `message`.
pub fn refuse(message: &[u8], reason: Reason) -> Result<Option<Packet<'_>>, Reason> {
    if stands_in(message) || split_alone(message).is_some() {
        return Err(reason);
    }
    Ok(None)
}

/// The packet of a line that has its prefix off.
#[inline(always)]
fn believe<'a>(
    prefix: &'a [u8],
    body: &'a [u8],
    printer: Printer,
) -> Result<Option<Packet<'a>>, Reason> {
    match fast_path::packet(prefix, body) {
        Some(packet) => Ok(Some(packet)),
        None => grammar::packet(prefix, body, printer).map(Some),
    }
}

// Where a packet's own fields begin: at a pair `IN=<name> OUT=<name>`. The prefix is free text that may itself hold
// `IN=`, brackets and quotes, and nothing need separate it from `IN=`; hence the pair, and the last one.

/// The log prefix, and the fields from the last `IN=` that has an `OUT=` behind it.
fn split(message: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = memrchr_iter(b'=', message).find_map(|equals| pair_at(message, equals))?;
    message.split_at_checked(start)
}

/// The same where there is no `OUT=`: from the first `IN=` that has addresses and a protocol behind it.
fn split_alone(message: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = match memmem::find(message, b" IN=") {
        Some(_) if message.starts_with(b"IN=") => 0,
        Some(blank) => blank + 1,
        None => 0,
    };
    let (prefix, body) = message.split_at_checked(start)?;
    let rest = body.strip_prefix(b"IN=")?;
    let rest = rest.get(memmem::find(rest, b" SRC=")?..)?;
    let rest = rest.get(memmem::find(rest, b" DST=")?..)?;
    memmem::find(rest, b" PROTO=")?;
    Some((prefix, body))
}

/// Whether any pair is there at all.
fn stands_in(message: &[u8]) -> bool {
    memchr_iter(b'=', message).any(|equals| pair_at(message, equals).is_some())
}

/// Where the pair begins whose `OUT=` ends at `equals`.
#[inline]
fn pair_at(message: &[u8], equals: usize) -> Option<usize> {
    let head = message.get(..equals)?.strip_suffix(b" OUT")?;
    let start = memrchr(b' ', head).map_or(0, |blank| blank + 1);
    let word = head.get(start..)?;
    if word.starts_with(b"IN=") {
        return Some(start);
    }
    let glued = word.windows(3).rposition(|window| window == b"IN=")?;
    (!word.get(..glued)?.ends_with(b"PHYS")).then_some(start + glued)
}

/// Whether `prefix` can be one: it has no control character, which could hide a second line, and contains no whole
/// record (an old kernel's interleaved output, two lines run together, a forgery).
fn is_prefix(prefix: &[u8]) -> bool {
    let control = |&byte: &u8| byte.is_ascii_control() && byte != b'\t';
    if prefix.iter().any(control) {
        return false;
    }
    let Some((_, fields)) = split(prefix) else {
        return true;
    };
    !fields.windows(5).any(|window| window == b" SRC=")
}

/// One logged packet. Texts borrow from the line; addresses are canonical (an IPv4-mapped IPv6
/// address is its IPv4 address).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// What the rule's `--log-prefix` put in front, as logged.
    pub prefix: &'a [u8],
    /// `IN=`: the interface it arrived at; empty for one made on this host.
    pub iif: &'a [u8],
    /// `OUT=`: the interface it leaves by; empty for one addressed to this host.
    pub oif: &'a [u8],
    /// Its first headers.
    pub headers: Headers,
}

/// A packet that owns its texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedPacket {
    /// As in [`Packet`].
    pub prefix: Box<[u8]>,
    /// The same.
    pub iif: Box<[u8]>,
    /// The same.
    pub oif: Box<[u8]>,
    /// The same.
    pub headers: Headers,
}

impl OwnedPacket {
    /// With its texts borrowed.
    pub fn as_packet(&self) -> Packet<'_> {
        Packet {
            prefix: &self.prefix,
            iif: &self.iif,
            oif: &self.oif,
            headers: self.headers,
        }
    }
}

/// Source and destination port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ports {
    /// `SPT=`
    pub src: u16,
    /// `DPT=`
    pub dst: u16,
}

/// The numbers of a logged packet that repeat only when the packet does. Absent ones are `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    /// First `LEN=`: IPv4 total length, or IPv6 payload length plus header (may exceed 65535).
    pub len: Option<u32>,
    /// `TTL=` or `HOPLIMIT=`
    pub ttl: Option<u8>,
    /// First `ID=` (IPv4 identification).
    pub id: Option<u16>,
    /// `FLOWLBL=` (IPv6).
    pub flow: Option<u32>,
    /// `SEQ=` of TCP (`--log-tcp-sequence`).
    pub seq: Option<u32>,
    /// Second `LEN=` (UDP length).
    pub udp_len: Option<u16>,
}

/// Transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Display)]
#[strum(serialize_all = "lowercase")]
pub enum Proto {
    /// 6
    Tcp,
    /// 17
    Udp,
    /// 1
    Icmp,
    /// 58
    Icmpv6,
    /// 136
    UdpLite,
    /// 132, where the writer names it (ulogd)
    Sctp,
    /// 50
    Esp,
    /// 51
    Ah,
    /// Any other, by number.
    #[strum(to_string = "{0}")]
    Number(u8),
}

impl Proto {
    /// The protocol of an IP header, by name where it has one.
    pub const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Icmp,
            6 => Self::Tcp,
            17 => Self::Udp,
            50 => Self::Esp,
            51 => Self::Ah,
            58 => Self::Icmpv6,
            132 => Self::Sctp,
            136 => Self::UdpLite,
            other => Self::Number(other),
        }
    }
}

/// A set of TCP flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TcpFlags(u16);

impl TcpFlags {
    /// No flag at all (a null scan).
    pub const NONE: Self = Self(0);
    /// No more data from the sender.
    pub const FIN: Self = Self(1);
    /// Synchronise: opens a connection.
    pub const SYN: Self = Self(1 << 1);
    /// Reset.
    pub const RST: Self = Self(1 << 2);
    /// Push.
    pub const PSH: Self = Self(1 << 3);
    /// Acknowledgement.
    pub const ACK: Self = Self(1 << 4);
    /// Urgent.
    pub const URG: Self = Self(1 << 5);
    /// ECN echo.
    pub const ECE: Self = Self(1 << 6);
    /// Congestion window reduced.
    pub const CWR: Self = Self(1 << 7);
    /// Accurate ECN (the newest kernels).
    pub const AE: Self = Self(1 << 8);

    /// Every flag with its lower-case name, in the order in which the kernel prints them.
    pub const NAMES: [(&'static str, Self); 9] = [
        ("ae", Self::AE),
        ("cwr", Self::CWR),
        ("ece", Self::ECE),
        ("urg", Self::URG),
        ("ack", Self::ACK),
        ("psh", Self::PSH),
        ("rst", Self::RST),
        ("syn", Self::SYN),
        ("fin", Self::FIN),
    ];

    /// These and `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These without `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// These as a number: a bit for each, `FIN` the lowest.
    pub(in crate::engine) const fn bits(self) -> u16 {
        self.0
    }

    /// Whether all of `other` are among these.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether none of `other` is among these.
    pub const fn lacks(self, other: Self) -> bool {
        self.0 & other.0 == 0
    }

    /// The names of these, lower-case, in the kernel's order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .into_iter()
            .filter(move |&(_, flag)| self.contains(flag))
            .map(|(name, _)| name)
    }
}

// The one text form of a packet: what `parse` prints and what fixtures expect.
// `prefix="KNOCK: " in=eth0 out= 203.0.113.7:40000 -> 198.51.100.9:7000 tcp syn`

impl fmt::Display for Packet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "prefix=\"{}\" in={} out={} ",
            self.prefix.escape_ascii(),
            self.iif.escape_ascii(),
            self.oif.escape_ascii()
        )?;
        let Headers {
            src,
            dst,
            proto,
            ports,
            flags,
            ..
        } = self.headers;
        endpoint(f, src, ports.map(|ports| ports.src))?;
        f.write_str(" -> ")?;
        endpoint(f, dst, ports.map(|ports| ports.dst))?;
        write!(f, " {proto}")?;
        for (place, name) in flags.names().enumerate() {
            f.write_str(if place == 0 { " " } else { "," })?;
            f.write_str(name)?;
        }
        Ok(())
    }
}

fn endpoint(f: &mut fmt::Formatter<'_>, address: IpAddr, port: Option<u16>) -> fmt::Result {
    match port {
        Some(port) => write!(f, "{}", SocketAddr::new(address, port)),
        None => write!(f, "{address}"),
    }
}

#[cfg(test)]
#[path = "attacks_test.rs"]
mod attacks;
#[cfg(test)]
#[path = "packet_test.rs"]
mod tests;
