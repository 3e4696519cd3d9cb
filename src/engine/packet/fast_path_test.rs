//! The fast path against the grammar, on its lines and on them with anything wrong.

use proptest::prelude::*;

use super::super::super::damage::damage;
use super::super::{Printer, grammar};
use super::*;

/// A line of the usual shape, with numbers that may be out of their range.
fn line() -> impl Strategy<Value = String> {
    let address = || {
        prop::array::uniform4(0..=260_u16)
            .prop_map(|octets| octets.map(|octet| octet.to_string()).join("."))
    };
    let number = || {
        prop_oneof![
            0..10_u32,
            0..=255_u32,
            0..=65_535_u32,
            65_000..=65_999_u32,
            any::<u32>()
        ]
    };
    let network = (
        prop::sample::select(vec![
            "eth0",
            "enp0s31f6",
            "br-lan.100",
            "a123456789abcde",
            "a123456789abcdef",
        ]),
        address(),
        address(),
    );
    let transport = prop::sample::select(vec!["TCP", "UDP"]);
    (network, any::<[u8; 3]>(), prop::array::uniform6(number()), any::<bool>(), transport).prop_map(
        |((iif, src, dst), [byte, tos, prec], [len, ttl, id, from, to, last], df, proto)| {
            let (ttl, id, from, to, last) = (ttl % 300, id % 66_000, from % 66_000, to % 66_000, last % 66_000);
            let df = if df { "DF " } else { "" };
            let end = match proto {
                "TCP" => format!("WINDOW={last} RES=0x{tos:02x} SYN URGP=0 "),
                _ => format!("LEN={last} "),
            };
            format!(
                "IN={iif} OUT= MAC=52:54:00:12:34:56:52:54:00:65:43:{byte:02x}:08:00 SRC={src} DST={dst} LEN={len} \
                 TOS=0x{tos:02X} PREC=0x{prec:02X} TTL={ttl} ID={id} {df}PROTO={proto} SPT={from} DPT={to} {end}"
            )
        },
    )
}

/// What it gives, if it gives anything, is what the grammar gives.
fn agrees(text: &[u8]) -> bool {
    match packet(b"KNOCK: ", text) {
        Some(packet) => {
            for printer in [Printer::ThisKernel, Printer::Kernel] {
                let by_grammar = grammar::packet(b"KNOCK: ", text, printer);
                assert_eq!(by_grammar, Ok(packet), "{}", text.escape_ascii());
            }
            true
        }
        None => false,
    }
}

/// Each shape there is.
const LINES: [&str; 3] = [
    "IN=eth0 OUT= MAC=52:54:00:12:34:56:52:54:00:65:43:21:08:00 SRC=203.0.113.7 DST=198.51.100.9 LEN=60 TOS=0x00 PREC=0x00 TTL=52 ID=4660 DF PROTO=TCP SPT=40000 DPT=7000 WINDOW=64240 RES=0x00 SYN URGP=0 ",
    "IN=enp0s31f6 OUT= MAC=52:54:00:12:34:56:52:54:00:65:43:21:08:00 SRC=192.0.2.1 DST=198.51.100.99 LEN=1500 TOS=0xB8 PREC=0xE0 TTL=255 ID=0 PROTO=UDP SPT=9 DPT=65535 LEN=1480 ",
    "IN=lo OUT= MAC=52:54:00:ab:cd:ef:52:54:00:65:43:21:08:00 SRC=192.0.2.1 DST=198.51.100.9 LEN=36 TOS=0x00 PREC=0x00 TTL=1 ID=65535 PROTO=UDP SPT=1 DPT=2 LEN=8 ",
];

#[test]
fn a_syn_and_a_udp_packet_are_usual() {
    for line in LINES {
        assert!(agrees(line.as_bytes()), "{line}");
    }
}

#[test]
fn whatever_byte_is_changed_or_put_in_between_the_grammar_agrees() {
    for line in LINES {
        damage(line.as_bytes(), b" =:.x0123456789aA\t\r", |line| {
            agrees(line);
        });
    }
}

proptest! {
    #[test]
    fn what_is_usual_is_what_the_grammar_says(line in line()) {
        agrees(line.as_bytes());
    }
}
