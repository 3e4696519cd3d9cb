//! A line of the journal is what was written, or nothing.

use super::*;

fn begin() -> Record {
    Record::Begin(Begin {
        id: GrantId(7),
        door: "ssh".into(),
        src: "2001:db8::7".parse().unwrap(),
        due: Due {
            boot: "b".into(),
            at: Time::from_nanos(1),
            deadline: Time::from_nanos(2),
            wall: 3,
        },
        origin: Some("gw2".into()),
        argv: vec!["nft".to_owned(), "\"\n\\ é\u{1f511}".to_owned()],
        env: vec![("LOGKNOCK_IP".to_owned(), "2001:db8::7".to_owned())],
        judged: Judging::Firewall,
        user: Some(Arc::new(Account {
            name: "knock".into(),
            uid: 998,
            gid: 997,
            groups: vec![997, 4],
            home: "/".into(),
        })),
    })
}

fn line(record: &Record) -> Vec<u8> {
    let mut line = Vec::new();
    record.write(&mut line);
    assert_eq!(line.pop(), Some(b'\n'));
    assert!(!line.contains(&b'\n'), "one record is one line");
    line
}

#[test]
fn a_line_reads_back_as_what_was_written_and_is_json() {
    let records = [
        begin(),
        Record::Header {
            version: VERSION,
            next: 8,
        },
        Record::Opened { id: GrantId(7) },
        Record::Closed { id: GrantId(7) },
        Record::Answered(Answered {
            door: "ssh".into(),
            src: "192.0.2.7".parse().unwrap(),
            boot: "b".into(),
            at: Time::from_nanos(1),
            last: Last {
                kernel: Some(Time::from_nanos(2)),
                header: None,
                port: Some(40_000),
            },
        }),
        Record::Used {
            door: "ssh".into(),
            until: -1,
        },
    ];
    for record in records {
        let line = line(&record);
        assert!(serde_json::from_slice::<serde_json::Value>(&line).is_ok());
        assert_eq!(Record::parse(&line), Some(record));
    }
}

#[test]
fn any_changed_missing_or_added_byte_is_noticed() {
    let line = line(&begin());
    for place in 0..line.len() {
        let mut changed = line.clone();
        changed[place] ^= 1;
        assert_eq!(Record::parse(&changed), None, "byte {place} changed");
        assert_eq!(Record::parse(&line[..place]), None, "cut at {place}");
        let mut longer = line.clone();
        longer.insert(place, b' ');
        assert_eq!(Record::parse(&longer), None, "byte added at {place}");
    }
}

#[test]
fn a_field_of_a_later_program_is_passed_over() {
    let mut body = br#"{"record":"closed","id":7,"colour":"red""#.to_vec();
    let sum = checksum(&body);
    body.extend(format!("{SUM}{sum:016x}{END}").bytes());
    assert_eq!(
        Record::parse(&body),
        Some(Record::Closed { id: GrantId(7) })
    );
}

#[test]
fn a_grant_of_an_earlier_program_names_no_user() {
    let body = br#"{"record":"begin","id":7,"door":"ssh","src":"203.0.113.7","due":{"boot":"b","at":1,"deadline":2,"wall":3},"argv":["nft"],"env":[]"#;
    let mut line = body.to_vec();
    line.extend(format!("{SUM}{:016x}{END}", checksum(body)).bytes());
    let Some(Record::Begin(begin)) = Record::parse(&line) else {
        panic!("it is a grant");
    };
    assert_eq!(begin.user, None);
    let mut written = Vec::new();
    Record::Begin(begin).write(&mut written);
    assert_eq!(written.trim_ascii_end(), line);
}

#[test]
fn a_grant_that_could_not_be_closed_or_counted_on_from_is_no_record() {
    let mut endless = begin();
    let mut mute = begin();
    if let (Record::Begin(endless), Record::Begin(mute)) = (&mut endless, &mut mute) {
        endless.id = GrantId(u64::MAX);
        mute.argv.clear();
    }
    assert_eq!(Record::parse(&line(&endless)), None);
    assert_eq!(Record::parse(&line(&mute)), None);
}
