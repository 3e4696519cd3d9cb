//! Which knocks have been answered, for a process that continues after another was killed.
//!
//! In: the packet that completed each knock, from the process that acted on it. Out: whether a hit may be part of
//! such a knock. A log is read again from a little before the place where the last process ended, and that process
//! remembered no packet that this one could know. So at a door that was answered, a hit of that address counts only
//! if it was certainly logged later than the packet that completed the knock. At every other door, and for every
//! other address, what is read again counts as it did: it leads to the same attempt, and a begun attempt continues.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::dedup::{OTHER_SOURCE, RETRANSMISSION};
use super::knock::{Hit, Logged};
use super::sequence::Transport;
use super::time::Time;

/// How long an answer matters: no line that is taken for a fresh one is so old.
const KEPT: Duration = Duration::from_secs(3600);
/// Answers remembered; the oldest goes first.
const MOST: usize = 16_384;

/// The packet that completed a knock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Last {
    /// [`Logged::kernel`] of its line.
    pub kernel: Option<Time>,
    /// [`Logged::header`] of its line.
    pub header: Option<Time>,
    /// The port that it came from, if it was TCP, which sends again what is not acknowledged. Of an earlier
    /// knock's packet nothing is kept.
    pub port: Option<u16>,
}

impl Last {
    /// The part of `hit` that is kept.
    pub fn of(hit: &Hit<'_>) -> Self {
        Self {
            kernel: hit.logged.kernel,
            header: hit.logged.header,
            port: (hit.step.transport == Transport::Tcp).then_some(hit.ports.src),
        }
    }
}

/// An address at a door.
type Key = (IpAddr, Arc<str>);

#[derive(Clone, Copy, Debug)]
struct Answer {
    at: Time,
    last: Last,
}

/// The latest answer to each address at each door.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    entries: HashMap<Key, Answer>,
    order: BTreeSet<(Time, Key)>,
}

impl Answers {
    /// Notes that the knock of `src` at `door` which `last` completed was answered at `at`, on the boot
    /// clock.
    pub fn note(&mut self, door: &Arc<str>, src: IpAddr, at: Time, last: Last) {
        let key = (src, Arc::clone(door));
        let before = self.take(&key);
        // One source may have been behind another.
        let last = before.map_or(last, |Answer { last: before, .. }| Last {
            kernel: last.kernel.max(before.kernel),
            header: last.header.max(before.header),
            port: last.port,
        });
        self.order.insert((at, key.clone()));
        self.entries.insert(key, Answer { at, last });
        if self.entries.len() > MOST
            && let Some((_, oldest)) = self.order.first().cloned()
        {
            self.take(&oldest);
        }
    }

    /// Forgets answers that no longer matter at `now`.
    pub fn expire(&mut self, now: Time) {
        let is_over = |(at, _): &&(Time, Key)| at.after(KEPT) < now;
        while let Some((_, key)) = self.order.first().filter(is_over).cloned() {
            self.take(&key);
        }
    }

    /// All of them, the oldest first: door, address, when, and the packet.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, IpAddr, Time, Last)> {
        self.order.iter().filter_map(|(at, key)| {
            let answer = self.entries.get(key)?;
            Some((&key.1, key.0, *at, answer.last))
        })
    }

    /// When `src` was last answered at `door`, and the packet that completed that knock.
    pub fn get(&self, door: &Arc<str>, src: IpAddr) -> Option<(Time, Last)> {
        let answer = self.entries.get(&(src, Arc::clone(door)))?;
        Some((answer.at, answer.last))
    }

    /// Whether `hit` at `door`, of the knocker `who`, may be part of a knock that was answered.
    pub(super) fn hide(&self, hit: &Hit<'_>, who: IpAddr, door: &Arc<str>) -> bool {
        if self.entries.is_empty() {
            return false;
        }
        let answer = self.entries.get(&(who, Arc::clone(door)));
        answer.is_some_and(|answer| answer.hides(hit))
    }

    fn take(&mut self, key: &Key) -> Option<Answer> {
        let answer = self.entries.remove(key)?;
        self.order.remove(&(answer.at, key.clone()));
        Some(answer)
    }
}

impl Answer {
    /// Two stamps of our kernel compare exactly. Of two headers the later one may be of the same packet in
    /// another log. What is written before our eyes was not read before, but another source may have
    /// shown it. Everything else is uncertain, and then it is not a knock.
    fn hides(&self, hit: &Hit<'_>) -> bool {
        let Logged {
            kernel,
            header,
            late,
            ..
        } = hit.logged;
        let (later, at_least) = match (self.last.kernel.zip(kernel), self.last.header.zip(header)) {
            (Some((last, kernel)), _) => (later(last, kernel), Duration::ZERO),
            (None, _) if !late => (later(self.at, hit.at), OTHER_SOURCE),
            (None, Some((last, header))) => (later(last, header), OTHER_SOURCE),
            (None, None) => (None, OTHER_SOURCE),
        };
        let port = (hit.step.transport == Transport::Tcp).then_some(hit.ports.src);
        let may_be_sent_again = port.is_some() && port == self.last.port;
        later
            .is_none_or(|later| later <= at_least || (may_be_sent_again && later <= RETRANSMISSION))
    }
}

/// How much later than `one` the `other` is, if it is.
fn later(one: Time, other: Time) -> Option<Duration> {
    (other > one).then(|| other.since(one))
}

#[cfg(test)]
#[path = "answered_test.rs"]
mod tests;
