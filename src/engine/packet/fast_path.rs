//! A fast path for what nearly every packet line is: an IPv4 SYN or UDP packet that came in by Ethernet.
//!
//! In: the fields behind the log prefix. Out: the packet, or `None` for the grammar to decide. Without it `replay`
//! takes a quarter more instructions a line. Where this gives a packet the grammar gives the same one, also the
//! kernel's exact one; it may give up anywhere. So the only optional field that it knows is `DF`, and it knows no
//! error. The grammar passes its scanner by reference, so it is in memory and is written at each token. Here each
//! piece is given it and gives it back, and has neither a loop nor a call in it: it stays in registers. The pieces
//! are calls themselves, as in one function of this length there are not enough registers for what has been read.

use std::net::Ipv4Addr;

use super::super::scan::Scan;
use super::fields::{INTERFACE_MAX, illegal_in_interface};
use super::{Fingerprint, Headers, Packet, Ports, Proto, TcpFlags};

/// The whole line behind `prefix`.
#[inline]
pub(super) fn packet<'a>(prefix: &'a [u8], body: &'a [u8]) -> Option<Packet<'a>> {
    let mut scan = Scan::new(body);
    scan.need(b"IN=")?;
    let iif = scan.run_eights(illegal_in_interface);
    scan.need(b" OUT= MAC=")?;
    ethernet(&mut scan)?;
    scan.need(b" SRC=")?;
    let (src, mut scan) = ipv4(scan)?;
    scan.need(b" DST=")?;
    let (dst, scan) = ipv4(scan)?;
    let (len, ttl, id, scan) = network(scan)?;
    let (proto, ports, udp_len) = transport(scan)?;
    if iif.len() > INTERFACE_MAX {
        return None;
    }
    let flags = match proto {
        Proto::Tcp => TcpFlags::SYN,
        _ => TcpFlags::NONE,
    };
    Some(Packet {
        prefix,
        iif,
        oif: b"",
        headers: Headers {
            src: src.into(),
            dst: dst.into(),
            proto,
            ports: Some(ports),
            flags,
            mark: Fingerprint {
                len: Some(len),
                ttl: Some(ttl),
                id: Some(id),
                udp_len,
                ..Fingerprint::default()
            },
        },
    })
}

/// From `LEN=` to `DF`: length, TTL and identification.
#[inline(never)]
fn network(mut scan: Scan<'_>) -> Option<(u32, u8, u16, Scan<'_>)> {
    scan.need(b" LEN=")?;
    let len = scan.short_number()?;
    scan.need(b" TOS=0x")?;
    hex_byte(&mut scan)?;
    scan.need(b" PREC=0x")?;
    hex_byte(&mut scan)?;
    scan.need(b" TTL=")?;
    let ttl = scan.short_octet()?;
    scan.need(b" ID=")?;
    let id = scan.short_number()?;
    scan.take(b" DF");
    Some((len, ttl, id, scan))
}

/// From `PROTO=` to the end: the ports, and the length of UDP.
#[inline(never)]
fn transport(mut scan: Scan<'_>) -> Option<(Proto, Ports, Option<u16>)> {
    let is_tcp = scan.take(b" PROTO=TCP SPT=");
    if !is_tcp {
        scan.need(b" PROTO=UDP SPT=")?;
    }
    let src = scan.short_number()?;
    scan.need(b" DPT=")?;
    let dst = scan.short_number()?;
    let mut udp_len = None;
    if is_tcp {
        scan.need(b" WINDOW=")?;
        scan.short_number::<u16>()?;
        scan.need(b" RES=0x")?;
        hex_byte(&mut scan)?;
        scan.need(b" SYN URGP=0")?;
    } else {
        scan.need(b" LEN=")?;
        udp_len = Some(scan.number()?);
    }
    if !matches!(scan.rest(), b"" | b" ") {
        return None;
    }
    let proto = if is_tcp { Proto::Tcp } else { Proto::Udp };
    Some((proto, Ports { src, dst }, udp_len))
}

/// The 14 bytes of an Ethernet header: 41 characters, looked at in three pieces that overlap, since 16 of
/// them are one comparison for the machine.
#[inline(always)]
fn ethernet(scan: &mut Scan<'_>) -> Option<()> {
    let bytes: &[u8; 41] = scan.bytes()?;
    let [first, second] = bytes.first_chunk::<32>()?.as_chunks().0 else {
        return None;
    };
    let strange = |piece: &[u8; 16]| {
        piece.iter().fold(0, |strange, &byte| {
            let digit = byte.wrapping_sub(b'0') <= b':' - b'0'; // the colon stands behind the nine
            let letter = byte.wrapping_sub(b'a') <= b'f' - b'a';
            strange | u8::from(!(digit | letter))
        })
    };
    let last = bytes.last_chunk()?;
    (strange(first) | strange(second) | strange(last) == 0).then_some(())
}

#[inline(never)]
fn ipv4(mut scan: Scan<'_>) -> Option<(Ipv4Addr, Scan<'_>)> {
    let a = scan.short_octet()?;
    scan.need(b".")?;
    let b = scan.short_octet()?;
    scan.need(b".")?;
    let c = scan.short_octet()?;
    scan.need(b".")?;
    let d = scan.short_octet()?;
    Some((Ipv4Addr::new(a, b, c, d), scan))
}

#[inline(always)]
fn hex_byte(scan: &mut Scan<'_>) -> Option<()> {
    let [high, low] = scan.bytes()?;
    (high.is_ascii_hexdigit() && low.is_ascii_hexdigit()).then_some(())
}

#[cfg(test)]
#[path = "fast_path_test.rs"]
mod tests;
