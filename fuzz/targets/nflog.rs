//! Any bytes as a netlink datagram of NFLOG: nothing is read beyond them, and every packet is whole.

use logknock::engine::packet::{Family, Headers, Proto, TcpFlags};
use logknock::source::nflog::message::{Message, messages};

pub(crate) fn run(data: &[u8]) {
    let within = |part: &[u8]| part.is_empty() || data.as_ptr_range().contains(&part.as_ptr());
    for message in messages(data) {
        let Message::Packet(captured) = message else {
            continue;
        };
        assert!(within(captured.prefix) && within(captured.payload));
        if let Some(family) = captured.family {
            headers(family, captured.payload);
        }
    }
    headers(Family::V4, data);
    headers(Family::V6, data);
}

fn headers(family: Family, bytes: &[u8]) {
    let Ok(packet) = Headers::read(family, bytes) else {
        return;
    };
    assert_eq!(packet.src, packet.src.to_canonical());
    assert_eq!(packet.src.is_ipv4(), packet.dst.is_ipv4());
    if packet.proto != Proto::Tcp {
        assert_eq!(packet.flags, TcpFlags::NONE);
    }
    if packet.ports.is_some() {
        let has_ports = [Proto::Tcp, Proto::Udp, Proto::UdpLite];
        assert!(has_ports.contains(&packet.proto), "{packet:?}");
    }
}
