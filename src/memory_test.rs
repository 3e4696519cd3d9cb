use super::*;
use crate::engine::event::ResetReason;

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

fn words(memory: &Memory, src: IpAddr) -> Vec<String> {
    let happenings = memory.of(src, |_| None);
    let word = |it: Happening| format!("{} {}", it.event, it.times);
    happenings.into_iter().map(word).collect()
}

#[test]
fn a_packet_is_told_by_its_events_or_by_itself() {
    let mut memory = Memory::new(Limits::default());
    memory.event(&stage(address(1), 1, 1), None);
    memory.packet(address(1), None, line(1), Ok(()));
    memory.packet(address(1), None, line(2), Ok(()));
    memory.packet(address(1), None, line(3), Err(Reason::Duplicate));
    assert_eq!(
        words(&memory, address(1)),
        ["stage 1", "hit 1", "rejected 1"]
    );
    assert!(words(&memory, address(2)).is_empty());
}

#[test]
fn a_happening_has_the_keys_of_its_event() {
    let mut memory = Memory::new(Limits::default());
    let reset = EventKind::Reset {
        stage: 2,
        of: 3,
        reason: ResetReason::WrongPort,
    };
    let event = Event {
        kind: reset,
        ..stage(address(1), 0, 40)
    };
    memory.event(&event, Some(Time::from_secs(0)));
    let happening = memory.of(address(1), |source| Some(format!("file {source}")));
    let json = serde_json::to_value(&happening).unwrap();
    let expected = serde_json::json!([{
        "time": rfc3339(Time::from_secs(0)), "event": "reset", "door": "ssh", "stage": 2, "of": 3,
        "reason": "wrong_port", "file": "file 0", "line": 40, "times": 1,
    }]);
    assert_eq!(json, expected);
}

#[test]
fn a_scan_is_one_thing_with_a_count() {
    let mut memory = Memory::new(Limits::default());
    for port in 1..=1000 {
        memory.packet(address(1), None, line(port), Ok(()));
    }
    assert_eq!(words(&memory, address(1)), ["hit 1000"]);
}

#[test]
fn of_each_address_the_last_things_are_kept() {
    let mut memory = Memory::new(Limits::default());
    for number in 1..=100 {
        memory.event(&stage(address(1), number, 1), None);
    }
    let stages: Vec<_> = memory.of(address(1), |_| None);
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
        memory.packet(address(number), None, line(at), Ok(()));
    }
    let kept: Vec<_> = (1..=4)
        .filter(|&n| !words(&memory, address(n)).is_empty())
        .collect();
    assert_eq!(kept, [1, 3, 4]);
    for number in 0..10_000 {
        memory.packet(address(number), None, line(1), Ok(()));
    }
    assert_eq!((memory.addresses.len(), memory.ages.len()), (3, 3));
}
