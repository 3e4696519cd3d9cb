//! Sequences that open a door once each: derived from a secret and the time, or taken from a list.
//!
//! In: where a door's sequences come from, and the Unix time. Out: the sequences that may be knocked
//! then, which of them are used, and what of a use is put on disk: [`Used`], [`Mark`]. A use counts for every
//! address, and takes all earlier sequences with it (the counter of RFC 4226 §7.4 only goes up): a
//! knock that was overheard but did not open is worth nothing once a later one has opened.
//!
//! A list is read once and used up by its order in the file; a derived sequence is numbered by its time step, T =
//! ⌊Unix time / step⌋ (RFC 6238 §4.2). A use is kept as a Unix time, not as a step. So a door whose step changes is
//! neither open to old knocks nor closed for years.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::sequence::{Sequence, Step};
use super::time::Time;
use super::totp::{REFUSAL, Totp};

/// Derived sequences kept for each door, so that a flood costs no HMAC for each packet.
const MAX_DERIVED: usize = 64;

/// Codes that may fail at a door, by all addresses together, in `REFUSAL_WINDOW`. The last one uses up
/// every step of time for as long as codes are refused, so that a restart knows of it too.
pub const MAX_FAILED_CODES: u8 = 20;
const REFUSAL_WINDOW: Duration = Duration::from_secs(REFUSAL.unsigned_abs());

/// One line of a list.
#[derive(Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number in the file, from 1.
    pub number: u32,
    /// All of it, without its newline: the same line must still be there when it is used.
    pub text: Arc<str>,
    /// What is to be knocked.
    pub sequence: Sequence,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line({})", self.number)
    }
}

/// Sequences from a file (knockd's `one_time_sequences`), those that are not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// The file in which a used line is marked.
    pub file: Arc<Path>,
    /// Its lines in order.
    pub lines: Arc<[Line]>,
    /// How many of the next lines may be knocked.
    pub ahead: usize,
}

/// Where the sequences of a door come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From a secret and the time.
    Totp(Totp),
    /// From a file.
    List(List),
}

impl Origin {
    /// How many knocks the longest takes.
    pub fn knocks(&self) -> usize {
        match self {
            Self::Totp(totp) => totp.knocks(),
            Self::List(list) => {
                let lengths = list.lines.iter().map(|line| line.sequence.len());
                lengths.max().unwrap_or(0)
            }
        }
    }

    /// The steps before a standard code.
    pub fn beginning(&self) -> Option<&[Step]> {
        match self {
            Self::Totp(totp) => totp.beginning(),
            Self::List(_) => None,
        }
    }

    /// Whether the time of a knock at `step` decides which sequences count: that of the first knock does, or of the
    /// first one of a code.
    pub fn is_dated_by(&self, step: Step) -> bool {
        match self {
            Self::Totp(totp) => totp.beginning().is_none() || totp.derives(step),
            Self::List(_) => true,
        }
    }

    /// For how many seconds from a Unix time on codes are refused: [`Totp::refused_for`].
    pub fn refused_for(&self, used: i64, unix: i64) -> Option<u64> {
        match self {
            Self::Totp(totp) => totp.refused_for(used, unix),
            Self::List(_) => None,
        }
    }

    /// The use to record when the sequence called `number` has opened.
    pub fn used(&self, number: u64) -> Option<Used> {
        match self {
            Self::Totp(totp) => Some(Used::Until(totp.begin_of(number.saturating_add(1)))),
            Self::List(list) => {
                let line = list.lines.get(usize::try_from(number).ok()?)?;
                Some(Used::Line(line.number))
            }
        }
    }

    /// The line to mark for `used`.
    pub fn mark(&self, used: Used) -> Option<Mark> {
        let (Self::List(list), Used::Line(number)) = (self, used) else {
            return None;
        };
        let line = list.lines.iter().find(|line| line.number == number)?;
        Some(Mark {
            file: Arc::clone(&list.file),
            number,
            text: Arc::clone(&line.text),
        })
    }
}

/// A use of a sequence, written to disk before the door opens. The door knows the file in which it is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Used {
    /// Every step of time that begins before this Unix time, in seconds.
    Until(i64),
    /// The line of this number in the door's list, every line before it and every line like it.
    Line(u32),
}

/// A line to be marked in its file as used.
#[derive(Clone, PartialEq, Eq)]
pub struct Mark {
    /// The file.
    pub file: Arc<Path>,
    /// The line's number, from 1.
    pub number: u32,
    /// What it must still say.
    pub text: Arc<str>,
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mark({})", self.number)
    }
}

/// A sequence that may be knocked now, or might have been had it not been used.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The number of its time step, or its place in the list; none where it is not used up.
    pub number: Option<u64>,
    /// What is to be knocked.
    pub sequence: &'a Sequence,
    /// Whether it, or one after it, has been used.
    pub used: bool,
}

/// What has been used, by door.
#[derive(Debug, Default)]
pub struct Book(HashMap<Arc<str>, Page>);

/// What has been used at one door.
#[derive(Default)]
struct Page {
    /// Steps of time that begin before this Unix time, in seconds, are used.
    until: i64,
    /// Lines of a list that were used in this run.
    lines: HashSet<Sequence>,
    /// The last of them, so that it can be said why one is refused.
    last: VecDeque<Sequence>,
    /// Lines at the beginning of the list that are used.
    passed: usize,
    /// Sequences of steps of time.
    derived: BTreeMap<u64, Sequence>,
    /// When codes failed lately.
    failed: VecDeque<Time>,
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Page({} until {})", self.lines.len(), self.until)
    }
}

impl Book {
    /// Notes what an earlier run has put on disk.
    pub fn restore(&mut self, door: Arc<str>, until: i64) {
        let page = self.0.entry(door).or_default();
        page.until = page.until.max(until);
    }

    /// Forgets results of rules that may have changed; uses are kept.
    pub fn handle_reload(&mut self) {
        for page in self.0.values_mut() {
            page.derived.clear();
            page.passed = 0;
        }
    }

    /// Shows every sequence that counts at `door` for a knock that begins at a Unix time in seconds, if it is known.
    /// Those that are used are among them.
    pub fn candidates(
        &mut self,
        door: &Arc<str>,
        origin: &Origin,
        unix: Option<i64>,
        see: &mut dyn FnMut(Candidate<'_>),
    ) {
        let page = self.page(door);
        match origin {
            Origin::Totp(totp) => {
                if let Some(now) = unix.and_then(|unix| totp.number_at(unix)) {
                    page.derived(totp, now, see);
                }
            }
            Origin::List(list) => page.listed(list, see),
        }
    }

    /// Records that the sequence called `number`, and all before it, are used.
    pub fn spend(&mut self, door: &Arc<str>, origin: &Origin, number: u64) {
        let page = self.page(door);
        match origin {
            Origin::Totp(totp) => {
                let until = totp.begin_of(number.saturating_add(1));
                page.until = page.until.max(until);
            }
            Origin::List(list) => {
                let end = usize::try_from(number).unwrap_or(usize::MAX);
                let end = end.saturating_add(1).min(list.lines.len());
                for line in list.lines.iter().take(end).skip(page.passed) {
                    page.lines.insert(line.sequence.clone());
                    page.last.push_back(line.sequence.clone());
                }
                page.passed = page.passed.max(end);
                let surplus = page.last.len().saturating_sub(list.ahead.max(1));
                page.last.drain(..surplus);
            }
        }
    }

    /// Records that a code failed at `at`. Returns the time until which codes are refused, if there were too many
    /// failures.
    pub fn fail(&mut self, door: &Arc<str>, origin: &Origin, at: Time, unix: i64) -> Option<i64> {
        if self.refuses(door, origin, unix) {
            return None;
        }
        let page = self.page(door);
        page.failed.retain(|&past| at.since(past) <= REFUSAL_WINDOW);
        page.failed.push_back(at);
        if page.failed.len() < MAX_FAILED_CODES.into() {
            return None;
        }
        page.failed.clear();
        page.until = page.until.max(unix.saturating_add(REFUSAL));
        Some(page.until)
    }

    /// Whether codes are refused at a Unix time because too many failed.
    pub fn refuses(&self, door: &Arc<str>, origin: &Origin, unix: i64) -> bool {
        let page = self.0.get(door);
        page.is_some_and(|page| origin.refused_for(page.until, unix).is_some())
    }

    /// How many sequences of the list are left; `None` where they come from the time.
    pub fn left(&self, door: &Arc<str>, origin: &Origin) -> Option<usize> {
        let Origin::List(list) = origin else {
            return None;
        };
        let page = self.0.get(door);
        let is_left = |line: &&Line| page.is_none_or(|page| !page.lines.contains(&line.sequence));
        Some(list.lines.iter().filter(is_left).count())
    }

    fn page(&mut self, door: &Arc<str>) -> &mut Page {
        self.0.entry(Arc::clone(door)).or_default()
    }
}

impl Page {
    fn derived(&mut self, totp: &Totp, now: u64, see: &mut dyn FnMut(Candidate<'_>)) {
        let skew = u64::from(totp.skew());
        for number in now.saturating_sub(skew)..=now.saturating_add(skew) {
            if !self.derived.contains_key(&number) {
                if self.derived.len() >= MAX_DERIVED {
                    self.derived.clear();
                }
                if let Some(sequence) = totp.sequence(number) {
                    self.derived.insert(number, sequence);
                }
            }
            if let Some(sequence) = self.derived.get(&number) {
                let used = totp.begin_of(number) < self.until;
                see(Candidate {
                    number: Some(number),
                    sequence,
                    used,
                });
            }
        }
    }

    fn listed(&self, list: &List, see: &mut dyn FnMut(Candidate<'_>)) {
        for sequence in &self.last {
            let used = true;
            see(Candidate {
                number: None,
                sequence,
                used,
            });
        }
        let lines = (0..).zip(list.lines.iter()).skip(self.passed);
        let unused = lines.filter(|(_, line)| !self.lines.contains(&line.sequence));
        for (number, Line { sequence, .. }) in unused.take(list.ahead) {
            let used = false;
            see(Candidate {
                number: Some(number),
                sequence,
                used,
            });
        }
    }
}

#[cfg(test)]
#[path = "one_time_test.rs"]
mod tests;
