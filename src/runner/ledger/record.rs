//! One line of the journal: a record of what happened to a grant, as JSON, with its checksum last.
//!
//! In: records. Out: lines, and back. A line that is not exactly what was written is no record, so
//! that a flipped digit cannot hold a door open for a century. Every line proves itself: one that is
//! damaged takes none of its neighbours along.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The layout that this program writes.
pub(super) const VERSION: u32 = 1;

/// Numbers from here on are not ours: JSON readers everywhere hold the ones below exactly.
pub(super) const MAX_ID: u64 = 1 << 53;

/// What one line says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "lowercase")]
pub(super) enum Record {
    /// The first line of a journal.
    Header {
        version: u32,
        /// The lowest number that no grant has had.
        next: u64,
    },
    /// Its open command is about to run.
    Begin(Begin),
    /// Its open command has succeeded.
    Opened { id: u64 },
    /// It has another deadline.
    Extend { id: u64, due: Due },
    /// It is over.
    Closed { id: u64 },
    /// A knock was answered.
    Answered(Answered),
    /// Every one-time sequence of a door whose time begins before this Unix time is used.
    Used { door: String, until: i64 },
}

/// Everything that is needed to close a grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Begin {
    pub(super) id: u64,
    pub(super) door: String,
    pub(super) src: IpAddr,
    pub(super) due: Due,
    pub(super) argv: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    /// Who runs it, if not the daemon itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<User>,
}

/// An account, with all that the kernel is told of it: its name may be another's by then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct User {
    pub(super) name: Box<str>,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: Vec<u32>,
    pub(super) home: Box<str>,
}

/// The packet that completed a knock, and when that was answered; times in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answered {
    pub(super) door: String,
    pub(super) src: IpAddr,
    /// The boot whose clock the next two are on.
    pub(super) boot: Box<str>,
    pub(super) at: i64,
    pub(super) kernel: Option<i64>,
    pub(super) header: Option<i64>,
    pub(super) port: Option<u16>,
}

/// When a grant is to be closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Due {
    /// The boot whose clock the next two are on.
    pub(super) boot: Box<str>,
    /// When this was written, in nanoseconds.
    pub(super) at: i64,
    /// The deadline, in nanoseconds.
    pub(super) deadline: i64,
    /// The deadline in seconds since the Unix epoch, for people.
    pub(super) wall: i64,
}

const SUM: &str = ",\"sum\":\"";
const END: &str = "\"}";

impl Record {
    /// Appends the line for this record.
    pub(super) fn write(&self, lines: &mut Vec<u8>) {
        let Ok(mut body) = serde_json::to_vec(self) else {
            return; // there is no map with other keys than strings in it, so this cannot be
        };
        body.pop();
        let sum = checksum(&body);
        lines.extend(body);
        lines.extend(format!("{SUM}{sum:016x}{END}\n").bytes());
    }

    /// The record on `line`, which has no newline; `None` when it is not exactly what was written.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let body = line.len().checked_sub(SUM.len() + 16 + END.len())?;
        let (body, tail) = line.split_at_checked(body)?;
        let sum = tail.strip_prefix(SUM.as_bytes())?;
        let sum = sum.strip_suffix(END.as_bytes())?;
        if sum != format!("{:016x}", checksum(body)).as_bytes() {
            return None;
        }
        let record: Self = serde_json::from_slice(&[body, b"}"].concat()).ok()?;
        record.is_sound().then_some(record)
    }

    fn is_sound(&self) -> bool {
        match self {
            Self::Begin(begin) => begin.id < MAX_ID && !begin.argv.is_empty(),
            Self::Header { next, .. } => *next <= MAX_ID,
            Self::Opened { id } | Self::Extend { id, .. } | Self::Closed { id } => *id < MAX_ID,
            Self::Answered(_) | Self::Used { .. } => true,
        }
    }
}

/// FNV-1a. Every step is a bijection, so one changed byte always changes the sum. It guards against
/// a failing disk, not against a person: who may write here may run anything.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin() -> Record {
        Record::Begin(Begin {
            id: 7,
            door: "ssh".to_owned(),
            src: "2001:db8::7".parse().unwrap(),
            due: Due {
                boot: "b".into(),
                at: 1,
                deadline: 2,
                wall: 3,
            },
            argv: vec!["nft".to_owned(), "\"\n\\ é\u{1f511}".to_owned()],
            env: vec![("LOGKNOCK_IP".to_owned(), "2001:db8::7".to_owned())],
            user: Some(User {
                name: "knock".into(),
                uid: 998,
                gid: 997,
                groups: vec![997, 4],
                home: "/".into(),
            }),
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
            Record::Opened { id: 7 },
            Record::Closed { id: 7 },
            Record::Answered(Answered {
                door: "ssh".to_owned(),
                src: "192.0.2.7".parse().unwrap(),
                boot: "b".into(),
                at: 1,
                kernel: Some(2),
                header: None,
                port: Some(40_000),
            }),
            Record::Used {
                door: "ssh".to_owned(),
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
        assert_eq!(Record::parse(&body), Some(Record::Closed { id: 7 }));
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
            endless.id = u64::MAX;
            mute.argv.clear();
        }
        assert_eq!(Record::parse(&line(&endless)), None);
        assert_eq!(Record::parse(&line(&mute)), None);
    }
}
