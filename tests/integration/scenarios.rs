//! Runs `fixtures/scenarios`: timed knocks against the real configuration reader and engine.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use crate::chained::Engine;
use logknock::config;
use logknock::engine::Sighting;
use logknock::engine::attempts::Limits;
use logknock::engine::event::{EventKind, Whence};
use logknock::engine::grant::{Phase, Task};
use logknock::engine::knock::Logged;
use logknock::engine::packet::{Fingerprint, Headers, Packet, Ports, Proto, TcpFlags};
use logknock::engine::time::Time;

#[test]
fn every_scenario_does_what_it_says() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scenarios");
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "txt"));
    files.sort();
    assert!(files.len() > 20, "the scenarios are missing");
    let mut failures = String::new();
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let (expected, happened) = play(&path, &text);
        if expected != happened {
            let name = path.file_name().unwrap().display();
            write!(
                failures,
                "\n{name}\n  expected {expected:#?}\n  happened {happened:#?}"
            )
            .unwrap();
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

/// One row of a scenario.
struct Row<'a> {
    at: Time,
    packet: Packet<'a>,
}

/// What a scenario expects, and what happens in it, each in the order of time.
fn play(path: &Path, text: &str) -> (Vec<String>, Vec<String>) {
    let (toml, script) = text
        .split_once("\n---\n")
        .expect("a line '---' between configuration and rows");
    let config = config::parse(&path.display().to_string(), toml)
        .unwrap_or_else(|errors| panic!("{errors}"));
    let (mut expected, mut rows) = (Vec::new(), Vec::new());
    for (number, line) in script.lines().enumerate() {
        let words: Vec<_> = line.split_whitespace().collect();
        match words.as_slice() {
            [] | ["#", ..] => {}
            ["=>", at, action, door, address] => {
                expected.push((time(at), format!("{action} {door} {address}")));
            }
            [at, address, port, keys @ ..] => {
                let packet = packet(u16::try_from(number).unwrap(), address, port, keys);
                rows.push(Row {
                    at: time(at),
                    packet,
                });
            }
            _ => panic!("{}: what is '{line}'?", path.display()),
        }
    }
    rows.sort_by_key(|row| row.at);
    (shown(expected), shown(run(config, &rows)))
}

fn run(config: config::Config, rows: &[Row<'_>]) -> Vec<(Time, String)> {
    let mut engine = Engine::new(config.doors, Duration::ZERO, Limits::default());
    engine
        .detection
        .attempts
        .set_knocker_prefix(config.log.knocker_prefix);
    let mut happened = Vec::new();
    for (row, line) in rows.iter().zip(1..) {
        while let Some(due) = engine.poll_timeout().filter(|&due| due <= row.at) {
            engine.handle_timeout(due);
            settle(&mut engine, due, &mut happened);
        }
        let whence = Whence { source: 0, line };
        let sighting = Sighting {
            packet: row.packet,
            at: row.at,
            uptime: None,
            logged: Logged::default(),
            whence,
        };
        engine.detection.handle_unix(row.at, row.at);
        // Whether it counts is what the scenario is about.
        let _ = engine.handle_packet(row.at, &sighting);
        settle(&mut engine, row.at, &mut happened);
    }
    while let Some(due) = engine.poll_timeout() {
        engine.handle_timeout(due);
        settle(&mut engine, due, &mut happened);
    }
    happened
}

/// Notes every order and answers it with success.
fn settle(engine: &mut Engine, now: Time, happened: &mut Vec<(Time, String)>) {
    let mut note =
        |door: &str, src: IpAddr, what: &str| happened.push((now, format!("{what} {door} {src}")));
    engine.settle(now, &mut |grants, order| match &order.task {
        Task::Open(id) => {
            let grant = grants.get(*id).expect("a grant that begins");
            note(&grant.door, grant.src, "open");
        }
        Task::Close(id) => {
            let grant = grants.get(*id).expect("a grant that ends");
            note(&grant.door, grant.src, "close");
        }
        Task::Run(door) => {
            let is_open = grants.iter().any(|(_, grant)| {
                grant.door == *door && grant.src == order.src && grant.phase == Phase::Open
            });
            note(door, order.src, if is_open { "refresh" } else { "run" });
        }
        Task::Mark(_) => {}
    });
    while let Some(event) = engine.poll_event() {
        match event.kind {
            EventKind::Refused { .. } => note(&event.door, event.src, "refused"),
            EventKind::CodesRefused => note(&event.door, event.src, "codes_refused"),
            _ => {}
        }
    }
}

fn shown(mut list: Vec<(Time, String)>) -> Vec<String> {
    list.sort();
    list.into_iter()
        .map(|(at, what)| format!("{} µs {what}", at.as_nanos() / 1_000))
        .collect()
}

fn time(text: &str) -> Time {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let nanos = format!("{part:0<9}");
    Time::from_secs(whole.parse().unwrap()).after(Duration::from_nanos(nanos.parse().unwrap()))
}

fn packet<'a>(number: u16, address: &str, port: &str, keys: &[&'a str]) -> Packet<'a> {
    let src = address.parse::<IpAddr>().unwrap().to_canonical();
    let (port, proto) = port.split_once('/').expect("port/proto");
    let proto = match proto {
        "tcp" => Proto::Tcp,
        "udp" => Proto::Udp,
        other => panic!("what protocol is {other}?"),
    };
    let mut packet = Packet {
        prefix: b"",
        iif: b"eth0",
        oif: b"",
        headers: Headers {
            src,
            dst: if src.is_ipv4() {
                "198.51.100.1"
            } else {
                "2001:db8:ffff::1"
            }
            .parse()
            .unwrap(),
            proto,
            ports: Some(Ports {
                src: 50_000 + number,
                dst: port.parse().unwrap(),
            }),
            flags: if proto == Proto::Tcp {
                TcpFlags::SYN
            } else {
                TcpFlags::NONE
            },
            mark: Fingerprint::default(),
        },
    };
    for key in keys {
        match key.split_once('=').expect("key=value") {
            ("from", value) => packet.headers.ports.as_mut().unwrap().src = value.parse().unwrap(),
            ("id", value) => packet.headers.mark.id = Some(value.parse().unwrap()),
            ("seq", value) => packet.headers.mark.seq = Some(value.parse().unwrap()),
            ("to", value) => packet.headers.dst = value.parse().unwrap(),
            ("in", value) => packet.iif = value.as_bytes(),
            ("out", value) => packet.oif = value.as_bytes(),
            ("flags", value) => packet.headers.flags = flags(value),
            (other, _) => panic!("what is {other}=?"),
        }
    }
    packet
}

fn flags(text: &str) -> TcpFlags {
    let one = |name: &str| {
        TcpFlags::NAMES
            .iter()
            .find(|(other, _)| *other == name)
            .expect(name)
            .1
    };
    text.split(',')
        .filter(|name| !name.is_empty())
        .map(one)
        .fold(TcpFlags::NONE, TcpFlags::with)
}
