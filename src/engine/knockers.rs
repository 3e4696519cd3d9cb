//! Addresses → what is remembered of each, in a table with a limit.
//!
//! In: addresses that are at a door. Out: their [`Knocker`]s (one for a whole IPv6 network, where that is asked
//! for), whose attempt ends next, and who goes when there is no room: the least advanced, and of these the one
//! that has been so for longest. Hearing an address costs the same however many there are: one look-up and
//! the links to two neighbours. Maps of the standard library in its place cost 43 % more time over a log, and
//! 49 MiB for 18 MiB in a flood.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use hashbrown::HashTable;

use super::attempt::Attempt;
use super::dedup::OwnPackets;
use super::door::Door;
use super::knock::KnockerPrefix;
use super::time::Time;

/// What is remembered of one address.
#[derive(Debug, Default)]
pub(super) struct Knocker {
    pub(super) packets: OwnPackets,
    /// One per door of the rule book that has seen a right step, in the order of the doors.
    pub(super) attempts: Vec<(usize, Attempt)>,
    /// The latest hit: time does not run backwards within an address.
    pub(super) latest: Time,
}

impl Knocker {
    /// The attempt at `door`, the `number`th; a new one, empty, where there is none.
    pub(super) fn attempt(&mut self, number: usize, door: &Door) -> &mut Attempt {
        let place = match self
            .attempts
            .binary_search_by_key(&number, |(door, _)| *door)
        {
            Ok(place) => place,
            Err(place) => {
                if self.attempts.is_empty() {
                    self.attempts.reserve_exact(1);
                }
                self.attempts
                    .insert(place, (number, Attempt::new(&door.rule)));
                place
            }
        };
        #[expect(clippy::indexing_slicing, reason = "found or inserted above")]
        &mut self.attempts[place].1
    }

    /// Whether there is an attempt at `door`.
    pub(super) fn is_at(&self, door: usize) -> bool {
        self.attempts.iter().any(|(number, _)| *number == door)
    }

    fn stage(&self) -> u16 {
        let stages = self.attempts.iter().map(|(_, attempt)| attempt.stage());
        let stage = stages.max().unwrap_or(0);
        u16::try_from(stage).unwrap_or(u16::MAX)
    }

    fn memories(&self) -> usize {
        let knocks = self.attempts.iter().map(|(_, attempt)| attempt.memories());
        self.packets.len() + knocks.sum::<usize>()
    }
}

/// A knocker's place in the table.
pub(super) type Slot = u32;

/// No place: a number that none has.
const NOWHERE: Slot = Slot::MAX;

/// The knockers. What finds and orders them is apart from what is remembered of them: it is small enough to
/// stay near the processor while they do not.
#[derive(Debug, Default)]
pub(super) struct Knockers {
    prefix: KnockerPrefix,
    /// With a key of our own, as strangers choose their addresses.
    hashing: RandomState,
    /// The places, by the hashes of their knockers.
    index: HashTable<Slot>,
    links: Vec<Link>,
    places: Vec<Place>,
    free: Vec<Slot>,
    /// For each stage the knockers that have reached it, the longest there first.
    queues: Vec<Queue>,
    /// The last moment before an attempt is over, and whose.
    wakes: BTreeSet<(Time, IpAddr, Slot)>,
    memories: usize,
}

#[derive(Debug)]
struct Place {
    /// The address; of several the one that was heard last.
    src: IpAddr,
    /// What it is found by.
    hash: u64,
    knocker: Knocker,
    /// What the table has counted and noted of it.
    memories: u32,
    wake: Option<Time>,
}

/// Where a place stands among the queues.
#[derive(Clone, Copy, Debug)]
struct Link {
    /// Its queue, and its neighbours there.
    stage: Option<u16>,
    before: Slot,
    behind: Slot,
}

#[derive(Clone, Copy, Debug)]
struct Queue {
    first: Slot,
    last: Slot,
}

impl Knockers {
    /// Empty. `prefix` says which addresses are one knocker.
    pub(super) fn new(prefix: KnockerPrefix) -> Self {
        Self {
            prefix,
            ..Self::default()
        }
    }

    /// Which addresses are one knocker.
    pub(super) fn prefix(&self) -> KnockerPrefix {
        self.prefix
    }

    /// How many addresses there are.
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Packets and knocks remembered of all of them.
    pub(super) fn memories(&self) -> usize {
        self.memories
    }

    /// The place of `src`, if it has one.
    pub(super) fn hear(&mut self, src: IpAddr) -> Option<Slot> {
        if self.len() == 0 {
            return None;
        }
        let (prefix, who) = (self.prefix, self.prefix.of(src));
        let places = &self.places;
        let slot = self.index.find(hash(&self.hashing, who), |&slot| {
            let place = places.get(slot as usize);
            place.is_some_and(|place| prefix.of(place.src) == who)
        });
        let slot = *slot?;
        self.places.get_mut(slot as usize)?.src = src;
        Some(slot)
    }

    /// The knocker at `slot`, with its address. What is changed in it is to be settled.
    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<(IpAddr, &mut Knocker)> {
        let place = self.places.get_mut(slot as usize)?;
        Some((place.src, &mut place.knocker))
    }

    /// Notes what has become of a knocker: its attempts that end at `wake` at the earliest, and its new
    /// place in the queues if it was `heard` or has another stage.
    pub(super) fn settle(&mut self, slot: Slot, wake: Option<Time>, heard: bool) {
        let Some(place) = self.places.get_mut(slot as usize) else {
            return;
        };
        let memories = place.knocker.memories();
        self.memories = self.memories + memories - place.memories as usize;
        place.memories = u32::try_from(memories).unwrap_or(u32::MAX);
        if place.wake != wake {
            let who = self.prefix.of(place.src);
            if let Some(before) = place.wake {
                self.wakes.remove(&(before, who, slot));
            }
            place.wake = wake;
            self.wakes.extend(wake.map(|wake| (wake, who, slot)));
        }
        let stage = place.knocker.stage();
        let known = self.links.get(slot as usize).and_then(|link| link.stage);
        if heard || known != Some(stage) {
            self.leave_queue(slot);
            self.join_queue(slot, stage);
        }
    }

    /// Takes a knocker out of the table.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<(IpAddr, Knocker)> {
        self.leave_queue(slot);
        let place = self.places.get_mut(slot as usize)?;
        let found = self.index.find_entry(place.hash, |&other| other == slot);
        if let Ok(found) = found {
            found.remove();
        }
        let knocker = std::mem::take(&mut place.knocker);
        self.memories -= std::mem::take(&mut place.memories) as usize;
        if let Some(wake) = place.wake.take() {
            let who = self.prefix.of(place.src);
            self.wakes.remove(&(wake, who, slot));
        }
        self.free.push(slot);
        Some((place.src, knocker))
    }

    /// Whose attempt ends next, and the last moment before that.
    pub(super) fn next_wake(&self) -> Option<(Time, Slot)> {
        self.wakes.first().map(|&(wake, _, slot)| (wake, slot))
    }

    /// The one that goes first when there is no room.
    pub(super) fn least(&self) -> Option<Slot> {
        let mut firsts = self.queues.iter().map(|queue| queue.first);
        firsts.find(|&slot| slot != NOWHERE)
    }

    /// Every place that is taken.
    pub(super) fn slots(&self) -> Vec<Slot> {
        let taken = (0..).zip(&self.links);
        let taken = taken.filter(|(_, link)| link.stage.is_some());
        taken.map(|(slot, _)| slot).collect()
    }

    /// Every knocker.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Knocker> {
        self.places.iter().map(|place| &place.knocker)
    }

    /// Makes a place for `src`, which has none. It is in no queue before it is settled.
    pub(super) fn take_place(&mut self, src: IpAddr) -> Slot {
        let hash = hash(&self.hashing, self.prefix.of(src));
        let slot = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place {
                src,
                hash,
                knocker: Knocker::default(),
                memories: 0,
                wake: None,
            });
            self.links.push(Link {
                stage: None,
                before: NOWHERE,
                behind: NOWHERE,
            });
            Slot::try_from(self.links.len() - 1).unwrap_or(NOWHERE)
        });
        if let Some(place) = self.places.get_mut(slot as usize) {
            (place.src, place.hash) = (src, hash);
        }
        let places = &self.places;
        self.index.insert_unique(hash, slot, |&slot| {
            places.get(slot as usize).map_or(0, |place| place.hash)
        });
        slot
    }

    fn join_queue(&mut self, slot: Slot, stage: u16) {
        let empty = Queue {
            first: NOWHERE,
            last: NOWHERE,
        };
        if self.queues.len() <= stage.into() {
            self.queues.resize(usize::from(stage) + 1, empty);
        }
        let Some(queue) = self.queues.get_mut(usize::from(stage)) else {
            return;
        };
        let before = std::mem::replace(&mut queue.last, slot);
        match self.links.get_mut(before as usize) {
            Some(before) => before.behind = slot,
            None => queue.first = slot,
        }
        if let Some(link) = self.links.get_mut(slot as usize) {
            (link.stage, link.before, link.behind) = (Some(stage), before, NOWHERE);
        }
    }

    fn leave_queue(&mut self, slot: Slot) {
        let Some(link) = self.links.get_mut(slot as usize) else {
            return;
        };
        let Link { before, behind, .. } = *link;
        let Some(stage) = link.stage.take() else {
            return;
        };
        let Some(queue) = self.queues.get_mut(usize::from(stage)) else {
            return;
        };
        match self.links.get_mut(before as usize) {
            Some(before) => before.behind = behind,
            None => queue.first = behind,
        }
        match self.links.get_mut(behind as usize) {
            Some(behind) => behind.before = before,
            None => queue.last = before,
        }
    }
}

/// Of the address alone: a hash costs by its length, and those of two families never are equal.
fn hash(hashing: &RandomState, who: IpAddr) -> u64 {
    match who {
        IpAddr::V4(v4) => hashing.hash_one(v4.to_bits()),
        IpAddr::V6(v6) => hashing.hash_one(v6.to_bits()),
    }
}
