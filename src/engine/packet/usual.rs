//! The line that nearly every packet line is: an IPv4 SYN or UDP packet that came in by Ethernet.
//!
//! In: the fields behind the log prefix. Out: the packet, or `None` for the grammar to decide. Where this
//! gives a packet the grammar gives the same one; it may give up wherever it likes, so it knows no field
//! that may be missing but `DF`, and no error. Hence it is one function without a loop or a call in it, in
//! which what is left of the line never leaves the registers, and reads a line for a quarter of the price.

use std::net::Ipv4Addr;

use super::super::scan::Scan;
use super::fields::{INTERFACE_MAX, illegal_in_interface};
use super::{Fingerprint, Packet, Ports, Proto, TcpFlags};

/// The whole line behind `prefix`.
#[inline]
pub(super) fn packet<'a>(prefix: &'a [u8], body: &'a [u8]) -> Option<Packet<'a>> {
    let mut scan = Scan::new(body);
    scan.need(b"IN=")?;
    let iif = scan.run_eights(illegal_in_interface);
    scan.need(b" OUT= MAC=")?;
    ethernet(&mut scan)?;
    scan.need(b" SRC=")?;
    let src = ipv4(&mut scan)?;
    scan.need(b" DST=")?;
    let dst = ipv4(&mut scan)?;
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
    scan.need(b" PROTO=")?;
    let proto = if scan.take(b"TCP SPT=") {
        Proto::Tcp
    } else {
        scan.need(b"UDP SPT=")?;
        Proto::Udp
    };
    let from = scan.short_number()?;
    scan.need(b" DPT=")?;
    let to = scan.short_number()?;
    let mut udp_len = None;
    let flags = if proto == Proto::Tcp {
        scan.need(b" WINDOW=")?;
        scan.short_number::<u16>()?;
        scan.need(b" RES=0x")?;
        hex_byte(&mut scan)?;
        scan.need(b" SYN URGP=0")?;
        TcpFlags::SYN
    } else {
        scan.need(b" LEN=")?;
        udp_len = Some(scan.number()?);
        TcpFlags::NONE
    };
    if iif.len() > INTERFACE_MAX || !matches!(scan.rest(), b"" | b" ") {
        return None;
    }
    Some(Packet {
        prefix,
        iif,
        oif: b"",
        src: src.into(),
        dst: dst.into(),
        proto,
        ports: Some(Ports { src: from, dst: to }),
        flags,
        mark: Fingerprint {
            len: Some(len),
            ttl: Some(ttl),
            id: Some(id),
            udp_len,
            ..Fingerprint::default()
        },
    })
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

#[inline(always)]
fn ipv4(scan: &mut Scan<'_>) -> Option<Ipv4Addr> {
    let a = scan.short_octet()?;
    scan.need(b".")?;
    let b = scan.short_octet()?;
    scan.need(b".")?;
    let c = scan.short_octet()?;
    scan.need(b".")?;
    let d = scan.short_octet()?;
    Some(Ipv4Addr::new(a, b, c, d))
}

#[inline(always)]
fn hex_byte(scan: &mut Scan<'_>) -> Option<()> {
    let [high, low] = scan.bytes()?;
    (high.is_ascii_hexdigit() & low.is_ascii_hexdigit()).then_some(())
}

#[cfg(test)]
#[path = "usual_test.rs"]
mod tests;
