//! A packet's own first bytes → what a LOG rule would print of them.
//!
//! In: the bytes from the network header on, as NFLOG hands them over. Out: [`Headers`], or the reason
//! that the LOG line of the same packet would have. The order of the checks is that of `nf_log_syslog.c`: a later
//! fragment or a cut transport header is a packet without ports, and what an ICMP error quotes is never looked at.
//! Three differences, none of which makes a knock: the copied bytes may end within a long chain of IPv6 extension
//! headers. IPv6 that ends in ESP is a packet of protocol ESP. The flag AE is read on every kernel.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::reason::Reason;
use super::{Fingerprint, Ports, Proto, TcpFlags};

/// The protocol of the network header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// What the first headers of one packet say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Transport protocol.
    pub proto: Proto,
    /// Source and destination port, where the packet or its line has both to their end.
    pub ports: Option<Ports>,
    /// TCP flags; empty for anything else.
    pub flags: TcpFlags,
    /// The numbers that tell one packet from another with the same addresses and ports.
    pub mark: Fingerprint,
}

impl Headers {
    /// Reads the headers in `bytes`.
    pub fn read(family: Family, bytes: &[u8]) -> Result<Self, Reason> {
        match family {
            Family::V4 => ipv4(bytes),
            Family::V6 => ipv6(bytes),
        }
    }

    fn new(src: IpAddr, dst: IpAddr, mark: Fingerprint) -> Result<Self, Reason> {
        let (src, dst) = (src.to_canonical(), dst.to_canonical());
        if src.is_ipv4() != dst.is_ipv4() {
            return Err(Reason::Grammar);
        }
        Ok(Self {
            src,
            dst,
            proto: Proto::Number(0),
            ports: None,
            flags: TcpFlags::NONE,
            mark,
        })
    }

    /// With the transport header that begins at `bytes`, which only a first fragment has.
    fn with_transport(mut self, proto: Proto, bytes: &[u8], is_fragment: bool) -> Self {
        self.proto = proto;
        match proto {
            _ if is_fragment => {}
            Proto::Tcp => {
                if let Some(header) = bytes.first_chunk() {
                    self.tcp(header);
                }
            }
            Proto::Udp | Proto::UdpLite => {
                if let Some(&header) = bytes.first_chunk() {
                    self.udp(header);
                }
            }
            _ => {}
        }
        self
    }

    fn tcp(&mut self, header: &[u8; 20]) {
        let [
            s0,
            s1,
            d0,
            d1,
            q0,
            q1,
            q2,
            q3,
            _,
            _,
            _,
            _,
            offset,
            flags,
            ..,
        ] = *header;
        self.ports = Some(ports([s0, s1, d0, d1]));
        self.mark.seq = Some(u32::from_be_bytes([q0, q1, q2, q3]));
        self.flags = TcpFlags(u16::from_be_bytes([offset & 1, flags]));
    }

    fn udp(&mut self, header: [u8; 8]) {
        let [s0, s1, d0, d1, l0, l1, ..] = header;
        self.ports = Some(ports([s0, s1, d0, d1]));
        self.mark.udp_len = Some(u16::from_be_bytes([l0, l1]));
    }
}

fn ports([s0, s1, d0, d1]: [u8; 4]) -> Ports {
    Ports {
        src: u16::from_be_bytes([s0, s1]),
        dst: u16::from_be_bytes([d0, d1]),
    }
}

fn ipv4(bytes: &[u8]) -> Result<Headers, Reason> {
    const OFFSET: u16 = 0x1fff;
    let header = bytes.first_chunk::<20>().ok_or(Reason::Truncated)?;
    let [
        version,
        _,
        l0,
        l1,
        i0,
        i1,
        f0,
        f1,
        ttl,
        proto,
        _,
        _,
        addresses @ ..,
    ] = *header;
    let [s0, s1, s2, s3, d0, d1, d2, d3] = addresses;
    let mark = Fingerprint {
        len: Some(u32::from(u16::from_be_bytes([l0, l1]))),
        ttl: Some(ttl),
        id: Some(u16::from_be_bytes([i0, i1])),
        ..Fingerprint::default()
    };
    let src = Ipv4Addr::new(s0, s1, s2, s3);
    let dst = Ipv4Addr::new(d0, d1, d2, d3);
    let headers = Headers::new(src.into(), dst.into(), mark)?;
    let length = usize::from(version & 0x0f) * 4;
    if length < header.len() {
        return Err(Reason::Grammar);
    }
    let is_fragment = u16::from_be_bytes([f0, f1]) & OFFSET != 0;
    let proto = match proto {
        1 => Proto::Icmp,
        // LOG prints no protocol here.
        51 if is_fragment => return Err(Reason::NoPort),
        50 => Proto::Esp,
        51 => Proto::Ah,
        other => common(other),
    };
    let transport = bytes.get(length..).unwrap_or_default();
    Ok(headers.with_transport(proto, transport, is_fragment))
}

fn ipv6(bytes: &[u8]) -> Result<Headers, Reason> {
    let header = bytes.first_chunk::<40>().ok_or(Reason::Truncated)?;
    let [_, f0, f1, f2, l0, l1, next, hops, addresses @ ..] = header;
    let (src, dst) = addresses.split_at(16);
    let address = |bytes: &[u8]| <[u8; 16]>::try_from(bytes).map(Ipv6Addr::from);
    let (Ok(src), Ok(dst)) = (address(src), address(dst)) else {
        return Err(Reason::Truncated);
    };
    let payload = u16::from_be_bytes([*l0, *l1]);
    let mark = Fingerprint {
        len: Some(u32::from(payload) + 40),
        ttl: Some(*hops),
        flow: Some(u32::from_be_bytes([0, f0 & 0x0f, *f1, *f2])),
        ..Fingerprint::default()
    };
    let headers = Headers::new(src.into(), dst.into(), mark)?;
    let rest = bytes.get(header.len()..).unwrap_or_default();
    extensions(headers, *next, rest)
}

/// Walks along the extension headers, each of which names the next and is at least eight bytes long.
fn extensions(headers: Headers, mut next: u8, mut rest: &[u8]) -> Result<Headers, Reason> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const ESP: u8 = 50;
    const AH: u8 = 51;
    const DESTINATION: u8 = 60;
    let mut is_fragment = false;
    while matches!(
        next,
        HOP_BY_HOP | ROUTING | FRAGMENT | ESP | AH | DESTINATION
    ) {
        let [following, length] = *rest.first_chunk().ok_or(Reason::Truncated)?;
        let length = usize::from(length);
        let length = match next {
            ESP => return Ok(headers.with_transport(Proto::Esp, rest, is_fragment)),
            FRAGMENT => {
                let header = rest.first_chunk::<8>().ok_or(Reason::Truncated)?;
                let [_, _, o0, o1, ..] = *header;
                is_fragment |= u16::from_be_bytes([o0, o1]) & 0xfff8 != 0;
                8
            }
            // What a later fragment holds is no header. LOG prints no protocol here.
            _ if is_fragment => return Err(Reason::NoPort),
            AH => (length + 2) * 4,
            _ => (length + 1) * 8,
        };
        rest = rest.get(length..).unwrap_or_default();
        next = following;
    }
    let proto = match next {
        58 => Proto::Icmpv6,
        other => common(other),
    };
    Ok(headers.with_transport(proto, rest, is_fragment))
}

/// The protocols that LOG names over IPv4 and IPv6 alike; the others are numbers.
fn common(number: u8) -> Proto {
    match number {
        6 => Proto::Tcp,
        17 => Proto::Udp,
        136 => Proto::UdpLite,
        other => Proto::Number(other),
    }
}

#[cfg(test)]
#[path = "headers_test.rs"]
mod tests;
