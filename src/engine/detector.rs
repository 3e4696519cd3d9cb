//! Hits → progress: the attempts of every address at every door.
//!
//! In: hits in the order in which they were logged. Out: [`Detected`], what became of the attempts.
//! Each (address, door) is on its own: no order of doors, and no other address, changes anything.
//! The table is bounded: at the limit the least advanced and oldest address goes, so a flood of
//! spoofed first knocks cannot push out somebody who is further on.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::attempt::{Attempt, Progress};
use super::door::{self, Door};
use super::event::ResetReason;
use super::knock::Hit;
use super::once::{Identity, Sightings};
use super::reason::Reason;
use super::silence::Silences;
use super::time::Time;

/// How much the detector may remember.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Addresses.
    pub knockers: usize,
    /// Packets and knocks of all addresses together.
    pub memories: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            knockers: 32_768,
            memories: 131_072,
        }
    }
}

/// What became of one address at one door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detected {
    /// The address.
    pub src: IpAddr,
    /// The door.
    pub door: Arc<Door>,
    /// What.
    pub progress: Progress,
}

/// What is remembered of one address.
#[derive(Debug, Default)]
struct Knocker {
    sightings: Sightings,
    /// One per door of the rule book, empty until the first step is right.
    attempts: Vec<(usize, Attempt)>,
    /// The latest hit: time does not run backwards within an address.
    latest: Time,
    /// Its keys in the two indexes.
    wake: Time,
    rank: Rank,
}

/// The order in which addresses go when the table is full: stage, then age.
type Rank = (usize, u64);

impl Knocker {
    fn stage(&self) -> usize {
        self.attempts
            .iter()
            .map(|(_, attempt)| attempt.stage())
            .max()
            .unwrap_or(0)
    }

    fn memories(&self) -> usize {
        self.sightings.len()
            + self
                .attempts
                .iter()
                .map(|(_, attempt)| attempt.stage())
                .sum::<usize>()
    }

    fn attempt(&mut self, door: usize) -> &mut Attempt {
        let place = match self.attempts.binary_search_by_key(&door, |(door, _)| *door) {
            Ok(place) => place,
            Err(place) => {
                self.attempts.insert(place, (door, Attempt::default()));
                place
            }
        };
        #[expect(clippy::indexing_slicing, reason = "found or inserted above")]
        &mut self.attempts[place].1
    }
}

/// The attempt table.
#[derive(Debug)]
pub struct Detector {
    doors: Vec<Arc<Door>>,
    limits: Limits,
    /// How much later than its stamp a line may be handed over without its attempt being expired.
    lateness: Duration,
    identity: Identity,
    knockers: HashMap<IpAddr, Knocker>,
    memories: usize,
    wakes: BTreeSet<(Time, IpAddr)>,
    ranks: BTreeSet<(Rank, IpAddr)>,
    age: u64,
    silences: Silences,
}

impl Detector {
    /// A detector of `doors`. `lateness` is how long after its stamp a line may still arrive.
    pub fn new(doors: Vec<Arc<Door>>, lateness: Duration, limits: Limits) -> Self {
        Self {
            doors,
            limits,
            lateness,
            identity: Identity::default(),
            knockers: HashMap::new(),
            memories: 0,
            wakes: BTreeSet::new(),
            ranks: BTreeSet::new(),
            age: 0,
            silences: Silences::default(),
        }
    }

    /// Takes one hit; `Err` when it is a packet seen before.
    pub fn handle_hit(
        &mut self,
        hit: &Hit<'_>,
        detected: &mut impl FnMut(Detected),
    ) -> Result<(), Reason> {
        let mut knocker = self.take(hit.src).unwrap_or_default();
        if !knocker.sightings.is_new(&self.identity, hit) {
            self.put(hit.src, knocker);
            return Err(Reason::Duplicate);
        }
        let at = hit.at.max(knocker.latest);
        knocker.latest = at;
        let Self {
            doors, silences, ..
        } = self;
        for (number, door) in doors
            .iter()
            .enumerate()
            .filter(|(_, door)| door.scope.admits(hit))
        {
            if silences.covers(hit.src, &door.name, at) {
                continue;
            }
            let mut tell = |progress| {
                detected(Detected {
                    src: hit.src,
                    door: Arc::clone(door),
                    progress,
                });
            };
            let mut locked_out = false;
            knocker
                .attempt(number)
                .hit(&door.rule, hit.step, at, &mut |progress| {
                    tell(progress);
                    locked_out |= silence(silences, hit.src, door, progress, at);
                });
            if locked_out {
                knocker.attempt(number).forget();
                tell(Progress::LockedOut { at });
            }
        }
        self.age += 1;
        knocker.rank = (knocker.stage(), self.age);
        self.put(hit.src, knocker);
        self.evict(at, detected);
        Ok(())
    }

    /// Ends what is over at `now`. Calling it early or often does nothing.
    pub fn handle_timeout(&mut self, now: Time, detected: &mut impl FnMut(Detected)) {
        self.silences.expire(now);
        while let Some(&(_, src)) = self.wakes.first().filter(|&&(wake, _)| wake < now) {
            let Some(mut knocker) = self.take(src) else {
                break;
            };
            let over = now.before(self.lateness);
            for (number, attempt) in &mut knocker.attempts {
                let Some(door) = self.doors.get(*number) else {
                    continue;
                };
                attempt.expire(&door.rule, over, &mut |progress| {
                    detected(Detected {
                        src,
                        door: Arc::clone(door),
                        progress,
                    });
                });
            }
            knocker.rank.0 = knocker.stage();
            if knocker.stage() > 0 || knocker.sightings.end().is_some_and(|end| end >= over) {
                self.put(src, knocker);
            }
        }
    }

    /// The last moment before [`Self::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.wakes.first().map(|&(wake, _)| wake)
    }

    /// Forgets every attempt and every packet: after a reboot, or when lines were lost.
    pub fn forget_all(&mut self) {
        self.knockers.clear();
        self.wakes.clear();
        self.ranks.clear();
        self.memories = 0;
    }

    /// The doors.
    pub fn doors(&self) -> &[Arc<Door>] {
        &self.doors
    }

    /// Takes new doors. Attempts at a door that is as it was go on.
    pub fn replace_doors(&mut self, doors: Vec<Arc<Door>>) {
        let moved: Vec<_> = self
            .doors
            .iter()
            .map(|old| doors.iter().position(|new| new == old))
            .collect();
        self.doors = doors;
        let sources: Vec<_> = self.knockers.keys().copied().collect();
        for src in sources {
            let Some(mut knocker) = self.take(src) else {
                continue;
            };
            let attempts = knocker.attempts.into_iter();
            let attempts =
                attempts.filter_map(|(old, attempt)| Some(((*moved.get(old)?)?, attempt)));
            knocker.attempts = attempts.collect();
            knocker.attempts.sort_unstable_by_key(|(number, _)| *number);
            knocker.rank.0 = knocker.stage();
            self.put(src, knocker);
        }
    }

    /// The doors, each with the number of addresses that are part-way through it.
    pub fn attempts(&self) -> Vec<(&Arc<Door>, usize)> {
        let mut attempts: Vec<_> = self.doors.iter().map(|door| (door, 0)).collect();
        for (number, _) in self.knockers.values().flat_map(|knocker| &knocker.attempts) {
            if let Some((_, count)) = attempts.get_mut(*number) {
                *count += 1;
            }
        }
        attempts
    }

    /// How many addresses are remembered.
    pub fn len(&self) -> usize {
        self.knockers.len()
    }

    /// Whether no address is remembered.
    pub fn is_empty(&self) -> bool {
        self.knockers.is_empty()
    }

    /// Takes an address out of the table and of both indexes.
    fn take(&mut self, src: IpAddr) -> Option<Knocker> {
        let knocker = self.knockers.remove(&src)?;
        self.wakes.remove(&(knocker.wake, src));
        self.ranks.remove(&(knocker.rank, src));
        self.memories -= knocker.memories();
        Some(knocker)
    }

    fn put(&mut self, src: IpAddr, mut knocker: Knocker) {
        knocker.attempts.retain(|(_, attempt)| attempt.stage() > 0);
        knocker.wake = self.wake(&knocker);
        self.wakes.insert((knocker.wake, src));
        self.ranks.insert((knocker.rank, src));
        self.memories += knocker.memories();
        self.knockers.insert(src, knocker);
    }

    /// The last moment before something about `knocker` is over: its first attempt, else its memory.
    fn wake(&self, knocker: &Knocker) -> Time {
        let deadline =
            |(number, attempt): &(usize, Attempt)| attempt.deadline(&self.doors.get(*number)?.rule);
        let attempts = knocker.attempts.iter().filter_map(deadline).min();
        attempts
            .or(knocker.sightings.end())
            .unwrap_or(knocker.latest)
            .after(self.lateness)
    }

    /// Makes room: the least advanced goes first, of these the oldest.
    fn evict(&mut self, at: Time, detected: &mut impl FnMut(Detected)) {
        while self.knockers.len() > self.limits.knockers || self.memories > self.limits.memories {
            let Some(&(_, src)) = self.ranks.first() else {
                return;
            };
            let Some(knocker) = self.take(src) else {
                return;
            };
            for (number, attempt) in knocker.attempts {
                let Some(door) = self.doors.get(number) else {
                    continue;
                };
                let stage = attempt.stage();
                let progress = Progress::Reset {
                    stage,
                    reason: ResetReason::Evicted,
                    at,
                };
                detected(Detected {
                    src,
                    door: Arc::clone(door),
                    progress,
                });
            }
        }
    }
}

/// Notes what a door's limits make of `progress`; `true` when it locks the address out.
fn silence(
    silences: &mut Silences,
    src: IpAddr,
    door: &Door,
    progress: Progress,
    at: Time,
) -> bool {
    match (progress, door.limits) {
        (
            Progress::Completed,
            door::Limits {
                cooldown: Some(time),
                ..
            },
        ) => {
            silences.keep(src, &door.name, at, at.after(time));
            false
        }
        (
            Progress::Reset {
                reason: ResetReason::WrongPort,
                ..
            },
            door::Limits {
                lockout: Some(rule),
                ..
            },
        ) => silences.fail(src, &door.name, rule, at),
        _ => false,
    }
}
