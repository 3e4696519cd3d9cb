//! Packets of the test's own making: any flags, from any address that the host has.
//!
//! In: source address, source port, flags, destination. Out: exactly one packet on the wire, and
//! never a second. Raw sockets are opened once and stay in the host's namespace.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::net::{
    AddressFamily, Protocol, SendFlags, SocketFlags, SocketType, bind, ipproto, sendto, socket_with,
};

use crate::host::Host;

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const PSH: u8 = 8;
pub(crate) const ACK: u8 = 16;
pub(crate) const URG: u8 = 32;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A TCP segment with these flags.
    Tcp(u8),
    /// A datagram of one byte.
    Udp,
}

/// One packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shot {
    pub(crate) from: SocketAddrV4,
    pub(crate) port: u16,
    pub(crate) kind: Kind,
}

/// Sends from several addresses of one host to one address.
#[derive(Debug)]
pub(crate) struct Sender {
    to: Ipv4Addr,
    sockets: HashMap<(Ipv4Addr, bool), OwnedFd>,
}

impl Sender {
    /// A sender on `host`, which has all of the addresses `from`.
    pub(crate) fn new(host: &Host, from: &[Ipv4Addr], to: Ipv4Addr) -> Self {
        let open = |source: Ipv4Addr, protocol: Protocol| {
            let flags = SocketFlags::CLOEXEC;
            let socket = socket_with(AddressFamily::INET, SocketType::RAW, flags, Some(protocol))
                .expect("root opens raw sockets");
            bind(&socket, &SocketAddrV4::new(source, 0)).expect("the address is there");
            socket
        };
        let sockets = host.inside(|| {
            let both = |source: &Ipv4Addr| {
                [
                    ((*source, true), open(*source, ipproto::TCP)),
                    ((*source, false), open(*source, ipproto::UDP)),
                ]
            };
            from.iter().flat_map(both).collect()
        });
        Self { to, sockets }
    }

    /// Sends one packet.
    pub(crate) fn send(&self, shot: Shot) {
        let Shot { from, port, kind } = shot;
        let (is_tcp, packet) = match kind {
            Kind::Tcp(flags) => (true, segment(from, self.to, port, flags)),
            Kind::Udp => (false, datagram(from.port(), port)),
        };
        let socket = &self.sockets[&(*from.ip(), is_tcp)];
        let to = SocketAddrV4::new(self.to, 0);
        sendto(socket, &packet, SendFlags::empty(), &to).expect("the packet leaves");
    }
}

fn segment(from: SocketAddrV4, to: Ipv4Addr, port: u16, flags: u8) -> Vec<u8> {
    let mut segment = [from.port().to_be_bytes(), port.to_be_bytes()].concat();
    segment.extend(
        u32::from(from.port())
            .wrapping_mul(2_654_435_761)
            .to_be_bytes(),
    );
    segment.extend([0; 4]);
    segment.extend([5 << 4, flags, 0xfa, 0xf0, 0, 0, 0, 0]);
    let length = u8::try_from(segment.len()).expect("twenty");
    let head = [from.ip().octets(), to.octets(), [0, 6, 0, length]];
    let sum = checksum(&[head.concat(), segment.clone()].concat());
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    segment
}
/// A SYN with its IPv4 header, from any address at all.
pub(crate) fn spoofed_syn(from: Ipv4Addr, to: Ipv4Addr, port: u16) -> Vec<u8> {
    let mut header = vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0];
    header.extend([from.octets(), to.octets()].concat());
    header.extend(segment(SocketAddrV4::new(from, 40_000), to, port, SYN));
    header
}

/// Without a checksum, which IPv4 allows.
fn datagram(from: u16, to: u16) -> Vec<u8> {
    let ports = [from.to_be_bytes(), to.to_be_bytes()].concat();
    [ports.as_slice(), &[0, 9, 0, 0, 0]].concat()
}

/// RFC 1071, over an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks_exact(2);
    let mut sum: u32 = words
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    while sum >> 16 > 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded")
}
