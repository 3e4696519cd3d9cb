//! Blocks, threads and the search for a hint against one line after another, on random logs.

use std::io::Cursor;

use proptest::prelude::*;

use super::blocks::MAX_LINE;
use super::*;
use crate::config;
use crate::dialect::Format;
use crate::engine::packet::Packet;
use crate::engine::reading::Expected;
use crate::engine::timeline::Stamps;

const PREFIX: &str = "lk-1: ";

/// What is found, in words: enough of it that different lines are reported differently.
fn told(line: u64, packet: &Packet<'_>, stamps: Stamps<'_>) -> String {
    let mark = packet.headers.mark;
    format!("{line} {packet} {mark:?} {stamps:?}")
}

fn told_not(line: u64, bytes: &[u8], reason: Reason) -> String {
    format!("{line} {reason:?} {}", String::from_utf8_lossy(bytes))
}

fn calendar() -> Calendar {
    let zone = time::UtcOffset::from_hms(5, 45, 0).unwrap();
    Calendar::new(Zone::Fixed(zone), Time::from_secs(1_795_000_000))
}

/// One line after another.
fn by_line(text: &[u8], form: &dialect::Reader) -> (u64, Vec<String>) {
    let (mut all, mut number) = (Vec::new(), 0);
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        let bytes = line.strip_suffix(b"\n").unwrap_or(line);
        if bytes.len() > MAX_LINE {
            all.push(told_not(number, b"", Reason::TooLong));
            number += 1;
            continue;
        }
        let opened = form.open(bytes);
        match form.read(&opened) {
            Ok(None) => {}
            Ok(Some((record, packet))) => {
                // The prefix is what was asked for, and is not kept.
                let packet = Packet {
                    prefix: b"",
                    ..packet
                };
                let stamps = Stamps {
                    host: record.host,
                    wall: record.stamp.and_then(|stamp| calendar().resolve(stamp)),
                    uptime: record.uptime,
                };
                all.push(told(number, &packet, stamps));
            }
            Err(reason) => all.push(told_not(number, bytes, reason)),
        }
        number += 1;
    }
    (number, all)
}

/// As a replay does it.
fn by_block(text: &[u8], form: &dialect::Reader, pace: Pace) -> (u64, Vec<String>) {
    let form = Form {
        reader: Arc::new(form.clone()),
        calendar: calendar(),
        looks_for_losses: true,
    };
    let content = Box::new(Cursor::new(text.to_vec()));
    let mut feed = Feed::new(content, form, pace);
    let (mut all, mut before) = (Vec::new(), 0);
    let mut used = Findings::default();
    while let Some(findings) = feed.next(used).unwrap() {
        for finding in (0..).map_while(|place| findings.get(place)) {
            let number = before + finding.line;
            all.push(match &finding.what {
                Ok(found) => told(number, &findings.packet(found), findings.stamps(found)),
                Err((line, reason)) => told_not(number, findings.text(*line), *reason),
            });
        }
        before += findings.lines;
        used = findings;
    }
    (before, all)
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    let header = prop::sample::select(vec![
        "Nov 20 10:00:00 gw kernel: [   12.000001] ",
        "2026-11-20T10:00:00.5+00:00 router kernel: ",
        "Nov 20 10:00:01 gw sshd[12]: ",
        "Nov 20 10:00:01 gw ulogd[7]: ",
        "4,12,5000001,-;",
        "<4>",
        "",
    ]);
    let prefix = prop::sample::select(vec![PREFIX, PREFIX, "other: ", ""]);
    let body = (1..6_u8, 1..4_u16, prop::bool::ANY).prop_map(|(from, port, udp)| {
        let start = format!(
            "IN=eth{} OUT= SRC=192.0.2.{from} DST=198.51.100.1 LEN=60 TTL=52 ID={port} ",
            from % 2
        );
        let end = if udp {
            format!("PROTO=UDP SPT=5{from} DPT={port} LEN=40 ")
        } else {
            format!("PROTO=TCP SPT=5{from} DPT={port} WINDOW=64240 RES=0x00 SYN URGP=0 ")
        };
        start + &end
    });
    let packet = (header, prefix, body).prop_map(|(a, b, c)| [a, b, &c].concat().into_bytes());
    let packet = packet.boxed();
    let json = packet.clone().prop_map(|line| {
        let line = serde_json::to_string(&String::from_utf8(line).unwrap()).unwrap();
        format!("{{\"message\":{}}}", line.replace("IN=", "\\u0049N=")).into_bytes()
    });
    let damaged = (packet.clone(), any::<prop::sample::Index>(), any::<u8>());
    let damaged = damaged.prop_map(|(mut line, place, byte)| {
        let place = place.index(line.len());
        if byte < 64 {
            line.truncate(place);
        } else {
            line[place] = byte;
        }
        line
    });
    let long = (blocks::MAX_LINE - 3..blocks::MAX_LINE + 4, packet.clone());
    let long = long.prop_map(|(length, mut line)| {
        line.resize(length, b'x');
        line
    });
    prop_oneof![
        6 => packet,
        3 => damaged,
        2 => json,
        4 => "[ -~]{0,60}".prop_map(String::into_bytes),
        1 => Just(b"IN=".to_vec()),
        1 => Just(b"\0\0\0\r".to_vec()),
        1 => Just(Vec::new()),
        1 => long,
        1 => (1..4_usize).prop_map(|times| vec![b'='; times * blocks::MAX_LINE + 1]),
    ]
}

fn log() -> impl Strategy<Value = Vec<u8>> {
    (prop::collection::vec(line(), 0..60), prop::bool::ANY).prop_map(|(lines, ends)| {
        let mut text = lines.join(&b'\n');
        if ends && !text.is_empty() {
            text.push(b'\n');
        }
        text
    })
}

fn pace() -> impl Strategy<Value = Pace> {
    let piece = prop_oneof![
        1..5_usize,
        10..400_usize,
        4_000..20_000_usize,
        Just(1 << 20)
    ];
    (piece, 1..4_usize).prop_map(|(piece, finders)| Pace {
        piece,
        finders,
        looks_for_losses: false,
    })
}

fn form() -> impl Strategy<Value = dialect::Reader> {
    let format = prop::sample::select(vec![
        Format::Kernel,
        Format::Ulogd,
        Format::named()[5].1.clone(),
        Format::JournalJson,
    ]);
    let expected = prop_oneof![
        2 => Just(Expected::Prefix(PREFIX.as_bytes().into())),
        1 => Just(Expected::AnyPrefix)
    ];
    (format, expected).prop_map(|(format, expected)| dialect::Reader::new(format, expected))
}

/// Cannot be read.
struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("broken"))
    }
}

const CONFIG: &str = r#"
[door.one]
sequence = [1, "2:udp"]
start_command = "true"
stop_command = "true"
"#;

/// All that a replay tells.
fn seen(texts: &[Vec<u8>], form: &dialect::Reader, pace: Pace) -> (String, Vec<String>) {
    let doors = config::parse("logknock.toml", CONFIG).unwrap().doors;
    let inputs = texts.iter().map(|text| Input {
        content: Box::new(Cursor::new(text.clone())),
        written: Time::from_secs(1_795_000_000),
        own: None,
    });
    let mut all = Vec::new();
    let zone = Zone::Fixed(time::UtcOffset::UTC);
    let (inputs, prefix) = (inputs.collect(), KnockerPrefix::default());
    let summary = watch_by(pace, inputs, form, doors, prefix, zone, &mut |seen| {
        all.push(match seen {
            Seen::Event(shown) => format!("{shown:?}"),
            // Not what the doors are by then.
            Seen::Packet {
                whole,
                time,
                verdict,
                ..
            } => format!(
                "{:?} {time:?} {verdict:?}",
                whole.map(|(sighting, _)| sighting)
            ),
            Seen::Line {
                bytes,
                whence,
                reason,
                ..
            } => format!("{bytes:?} {whence:?} {reason:?}"),
        });
        Ok(())
    });
    (format!("{:?}", summary.unwrap()), all)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn blocks_hold_what_their_lines_hold_wherever_they_are_cut(
        text in log(), form in form(), pace in pace(),
    ) {
        prop_assert_eq!(by_block(&text, &form, pace), by_line(&text, &form));
    }

    #[test]
    fn the_text_before_an_error_is_delivered_to_its_reader(
        text in log(), form in form(), pace in pace(),
    ) {
        let content = Box::new(Cursor::new(text.clone()).chain(Broken));
        let form = Form { reader: Arc::new(form), calendar: calendar(), looks_for_losses: true };
        let mut feed = Feed::new(content, form, pace);
        let mut lines = 0;
        let error = loop {
            match feed.next(Findings::default()) {
                Ok(findings) => lines += findings.expect("it has no end").lines,
                Err(error) => break error,
            }
        };
        prop_assert_eq!(error.to_string(), "broken");
        let newlines = memchr::memchr_iter(b'\n', &text).count() as u64;
        prop_assert_eq!(lines, newlines);
    }

    #[test]
    fn a_replay_does_not_depend_on_its_pace(
        texts in prop::collection::vec(log(), 1..4), form in form(), pace in pace(),
    ) {
        let alone = Pace { piece: 1 << 20, finders: 1, looks_for_losses: true };
        prop_assert_eq!(seen(&texts, &form, pace), seen(&texts, &form, alone));
    }
}
