//! What the detector may say, and that nothing else is a message, whatever bytes come.

use proptest::prelude::*;

use super::*;
use crate::engine::event::{Event, EventKind, RefusedReason, Whence};
use crate::engine::finding::Knocked;
use crate::engine::one_time::Used;
use crate::engine::sequence::{Step, Transport};

fn facts(door: &str, interface: &str) -> Facts {
    Facts {
        src: "2001:db8::7".parse().unwrap(),
        dst: "2001:db8::1".parse().unwrap(),
        step: Step {
            port: 9000,
            transport: Transport::Udp,
        },
        interface: interface.into(),
        door: door.into(),
        hold: None,
    }
}

fn whence(source: u16, line: u64) -> Whence {
    Whence { source, line }
}

fn knock() -> Knocked {
    Knocked {
        facts: facts("ssh", "eth0"),
        used: Some(Used::Until(i64::MIN)),
        until: Some(Time::from_nanos(i64::MAX)),
        origin: None,
        last: Some(Last {
            kernel: Some(Time::from_nanos(i64::MAX)),
            header: None,
            port: Some(40_000),
        }),
        whence: Some(whence(3, u64::MAX)),
    }
}

fn found(finding: Finding) -> ToMonitor {
    ToMonitor::Found(finding)
}

fn messages() -> Vec<ToMonitor> {
    vec![
        ToMonitor::Following,
        found(Finding::Knocked(knock())),
        found(Finding::Knocked(Knocked {
            used: Some(Used::Line(7)),
            until: None,
            last: None,
            whence: None,
            ..knock()
        })),
        found(Finding::Entered {
            door: "ssh".into(),
            src: "192.0.2.7".parse().unwrap(),
            whence: whence(0, 1),
        }),
        found(Finding::Overcount {
            door: "ssh".into(),
            src: "192.0.2.7".parse().unwrap(),
            whence: None,
        }),
        found(Finding::CodesFailed {
            door: "ssh".into(),
            until: i64::MAX,
        }),
        ToMonitor::Alive(None),
        ToMonitor::Alive(Some(ToMonitor::status("following, 1 door open"))),
        ToMonitor::Reloaded,
        ToMonitor::Answer {
            to: u32::MAX,
            piece: Piece {
                more: true,
                text: "{}".to_owned(),
            },
        },
        ToMonitor::Journal {
            source: 3,
            wanted: Wanted::From(Some("s=5c;i=1a2;b=-".to_owned())),
        },
        ToMonitor::Journal {
            source: 3,
            wanted: Wanted::Latest,
        },
        ToMonitor::JournalEnd {
            source: 3,
            latest: true,
        },
        ToMonitor::Exhausted,
        ToMonitor::Done,
    ]
}

#[test]
fn every_message_of_the_detector_is_read_as_it_was_said() {
    for message in messages() {
        assert_eq!(ToMonitor::decode(&message.encode().unwrap()), Some(message));
    }
}

#[test]
fn every_message_of_the_monitor_is_read_as_it_was_said() {
    let src: IpAddr = "192.0.2.7".parse().unwrap();
    let door = || Arc::from("ssh");
    let messages = [
        ToDetector::Hello {
            version: VERSION,
            alive_every: Some(500),
            stdin: true,
        },
        ToDetector::Open(door(), src),
        ToDetector::Used(door(), i64::MIN),
        ToDetector::Answered {
            door: door(),
            src,
            at: Time::from_nanos(1),
            last: knock().last.unwrap(),
        },
        ToDetector::Record(Record::EventLog),
        ToDetector::Told(Told::Event(Event {
            at: Time::from_nanos(1),
            door: door(),
            src,
            kind: EventKind::Refused {
                reason: RefusedReason::Full,
            },
            whence: Some(whence(1, 2)),
        })),
        ToDetector::Told(Told::Opened(door(), src)),
        ToDetector::Told(Told::GaveUp(door(), src)),
        ToDetector::Ended(door(), Some(1)),
        ToDetector::Ask(7, Question::Explain(src)),
        ToDetector::Ask(8, Question::Status),
        ToDetector::Stop,
        ToDetector::End,
        ToDetector::Journal(1),
        ToDetector::NoJournal(1, 2),
        ToDetector::JournalEnded(1, None),
    ];
    for message in messages {
        assert_eq!(
            ToDetector::decode(&message.encode().unwrap()),
            Some(message)
        );
    }
}

#[test]
fn no_command_and_no_second_line_is_ever_a_message() {
    let status = |text: &str| ToMonitor::Alive(Some(text.to_owned()));
    let interface = |name: &str| {
        found(Finding::Knocked(Knocked {
            facts: facts("ssh", name),
            ..knock()
        }))
    };
    let from = |cursor: &str| ToMonitor::Journal {
        source: 0,
        wanted: Wanted::From(Some(cursor.to_owned())),
    };
    let door = || Arc::from("d".repeat(65));
    let src = "192.0.2.7".parse().unwrap();
    let unsound = [
        status("following\nMAINPID=1"),
        status(&"x".repeat(1025)),
        interface("-jACCEPT"),
        interface("eth0 -j"),
        interface("sixteen_letters_"),
        interface("a/b"),
        interface("a\0"),
        from("s=1 --file=/etc/shadow"),
        from("--file\n"),
        from(&"s".repeat(513)),
        found(Finding::Knocked(Knocked {
            facts: facts(&"d".repeat(65), "eth0"),
            ..knock()
        })),
        found(Finding::Entered {
            door: door(),
            src,
            whence: whence(0, 1),
        }),
        found(Finding::Overcount {
            door: door(),
            src,
            whence: None,
        }),
        found(Finding::CodesFailed {
            door: door(),
            until: 0,
        }),
        ToMonitor::Answer {
            to: 1,
            piece: Piece {
                more: false,
                text: "x".repeat(PIECE_SIZE + 1),
            },
        },
    ];
    for message in unsound {
        let bytes = serde_json::to_vec(&message).unwrap();
        assert_eq!(ToMonitor::decode(&bytes), None, "{message:?}");
    }
    let sound = r#"{"knocked":{"used":null,"until":null,"last":null,"whence":null,"facts":{"door":"ssh","src":"192.0.2.7","dst":"192.0.2.1","step":{"port":1,"transport":"tcp"},"interface":"e"}}}"#;
    assert!(ToMonitor::decode(sound.as_bytes()).is_some());
    let with = |field: &str| sound.replace("}}}", &format!(",{field}}}}}}}"));
    let beside = |field: &str| sound.replace("}}}", &format!("}},{field}}}}}"));
    let unknown = [
        with(r#""argv":["/bin/sh"]"#),
        with(r#""hold":60"#),
        with(r#""grant":1"#),
        beside(r#""argv":["/bin/sh"]"#),
        beside(r#""hold":60"#),
        beside(r#""grant":1"#),
        sound.replace("\"port\":1", "\"port\":65536"),
        sound.replace("\"used\":null", r#""used":{"file":"/etc/passwd"}"#),
        sound.replace("\"used\":null", r#""used":{"until":1,"line":2}"#),
        r#"{"entered":{"door":"ssh","src":"192.0.2.7","whence":{"source":0,"line":1},"grant":1}}"#
            .to_owned(),
        r#"{"open":1}"#.to_owned(),
        r#"{"close":1}"#.to_owned(),
        r#"{"alive":null,"reloaded":null}"#.to_owned(),
        r#"{"journal":{"source":1,"wanted":{"file":"/etc/shadow"}}}"#.to_owned(),
        r#"{"journal":{"source":70000,"wanted":"latest"}}"#.to_owned(),
        r#"{"journal_end":{"source":1}}"#.to_owned(),
        r#""done" "done""#.to_owned(),
        String::new(),
    ];
    for bytes in unknown {
        assert_eq!(ToMonitor::decode(bytes.as_bytes()), None, "{bytes}");
    }
}

#[test]
fn how_we_are_is_cut_to_what_may_be_said() {
    let said = format!("a\nb{}", "é".repeat(1000));
    let message = ToMonitor::Alive(Some(ToMonitor::status(&said)));
    assert_eq!(
        ToMonitor::decode(&message.encode().unwrap()),
        Some(message.clone())
    );
    assert!(matches!(message, ToMonitor::Alive(Some(text)) if text.starts_with("a bé")));
}

#[test]
fn a_configuration_comes_in_pieces_that_fit() {
    let text = "\u{1}é".repeat(100_000);
    let mut whole = String::new();
    for piece in pieces(&text) {
        let message = ToDetector::Rules(piece);
        let bytes = message.encode().expect("it fits");
        let Some(ToDetector::Rules(Piece { more, text: part })) = ToDetector::decode(&bytes) else {
            panic!("no piece");
        };
        whole.push_str(&part);
        assert_eq!(more, whole.len() < text.len());
    }
    assert_eq!(whole, text);
    assert_eq!(pieces("").count(), 1);
}

proptest! {
    #[test]
    fn any_bytes_are_a_message_within_its_bounds_or_none(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        bounded(&bytes);
    }

    #[test]
    fn a_message_with_any_bytes_changed_is_within_its_bounds_or_none(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let messages = messages();
        let mut bytes = messages[which.index(messages.len())].encode().unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bounded(&bytes);
        bounded(&bytes[..cut.index(bytes.len())]);
    }

    #[test]
    fn what_is_too_long_is_no_message(padding in MAX_TO_MONITOR..MAX_TO_MONITOR * 2) {
        let bytes = format!("{}\"done\"", " ".repeat(padding));
        prop_assert_eq!(ToMonitor::decode(bytes.as_bytes()), None);
    }
}

fn bounded(bytes: &[u8]) {
    if let Some(message) = ToMonitor::decode(bytes) {
        assert!(message.is_sound());
        let again = message.encode().expect("what was read can be said");
        assert_eq!(ToMonitor::decode(&again), Some(message));
    }
}
