//! What a journal says: which grants were open when its last line was written.
//!
//! In: bytes, whatever they are. Out: the grants of every line that proves itself, and what is wrong
//! with the rest. Lines behind a damaged one count too: honouring a begin leads to a close, which is
//! the safe side, and a closed line was only ever written after its close had succeeded.

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;

use super::Boot;
use super::record::{Answered, Begin, Due, Record, VERSION};
use crate::engine::answered::Answers;
use crate::engine::grant::{GrantId, Grants};
use crate::engine::time::Time;

/// What is wrong with a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Damage {
    /// It could not be read to its end.
    #[error("it cannot be read completely")]
    Unreadable,
    /// It is larger than any that we write.
    #[error("it is larger than logknock writes")]
    TooLarge,
    /// It does not begin as ours do.
    #[error("its first line is wrong")]
    NoHeader,
    /// It is in the layout of another version of this program.
    #[error("it has layout {0}, written by another version")]
    Schema(u32),
    /// This many lines in it are not as they were written.
    #[error("{0} of its lines are damaged")]
    Lines(usize),
}

/// A grant that has begun and is not over, and whether its open command has succeeded.
struct Open {
    begin: Begin,
    proven: bool,
}

/// What a journal says.
#[derive(Default)]
pub(super) struct Reading {
    open: BTreeMap<GrantId, Open>,
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
                self.next = self.next.max(begin.id.0 + 1);
                let proven = false;
                self.open.insert(begin.id, Open { begin, proven });
            }
            Record::Opened { id } => {
                if let Some(entry) = self.open.get_mut(&id) {
                    entry.proven = true;
                }
            }
            Record::Extend { id, due, origin } => {
                if let Some(entry) = self.open.get_mut(&id) {
                    entry.begin.due = due;
                    entry.begin.origin = origin;
                }
            }
            Record::Closed { id } => {
                self.next = self.next.max(id.0 + 1);
                self.open.remove(&id);
            }
            Record::Answered(answered) => self.answered.push(answered),
            Record::Used { door, until } => {
                let used = self.used.entry(door).or_insert(until);
                *used = until.max(*used);
            }
        }
    }
}

impl Answered {
    /// Adds it to `answers`, if it is of this boot: no line of another one is read again.
    fn note(self, answers: &mut Answers, boot: &Boot) {
        if self.boot == boot.id && self.at <= boot.now {
            answers.note(&self.door, self.src, self.at, self.last);
        }
    }
}

impl Due {
    /// The deadline under the present boot: due at once if its clock is another, or has been turned back
    /// (another time namespace), which could make an hour a year.
    fn under(&self, boot: &Boot) -> Time {
        let is_ours = self.boot == boot.id && self.at <= boot.now;
        if is_ours { self.deadline } else { boot.now }
    }
}
