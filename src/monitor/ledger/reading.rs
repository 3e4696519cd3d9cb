//! What a journal says: which grants were open when its last line was written.
//!
//! In: bytes, whatever they are. Out: the grants of every line that proves itself, and what is wrong
//! with the rest. Lines behind a damaged one count too: honouring a begin leads to a close, which is
//! the safe side, and a closed line was only ever written after its close had succeeded.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::Boot;
use super::record::{Answered, Begin, Due, Record, VERSION};
use crate::engine::answered::{Answers, Last};
use crate::engine::grant::Grants;
use crate::engine::time::Time;

/// What is wrong with a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// It could not be read to its end.
    Unreadable,
    /// It is larger than any that we write.
    TooLarge,
    /// It does not begin as ours do.
    NoHeader,
    /// It is in the layout of another version of this program.
    Schema(u32),
    /// This many lines in it are not as they were written.
    Lines(usize),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable => f.write_str("it cannot be read to its end"),
            Self::TooLarge => f.write_str("it is larger than any that we write"),
            Self::NoHeader => f.write_str("it does not begin as it should"),
            Self::Schema(version) => {
                write!(f, "it is of layout {version}, written by another version")
            }
            Self::Lines(count) => write!(f, "{count} of its lines are not as they were written"),
        }
    }
}

/// A grant that has begun and is not over, and whether its open command has succeeded.
struct Open {
    begin: Begin,
    proven: bool,
}

/// What a journal says.
#[derive(Default)]
pub(super) struct Reading {
    open: BTreeMap<u64, Open>,
    /// By door, before which Unix time its one-time sequences are used.
    used: BTreeMap<Arc<str>, i64>,
    /// The knocks that were answered, in order.
    answered: Vec<Answered>,
    /// The lowest number that no grant has had.
    next: u64,
    pub(super) damage: Option<Damage>,
}

impl Reading {
    pub(super) fn of(journal: &[u8]) -> Self {
        let mut reading = Self {
            next: 1,
            ..Self::default()
        };
        let mut header = None;
        let mut damaged = 0;
        for (number, line) in journal.split_inclusive(|&byte| byte == b'\n').enumerate() {
            let whole = line.strip_suffix(b"\n");
            match Record::parse(whole.unwrap_or(line)) {
                Some(Record::Header { version, next }) if number == 0 => {
                    header = Some(version);
                    reading.next = reading.next.max(next);
                }
                Some(record) => reading.replay(record),
                // The last line may be torn: what it would have recorded was not begun.
                None => damaged += usize::from(whole.is_some()),
            }
        }
        reading.damage = match header {
            Some(VERSION) => (damaged > 0).then_some(Damage::Lines(damaged)),
            Some(version) => Some(Damage::Schema(version)),
            None => Some(Damage::NoHeader),
        };
        reading
    }

    /// The grants under the present boot, and what is wrong with the journal.
    pub(super) fn grants(self, boot: &Boot) -> (Grants, Option<Damage>) {
        let mut grants = Grants::new(self.next.saturating_sub(1));
        for Open { begin, proven } in self.open.into_values() {
            let rebooted = begin.due.boot != boot.id;
            let deadline = begin.due.under(boot);
            grants.restore(begin.saved(deadline, proven, rebooted));
        }
        for (door, until) in self.used {
            grants.restore_used(door, until);
        }
        let mut answers = Answers::default();
        for answered in self.answered {
            answered.note(&mut answers, boot);
        }
        answers.expire(boot.now);
        grants.restore_answers(answers);
        (grants, self.damage)
    }

    fn replay(&mut self, record: Record) {
        match record {
            Record::Header { next, .. } => self.next = self.next.max(next),
            Record::Begin(begin) => {
                self.next = self.next.max(begin.id + 1);
                let proven = false;
                self.open.insert(begin.id, Open { begin, proven });
            }
            Record::Opened { id } => {
                if let Some(entry) = self.open.get_mut(&id) {
                    entry.proven = true;
                }
            }
            Record::Extend { id, due } => {
                if let Some(entry) = self.open.get_mut(&id) {
                    entry.begin.due = due;
                }
            }
            Record::Closed { id } => {
                self.next = self.next.max(id + 1);
                self.open.remove(&id);
            }
            Record::Answered(answered) => self.answered.push(answered),
            Record::Used { door, until } => {
                let used = self.used.entry(door.into()).or_insert(until);
                *used = until.max(*used);
            }
        }
    }
}

impl Answered {
    pub(super) fn new(door: &Arc<str>, src: IpAddr, boot: &str, at: Time, last: Last) -> Self {
        Self {
            door: door.to_string(),
            src,
            boot: boot.into(),
            at: at.as_nanos(),
            kernel: last.kernel.map(Time::as_nanos),
            header: last.header.map(Time::as_nanos),
            port: last.port,
        }
    }

    /// Adds it to `answers`, if it is of this boot: no line of another one is read again.
    pub(super) fn note(self, answers: &mut Answers, boot: &Boot) {
        let at = Time::from_nanos(self.at);
        if self.boot == boot.id && at <= boot.now {
            let last = Last {
                kernel: self.kernel.map(Time::from_nanos),
                header: self.header.map(Time::from_nanos),
                port: self.port,
            };
            answers.note(&self.door.into(), self.src, at, last);
        }
    }
}

impl Due {
    /// The deadline under the present boot: due at once if its clock is another, or has been turned back
    /// (another time namespace), which could make an hour a year.
    fn under(&self, boot: &Boot) -> Time {
        let now = boot.now.as_nanos();
        let is_ours = self.boot == boot.id && self.at <= now;
        Time::from_nanos(if is_ours { self.deadline } else { now })
    }
}
