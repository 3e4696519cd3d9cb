//! The last things that happened to each address, so that a knock that failed can be explained.
//!
//! In: the engine's events, and packets with what became of them. Out: [`Happening`]s of one address.
//! It decides nothing. Bounded: so many addresses, of which the one longest unheard of goes first, and
//! so many things of each; the same thing again and again is one thing with a count, so a scanner does
//! not fill it with itself. No port is kept.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use crate::calendar::rfc3339;
use crate::engine::event::{Event, EventKind, Whence};
use crate::engine::reason::Reason;
use crate::engine::time::Time;
use crate::protocol::Happening;

/// How much is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Addresses.
    pub addresses: usize,
    /// Things of each.
    pub notes: usize,
}

impl Default for Limits {
    /// What the daemon keeps: about a megabyte.
    fn default() -> Self {
        Self {
            addresses: 1024,
            notes: 16,
        }
    }
}

/// What happened to whom.
#[derive(Debug)]
pub struct Memory {
    limits: Limits,
    addresses: HashMap<IpAddr, Notes>,
    /// Who was heard of when, the longest ago first.
    ages: BTreeMap<u64, IpAddr>,
    age: u64,
}

#[derive(Debug, Default)]
struct Notes {
    age: u64,
    notes: VecDeque<Note>,
}

#[derive(Debug)]
struct Note {
    /// From the Unix epoch, where that is known.
    at: Option<Time>,
    what: What,
    whence: Option<Whence>,
    times: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum What {
    Event(EventKind, Arc<str>),
    /// It counted, and no door was waiting for it.
    Hit,
    Rejected(Reason),
}

impl Memory {
    /// One that remembers nothing yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            addresses: HashMap::new(),
            ages: BTreeMap::new(),
            age: 0,
        }
    }

    /// Remembers an event.
    pub fn event(&mut self, event: &Event, at: Option<Time>) {
        let what = What::Event(event.kind, Arc::clone(&event.door));
        self.note(event.src, at, what, event.whence);
    }

    /// Remembers a packet of `src`, after its events: what these tell is not told twice.
    pub fn packet(
        &mut self,
        src: IpAddr,
        at: Option<Time>,
        whence: Whence,
        verdict: Result<(), Reason>,
    ) {
        let told = |notes: &Notes| notes.notes.back().and_then(|note| note.whence) == Some(whence);
        let what = match verdict {
            Ok(()) if self.addresses.get(&src).is_some_and(told) => return,
            Ok(()) => What::Hit,
            Err(reason) => What::Rejected(reason),
        };
        self.note(src, at, what, Some(whence));
    }

    /// What is remembered of `src`, the oldest first; `name` gives the name of a source.
    pub fn of(&self, src: IpAddr, name: impl Fn(u16) -> Option<String>) -> Vec<Happening> {
        let notes = self.addresses.get(&src).map(|notes| notes.notes.iter());
        let notes = notes.into_iter().flatten();
        notes.map(|note| note.happening(&name)).collect()
    }

    fn note(&mut self, src: IpAddr, at: Option<Time>, what: What, whence: Option<Whence>) {
        let Self {
            limits,
            addresses,
            ages,
            age,
        } = self;
        *age += 1;
        let kept = addresses.entry(src).or_default();
        ages.remove(&kept.age);
        kept.age = *age;
        ages.insert(*age, src);
        if let Some(last) = kept.notes.back_mut().filter(|last| last.what == what) {
            last.times += 1;
            (last.at, last.whence) = (at, whence);
        } else {
            if kept.notes.len() >= limits.notes {
                kept.notes.pop_front();
            }
            kept.notes.push_back(Note {
                at,
                what,
                whence,
                times: 1,
            });
        }
        if addresses.len() > limits.addresses
            && let Some((_, oldest)) = ages.pop_first()
        {
            addresses.remove(&oldest);
        }
    }
}

impl Note {
    fn happening(&self, name: impl Fn(u16) -> Option<String>) -> Happening {
        let (event, door, progress, reason) = match &self.what {
            What::Hit => ("hit", None, None, None),
            What::Rejected(reason) => ("rejected", None, None, Some(reason.as_str())),
            What::Event(kind, door) => (
                kind.as_str(),
                Some(door.to_string()),
                kind.progress(),
                kind.reason(),
            ),
        };
        let (stage, of) = progress.unzip();
        Happening {
            time: self.at.map(rfc3339),
            event: event.to_owned(),
            door,
            stage,
            of,
            reason: reason.map(str::to_owned),
            file: self.whence.and_then(|whence| name(whence.source)),
            line: self.whence.map(|whence| whence.line),
            times: self.times,
        }
    }
}

#[cfg(test)]
#[path = "memory_test.rs"]
mod tests;
