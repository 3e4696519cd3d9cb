//! Addresses → what is remembered of each, in a table with a limit.
//!
//! In: addresses that were heard. Out: their [`Knocker`]s, whose attempt ends next, and who goes when
//! there is no room: the least advanced, and of these the one that has been so for longest. Hearing an
//! address costs the same however many there are: one look-up and the links to two neighbours.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use super::attempt::Attempt;
use super::once::Sightings;
use super::time::Time;

/// What is remembered of one address.
#[derive(Debug, Default)]
pub(super) struct Knocker {
    pub(super) sightings: Sightings,
    /// One per door of the rule book that has seen a right step, in the order of the doors.
    pub(super) attempts: Vec<(usize, Attempt)>,
    /// The latest hit: time does not run backwards within an address.
    pub(super) latest: Time,
}

impl Knocker {
    /// The attempt at `door`; a new one, empty, where there is none.
    pub(super) fn attempt(&mut self, door: usize) -> &mut Attempt {
        let place = match self.attempts.binary_search_by_key(&door, |(door, _)| *door) {
            Ok(place) => place,
            Err(place) => {
                if self.attempts.is_empty() {
                    self.attempts.reserve_exact(1);
                }
                self.attempts.insert(place, (door, Attempt::default()));
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

    /// Whether nothing of it matters at `now` or later.
    pub(super) fn is_over(&self, now: Time) -> bool {
        self.attempts.is_empty() && self.sightings.end().is_none_or(|end| end < now)
    }

    fn stage(&self) -> usize {
        let stages = self.attempts.iter().map(|(_, attempt)| attempt.stage());
        stages.max().unwrap_or(0)
    }

    fn memories(&self) -> usize {
        let stages = self.attempts.iter().map(|(_, attempt)| attempt.stage());
        self.sightings.len() + stages.sum::<usize>()
    }
}

/// A knocker's place in the table.
pub(super) type Slot = u32;

/// An address, IPv4 as the IPv6 address that it is mapped to: a single number is hashed fastest, and
/// with a key of our own, as strangers choose their addresses.
type Key = u128;

fn key(src: IpAddr) -> Key {
    match src {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The knockers.
#[derive(Debug, Default)]
pub(super) struct Knockers {
    slots: HashMap<Key, Slot>,
    places: Vec<Place>,
    free: Vec<Slot>,
    /// For each stage those who have reached it, the longest there first.
    queues: Vec<Queue>,
    /// The last moment before an attempt is over, and whose.
    wakes: BTreeSet<(Time, IpAddr, Slot)>,
    memories: usize,
}

#[derive(Debug)]
struct Place {
    src: IpAddr,
    knocker: Knocker,
    /// What the table has counted and noted of it.
    memories: usize,
    wake: Option<Time>,
    /// Its queue, and its neighbours there.
    stage: Option<usize>,
    before: Option<Slot>,
    behind: Option<Slot>,
}

#[derive(Clone, Debug, Default)]
struct Queue {
    first: Option<Slot>,
    last: Option<Slot>,
}

impl Knockers {
    /// How many addresses there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Packets and knocks remembered of all of them.
    pub(super) fn memories(&self) -> usize {
        self.memories
    }

    /// The place of `src`, which is made if it has none.
    pub(super) fn hear(&mut self, src: IpAddr) -> Slot {
        let Self {
            slots,
            places,
            free,
            ..
        } = self;
        *slots.entry(key(src)).or_insert_with(|| {
            let place = Place {
                src,
                knocker: Knocker::default(),
                memories: 0,
                wake: None,
                stage: None,
                before: None,
                behind: None,
            };
            if let Some(slot) = free.pop()
                && let Some(old) = places.get_mut(slot as usize)
            {
                *old = place;
                return slot;
            }
            places.push(place);
            Slot::try_from(places.len() - 1).unwrap_or(Slot::MAX)
        })
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
        self.memories -= place.memories;
        place.memories = place.knocker.memories();
        self.memories += place.memories;
        if place.wake != wake {
            let src = place.src;
            if let Some(before) = place.wake {
                self.wakes.remove(&(before, src, slot));
            }
            place.wake = wake;
            self.wakes.extend(wake.map(|wake| (wake, src, slot)));
        }
        let stage = place.knocker.stage();
        if heard || place.stage != Some(stage) {
            self.leave_queue(slot);
            self.join_queue(slot, stage);
        }
    }

    /// Takes a knocker out of the table.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<(IpAddr, Knocker)> {
        self.leave_queue(slot);
        let place = self.places.get_mut(slot as usize)?;
        let (src, knocker) = (place.src, std::mem::take(&mut place.knocker));
        self.memories -= std::mem::take(&mut place.memories);
        if let Some(wake) = place.wake.take() {
            self.wakes.remove(&(wake, src, slot));
        }
        self.slots.remove(&key(src));
        self.free.push(slot);
        Some((src, knocker))
    }

    /// Whose attempt ends next, and the last moment before that.
    pub(super) fn next_wake(&self) -> Option<(Time, Slot)> {
        self.wakes.first().map(|&(wake, _, slot)| (wake, slot))
    }

    /// The one that has had no attempt for longest.
    pub(super) fn idle(&mut self) -> Option<(Slot, &Knocker)> {
        let slot = self.queues.first()?.first?;
        let place = self.places.get(slot as usize)?;
        Some((slot, &place.knocker))
    }

    /// The one that goes first when there is no room.
    pub(super) fn least(&self) -> Option<Slot> {
        self.queues.iter().find_map(|queue| queue.first)
    }

    /// Every place that is taken.
    pub(super) fn slots(&self) -> Vec<Slot> {
        self.slots.values().copied().collect()
    }

    /// Every knocker.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Knocker> {
        self.places.iter().map(|place| &place.knocker)
    }

    fn join_queue(&mut self, slot: Slot, stage: usize) {
        if self.queues.len() <= stage {
            self.queues.resize(stage + 1, Queue::default());
        }
        let Some(queue) = self.queues.get_mut(stage) else {
            return;
        };
        let before = queue.last.replace(slot);
        match before.and_then(|before| self.places.get_mut(before as usize)) {
            Some(before) => before.behind = Some(slot),
            None => queue.first = Some(slot),
        }
        if let Some(place) = self.places.get_mut(slot as usize) {
            (place.stage, place.before) = (Some(stage), before);
        }
    }

    fn leave_queue(&mut self, slot: Slot) {
        let Some(place) = self.places.get_mut(slot as usize) else {
            return;
        };
        let (before, behind) = (place.before.take(), place.behind.take());
        let Some(stage) = place.stage.take() else {
            return;
        };
        let Some(queue) = self.queues.get_mut(stage) else {
            return;
        };
        match before.and_then(|before| self.places.get_mut(before as usize)) {
            Some(before) => before.behind = behind,
            None => queue.first = behind,
        }
        match behind.and_then(|behind| self.places.get_mut(behind as usize)) {
            Some(behind) => behind.before = before,
            None => queue.last = before,
        }
    }
}
