//! Any bytes as the kernel's message: no packet that was not logged, whole or cut.
//!
//! The first byte says where the line is cut, as a full disk, a small buffer or a UDP datagram does.

use logknock::engine::line::Origin;
use logknock::engine::packet::{self, Packet, Proto, TcpFlags};
use logknock::engine::reading::Expected;

pub(crate) fn run(data: &[u8]) {
    let Some((&place, message)) = data.split_first() else {
        return;
    };
    a_line_without_the_prefix_is_no_packet(message);
    let Ok(Some(packet)) = packet::read(message, packet::Printer::Kernel) else {
        return;
    };
    is_consistent(&packet, message);
    assert_eq!(
        packet::read_behind(message, packet.prefix, packet::Printer::Kernel),
        Ok(Some(packet)),
        "its prefix gives the same packet"
    );
    let cut = message.len() * usize::from(place) / 256;
    if let Some(Ok(Some(rest))) = message
        .get(..cut)
        .map(|line| packet::read_behind(line, packet.prefix, packet::Printer::Kernel))
    {
        assert_eq!(
            rest.headers.src, packet.headers.src,
            "a cut line has another source"
        );
        assert_eq!(
            rest.headers.dst, packet.headers.dst,
            "a cut line has another target"
        );
        assert!(
            rest.headers.ports.is_none() || rest.headers.ports == packet.headers.ports,
            "a cut line has other ports"
        );
    }
}

fn is_consistent(packet: &Packet<'_>, message: &[u8]) {
    assert!(message.starts_with(packet.prefix));
    assert!(
        message
            .get(packet.prefix.len()..)
            .is_some_and(|body| body.starts_with(b"IN="))
    );
    assert_eq!(packet.headers.src, packet.headers.src.to_canonical());
    assert_eq!(packet.headers.dst, packet.headers.dst.to_canonical());
    if packet.headers.proto != Proto::Tcp {
        assert_eq!(packet.headers.flags, TcpFlags::NONE);
    }
    if packet.headers.ports.is_some() {
        let has_ports = [Proto::Tcp, Proto::Udp, Proto::UdpLite, Proto::Sctp];
        assert!(has_ports.contains(&packet.headers.proto), "{packet:?}");
    }
    assert!(!packet.to_string().contains('\n'), "one packet is one line");
}

/// Nobody who does not know the prefix gets a packet believed.
fn a_line_without_the_prefix_is_no_packet(message: &[u8]) {
    const SECRET: &[u8] = b"lk-4f9a1c7e: ";
    let expected = Expected::Prefix(SECRET.into());
    let line = [b"Nov 20 21:00:00 gw1 kernel: ", message].concat();
    for line in [message, &line] {
        let knows = line.windows(SECRET.len()).any(|window| window == SECRET);
        if let Ok(Some((_, packet))) = expected.read(line, Origin::Claimed) {
            assert!(knows, "believed without the prefix");
            // ulogd writes a blank behind it.
            let prefix = packet.prefix.strip_suffix(b" ").unwrap_or_default();
            assert!([packet.prefix, prefix].contains(&SECRET));
        }
    }
}
