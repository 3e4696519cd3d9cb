//! One kernel's lines through two sources at once, in the forms that they have there: a packet is one
//! packet, whichever source is late, and two packets are two.

use std::sync::Arc;
use std::time::Duration;

use crate::chained::Engine;
use logknock::config;
use logknock::engine::Sighting;
use logknock::engine::attempts::Limits;
use logknock::engine::door::Door;
use logknock::engine::event::{EventKind, Whence};
use logknock::engine::knock::Logged;
use logknock::engine::line::Origin;
use logknock::engine::reading::Expected;
use logknock::engine::time::Time;
use logknock::engine::timeline::{Received, Stamps, Timeline};

const UDP: &str = "lk: IN=eth0 OUT= MAC= SRC=203.0.113.7 DST=192.0.2.1 LEN=29 TOS=0x00 PREC=0x00 TTL=64 ID=0 DF PROTO=UDP SPT=40000 DPT=8000 LEN=9 ";
const UDP_WITH_ID: &str = "lk: IN=eth0 OUT= MAC= SRC=203.0.113.7 DST=192.0.2.1 LEN=29 TOS=0x00 PREC=0x00 TTL=64 ID=4711 PROTO=UDP SPT=40000 DPT=8000 LEN=9 ";
const UDP_OVER_IPV6: &str = "lk: IN=eth0 OUT= MAC= SRC=2001:0db8:0000:0000:0000:0000:0000:0007 DST=2001:0db8:0000:0000:0000:0000:0000:0001 LEN=49 TC=0 HOPLIMIT=64 FLOWLBL=7 PROTO=UDP SPT=40000 DPT=8000 LEN=9 ";

/// A SYN of the sender of `datagram`.
fn syn(datagram: &str, port: u16) -> String {
    let (head, _) = datagram.split_once("PROTO=").unwrap();
    format!("{head}PROTO=TCP SPT=40001 DPT={port} WINDOW=64240 RES=0x00 SYN URGP=0 ")
}

/// How a source writes a message that the kernel stamped with `millis`.
type Form = fn(u64, &str) -> String;

fn kmsg(millis: u64, body: &str) -> String {
    format!("4,7,{millis}000,-;{body}")
}

/// rsyslog's imklog, or journald's own relay.
fn stamped(millis: u64, body: &str) -> String {
    let (seconds, millis) = (millis / 1000, millis % 1000);
    format!("kernel: [{seconds:>5}.{millis:03}000] {body}")
}

/// rsyslog's imkmsg.
fn plain(_: u64, body: &str) -> String {
    format!("kernel: {body}")
}

const PAIRS: [[Form; 2]; 5] = [
    [kmsg, stamped],
    [kmsg, plain],
    [stamped, plain],
    [plain, plain],
    [kmsg, kmsg],
];

fn doors(sequence: &str) -> Vec<Arc<Door>> {
    let text = format!("[door.ssh]\nsequence = [{sequence}]\nstart_command = [\"/bin/true\"]\n");
    config::parse("test", &text).unwrap().doors
}

/// What `doors` tell of the packets, each stamped at its milliseconds, shown by the first source
/// `late[0]` later and by the second `late[1]` later.
fn told(
    doors: &[Arc<Door>],
    forms: [Form; 2],
    late: [u64; 2],
    packets: &[(u64, &str)],
) -> Vec<EventKind> {
    let expected = Expected::Prefix((*b"lk: ").into());
    let mut engine = Engine::new(doors.to_vec(), Duration::from_secs(1), Limits::default());
    let mut timelines = [0, 1].map(|_| Timeline::new(Duration::from_secs(30), *b"fw"));
    let mut shown: Vec<(u64, usize, String)> = Vec::new();
    for (millis, body) in packets {
        for source in [0, 1] {
            let line = forms[source](*millis, body);
            shown.push((millis + late[source], source, line));
        }
    }
    shown.sort_by_key(|(millis, ..)| *millis);
    let mut told = Vec::new();
    for (number, (millis, source, line)) in (1..).zip(&shown) {
        let now = Time::from_nanos(i64::try_from(millis * 1_000_000).unwrap());
        let (record, packet) = expected
            .read(line.as_bytes(), Origin::Claimed)
            .unwrap()
            .expect("a packet");
        let stamps = Stamps {
            host: b"",
            wall: None,
            uptime: record.uptime,
        };
        let received = Received {
            now,
            awake: now,
            wall: now,
            late: false,
        };
        let placed = timelines[*source].place_live(stamps, received).unwrap();
        assert!(placed.rebooted.is_none());
        let whence = Whence {
            source: u16::try_from(*source).unwrap(),
            line: number,
        };
        let sighting = Sighting {
            packet,
            at: placed.at,
            uptime: record.uptime,
            logged: Logged::default(),
            whence,
        };
        // That it is the same again is what is looked for.
        let _ = engine.handle_packet(now, &sighting);
        told.extend(std::iter::from_fn(|| engine.poll_event()).map(|event| event.kind));
        while engine.poll_order().is_some() {}
    }
    told
}

/// What `doors` tell of SYNs to `ports`, each shown by the source beside it, where the second source may knock at
/// the door `ssh` only.
fn told_apart(doors: &[Arc<Door>], packets: &[(u16, u16)]) -> Vec<(String, EventKind)> {
    let expected = Expected::Prefix((*b"lk: ").into());
    let mut engine = Engine::new(doors.to_vec(), Duration::from_secs(1), Limits::default());
    engine
        .detection
        .attempts
        .set_audience(1, Some(Arc::new(["ssh".into()])));
    let mut told = Vec::new();
    for ((source, port), second) in packets.iter().zip(100..) {
        let line = plain(0, &syn(UDP, *port));
        let (_, packet) = expected
            .read(line.as_bytes(), Origin::Claimed)
            .unwrap()
            .expect("a packet");
        let at = Time::from_secs(second);
        let whence = Whence {
            source: *source,
            line: 1,
        };
        let sighting = Sighting {
            packet,
            at,
            uptime: None,
            logged: Logged::default(),
            whence,
        };
        // What counts nowhere is told as well.
        let _ = engine.handle_packet(at, &sighting);
        let events = std::iter::from_fn(|| engine.poll_event());
        told.extend(events.map(|event| (event.door.to_string(), event.kind)));
        while engine.poll_order().is_some() {}
    }
    told
}

fn two_doors() -> Vec<Arc<Door>> {
    let door =
        |name| format!("[door.{name}]\nsequence = [7000, 8000]\nstart_command = [\"/bin/true\"]\n");
    let text = door("ssh") + &door("web");
    config::parse("test", &text).unwrap().doors
}

#[test]
fn a_source_counts_only_for_its_doors() {
    let told = told_apart(&two_doors(), &[(1, 7000), (1, 8000)]);
    assert!(told.iter().all(|(door, _)| door == "ssh"), "{told:?}");
    assert!(told.contains(&("ssh".to_owned(), EventKind::Open)));
}

#[test]
fn a_wrong_port_from_a_source_resets_only_its_doors() {
    let told = told_apart(&two_doors(), &[(0, 7000), (1, 9999), (0, 8000)]);
    let opened: Vec<_> = told
        .iter()
        .filter(|(_, kind)| *kind == EventKind::Open)
        .map(|(door, _)| door.as_str())
        .collect();
    assert_eq!(opened, ["web"]);
}

#[test]
fn a_packet_that_a_source_with_few_doors_shows_first_still_counts_at_the_others() {
    let packets = [(1, 7000), (0, 7000), (1, 8000), (0, 8000)];
    let told = told_apart(&two_doors(), &packets);
    let opens = |name: &str| {
        let is_open = |event: &&(String, EventKind)| event.0 == name && event.1 == EventKind::Open;
        told.iter().filter(is_open).count()
    };
    assert_eq!((opens("ssh"), opens("web")), (1, 1), "{told:?}");
}

#[test]
fn a_packet_that_every_door_knows_is_no_second_one_from_a_source_with_few_doors() {
    let door = "[door.ssh]\nsequence = [7000, 7000]\nstart_command = [\"/bin/true\"]\n";
    let doors = config::parse("test", door).unwrap().doors;
    let told = told_apart(&doors, &[(0, 7000), (1, 7000)]);
    assert!(
        told.iter().all(|(_, kind)| *kind != EventKind::Open),
        "{told:?}"
    );
}

fn opened(told: &[EventKind]) -> usize {
    told.iter().filter(|kind| **kind == EventKind::Open).count()
}

/// Every pair of forms, with either source the later one, by little and by much.
fn each_way(mut check: impl FnMut([Form; 2], [u64; 2])) {
    for forms in PAIRS {
        for late in [[1, 4], [4, 1], [2, 450], [450, 2], [3, 3]] {
            check(forms, late);
        }
    }
}

#[test]
fn a_sequence_through_two_sources_opens_once_and_nothing_resets_it() {
    let doors = doors("7000, \"8000:udp\", 9000");
    for datagram in [UDP, UDP_WITH_ID, UDP_OVER_IPV6] {
        let (first, last) = (syn(datagram, 7000), syn(datagram, 9000));
        for gap in [100, 700] {
            let knocks = [
                (50_000, first.as_str()),
                (50_000 + gap, datagram),
                (50_000 + 2 * gap, last.as_str()),
            ];
            each_way(|forms, late| {
                let told = told(&doors, forms, late, &knocks);
                assert_eq!(told.len(), 4, "three stages: {told:?} {late:?}");
                assert_eq!(opened(&told), 1, "{told:?} {late:?}");
            });
        }
    }
}

#[test]
fn one_datagram_through_two_sources_is_not_two() {
    let doors = doors("\"8000:udp\", \"8000:udp\"");
    for datagram in [UDP, UDP_WITH_ID, UDP_OVER_IPV6] {
        each_way(|forms, late| {
            let told = told(&doors, forms, late, &[(50_000, datagram)]);
            assert_eq!(told, [EventKind::Stage { stage: 1, of: 2 }], "{late:?}");
        });
    }
}

#[test]
fn two_datagrams_through_two_sources_are_two() {
    let doors = doors("\"8000:udp\", \"8000:udp\"");
    let other = UDP_WITH_ID.replace("ID=4711", "ID=4712");
    for (one, two) in [
        (UDP, UDP),
        (UDP_WITH_ID, &other),
        (UDP_OVER_IPV6, UDP_OVER_IPV6),
    ] {
        each_way(|forms, late| {
            let told = told(&doors, forms, late, &[(50_000, one), (50_200, two)]);
            assert_eq!(opened(&told), 1, "{told:?} {late:?}");
        });
    }
}
