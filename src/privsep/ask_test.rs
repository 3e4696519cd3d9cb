//! What the follower may ask, and that nothing else is an ask, whatever bytes come.

use proptest::prelude::*;

use super::*;
use crate::privsep::{Tell, pieces};

fn knock() -> Knock {
    Knock {
        door: "ssh".to_owned(),
        src: "2001:db8::7".parse().unwrap(),
        dst: "2001:db8::1".parse().unwrap(),
        port: 9000,
        udp: true,
        interface: "eth0".to_owned(),
    }
}

fn asks() -> Vec<Ask> {
    vec![
        Ask::Open {
            grant: 7,
            knock: knock(),
            deadline: i64::MAX,
            spend: Some(Spend::Until(i64::MIN)),
            last: Some(Last {
                kernel: Some(i64::MAX),
                header: None,
                port: Some(40_000),
            }),
        },
        Ask::Run {
            knock: knock(),
            spend: None,
            last: None,
        },
        Ask::Spend {
            door: "ssh".to_owned(),
            spend: Spend::Line(7),
        },
        Ask::Refresh(knock()),
        Ask::Extend {
            grant: u64::MAX,
            deadline: i64::MIN,
            last: None,
        },
        Ask::Close(1),
        Ask::Forget(1),
        Ask::Started,
        Ask::Reload,
        Ask::Notice(Notice::status("following, 1 door open")),
        Ask::Journal {
            source: 3,
            read: Read::From(Some("s=5c;i=1a2;b=-".to_owned())),
        },
        Ask::JournalEnd {
            source: 3,
            latest: true,
        },
        Ask::Done,
    ]
}

#[test]
fn every_ask_is_read_as_it_was_said() {
    for ask in asks() {
        assert_eq!(decode_ask(&ask.encode().unwrap()), Some(ask));
    }
}

#[test]
fn no_command_and_no_second_line_is_ever_an_ask() {
    let status = |text: &str| Ask::Notice(Notice::Status(text.to_owned()));
    let interface = |name: &str| {
        let interface = name.to_owned();
        Ask::Refresh(Knock {
            interface,
            ..knock()
        })
    };
    let from = |cursor: &str| Ask::Journal {
        source: 0,
        read: Read::From(Some(cursor.to_owned())),
    };
    let door = "d".repeat(65);
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
        Ask::Refresh(Knock { door, ..knock() }),
    ];
    for ask in unsound {
        let bytes = serde_json::to_vec(&ask).unwrap();
        assert_eq!(decode_ask(&bytes), None, "{ask:?}");
    }
    let unknown = [
        r#"{"refresh":{"door":"ssh","src":"192.0.2.7","dst":"192.0.2.1","port":1,"udp":false,"interface":"e","argv":["/bin/sh"]}}"#,
        r#"{"close":1,"open":2}"#,
        r#"{"close":-1}"#,
        r#""done" "done""#,
        "",
    ];
    for bytes in unknown {
        assert_eq!(decode_ask(bytes.as_bytes()), None, "{bytes}");
    }
}

#[test]
fn how_we_are_is_cut_to_what_may_be_said() {
    let said = format!("a\nb{}", "é".repeat(1000));
    let ask = Ask::Notice(Notice::status(&said));
    assert_eq!(decode_ask(&ask.encode().unwrap()), Some(ask.clone()));
    assert!(matches!(ask, Ask::Notice(Notice::Status(text)) if text.starts_with("a bé")));
}

#[test]
fn a_configuration_comes_in_pieces_that_fit() {
    let text = "\u{1}é".repeat(100_000);
    let mut whole = String::new();
    for tell in pieces(&text) {
        let bytes = tell.encode().expect("it fits");
        let Some(Tell::Rules { more, piece }) = Tell::decode(&bytes) else {
            panic!("no piece");
        };
        whole.push_str(&piece);
        assert_eq!(more, whole.len() < text.len());
    }
    assert_eq!(whole, text);
    assert_eq!(pieces("").len(), 1);
}

proptest! {
    #[test]
    fn any_bytes_are_an_ask_within_its_bounds_or_none(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        bounded(&bytes);
    }

    #[test]
    fn an_ask_with_any_bytes_changed_is_within_its_bounds_or_none(
        which in 0..13_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = asks()[which].encode().unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bounded(&bytes);
        bounded(&bytes[..cut.index(bytes.len())]);
    }

    #[test]
    fn what_is_too_long_is_no_ask(padding in MAX_ASK..MAX_ASK * 2) {
        let bytes = format!("{}\"done\"", " ".repeat(padding));
        prop_assert_eq!(decode_ask(bytes.as_bytes()), None);
    }
}

fn bounded(bytes: &[u8]) {
    if let Some(ask) = decode_ask(bytes) {
        assert!(ask.is_sound());
        let again = ask.encode().expect("what was read can be said");
        assert_eq!(decode_ask(&again), Some(ask));
    }
}
