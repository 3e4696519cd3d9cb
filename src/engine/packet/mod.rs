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

mod anchor;
mod fields;
mod grammar;
pub mod headers;
mod text;

use std::net::IpAddr;

use super::reason::Reason;

pub use super::line::Printer;

/// Reads `message` with whatever log prefix it has: for `parse`, which must show a packet before its
/// prefix is known. The prefix ends at the last `IN=… OUT=…` pair.
pub fn read(message: &[u8], printer: Printer) -> Result<Option<Packet<'_>>, Reason> {
    let split = anchor::split(message).or_else(|| anchor::split_alone(message));
    match split {
        Some((prefix, body)) if anchor::is_prefix(prefix) => believe(prefix, body, printer),
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
    if anchor::stands_in(message) || anchor::split_alone(message).is_some() {
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
    grammar::packet(prefix, body, printer).map(Some)
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
    /// Source address of the first header.
    pub src: IpAddr,
    /// Destination address of the first header.
    pub dst: IpAddr,
    /// Transport protocol of the first header.
    pub proto: Proto,
    /// Source and destination port, where the line has both to their end.
    pub ports: Option<Ports>,
    /// TCP flags; empty for anything else.
    pub flags: TcpFlags,
    /// The numbers that tell one packet from another with the same addresses and ports.
    pub mark: Fingerprint,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
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

#[cfg(test)]
#[path = "attacks_test.rs"]
mod attacks;
#[cfg(test)]
#[path = "packet_test.rs"]
mod tests;
