//! Lockouts and cooldowns: addresses whose hits are ignored after failed attempts, or after an open.
//!
//! In: failed attempts and opens. Out: whether a hit counts at all. The table is bounded: at the limit the lockout
//! that ends first is dropped, so a flood gains only what waiting would.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use super::attempt::Progress;
use super::door::{Door, Limits, Lockout};
use super::reason::DoorReason;
use super::time::Time;

/// (address, door) pairs remembered.
const MAX_LOCKOUTS: usize = 16_384;

type Key = (IpAddr, Arc<str>);

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Failed attempts since `since`.
    fails: u32,
    since: Time,
    /// Ignored up to this moment.
    until: Option<Time>,
    /// When none of it matters any more; its key in the order.
    end: Time,
}

/// Addresses that are ignored, each at a door.
#[derive(Debug, Default)]
pub(super) struct Lockouts {
    entries: HashMap<Key, Entry>,
    order: BTreeSet<(Time, Key)>,
}

impl Lockouts {
    /// Whether a hit of `src` at `door` does not count at `at`.
    pub(super) fn covers(&self, src: IpAddr, door: &Arc<str>, at: Time) -> bool {
        self.until(src, door, at).is_some()
    }

    /// Until when a hit of `src` at `door` does not count, if it does not at `at`, and why.
    pub(super) fn until(
        &self,
        src: IpAddr,
        door: &Arc<str>,
        at: Time,
    ) -> Option<(Time, DoorReason)> {
        if self.entries.is_empty() {
            return None;
        }
        let entry = self.entries.get(&(src, Arc::clone(door)))?;
        let reason = match entry.fails {
            0 => DoorReason::Cooldown,
            _ => DoorReason::LockedOut,
        };
        let until = entry.until.filter(|&until| at <= until)?;
        Some((until, reason))
    }

    /// Notes what a door's limits make of `progress`; `true` when it locks the address out.
    pub(super) fn note(&mut self, src: IpAddr, door: &Door, progress: Progress, at: Time) -> bool {
        let Limits {
            cooldown, lockout, ..
        } = door.limits;
        match progress {
            Progress::Completed { .. } => {
                if let Some(time) = cooldown {
                    self.keep(src, &door.name, at, at.after(time));
                }
                false
            }
            Progress::Reset { failed: true, .. } => {
                lockout.is_some_and(|rule| self.fail(src, &door.name, rule, at))
            }
            _ => false,
        }
    }

    /// Counts a failed attempt; `true` when it was one too many.
    pub(super) fn fail(&mut self, src: IpAddr, door: &Arc<str>, rule: Lockout, at: Time) -> bool {
        let key = (src, Arc::clone(door));
        let before = self
            .take(&key)
            .filter(|entry| at <= entry.since.after(rule.within) && entry.until.is_none());
        let fails = before.map_or(0, |entry| entry.fails) + 1;
        let since = before.map_or(at, |entry| entry.since);
        let is_last = fails >= rule.fails;
        let until = is_last.then(|| at.after(rule.time));
        let end = until.unwrap_or(since.after(rule.within));
        self.put(
            key,
            Entry {
                fails,
                since,
                until,
                end,
            },
        );
        is_last
    }

    /// Ignores `src` at `door` up to `until`.
    pub(super) fn keep(&mut self, src: IpAddr, door: &Arc<str>, at: Time, until: Time) {
        let key = (src, Arc::clone(door));
        self.take(&key);
        self.put(
            key,
            Entry {
                fails: 0,
                since: at,
                until: Some(until),
                end: until,
            },
        );
    }

    /// Forgets what is over at `now`.
    pub(super) fn expire(&mut self, now: Time) {
        while let Some((_, key)) = self.order.first().filter(|(end, _)| *end < now).cloned() {
            self.take(&key);
        }
    }

    fn take(&mut self, key: &Key) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.order.remove(&(entry.end, key.clone()));
        Some(entry)
    }

    fn put(&mut self, key: Key, entry: Entry) {
        self.order.insert((entry.end, key.clone()));
        self.entries.insert(key, entry);
        if self.entries.len() > MAX_LOCKOUTS
            && let Some((_, first)) = self.order.first().cloned()
        {
            self.take(&first);
        }
    }
}
