//! Headers as bytes: what a LOG line of the same packet would say, and any other bytes.

use proptest::prelude::*;

use super::super::Packet;
use super::*;

const TCP: [u8; 20] = [
    0x9c, 0x40, 0x1b, 0x58, 1, 2, 3, 4, 0, 0, 0, 0, 0x50, 0x02, 0xfa, 0xf0, 0, 0, 0, 0,
];
const UDP: [u8; 8] = [0x9c, 0x40, 0x1b, 0x58, 0, 9, 0, 0];

fn v4(proto: u8, offset: u16, options: usize, transport: &[u8]) -> Result<Headers, Reason> {
    let [o0, o1] = offset.to_be_bytes();
    let version = 0x45 + u8::try_from(options / 4).unwrap();
    let mut bytes = vec![version, 0, 0, 60, 0x12, 0x34, o0, o1, 52, proto, 0, 0];
    bytes.extend([203, 0, 113, 7, 192, 0, 2, 1]);
    bytes.extend(vec![1; options]);
    bytes.extend(transport);
    Headers::read(Family::V4, &bytes)
}

fn v6(next: u8, rest: &[u8]) -> Result<Headers, Reason> {
    let mut bytes = vec![0x60, 0, 0, 7, 0, 20, next, 52];
    bytes.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
    bytes.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
    bytes.extend(rest);
    Headers::read(Family::V6, &bytes)
}

fn same_as(line: &str, read: Result<Headers, Reason>) {
    let expected = super::super::read(line.as_bytes(), crate::engine::line::Printer::Kernel)
        .unwrap()
        .unwrap();
    let headers = read.unwrap();
    let packet = Packet {
        prefix: b"lk: ",
        iif: b"eth0",
        oif: b"",
        headers,
    };
    assert_eq!(packet, expected);
}

#[test]
fn a_packet_is_what_its_line_says() {
    let ip =
        "lk: IN=eth0 OUT= SRC=203.0.113.7 DST=192.0.2.1 LEN=60 TOS=0x00 PREC=0x00 TTL=52 ID=4660 ";
    let tcp = "PROTO=TCP SPT=40000 DPT=7000 SEQ=16909060 ACK=0 WINDOW=64240 RES=0x00 SYN URGP=0 ";
    same_as(&format!("{ip}{tcp}"), v4(6, 0, 0, &TCP));
    same_as(&format!("{ip}{tcp}"), v4(6, 0, 12, &TCP));
    same_as(
        &format!("{ip}PROTO=UDP SPT=40000 DPT=7000 LEN=9 "),
        v4(17, 0, 0, &UDP),
    );
    same_as(&format!("{ip}FRAG:8 PROTO=TCP "), v4(6, 8, 0, &TCP));
    same_as(
        &format!("{ip}PROTO=TCP INCOMPLETE [19 bytes] "),
        v4(6, 0, 0, &TCP[..19]),
    );
    same_as(
        &format!("{ip}PROTO=ICMP TYPE=8 CODE=0 ID=1 SEQ=1 "),
        v4(1, 0, 0, &UDP),
    );
    same_as(&format!("{ip}PROTO=132 "), v4(132, 0, 0, &UDP));
    same_as(&format!("{ip}PROTO=58 "), v4(58, 0, 0, &UDP));
    let ip = "lk: IN=eth0 OUT= SRC=2001:db8::7 DST=2001:db8::9 LEN=60 TC=0 HOPLIMIT=52 FLOWLBL=7 ";
    same_as(&format!("{ip}{tcp}"), v6(6, &TCP));
    same_as(&format!("{ip}PROTO=59 "), v6(59, &[]));
    same_as(&format!("{ip}PROTO=1 "), v6(1, &UDP));
}

#[test]
fn the_transport_header_stands_behind_all_extension_headers() {
    let ports = |next, chain: &[&[u8]]| {
        let headers = v6(next, &[&chain.concat(), TCP.as_slice()].concat());
        headers.map(|headers| headers.ports.map(|ports| ports.dst))
    };
    let hop_by_hop = [60, 0, 1, 4, 0, 0, 0, 0];
    let destination = [44, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let first_fragment = [51, 0, 0, 1, 0, 0, 0, 9];
    let authentication = [6, 1, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1];
    let chain: [&[u8]; 4] = [&hop_by_hop, &destination, &first_fragment, &authentication];
    assert_eq!(ports(0, &chain), Ok(Some(7000)));
    let later_fragment = [6, 0, 0, 8, 0, 0, 0, 9];
    assert_eq!(ports(44, &[&later_fragment]), Ok(None));
    let later_fragment = [60, 0, 0, 8, 0, 0, 0, 9];
    assert_eq!(ports(44, &[&later_fragment]), Err(Reason::NoPort));
    assert_eq!(ports(50, &[]), Ok(None), "encrypted");
}

#[test]
fn what_is_cut_has_no_ports_and_no_header_that_is_half_there() {
    for length in 0..TCP.len() {
        assert_eq!(v4(6, 0, 0, &TCP[..length]).unwrap().ports, None);
        assert_eq!(v6(6, &TCP[..length]).unwrap().ports, None);
    }
    assert_eq!(v6(60, &[6]), Err(Reason::Truncated));
    assert_eq!(
        Headers::read(Family::V4, &[0x45; 19]),
        Err(Reason::Truncated)
    );
    assert_eq!(
        Headers::read(Family::V6, &[0x60; 39]),
        Err(Reason::Truncated)
    );
    assert_eq!(Headers::read(Family::V4, &[0x44; 40]), Err(Reason::Grammar));
}

#[test]
fn a_mapped_address_is_its_ipv4_address_and_both_must_be() {
    let mut bytes = [0_u8; 60];
    bytes[6] = 6;
    for at in [8, 24] {
        bytes[at + 10..at + 16].copy_from_slice(&[0xff, 0xff, 203, 0, 113, 7]);
    }
    let headers = Headers::read(Family::V6, &bytes).unwrap();
    assert_eq!(headers.src.to_string(), "203.0.113.7");
    bytes[24] = 0x20;
    assert_eq!(Headers::read(Family::V6, &bytes), Err(Reason::Grammar));
}

proptest! {
    #[test]
    fn any_bytes_are_headers_or_none(
        is_v6: bool,
        first in 0_u8..=16,
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let family = if is_v6 { Family::V6 } else { Family::V4 };
        let mut bytes = bytes;
        if let Some(version) = bytes.first_mut() {
            *version = 0x40 | first;
        }
        if let Ok(headers) = Headers::read(family, &bytes) {
            let has_ports = [Proto::Tcp, Proto::Udp, Proto::UdpLite].contains(&headers.proto);
            prop_assert!(headers.ports.is_none() || has_ports);
        }
    }
}
