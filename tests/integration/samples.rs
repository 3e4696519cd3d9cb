//! Every line of `fixtures/samples/lines.jsonl` gets the reading that it must get.

use std::net::IpAddr;

use logknock::dialect::{self, Verdict};
use logknock::engine::line::{self, Writer};
use logknock::engine::packet::{self, Packet, Proto};
use serde_json::Value;

const SAMPLES: &str = include_str!("../../fixtures/samples/lines.jsonl");

#[test]
fn every_packet_has_exactly_its_fields() {
    let wrong = wrong_cases("packet", |case, line| match dialect::read(line).verdict() {
        Verdict::Packet(packet) => difference(case, &packet),
        other => Some(format!("{other:?}")),
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_else_gives_a_port_to_knock_at() {
    let wrong = wrong_cases("not-a-knock", |_, line| {
        let read = match dialect::read(line).verdict() {
            Verdict::Packet(packet) if is_hit(&packet) => Some(packet.to_string()),
            _ => None,
        };
        let record = line::read(line);
        let straight = match packet::read(record.message, record.printer()) {
            Ok(Some(packet)) if is_hit(&packet) => Some(packet.to_string()),
            _ => None,
        };
        read.or(straight)
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_damaged_line_is_rejected_or_read_exactly() {
    let wrong = wrong_cases("either", |case, line| match dialect::read(line).verdict() {
        Verdict::Packet(packet) => difference(case, &packet),
        Verdict::Other | Verdict::Rejected(_) => None,
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_daemons_strict_reading_agrees_wherever_the_prefix_is_known() {
    let wrong = wrong_cases("packet", |case, line| {
        let prefix = case.get("prefix")?.as_str()?.as_bytes();
        let record = line::read(line);
        let text = match record.writer {
            Writer::Kernel | Writer::Untagged => record.message,
            Writer::Program | Writer::Facility => record.tagged,
        };
        if line.starts_with(b"{") {
            return None;
        }
        match packet::read_behind(text, prefix, record.printer()) {
            Ok(Some(packet)) => difference(case, &packet),
            other => Some(format!("{other:?}")),
        }
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn is_hit(packet: &Packet<'_>) -> bool {
    matches!(packet.headers.proto, Proto::Tcp | Proto::Udp) && packet.headers.ports.is_some()
}

/// The cases of `verdict` that `check` finds wrong, with what it found.
fn wrong_cases(verdict: &str, check: impl Fn(&Value, &[u8]) -> Option<String>) -> Vec<String> {
    let cases: Vec<Value> = SAMPLES
        .lines()
        .map(|case| serde_json::from_str(case).unwrap())
        .filter(|case: &Value| case["verdict"] == verdict)
        .collect();
    assert!(cases.len() > 10, "the samples of '{verdict}' are missing");
    cases
        .iter()
        .filter_map(|case| {
            let found = check(case, &line_of(case))?;
            Some(format!("{}: {found}", case["id"]))
        })
        .collect()
}

fn line_of(case: &Value) -> Vec<u8> {
    case["line"].as_str().map_or_else(
        || base64(case["line_base64"].as_str().unwrap()),
        |line| line.as_bytes().to_vec(),
    )
}

fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let sextets = text
        .bytes()
        .filter_map(|byte| ALPHABET.iter().position(|&letter| letter == byte));
    let bits: Vec<bool> = sextets
        .flat_map(|sextet| (0..6).rev().map(move |bit| sextet >> bit & 1 == 1))
        .collect();
    bits.chunks_exact(8)
        .map(|byte| {
            byte.iter()
                .fold(0, |value, &bit| value << 1 | u8::from(bit))
        })
        .collect()
}

/// The first field of `packet` that is not as the case says.
fn difference(case: &Value, packet: &Packet<'_>) -> Option<String> {
    let text = |bytes: &[u8]| Value::from(String::from_utf8_lossy(bytes));
    let flags: Vec<&str> = packet.headers.flags.names().collect();
    let found = [
        ("prefix", text(packet.prefix)),
        ("in", text(packet.iif)),
        ("out", text(packet.oif)),
        ("proto", packet.headers.proto.to_string().into()),
        ("spt", packet.headers.ports.map(|ports| ports.src).into()),
        ("dpt", packet.headers.ports.map(|ports| ports.dst).into()),
        ("flags", flags.into()),
        ("src", packet.headers.src.to_string().into()),
        ("dst", packet.headers.dst.to_string().into()),
    ];
    found.into_iter().find_map(|(key, found)| {
        let expected = case.get(key)?;
        let same = match key {
            "src" | "dst" => same_address(expected, &found),
            _ => *expected == found,
        };
        (!same).then(|| format!("{key}: expected {expected}, found {found}"))
    })
}

fn same_address(expected: &Value, found: &Value) -> bool {
    let address = |value: &Value| value.as_str().unwrap().parse::<IpAddr>().ok();
    address(expected).is_some() && address(expected) == address(found)
}
