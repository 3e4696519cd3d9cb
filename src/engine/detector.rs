//! Hits → progress: the attempts of every address at every door.
//!
//! In: hits in the order in which they were logged. Out: [`Detected`], what became of the attempts.
//! Each (address, door) is on its own: no order of doors, and no other address, changes anything.
//! The table is bounded: at the limit the least advanced and oldest address goes, so a flood of
//! spoofed first knocks cannot push out somebody who is further on.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::answered::{Answers, Last};
use super::attempt::{Ground, Progress};
use super::door::Door;
use super::event::ResetReason;
use super::identity::Identity;
use super::knock::{Hit, KnockerPrefix};
use super::knockers::{Knockers, Slot};
use super::once::{Lately, Sighting};
use super::one_time::Book;
use super::reason::Reason;
use super::silence::Silences;
use super::time::{Time, UnixClock};

/// How much the detector may remember.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Addresses that are at a door.
    pub knockers: usize,
    /// Packets and knocks of all of them together.
    pub memories: usize,
    /// Packets of all other addresses together.
    pub packets: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            knockers: 32_768,
            memories: 131_072,
            packets: 65_536,
        }
    }
}

/// What became of one knocker at one door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detected {
    /// The knocker's address; of several the one that was heard last.
    pub src: IpAddr,
    /// The door.
    pub door: Arc<Door>,
    /// What.
    pub progress: Progress,
}

/// The attempt table.
#[derive(Debug)]
pub struct Detector {
    doors: Vec<Arc<Door>>,
    limits: Limits,
    /// How much later than its stamp a line may be handed over without its attempt being expired.
    lateness: Duration,
    identity: Identity,
    knockers: Knockers,
    /// What everybody sent who is at no door.
    lately: Lately,
    /// What ended before this has ended.
    over: Time,
    silences: Silences,
    /// What an earlier process has answered.
    answers: Answers,
    /// What has been used at doors whose sequences open once.
    book: Book,
    unix: Option<UnixClock>,
}

impl Detector {
    /// A detector of `doors`. `lateness` is how long after its stamp a line may still arrive.
    pub fn new(doors: Vec<Arc<Door>>, lateness: Duration, limits: Limits) -> Self {
        Self {
            doors,
            limits,
            lateness,
            identity: Identity::default(),
            knockers: Knockers::default(),
            lately: Lately::new(limits.packets),
            over: Time::from_nanos(i64::MIN),
            silences: Silences::default(),
            answers: Answers::default(),
            book: Book::default(),
            unix: None,
        }
    }

    /// Says what Unix time it is. Without it no sequence that is derived from the time is right.
    pub fn set_unix(&mut self, unix: UnixClock) {
        self.unix = Some(unix);
    }

    /// Says who is one knocker. Attempts in flight are forgotten when that changes.
    pub fn set_knocker_prefix(&mut self, prefix: KnockerPrefix) {
        if prefix != self.knockers.prefix() {
            self.knockers = Knockers::new(prefix);
        }
    }

    /// Who is one knocker.
    pub fn knocker_prefix(&self) -> KnockerPrefix {
        self.knockers.prefix()
    }

    /// What has been used at doors whose sequences open once.
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// Notes what an earlier run has put on disk about a door.
    pub fn restore_used(&mut self, door: Arc<str>, until: i64) {
        self.book.restore(door, until);
    }

    /// Notes what an earlier process has answered. A door that cools down after it goes on to.
    pub fn restore_answer(&mut self, door: &Arc<str>, src: IpAddr, at: Time, last: Last) {
        let who = self.knockers.prefix().of(src);
        self.answers.note(door, who, at, last);
        let cooling = self.doors.iter().find(|other| other.name == *door);
        if let Some(time) = cooling.and_then(|door| door.limits.cooldown) {
            self.silences.keep(who, door, at, at.after(time));
        }
    }

    /// Takes one hit; `Err` when it is a packet seen before, or counts nowhere because of an answer.
    pub fn handle_hit(
        &mut self,
        hit: &Hit<'_>,
        detected: &mut impl FnMut(Detected),
    ) -> Result<(), Reason> {
        let sighting = self.identity.sighting(hit);
        let place = self.knockers.hear(hit.src);
        let mut own = place.and_then(|slot| self.knockers.get_mut(slot));
        let is_own = own
            .as_mut()
            .is_some_and(|(_, knocker)| knocker.sightings.have(&sighting));
        if is_own || self.lately.have(&sighting) {
            if let Some(slot) = place {
                self.settle(slot, false); // it may have forgotten something
            }
            return Err(Reason::Duplicate);
        }
        let may_begin = |door: &Arc<Door>| door.rule.may_begin_with(hit.step);
        if place.is_none() && !self.doors.iter().any(may_begin) {
            self.lately.remember(sighting);
            return Ok(());
        }
        let slot = place.unwrap_or_else(|| self.knockers.take_place(hit.src));
        self.handle_knock(slot, hit, sighting, detected)
    }

    /// Takes a hit that is new, of somebody who is at a door or may begin there.
    fn handle_knock(
        &mut self,
        slot: Slot,
        hit: &Hit<'_>,
        sighting: Sighting,
        detected: &mut impl FnMut(Detected),
    ) -> Result<(), Reason> {
        let Self {
            doors,
            knockers,
            silences,
            answers,
            book,
            unix,
            ..
        } = self;
        let who = knockers.prefix().of(hit.src);
        let Some((_, knocker)) = knockers.get_mut(slot) else {
            return Ok(());
        };
        knocker.sightings.remember(sighting);
        let at = hit.at.max(knocker.latest);
        knocker.latest = at;
        let (mut is_hidden, mut is_heard) = (false, false);
        for (number, door) in doors.iter().enumerate() {
            // Of most hits most doors never hear: nobody is at them, and they do not begin so.
            if !door.rule.may_begin_with(hit.step) && !knocker.is_at(number) {
                continue;
            }
            if !door.scope.admits(hit) || silences.covers(who, &door.name, at) {
                continue;
            }
            if answers.hide(hit, who, &door.name) {
                is_hidden = true;
                continue;
            }
            is_heard = true;
            let mut tell = |progress| {
                detected(Detected {
                    src: hit.src,
                    door: Arc::clone(door),
                    progress,
                });
            };
            let mut locked_out = false;
            let mut ground = Ground {
                door: &door.name,
                book,
                unix: *unix,
            };
            knocker
                .attempt(number)
                .hit(&door.rule, &mut ground, hit.step, at, &mut |progress| {
                    tell(progress);
                    locked_out |= silences.note(who, door, progress, at);
                });
            if locked_out {
                knocker.attempt(number).forget();
                tell(Progress::LockedOut { at });
            }
        }
        self.settle(slot, true);
        self.evict(at, detected);
        if is_hidden && !is_heard {
            return Err(Reason::Answered);
        }
        Ok(())
    }

    /// Ends what is over at `now`. Calling it early or often does nothing.
    pub fn handle_timeout(&mut self, now: Time, detected: &mut impl FnMut(Detected)) {
        self.silences.expire(now);
        self.answers.expire(now);
        self.over = now.before(self.lateness);
        while let Some((_, slot)) = self.knockers.next_wake().filter(|&(wake, _)| wake < now) {
            let Some((src, knocker)) = self.knockers.get_mut(slot) else {
                break;
            };
            for (number, attempt) in &mut knocker.attempts {
                let Some(door) = self.doors.get(*number) else {
                    continue;
                };
                let mut ground = Ground {
                    door: &door.name,
                    book: &mut self.book,
                    unix: self.unix,
                };
                attempt.expire(&door.rule, &mut ground, self.over, &mut |progress| {
                    detected(Detected {
                        src,
                        door: Arc::clone(door),
                        progress,
                    });
                });
            }
            self.settle(slot, false);
        }
    }

    /// The last moment before [`Self::handle_timeout`] has something to tell.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.knockers.next_wake().map(|(wake, _)| wake)
    }

    /// Forgets every attempt and every packet: after a reboot, or when lines were lost.
    pub fn forget_all(&mut self) {
        self.knockers = Knockers::new(self.knockers.prefix());
        self.lately = Lately::new(self.limits.packets);
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
        self.book.handle_reload();
        for slot in self.knockers.slots() {
            let Some((_, knocker)) = self.knockers.get_mut(slot) else {
                continue;
            };
            let attempts = std::mem::take(&mut knocker.attempts).into_iter();
            let attempts =
                attempts.filter_map(|(old, attempt)| Some(((*moved.get(old)?)?, attempt)));
            knocker.attempts = attempts.collect();
            knocker.attempts.sort_unstable_by_key(|(number, _)| *number);
            self.settle(slot, false);
        }
    }

    /// The doors, each with the number of addresses that are part-way through it.
    pub fn attempts(&self) -> Vec<(&Arc<Door>, usize)> {
        let mut attempts: Vec<_> = self.doors.iter().map(|door| (door, 0)).collect();
        for (number, _) in self.knockers.iter().flat_map(|knocker| &knocker.attempts) {
            if let Some((_, count)) = attempts.get_mut(*number) {
                *count += 1;
            }
        }
        attempts
    }

    /// How many addresses are at a door.
    pub fn len(&self) -> usize {
        self.knockers.len()
    }

    /// Whether no address is at a door.
    pub fn is_empty(&self) -> bool {
        self.knockers.len() == 0
    }

    /// Puts a knocker where it belongs now: out of the table if it is at no door.
    fn settle(&mut self, slot: Slot, heard: bool) {
        let Some((_, knocker)) = self.knockers.get_mut(slot) else {
            return;
        };
        knocker.attempts.retain(|(_, attempt)| attempt.stage() > 0);
        if knocker.attempts.is_empty() {
            if let Some((_, knocker)) = self.knockers.remove(slot) {
                knocker
                    .sightings
                    .iter()
                    .for_each(|&seen| self.lately.remember(seen));
            }
            return;
        }
        let doors = &self.doors;
        let deadlines = knocker
            .attempts
            .iter()
            .filter_map(|(number, attempt)| attempt.deadline(&doors.get(*number)?.rule));
        let wake = deadlines.min().map(|end| end.after(self.lateness));
        self.knockers.settle(slot, wake, heard);
    }

    /// Makes room: the least advanced goes first, of these the oldest.
    fn evict(&mut self, at: Time, detected: &mut impl FnMut(Detected)) {
        while self.knockers.len() > self.limits.knockers
            || self.knockers.memories() > self.limits.memories
        {
            let removed = self
                .knockers
                .least()
                .and_then(|slot| self.knockers.remove(slot));
            let Some((src, knocker)) = removed else {
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

#[cfg(test)]
#[path = "detector_test.rs"]
mod tests;
