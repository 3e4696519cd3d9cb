//! What a replay saw, kept for a page: who knocked, and what became of it.
//!
//! In: what [`replay::watch`](crate::replay::watch) shows, in its order. Out: a [`Report`], which [`page()`] writes as
//! HTML. Bounded however long the log is: totals are of everything; addresses and their events are kept up to the
//! limits below, those that came furthest or sent most first. No port, prefix or text of a line is kept.

mod page;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

pub use self::page::page;
use crate::engine::event::EventKind;
use crate::engine::time::Time;
use crate::replay::{Seen, Shown};

/// Addresses in the page.
const MAX_SOURCES: usize = 500;
/// Events of one address: the last ones.
const MAX_EVENTS_EACH: usize = 200;
/// Events in the page.
const MAX_EVENTS: usize = 20_000;

/// What a replay saw.
#[derive(Debug, Default)]
pub struct Report {
    sources: HashMap<IpAddr, Source>,
    /// How often an address was left out, as there were too many.
    left_out: u64,
    doors: BTreeMap<Arc<str>, Counts>,
    events: u64,
    /// When the first and the last packet or event was.
    period: Option<(Time, Time)>,
}

/// An address.
#[derive(Debug, Default)]
struct Source {
    /// Packets that counted, and that did not.
    packets: u64,
    rejected: u64,
    opens: u64,
    /// The most steps that it had done, of how many.
    furthest: (usize, usize),
    /// The last events, and how many there were.
    events: VecDeque<Shown>,
    happened: u64,
}

impl Source {
    fn sent(&self) -> u64 {
        self.packets.saturating_add(self.rejected)
    }

    /// How far it came, for comparing: opened, parts of its door's steps done, and how many packets it sent.
    fn rank(&self) -> (bool, usize, u64) {
        let (stage, of) = self.furthest;
        (self.opens > 0, stage * 1000 / of.max(1), self.sent())
    }
}

/// What happened at a door.
#[derive(Debug, Default)]
struct Counts {
    /// How often each step was reached, from the first on.
    steps: Vec<u64>,
    resets: BTreeMap<&'static str, u64>,
    /// The other events by their word.
    others: BTreeMap<&'static str, u64>,
}

impl Report {
    /// Takes what was seen next.
    pub fn see(&mut self, seen: &Seen<'_>) {
        match seen {
            Seen::Event(shown) => self.event(shown),
            Seen::Packet {
                src, time, verdict, ..
            } => {
                self.note(*time);
                let source = self.source(*src);
                match verdict {
                    Ok(()) => source.packets += 1,
                    Err(_) => source.rejected += 1,
                }
            }
            Seen::Line { .. } => {}
        }
    }

    fn event(&mut self, shown: &Shown) {
        let event = &shown.event;
        self.events += 1;
        self.note(shown.time);
        let counts = self.doors.entry(Arc::clone(&event.door)).or_default();
        match event.kind {
            EventKind::Stage { stage, .. } => {
                if counts.steps.len() < stage {
                    counts.steps.resize(stage, 0);
                }
                if let Some(count) = counts.steps.get_mut(stage.saturating_sub(1)) {
                    *count += 1;
                }
            }
            EventKind::Reset { reason, .. } => {
                *counts.resets.entry(reason.as_str()).or_default() += 1;
            }
            kind => *counts.others.entry(kind.as_str()).or_default() += 1,
        }
        let source = self.source(event.src);
        source.happened += 1;
        match event.kind {
            EventKind::Open => source.opens += 1,
            EventKind::Stage { stage, of }
                if stage * source.furthest.1 >= source.furthest.0 * of =>
            {
                source.furthest = (stage, of);
            }
            _ => {}
        }
        if source.events.len() == MAX_EVENTS_EACH {
            source.events.pop_front();
        }
        source.events.push_back(shown.clone());
    }

    fn note(&mut self, time: Option<Time>) {
        if let Some(time) = time {
            let (first, last) = self.period.unwrap_or((time, time));
            self.period = Some((first.min(time), last.max(time)));
        }
    }

    fn source(&mut self, src: IpAddr) -> &mut Source {
        // Seldom, so that a flood of addresses costs little each.
        if self.sources.len() == 2 * MAX_SOURCES && !self.sources.contains_key(&src) {
            self.shrink();
        }
        self.sources.entry(src).or_default()
    }

    /// Leaves out addresses: half of those that stay came furthest, the others sent most.
    fn shrink(&mut self) {
        let mut all: Vec<_> = self.sources.drain().collect();
        self.left_out += all.len().saturating_sub(MAX_SOURCES) as u64;
        all.sort_by_key(|(_, source)| Reverse(source.rank()));
        let mut rest = all.split_off((MAX_SOURCES / 2).min(all.len()));
        rest.sort_by_key(|(_, source)| Reverse(source.sent()));
        rest.truncate(MAX_SOURCES / 2);
        self.sources.extend(all.into_iter().chain(rest));
    }
}

#[cfg(test)]
#[path = "report_test.rs"]
mod tests;
