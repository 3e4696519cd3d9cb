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
use super::record::{Answered, Begin, Due, Record, User, VERSION};
use crate::engine::account::Account;
use crate::engine::answered::{Answers, Last};
use crate::engine::command::Invocation;
use crate::engine::time::Time;

/// A grant that has begun and is not over.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) door: Arc<str>,
    pub(super) src: IpAddr,
    pub(super) due: Due,
    pub(super) close: Invocation,
    pub(super) proven: bool,
}

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

/// What a journal says.
#[derive(Default)]
pub(super) struct Reading {
    pub(super) open: BTreeMap<u64, Entry>,
    /// By door, before which Unix time its one-time sequences are used.
    pub(super) used: BTreeMap<Arc<str>, i64>,
    /// The knocks that were answered, in order.
    pub(super) answered: Vec<Answered>,
    /// The lowest number that no grant has had.
    pub(super) next: u64,
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

    fn replay(&mut self, record: Record) {
        match record {
            Record::Header { next, .. } => self.next = self.next.max(next),
            Record::Begin(begin) => {
                self.next = self.next.max(begin.id + 1);
                self.open.insert(begin.id, begin.into());
            }
            Record::Opened { id } => {
                if let Some(entry) = self.open.get_mut(&id) {
                    entry.proven = true;
                }
            }
            Record::Extend { id, due } => {
                if let Some(entry) = self.open.get_mut(&id) {
                    entry.due = due;
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

impl From<Begin> for Entry {
    fn from(begin: Begin) -> Self {
        Self {
            door: begin.door.into(),
            src: begin.src,
            due: begin.due,
            close: Invocation {
                argv: begin.argv,
                env: begin.env,
                account: begin.user.map(|user| Arc::new(user.into())),
            },
            proven: false,
        }
    }
}

impl From<User> for Account {
    fn from(user: User) -> Self {
        Self {
            name: user.name,
            uid: user.uid,
            gid: user.gid,
            groups: user.groups,
            home: user.home,
        }
    }
}

impl From<&Account> for User {
    fn from(account: &Account) -> Self {
        Self {
            name: account.name.clone(),
            uid: account.uid,
            gid: account.gid,
            groups: account.groups.clone(),
            home: account.home.clone(),
        }
    }
}

impl Entry {
    /// The lines that say all of this.
    pub(super) fn write(&self, id: u64, lines: &mut Vec<u8>) {
        let begin = Begin {
            id,
            door: self.door.to_string(),
            src: self.src,
            due: self.due.clone(),
            argv: self.close.argv.clone(),
            env: self.close.env.clone(),
            user: self.close.account.as_deref().map(User::from),
        };
        Record::Begin(begin).write(lines);
        if self.proven {
            Record::Opened { id }.write(lines);
        }
    }
}
