//! The detector's scenarios as real packets against knockers without a daemon.
//!
//! In: files of `fixtures/scenarios`, as they are, but for their addresses (each file gets a network of
//! its own), their times (all shorter by one factor) and what the door does (`opens`). Files that have
//! the same doors are played at once. An expected `open` is a connection that gets in; at the end nobody
//! else does. Left out: what rules refuse to promise (`lockout`, `cooldown`, `min_gap`, commands), what
//! the sender's kernel does not send (flags, IDs), edges of a microsecond, and `a-repeated-port…` and
//! `what-an-expired…`, for which `rules` warns.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::host::Reach;
use crate::kernel_only::{Form, witness};
use crate::kmsg::Kmsg;
use crate::lab::{Family, Hit, Lab, PATIENCE};
use crate::process::eventually;
use crate::turn::Ring;

const STRICT: [&str; 9] = [
    "right-order-opens",
    "wrong-order-does-not-open",
    "another-port-starts-over",
    "another-port-is-ignored-when-not-strict",
    "the-right-port-by-the-wrong-protocol-starts-over",
    "the-knock-that-breaks-a-match-begins-the-next",
    "a-retransmitted-syn-counts-once",
    "addresses-do-not-disturb-each-other",
    "doors-that-begin-alike-both-open",
];

const NETWORKS: &str = "only-from-allowed-networks";

const COUNTS: [&str; 5] = [
    "counts-open-when-every-window-holds-its-count",
    "counts-in-the-wrong-windows-do-not-open",
    "counts-do-not-mind-other-ports",
    "one-hit-too-many-closes-again",
    "counts-of-one-transport-only",
];

#[test]
fn recent_plays_the_scenarios_of_sequences() {
    play(
        Form::Recent,
        Family::V4,
        &[&STRICT[..], &[NETWORKS]].concat(),
        5,
    );
}

#[test]
fn recent_plays_the_scenarios_of_sequences_over_ipv6() {
    play(Form::Recent, Family::V6, &STRICT, 5);
}

#[test]
fn nft_plays_the_scenarios_of_sequences() {
    play(
        Form::Nft,
        Family::V4,
        &[&STRICT[..], &[NETWORKS]].concat(),
        5,
    );
}

#[test]
fn nft_plays_the_scenarios_of_sequences_over_ipv6() {
    play(Form::Nft, Family::V6, &STRICT, 5);
}

#[test]
fn recent_plays_the_scenarios_of_counts() {
    play(Form::Recent, Family::V4, &COUNTS, 2);
}

#[test]
fn recent_plays_the_scenarios_of_counts_over_ipv6() {
    play(Form::Recent, Family::V6, &COUNTS, 2);
}

/// A packet, or a connection that must get in.
#[derive(Debug)]
enum Act {
    Hit(Hit, Option<u16>),
    Enter,
}

struct Row {
    at: Duration,
    who: IpAddr,
    act: Act,
}

fn play(form: Form, family: Family, names: &[&str], faster: u32) {
    let Some(lab) = Lab::new(Ring::Shared, form.needs()) else {
        return;
    };
    lab.near.crowd(&lab.server);
    witness(&lab);
    let mut plays: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for (name, number) in names.iter().zip(1..) {
        let (doors, rows) = scenario(name, number, family, faster);
        plays.entry(doors).or_default().extend(rows);
    }
    for (doors, mut rows) in plays {
        rows.sort_by_key(|row| row.at);
        form.load(&lab, &doors);
        perform(&lab, family, &rows);
        form.remove(&lab);
    }
}

fn perform(lab: &Lab, family: Family, rows: &[Row]) {
    let began = Instant::now();
    for row in rows {
        thread::sleep(row.at.saturating_sub(began.elapsed()));
        let family = family_of(row.who, family);
        match row.act {
            Act::Enter => {
                let reach = lab.near.connect_from(row.who, family.server(22));
                assert_eq!(reach, Reach::Open, "{} at {:?}", row.who, row.at);
            }
            Act::Hit(hit, source) => send(lab, family, row.who, hit, source),
        }
    }
    let everybody: BTreeSet<IpAddr> = rows.iter().map(|row| row.who).collect();
    for who in everybody {
        let server = family_of(who, family).server(22);
        assert_eq!(lab.near.connect_from(who, server), Reach::Closed, "{who}");
    }
}

/// Sends a packet, and returns when the kernel has logged it.
fn send(lab: &Lab, family: Family, who: IpAddr, hit: Hit, source: Option<u16>) {
    let mut kernel = Kmsg::from_now();
    let source = SocketAddr::new(who, source.unwrap_or(0));
    let port = match hit {
        Hit::Tcp(port) => {
            lab.near.syn_from(source, family.server(port));
            port
        }
        Hit::Udp(port) => {
            lab.near.datagram_from(source, family.server(port));
            port
        }
    };
    let word = format!(" DPT={port} ");
    eventually("the kernel logs the packet", PATIENCE, || {
        let lines = kernel.lines(&lab.prefix);
        lines.iter().any(|line| line.contains(&word))
    });
}

fn family_of(who: IpAddr, usual: Family) -> Family {
    match (who, usual) {
        (IpAddr::V4(_), _) => Family::V4,
        (IpAddr::V6(_), _) => Family::V6,
    }
}

/// The doors and the rows of a file.
fn scenario(name: &str, number: u8, family: Family, faster: u32) -> (String, Vec<Row>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = path.join(format!("fixtures/scenarios/{name}.txt"));
    let text = fs::read_to_string(path).expect("the scenario is there");
    let mapped = [
        ("2001:db8::7", format!("2001:db8:18:{number}::7")),
        ("198.51.100.", format!("198.19.{number}.")),
        (
            "192.0.2.",
            match family {
                Family::V4 => format!("198.18.{number}."),
                Family::V6 => format!("2001:db8:18:{number}::"),
            },
        ),
    ];
    let text = mapped
        .iter()
        .fold(text, |text, (from, to)| text.replace(from, to));
    let (doors, rows) = text.split_once("\n---\n").expect("a line '---'");
    (self::doors(doors, faster), self::rows(rows, faster))
}

/// With `opens` in place of commands, and shorter times.
fn doors(text: &str, faster: u32) -> String {
    let mut doors = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        let (key, value) = (key.trim(), value.trim());
        match key {
            "start_command" => doors.push("opens = [\"22:tcp\"]".to_owned()),
            "stop_command" => {}
            "seq_timeout" | "cmd_timeout" | "window" => {
                let time: u32 = value.parse().expect("whole seconds");
                assert_eq!(time % faster, 0, "{line}");
                doors.push(format!("{key} = {}", time / faster));
            }
            _ => doors.push(line.to_owned()),
        }
    }
    doors.join("\n")
}

fn rows(text: &str, faster: u32) -> Vec<Row> {
    let rows = text.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match *words.as_slice() {
            [] | ["#", ..] | ["=>", _, "close", ..] => None,
            ["=>", at, "open", _, who] => Some(row(at, who, Act::Enter, faster)),
            [at, who, port, ref keys @ ..] => {
                let (port, transport) = port.split_once('/').expect("port/proto");
                let port = port.parse().expect("a port");
                let hit = match transport {
                    "tcp" => Hit::Tcp(port),
                    _ => Hit::Udp(port),
                };
                let from = keys.iter().find_map(|key| key.strip_prefix("from="));
                let from = from.map(|port| port.parse().expect("a port"));
                Some(row(at, who, Act::Hit(hit, from), faster))
            }
            _ => panic!("what is '{line}'?"),
        }
    });
    rows.collect()
}

fn row(at: &str, who: &str, act: Act, faster: u32) -> Row {
    let at: f64 = at.parse().expect("seconds");
    Row {
        at: Duration::from_secs_f64(at) / faster,
        who: who.parse().expect("an address"),
        act,
    }
}
