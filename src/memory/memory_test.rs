use super::*;
use crate::engine::attempts;
use crate::engine::event::ResetReason;
use crate::engine::example;
use crate::engine::packet::{Fingerprint, Headers, Proto, TcpFlags};

fn address(number: u32) -> IpAddr {
    IpAddr::V4(number.into())
}

fn line(line: u64) -> Whence {
    Whence { source: 0, line }
}

fn stage(src: IpAddr, stage: usize, line: u64) -> Event {
    Event {
        at: Time::default(),
        door: "ssh".into(),
        src,
        kind: EventKind::Stage { stage, of: 3 },
        whence: Some(self::line(line)),
    }
}

/// A detection with one door, of the ports 7000, 8000, 9000.
fn detection() -> Detection {
    let doors = vec![example::door(&[7000, 8000, 9000]).into()];
    Detection::new(doors, Duration::ZERO, attempts::Limits::default())
}

fn packet(src: IpAddr, port: u16) -> Packet<'static> {
    Packet {
        prefix: b"",
        iif: b"eth0",
        oif: b"",
        headers: Headers {
            src,
            dst: address(0xc000_0201),
            proto: Proto::Tcp,
            ports: Some(Ports {
                src: 40_000,
                dst: port,
            }),
            flags: TcpFlags::SYN,
            mark: Fingerprint::default(),
        },
    }
}

/// Notes a packet to `port` at a time in milliseconds.
fn note(memory: &mut Memory, who: u32, port: u16, at: i64, verdict: Result<(), Reason>) {
    let (whence, at) = (line(at.unsigned_abs()), Time::from_nanos(at * 1_000_000));
    let packet = packet(address(who), port);
    memory.packet(&detection(), &packet, at, whence, verdict, None);
}

fn told(memory: &Memory, src: IpAddr) -> Vec<Happening> {
    let reader = Reader {
        name: &|source| Some(format!("file {source}")),
        wall: &|at| Some(at),
        is_secret: &|port| port == 2222,
    };
    memory.of(src, &reader)
}

fn words(memory: &Memory, src: IpAddr) -> Vec<String> {
    let word = |it: Happening| format!("{} {}", it.event, it.times);
    told(memory, src).into_iter().map(word).collect()
}

#[test]
fn a_packet_is_told_by_its_events_or_by_itself() {
    let mut memory = Memory::new(Limits::default());
    memory.event(&stage(address(1), 1, 1));
    note(&mut memory, 1, 7000, 1, Ok(()));
    note(&mut memory, 1, 7000, 2, Ok(()));
    note(&mut memory, 1, 7000, 3, Err(Reason::Stale));
    assert_eq!(
        words(&memory, address(1)),
        ["stage 1", "hit 1", "rejected 1"]
    );
    assert!(words(&memory, address(2)).is_empty());
}

#[test]
fn a_happening_has_the_keys_of_its_event_and_of_its_packet() {
    let mut memory = Memory::new(Limits::default());
    let reset = EventKind::Reset {
        stage: 2,
        of: 3,
        reason: ResetReason::WrongPort,
    };
    let event = Event {
        kind: reset,
        at: Time::from_nanos(40_000_000),
        ..stage(address(1), 0, 40)
    };
    memory.event(&event);
    note(&mut memory, 1, 8080, 40, Ok(()));
    let json = serde_json::to_value(told(&memory, address(1))).unwrap();
    let expected = serde_json::json!([{
        "time": rfc3339(Time::from_nanos(40_000_000)), "at_us": 40_000, "event": "reset", "door": "ssh", "stage": 2,
        "of": 3, "reason": "wrong_port", "port": "8080/tcp", "file": "file 0", "line": 40, "times": 1,
    }]);
    assert_eq!(json, expected);
}

#[test]
fn the_port_of_a_knock_is_a_step_and_no_number() {
    let mut memory = Memory::new(Limits::default());
    note(&mut memory, 1, 9000, 1, Ok(()));
    // One that is a knock only since the rules were read again.
    note(&mut memory, 1, 2222, 2, Ok(()));
    let [knock, later] = &told(&memory, address(1))[..] else {
        panic!("there are not two");
    };
    assert_eq!((knock.seen[0].step, knock.seen[0].of), (Some(3), 3));
    assert_eq!((&knock.port, &later.port), (&None, &None));
    assert!(!format!("{knock:?}").contains("9000"));
}

#[test]
fn a_packet_again_is_sent_again_or_soon_after_logged_twice() {
    let mut memory = Memory::new(Limits::default());
    for (at, verdict) in [
        (0, Ok(())),
        (2, Err(Reason::Duplicate)),
        (1000, Err(Reason::Duplicate)),
    ] {
        note(&mut memory, 1, 7000, at, verdict);
    }
    let told = told(&memory, address(1));
    let reasons: Vec<_> = told.iter().map(|it| it.reason.as_deref()).collect();
    assert_eq!(reasons, [None, Some("logged_twice"), Some("duplicate")]);
}

#[test]
fn losses_are_reported_from_the_first_packet_on() {
    let mut memory = Memory::new(Limits::default());
    memory.lost(3, Time::from_secs(1), Some(7));
    assert_eq!(words(&memory, address(9)), ["lost 1"], "it may be why");
    note(&mut memory, 1, 7000, 2000, Ok(()));
    memory.lost(3, Time::from_secs(3), None);
    note(&mut memory, 1, 9000, 4000, Ok(()));
    assert_eq!(words(&memory, address(1)), ["hit 1", "lost 1", "hit 1"]);
    for at in 0..1000 {
        memory.lost(3, Time::from_secs(at), None);
    }
    assert_eq!(memory.losses.len(), MAX_LOSSES);
}

#[test]
fn the_last_events_are_shown_and_a_scan_does_not_evict_an_open() {
    let mut memory = Memory::new(Limits::default());
    let open = Event {
        kind: EventKind::Open,
        ..stage(address(7), 0, 1)
    };
    memory.event(&open);
    for number in 1..=1000 {
        memory.event(&stage(address(number), 1, 1));
    }
    let reader = Reader {
        name: &|_| None,
        wall: &|_| None,
        is_secret: &|_| false,
    };
    let recent = memory.recent(&reader);
    assert_eq!(recent.len(), MAX_RECENT + 1);
    let is_open = |it: &&Happening| (it.src, &*it.event) == (Some(address(7)), "open");
    assert_eq!(recent.iter().filter(is_open).count(), 1);
    assert_eq!(
        recent
            .iter()
            .filter(|it| it.src == Some(address(1000)))
            .count(),
        1
    );
}

#[test]
fn a_scan_is_one_thing_with_a_count() {
    let mut memory = Memory::new(Limits::default());
    for port in 1..=1000 {
        note(&mut memory, 1, port, port.into(), Ok(()));
    }
    assert_eq!(words(&memory, address(1)), ["hit 1000"]);
    let [scan] = &told(&memory, address(1))[..] else {
        panic!("there is not one");
    };
    assert_eq!((scan.since_us, scan.at_us), (Some(1000), 1_000_000));
}

#[test]
fn of_each_address_the_last_things_are_kept() {
    let mut memory = Memory::new(Limits::default());
    for number in 1..=100 {
        memory.event(&stage(address(1), number, 1));
    }
    let stages: Vec<_> = told(&memory, address(1));
    let stages: Vec<_> = stages.iter().filter_map(|it| it.stage).collect();
    assert_eq!(stages, (85..=100).collect::<Vec<_>>());
}

#[test]
fn the_address_longest_unheard_of_is_forgotten() {
    let mut memory = Memory::new(Limits {
        addresses: 3,
        notes: 2,
    });
    for (number, at) in [1, 2, 3, 1, 4].into_iter().zip(1..) {
        note(&mut memory, number, 80, at, Ok(()));
    }
    let kept: Vec<_> = (1..=4)
        .filter(|&n| !words(&memory, address(n)).is_empty())
        .collect();
    assert_eq!(kept, [1, 3, 4]);
    for number in 0..10_000 {
        note(&mut memory, number, 80, 1, Ok(()));
    }
    assert_eq!((memory.addresses.len(), memory.ages.len()), (3, 3));
}

#[test]
fn a_line_names_an_address_in_any_spelling() {
    let names = |line: &[u8]| named(line).collect::<Vec<_>>();
    let (v6, v4): (IpAddr, IpAddr) = ("2001:db8::7".parse().unwrap(), "192.0.2.7".parse().unwrap());
    assert_eq!(
        names(b"SRC=2001:0db8:0000:0000:0000:0000:0000:0007 DST=::1"),
        [v6]
    );
    assert_eq!(names(b"x SRC=192.0.2.7"), [v4]);
    assert_eq!(names(b"SRC=? SRC=::ffff:192.0.2.7 \xff"), [v4]);
    for other in [&b"SRC=192.0.2.777 "[..], b"DST=192.0.2.7 ", b"SRC=", b""] {
        assert!(names(other).is_empty());
    }
}
