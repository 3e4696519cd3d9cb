//! Whether a packet has been seen before: sent again by its sender, or logged twice.
//!
//! In: hits in order. Out: new or not. A client that blocks in `connect` sends its SYN again after 1, 3 and 7 s and
//! on for minutes, with the same ports; two rules, or two log files, print one packet twice. Neither may count as a
//! second knock, and neither may reset anything. Most addresses are at no door: their packets are kept in one ring
//! for all ([`RecentPackets`]), and a flood of them does not evict the packets of an address at a door. Tables of the
//! standard library in its place cost 43 % more time, and 32 MiB for 13 MiB.

use std::time::Duration;

use smallvec::SmallVec;

use super::bloom::BloomFilter;
use super::identity::Identity;
use super::knock::Hit;
use super::sequence::Transport;
use super::time::Time;

/// How long a TCP packet with the same ports is sent again, from the last sighting; a door with a longer window takes
/// it for the same packet during its window.
pub(super) const RETRANSMISSION: Duration = Duration::from_secs(10);
/// The same where the sequence numbers are equal: longest pause of a kernel (`TCP_RTO_MAX`).
const SAME_SEQ: Duration = Duration::from_secs(120);
/// How long a UDP packet equal in every field, IP ID included, is the same packet.
const SAME_ID: Duration = Duration::from_secs(1);
/// How long after one source another may show the same packet, where only time could tell.
pub(super) const OTHER_SOURCE: Duration = Duration::from_secs(1);
/// Packets remembered of one address; the oldest goes first.
const REMEMBERED: usize = 64;

impl Identity {
    /// What is to be remembered of `hit`.
    pub(super) fn sighting(&self, hit: &Hit<'_>) -> Sighting {
        Sighting {
            identity: self.of(hit),
            at: hit.at,
            uptime: Uptime::new(hit.uptime),
            seq: hit.mark.seq,
            again: match (hit.step.transport, hit.mark.id) {
                (Transport::Tcp, _) => Again::Retransmission,
                (Transport::Udp, Some(1..)) => Again::SameId,
                (Transport::Udp, _) => Again::SameFields,
            },
            sources: 1 << (hit.source.wrapping_add(hit.rule) % 64),
        }
    }
}

/// As much of an identity as a place in a ring knows of it.
#[expect(clippy::cast_possible_truncation, reason = "half of it is one")]
fn lower(word: u64) -> u32 {
    word as u32
}

/// A packet that was seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sighting {
    identity: u64,
    /// When it was seen last.
    at: Time,
    uptime: Uptime,
    seq: Option<u32>,
    again: Again,
    /// The sources and rules that have shown it, a bit for each (the 65th shares the first one's).
    sources: u64,
}

/// The kernel's stamp, if there is one. There are many of these, and an `Option` would be twice as big.
#[derive(Clone, Copy, Debug)]
struct Uptime(Time);

impl Uptime {
    const NONE: Time = Time::from_nanos(i64::MIN);

    fn new(uptime: Option<Time>) -> Self {
        Self(uptime.unwrap_or(Self::NONE))
    }

    fn get(self) -> Option<Time> {
        (self.0 != Self::NONE).then_some(self.0)
    }
}

/// What makes the same packet of two with one identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    /// TCP: nearness in time, or the sequence number where it is logged.
    Retransmission,
    /// UDP with an IP ID: nearness in time.
    SameId,
    /// UDP without: only that another source or rule shows it.
    SameFields,
}

impl Sighting {
    /// The same, for a packet that is known only among some doors, which `key` names.
    pub(super) fn among(self, key: u64) -> Self {
        Self {
            identity: self.identity ^ key,
            ..self
        }
    }

    /// What takes the same room and memory, and is the same as no packet.
    pub(super) fn blank(self) -> Self {
        Self {
            at: Time::from_nanos(i64::MIN),
            ..self
        }
    }

    /// What was seen before this does not matter to it, where TCP is the same for as long as `reach`.
    fn horizon(&self, reach: Duration) -> Time {
        let span = match self.again {
            Again::Retransmission => reach.max(SAME_SEQ),
            Again::SameId | Again::SameFields => reach,
        };
        self.at.before(span)
    }

    /// How long ago this packet was seen last if `other` is the same one; no time at all where the time does
    /// not matter. TCP is the same for as long as `reach`.
    ///
    /// Kernel stamps compare exactly, if one kernel made both; two hosts that log the same packet have nothing
    /// in common but the time. What one source and rule shows twice it has seen twice, where no field tells two
    /// packets apart; what another shows within a second is what the first one showed, one for one.
    fn age_at(&self, other: &Self, reach: Duration) -> Option<Duration> {
        if self.identity != other.identity {
            return None;
        }
        let by_time = apart(self.at, other.at);
        let stamps = self.uptime.get().zip(other.uptime.get());
        let by_kernel = stamps.map(|(a, b)| apart(a, b));
        let is_anothers = by_time <= OTHER_SOURCE && self.sources & other.sources == 0;
        match self.again {
            Again::Retransmission => {
                let age = by_kernel.map_or(by_time, |age| age.min(by_time));
                match self.seq.zip(other.seq) {
                    Some((a, b)) => {
                        (a == b && age <= reach.max(SAME_SEQ)).then_some(Duration::ZERO)
                    }
                    None => (age <= reach).then_some(age),
                }
            }
            Again::SameId => {
                let age = by_kernel.unwrap_or(by_time);
                (age <= SAME_ID || is_anothers).then_some(Duration::ZERO)
            }
            Again::SameFields => {
                let is_one_line = by_kernel == Some(Duration::ZERO);
                (is_one_line || is_anothers).then_some(Duration::ZERO)
            }
        }
    }

    /// Takes note that `other` was the same packet.
    fn join(&mut self, other: &Self) {
        if self.again == Again::Retransmission {
            self.at = self.at.max(other.at);
        }
        self.sources |= other.sources;
        self.uptime = Uptime::new(self.uptime.get().or(other.uptime.get()));
    }
}

fn apart(one: Time, other: Time) -> Duration {
    one.since(other).max(other.since(one))
}

/// The packets that one address at a door sent lately.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnPackets {
    seen: SmallVec<[Sighting; 1]>,
}

impl OwnPackets {
    /// How long ago the packet of `sighting` was seen, if it was.
    pub(super) fn seen(&mut self, sighting: &Sighting, reach: Duration) -> Option<Duration> {
        self.forget(sighting.horizon(reach.max(SAME_SEQ)));
        let mut seen = self.seen.iter_mut();
        seen.find_map(|seen| {
            let age = seen.age_at(sighting, reach)?;
            seen.join(sighting);
            Some(age)
        })
    }

    /// Remembers a packet that was not.
    pub(super) fn remember(&mut self, sighting: Sighting) {
        if self.seen.len() == REMEMBERED {
            self.seen.remove(0);
        }
        self.seen.push(sighting);
    }

    /// How many packets are remembered.
    pub(super) fn len(&self) -> usize {
        self.seen.len()
    }

    /// What is remembered, in the order in which it was seen.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Sighting> {
        self.seen.iter()
    }

    /// Forgets what was seen before `time`. The room for many is given back, as only packets are counted.
    fn forget(&mut self, time: Time) {
        if self.seen.iter().all(|seen| seen.at >= time) {
            return;
        }
        self.seen.retain(|seen| seen.at >= time);
        if self.seen.spilled() && self.seen.len() * 4 <= self.seen.capacity() {
            self.seen.shrink_to_fit();
        }
    }
}

/// The packets that everybody else sent lately: a ring in which the oldest goes first, found by hash. What a
/// look-up walks along is apart from what it finds: it is small enough to stay near the processor.
#[derive(Clone, Debug)]
pub(super) struct RecentPackets {
    ring: Vec<Sighting>,
    /// The place of each entry of the ring in its chain.
    links: Vec<Link>,
    /// At the limit the place of the oldest, and before that the end: where the next one goes.
    next: usize,
    limit: usize,
    /// For each remainder of an identity the newest that has it; as many as a power of two.
    chains: Vec<u32>,
    /// What can be among them at all.
    filter: BloomFilter,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    /// The lower half of the identity.
    half: u32,
    /// The one before it in its chain, perhaps overwritten since.
    before: u32,
}

/// Packets that the ring makes room for at once.
const BLOCK: usize = 4096;

/// No place: a number that none has.
const NOWHERE: u32 = u32::MAX;

impl RecentPackets {
    /// A ring of at most `limit` packets.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            ring: Vec::new(),
            links: Vec::new(),
            next: 0,
            limit: limit.max(1),
            chains: Vec::new(),
            filter: BloomFilter::new(limit.max(1)),
        }
    }

    /// How long ago the packet of `sighting` was seen, if it was. Of many equal ones only the last [`REMEMBERED`] are
    /// compared, so that an attacker cannot make this slow.
    pub(super) fn seen(&mut self, sighting: &Sighting, reach: Duration) -> Option<Duration> {
        if !self.filter.may_have(sighting.identity) {
            return None;
        }
        let half = lower(sighting.identity);
        let mut place = self.chain(half).map_or(NOWHERE, |first| *first);
        let (mut age, mut alike, mut oldest) = (0, 0, None);
        while let Some(link) = self.links.get(place as usize) {
            // An entry that has replaced an older one belongs to another chain, and ends this one.
            let older = self.age(place);
            let is_here = self.remainder(link.half) == self.remainder(half);
            if older <= age || alike == REMEMBERED || !is_here {
                break;
            }
            age = older;
            if link.half == half
                && let Some(seen) = self.ring.get(place as usize)
                && seen.identity == sighting.identity
            {
                alike += 1;
                if seen.at >= sighting.horizon(reach)
                    && let Some(age) = seen.age_at(sighting, reach)
                {
                    oldest = Some((place, age));
                }
            }
            place = link.before;
        }
        let (place, age) = oldest?;
        self.ring.get_mut(place as usize)?.join(sighting);
        Some(age)
    }

    /// Remembers a packet that was not.
    pub(super) fn remember(&mut self, sighting: Sighting) {
        self.filter.add(sighting.identity);
        let place = self.next;
        let link = Link {
            half: lower(sighting.identity),
            before: NOWHERE,
        };
        if place == self.ring.len() {
            self.grow(sighting.blank());
        }
        let oldest = self.ring.get_mut(place).zip(self.links.get_mut(place));
        if let Some((oldest, its)) = oldest {
            (*oldest, *its) = (sighting, link);
        }
        self.next = if place + 1 < self.limit { place + 1 } else { 0 };
        self.chain_up(place);
    }

    /// Makes room for a block more. Memory taken packet by packet would show in the daemon's page faults how many
    /// were remembered, and so which hits are right.
    fn grow(&mut self, blank: Sighting) {
        let filled = self.ring.len();
        let len = filled.saturating_add(BLOCK).min(self.limit);
        self.ring.resize(len, blank);
        let nowhere = Link {
            half: 0,
            before: NOWHERE,
        };
        self.links.resize(len, nowhere);
        if len > self.chains.len() {
            self.chains = vec![NOWHERE; len.next_power_of_two()];
            (0..filled).for_each(|place| self.chain_up(place));
        }
    }

    fn remainder(&self, half: u32) -> usize {
        half as usize & self.chains.len().wrapping_sub(1)
    }

    fn chain(&mut self, half: u32) -> Option<&mut u32> {
        let chain = self.remainder(half);
        self.chains.get_mut(chain)
    }

    /// Puts what stands at `place` in front of its chain.
    fn chain_up(&mut self, place: usize) {
        let Some(half) = self.links.get(place).map(|link| link.half) else {
            return;
        };
        let number = u32::try_from(place).unwrap_or(NOWHERE);
        let before = self
            .chain(half)
            .map(|first| std::mem::replace(first, number));
        if let Some(link) = self.links.get_mut(place) {
            link.before = before.unwrap_or(NOWHERE);
        }
    }

    /// How many have been remembered since what stands at `place`, itself too.
    fn age(&self, place: u32) -> usize {
        let place = place as usize;
        if place < self.next {
            self.next - place
        } else {
            self.next + self.ring.len() - place
        }
    }
}

#[cfg(test)]
#[path = "dedup_test.rs"]
mod tests;
