//! Sequences that open a door once each: derived from a secret and the time, or taken from a list.
//!
//! In: where a door's sequences come from, and the Unix time. Out: the sequences that may be knocked
//! then, which of them are used, and the [`Token`] that puts a use on disk. A use counts for every
//! address, and takes all earlier sequences with it (the counter of RFC 4226 §7.4 only goes up): a
//! knock that was overheard but did not open is worth nothing once a later one has opened.
//!
//! A list is read once and used up by its order in the file; a derived sequence is numbered by its
//! time step, T = ⌊Unix time / step⌋ (RFC 6238 §4.2). What is used is kept as a Unix time and not as
//! a step, so that a door whose step is changed is neither open to old knocks nor shut for years.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::sequence::{MAX_STEPS, Sequence, Step, Transport};

/// Derived sequences kept for each door, so that a flood costs no HMAC for each packet.
const MAX_DERIVED: usize = 64;

/// Most steps of time that a knocker's clock may be off.
pub const MAX_SKEW: u8 = 10;

/// A key, which nothing shows and which leaves no copy in freed memory.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// The key `bytes`; `None` when it is empty.
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        let bytes = Zeroizing::new(bytes);
        (!bytes.is_empty()).then_some(Self(bytes))
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never: a key has at least one byte.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// HMAC-SHA-256 of `message`, cut to 31 bits as RFC 4226 §5.3 says: the low four bits of the last
    /// byte say where the four bytes begin whose lowest 31 bits are taken.
    fn truncated(&self, message: &[&[u8]]) -> u32 {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else {
            return 0; // HMAC takes a key of any length
        };
        for part in message {
            mac.update(part);
        }
        let hash = mac.finalize().into_bytes();
        let offset = hash.last().map_or(0, |byte| usize::from(byte & 0xf));
        let four = hash.iter().skip(offset).take(4);
        four.fold(0, |value, &byte| value << 8 | u32::from(byte)) & 0x7fff_ffff
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(*)")
    }
}

/// Sequences from a secret and the time, in the way of RFC 6238.
#[derive(Clone, PartialEq, Eq)]
pub struct Totp {
    secret: Secret,
    knocks: u8,
    low: u16,
    high: u16,
    transport: Transport,
    /// Seconds.
    step: u32,
    skew: u8,
}

/// What a [`Totp`] is made of.
#[derive(Clone, Debug)]
pub struct TotpKeys {
    /// The shared key.
    pub secret: Secret,
    /// Knocks in a sequence, 1 to [`MAX_STEPS`].
    pub knocks: u8,
    /// The ports, both ends included.
    pub ports: (u16, u16),
    /// What they are knocked with.
    pub transport: Transport,
    /// How long a sequence lasts, in seconds.
    pub step: u32,
    /// How many steps a knocker's clock may be off, at most [`MAX_SKEW`].
    pub skew: u8,
}

impl Totp {
    /// `None` when a value is out of its range.
    pub fn new(keys: TotpKeys) -> Option<Self> {
        let TotpKeys {
            secret,
            knocks,
            ports: (low, high),
            transport,
            step,
            skew,
        } = keys;
        let sound = (1..=MAX_STEPS).contains(&usize::from(knocks))
            && 0 < low
            && low <= high
            && step > 0
            && skew <= MAX_SKEW;
        sound.then_some(Self {
            secret,
            knocks,
            low,
            high,
            transport,
            step,
            skew,
        })
    }

    /// The number of the step that holds a Unix time in seconds; `None` before 1970.
    pub fn number_at(&self, unix: i64) -> Option<u64> {
        Some(u64::try_from(unix).ok()? / u64::from(self.step))
    }

    /// When the step called `number` begins, in seconds of Unix time.
    pub fn begin_of(&self, number: u64) -> i64 {
        i64::try_from(number.saturating_mul(self.step.into())).unwrap_or(i64::MAX)
    }

    /// How long a step lasts, in seconds.
    pub fn step(&self) -> u32 {
        self.step
    }

    /// The sequence of the step called `number`: its i-th port is
    /// `low + trunc(HMAC(secret, number ‖ i)) mod (high − low + 1)`, with the number as eight bytes,
    /// the highest first, and i as one, from 0.
    pub fn sequence(&self, number: u64) -> Option<Sequence> {
        let range = u32::from(self.high - self.low) + 1;
        let steps = (0..self.knocks).map(|index| {
            let value = self.secret.truncated(&[&number.to_be_bytes(), &[index]]);
            let port = u32::from(self.low) + value % range;
            Step {
                port: u16::try_from(port).unwrap_or(self.high),
                transport: self.transport,
            }
        });
        Sequence::new(steps.collect::<Vec<_>>())
    }
}

impl fmt::Debug for Totp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Totp({} knocks each {} s)", self.knocks, self.step)
    }
}

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
            Self::Totp(totp) => totp.knocks.into(),
            Self::List(list) => {
                let lengths = list.lines.iter().map(|line| line.sequence.len());
                lengths.max().unwrap_or(0)
            }
        }
    }

    /// What puts on disk that the sequence called `number` is used at `door`.
    pub fn token(&self, door: &Arc<str>, number: u64) -> Option<Token> {
        let used = match self {
            Self::Totp(totp) => Used::Until(totp.begin_of(number.saturating_add(1))),
            Self::List(list) => {
                let line = list.lines.get(usize::try_from(number).ok()?)?;
                Used::Line {
                    file: Arc::clone(&list.file),
                    number: line.number,
                    text: Arc::clone(&line.text),
                }
            }
        };
        Some(Token {
            door: Arc::clone(door),
            used,
        })
    }
}

/// A use of a sequence, to be put on disk before anything is opened with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The door.
    pub door: Arc<str>,
    /// What is used.
    pub used: Used,
}

/// What a [`Token`] stands for.
#[derive(Clone, PartialEq, Eq)]
pub enum Used {
    /// Every step of time that begins before this Unix time, in seconds.
    Until(i64),
    /// This line of the file, every line before it and every line like it.
    Line {
        /// The file.
        file: Arc<Path>,
        /// The line's number, from 1.
        number: u32,
        /// What it must still say.
        text: Arc<str>,
    },
}

impl fmt::Debug for Used {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Until(unix) => write!(f, "Until({unix})"),
            Self::Line { number, .. } => write!(f, "Line({number})"),
        }
    }
}

/// A sequence that may be knocked now, or might have been had it not been used.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The number of its time step, or its place in the list.
    pub number: u64,
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

    /// Forgets what it has worked out of rules that may have changed; what is used stays so.
    pub fn handle_reload(&mut self) {
        for page in self.0.values_mut() {
            page.derived.clear();
            page.passed = 0;
        }
    }

    /// Shows every sequence that may be knocked at `door` by somebody who begins at a Unix time in
    /// seconds, if it is known. Those that are used are among them.
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

    /// Notes that the sequence called `number` is used, and with it all before it.
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
        let skew = u64::from(totp.skew);
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
                    number,
                    sequence,
                    used,
                });
            }
        }
    }

    fn listed(&self, list: &List, see: &mut dyn FnMut(Candidate<'_>)) {
        for sequence in &self.last {
            let (number, used) = (0, true);
            see(Candidate {
                number,
                sequence,
                used,
            });
        }
        let lines = (0..).zip(list.lines.iter()).skip(self.passed);
        let unused = lines.filter(|(_, line)| !self.lines.contains(&line.sequence));
        for (number, Line { sequence, .. }) in unused.take(list.ahead) {
            let used = false;
            see(Candidate {
                number,
                sequence,
                used,
            });
        }
    }
}

#[cfg(test)]
#[path = "one_time_test.rs"]
mod tests;
