//! Hits → progress: the attempts of every address at every door.
//!
//! In: hits in the order in which they were logged. Out: [`Detected`], what became of the attempts. Each (address,
//! door) is on its own: no order of doors, and no other address, changes anything. The table is bounded: at the limit
//! the least advanced and oldest address goes, so a flood of spoofed first knocks cannot evict an address that is
//! further on. Doors with `counts` have a table of their own, in which an IPv6 subnet is one knocker.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::answered::{Answers, Last};
use super::attempt::{Attempt, Context, Progress};
use super::dedup::{RETRANSMISSION, RecentPackets};
use super::door::{Door, Rule};
use super::event::{ResetReason, View};
use super::finding::Knocked;
use super::identity::Identity;
use super::knock::{Hit, KernelId, KnockerPrefix};
use super::knockers::{Knocker, Knockers, Slot};
use super::lockouts::Lockouts;
use super::one_time::Book;
use super::reason::{DoorReason, Reason};
use super::sequence::Step;
use super::time::{Time, UnixClock};

/// Openings by time alone that are waited for to the moment; others come with the next second.
const MAX_OPENINGS: usize = 1024;

/// The limits of the table.
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

/// The outcome for one knocker at one door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detected {
    /// The knocker's address; of several the one that was heard last.
    pub src: IpAddr,
    /// The door.
    pub door: Arc<Door>,
    /// What.
    pub progress: Progress,
    /// Of a completed knock, what is known of it here.
    pub knock: Option<Knocked>,
}

/// Which doors a table is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ports,
    Counts,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Ports, Self::Counts];

    const fn of(door: &Door) -> Self {
        match door.rule {
            Rule::Sequence(_) | Rule::OneTime(_) => Self::Ports,
            Rule::Counts(_) => Self::Counts,
        }
    }
}

/// The attempt table.
#[derive(Debug)]
pub struct AttemptTable {
    doors: Vec<Arc<Door>>,
    /// Of sources that may knock at some doors only, these doors.
    audiences: HashMap<u16, Audience>,
    limits: Limits,
    /// How much later than its stamp a line may be handed over without its attempt being expired.
    lateness: Duration,
    identity: Identity,
    /// The knockers at a door, for each [`Kind`].
    tables: [Knockers; 2],
    /// The packets of all other addresses.
    recent: RecentPackets,
    /// For how long a TCP packet may be sent again: the longest of all doors.
    reach: Duration,
    /// When doors open by time alone, unless somebody comes before.
    openings: BTreeSet<Time>,
    lockouts: Lockouts,
    /// What an earlier process has answered.
    answers: Answers,
    /// The used sequences of doors whose sequences open once.
    book: Book,
    unix: Option<UnixClock>,
}

impl AttemptTable {
    /// Creates a table for `doors`. A line may arrive up to `lateness` after its stamp.
    pub fn new(doors: Vec<Arc<Door>>, lateness: Duration, limits: Limits) -> Self {
        Self {
            reach: longest(&doors),
            doors,
            audiences: HashMap::new(),
            limits,
            lateness,
            identity: Identity::default(),
            tables: tables(KnockerPrefix::default()),
            recent: RecentPackets::new(limits.packets),
            openings: BTreeSet::new(),
            lockouts: Lockouts::default(),
            answers: Answers::default(),
            book: Book::default(),
            unix: None,
        }
    }

    /// Sets the Unix time. Without it no sequence that is derived from the time matches.
    pub fn set_unix(&mut self, unix: UnixClock) {
        self.unix = Some(unix);
    }

    /// Sets the doors at which `source` may knock; `None` for all of them.
    pub fn set_audience(&mut self, source: u16, doors: Option<Arc<[Arc<str>]>>) {
        match doors {
            Some(doors) => self.audiences.insert(source, Audience(doors)),
            None => self.audiences.remove(&source),
        };
    }

    /// The only doors at which `source` may knock, if there are such.
    pub fn audience(&self, source: u16) -> Option<&[Arc<str>]> {
        let Audience(doors) = self.audiences.get(&source)?;
        Some(doors)
    }

    /// Whether `source` may knock at `door`.
    pub fn hears(&self, source: u16, door: &Door) -> bool {
        hears(&self.audiences, source, door)
    }

    /// Sets which addresses are one knocker. Attempts in flight are forgotten when that changes. The door still opens
    /// for one address: the one that completes the knock.
    pub fn set_knocker_prefix(&mut self, prefix: KnockerPrefix) {
        if prefix != self.knocker_prefix() {
            self.tables = tables(prefix);
        }
    }

    /// Which addresses are one knocker.
    pub fn knocker_prefix(&self) -> KnockerPrefix {
        let [ports, _] = &self.tables;
        ports.prefix()
    }

    /// How each door with this port takes `hit`.
    pub fn views(&self, hit: &Hit<'_>) -> Vec<View> {
        let Step { port, transport } = hit.step;
        let views = self.doors.iter().filter_map(|door| {
            let step = door.rule.step_at(port)?;
            let who = self.knocker_prefix();
            let who = match Kind::of(door) {
                Kind::Ports => who.of(hit.src),
                Kind::Counts => who.of_counts().of(hit.src),
            };
            let silent = self.lockouts.until(who, &door.name, hit.at);
            let is_other = !door.rule.may_have(Step { port, transport });
            let is_deaf = !self.hears(hit.source, door);
            let reason = is_deaf.then_some(DoorReason::Source);
            let reason = reason.or(door.scope.why_not(hit));
            let reason = reason.or(is_other.then_some(DoorReason::Transport));
            Some(View {
                door: Arc::clone(&door.name),
                step,
                of: door.rule.knocks(),
                reason: reason.or(silent.map(|(_, reason)| reason)),
                left: silent.map(|(until, _)| until.since(hit.at)),
            })
        });
        views.collect()
    }

    /// The used sequences of doors whose sequences open once.
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// Takes over what an earlier run has used: at `door` every step of time that begins before the Unix time
    /// `until`, in seconds.
    pub fn restore_used(&mut self, door: Arc<str>, until: i64) {
        self.book.restore(door, until);
    }

    /// Takes over that the knock of `src` at `door` which `last` completed was answered at `at`: it is not answered
    /// again. A door with a cooldown continues it.
    pub fn restore_answer(&mut self, door: &Arc<str>, src: IpAddr, at: Time, last: Last) {
        let known = self.doors.iter().find(|other| other.name == *door);
        let kind = known.map_or(Kind::Ports, |door| Kind::of(door));
        let cooldown = known.and_then(|door| door.limits.cooldown);
        let who = self.table(kind).prefix().of(src);
        self.answers.note(door, who, at, last);
        if let Some(time) = cooldown {
            self.lockouts.keep(who, door, at, at.after(time));
        }
    }

    /// Takes one hit. `Err` if the packet was seen before, or if a replayed hit was answered before.
    pub fn handle_hit(
        &mut self,
        hit: &Hit<'_>,
        detected: &mut impl FnMut(Detected),
    ) -> Result<(), Reason> {
        // A packet that a source with few doors shows is not known to the other doors.
        let shared = self.identity.sighting(hit);
        let audience = self.audiences.get(&hit.source);
        let sighting = audience.map_or(shared, |audience| shared.among(audience.key()));
        let as_known = audience.map(|_| shared);
        let mut places = [None; 2];
        let mut age = None;
        for (place, table) in places.iter_mut().zip(&mut self.tables) {
            *place = table.hear(hit.src);
            let knocker = place.and_then(|slot| table.get_mut(slot));
            let seen = knocker.and_then(|(_, Knocker { packets, .. })| {
                let seen = packets.seen(&sighting, self.reach);
                seen.or_else(|| packets.seen(&as_known?, self.reach))
            });
            age = age.or(seen);
        }
        let age = age.or_else(|| self.recent.seen(&sighting, self.reach));
        let age = age.or_else(|| self.recent.seen(&as_known?, self.reach));
        let heard = Heard { hit, age };
        let begins = |door: &Arc<Door>| door.rule.may_begin_with(hit.step) && heard.is_new_to(door);
        if places == [None; 2] && !self.doors.iter().any(begins) {
            // Nearly every packet of a log ends here.
            if age.is_some() {
                return Err(Reason::Duplicate);
            }
            self.recent.remember(sighting);
            return Ok(());
        }
        // It is remembered once: of two that remember it, each would take another packet for it.
        let mut unkept = age.is_none().then_some(sighting);
        let (mut is_heard, mut is_hidden) = (false, false);
        for (kind, place) in Kind::ALL.into_iter().zip(places) {
            let mut doors = self.doors.iter().filter(|door| Kind::of(door) == kind);
            let matters = |door: &Arc<Door>| {
                (place.is_some() || door.rule.may_begin_with(hit.step)) && heard.is_new_to(door)
            };
            if !doors.any(matters) && (place.is_none() || age.is_some()) {
                if let Some(slot) = place {
                    self.settle(kind, slot, false); // it may have forgotten something
                }
                continue;
            }
            let slot = place.unwrap_or_else(|| self.table(kind).take_place(hit.src));
            if let Some((_, knocker)) = self.table(kind).get_mut(slot)
                && let Some(sighting) = unkept.take()
            {
                knocker.packets.remember(sighting);
            }
            let fate = self.handle_knock(kind, slot, &heard, detected);
            is_heard |= fate == Fate::Heard;
            is_hidden |= fate == Fate::Hidden;
        }
        if age.is_none() {
            // A blank takes the place of a packet that a knocker has kept. Otherwise only wrong hits would make the
            // ring grow, and the daemon's page faults would show a local user which hits are right.
            self.recent
                .remember(unkept.unwrap_or_else(|| sighting.blank()));
        }
        match age {
            _ if is_heard => Ok(()),
            _ if is_hidden => Err(Reason::Answered),
            Some(_) => Err(Reason::Duplicate),
            None => Ok(()),
        }
    }

    /// Takes a hit of an address that is at a door of this kind or may begin there.
    fn handle_knock(
        &mut self,
        kind: Kind,
        slot: Slot,
        heard: &Heard<'_>,
        detected: &mut impl FnMut(Detected),
    ) -> Fate {
        let hit = heard.hit;
        let mut fate = Fate::Ignored;
        let Self {
            doors,
            audiences,
            tables,
            openings,
            lockouts,
            answers,
            book,
            unix,
            ..
        } = self;
        let table = of_kind(tables, kind);
        let who = table.prefix().of(hit.src);
        let Some((_, knocker)) = table.get_mut(slot) else {
            return fate;
        };
        let at = hit.at.max(knocker.latest);
        knocker.latest = at;
        for (number, door) in doors.iter().enumerate() {
            if Kind::of(door) != kind || !heard.is_new_to(door) {
                continue;
            }
            // Of most hits most doors never hear: no attempt is at them, and attempts do not begin there.
            if !door.rule.may_begin_with(hit.step) && !knocker.is_at(number) {
                continue;
            }
            if !hears(audiences, hit.source, door)
                || !door.scope.admits(hit)
                || door.is_neutral(hit.step)
                || lockouts.covers(who, &door.name, at)
            {
                continue;
            }
            if answers.hide(hit, who, &door.name) {
                fate = fate.max(Fate::Hidden);
                continue;
            }
            fate = Fate::Heard;
            let context = Context {
                door,
                book,
                unix: *unix,
            };
            let whose = Whose {
                src: hit.src,
                who,
                hit: Some(hit),
            };
            let attempt = knocker.attempt(number, door);
            whose.go_on(attempt, context, at, lockouts, detected);
            if openings.len() < MAX_OPENINGS {
                openings.extend(attempt.opening(&door.rule));
            }
        }
        self.settle(kind, slot, true);
        self.evict(kind, at, detected);
        fate
    }

    /// Ends attempts that have expired at `now`. Calling it early or often is harmless.
    pub fn handle_timeout(&mut self, now: Time, detected: &mut impl FnMut(Detected)) {
        self.lockouts.expire(now);
        self.answers.expire(now);
        while self.openings.first().is_some_and(|&at| at <= now) {
            self.openings.pop_first();
        }
        // Nearly always nothing is over, which is found without a call.
        for kind in Kind::ALL {
            if self.next_over(kind, now).is_some() {
                self.expire(kind, now, detected);
            }
        }
    }

    /// The knocker with the next attempt that is over at `now`.
    fn next_over(&mut self, kind: Kind, now: Time) -> Option<Slot> {
        let next = self.table(kind).next_wake();
        next.filter(|&(wake, _)| wake < now).map(|(_, slot)| slot)
    }

    #[inline(never)]
    fn expire(&mut self, kind: Kind, now: Time, detected: &mut impl FnMut(Detected)) {
        while let Some(slot) = self.next_over(kind, now) {
            let over = now.before(self.lateness_of(kind));
            let Self {
                doors,
                tables,
                lockouts,
                book,
                unix,
                ..
            } = self;
            let table = of_kind(tables, kind);
            let prefix = table.prefix();
            let Some((src, knocker)) = table.get_mut(slot) else {
                break;
            };
            let whose = Whose {
                src,
                who: prefix.of(src),
                hit: None,
            };
            for (number, attempt) in &mut knocker.attempts {
                if let Some(door) = doors.get(*number) {
                    let context = Context {
                        door,
                        book,
                        unix: *unix,
                    };
                    whose.go_on(attempt, context, over, lockouts, detected);
                }
            }
            self.settle(kind, slot, false);
        }
    }

    /// When [`Self::handle_timeout`] has its next result.
    pub fn poll_timeout(&self) -> Option<Time> {
        let wakes = self.tables.iter().filter_map(Knockers::next_wake);
        wakes.map(|(wake, _)| wake).min()
    }

    /// The earliest time at which a door opens by time alone. Other ends can wait for the next second: a timer for
    /// them would show an observer of wake-ups what was knocked.
    pub fn poll_opening(&self) -> Option<Time> {
        self.openings.first().copied()
    }

    /// Forgets every attempt and every packet: lines were lost, or their clock started again. What is open stays.
    pub fn forget_all(&mut self) {
        self.tables = tables(self.knocker_prefix());
        self.recent = RecentPackets::new(self.limits.packets);
    }

    /// Forgets every attempt of which `kernel` has logged a knock: it has booted since.
    pub fn forget_fed_by(&mut self, kernel: KernelId) {
        for kind in Kind::ALL {
            self.each_knocker(kind, |knocker| {
                knocker
                    .attempts
                    .retain(|(_, attempt)| !attempt.is_fed_by(kernel));
            });
        }
    }

    /// The doors.
    pub fn doors(&self) -> &[Arc<Door>] {
        &self.doors
    }

    /// Takes new doors. Attempts at an unchanged door continue.
    pub fn replace_doors(&mut self, doors: Vec<Arc<Door>>) {
        let moved: Vec<_> = self
            .doors
            .iter()
            .map(|old| doors.iter().position(|new| new == old))
            .collect();
        self.reach = longest(&doors);
        self.doors = doors;
        self.book.handle_reload();
        for kind in Kind::ALL {
            self.each_knocker(kind, |knocker| {
                let attempts = std::mem::take(&mut knocker.attempts).into_iter();
                let attempts =
                    attempts.filter_map(|(old, attempt)| Some(((*moved.get(old)?)?, attempt)));
                knocker.attempts = attempts.collect();
                knocker.attempts.sort_unstable_by_key(|(number, _)| *number);
            });
        }
    }

    /// The doors, each with the number of addresses that are part-way through it.
    pub fn by_door(&self) -> Vec<(&Arc<Door>, usize)> {
        let mut attempts: Vec<_> = self.doors.iter().map(|door| (door, 0)).collect();
        let knockers = self.tables.iter().flat_map(Knockers::iter);
        let all = knockers.flat_map(|knocker| &knocker.attempts);
        for (number, _) in all.filter(|(_, attempt)| attempt.stage() > 0) {
            if let Some((_, count)) = attempts.get_mut(*number) {
                *count += 1;
            }
        }
        attempts
    }

    /// How many addresses are at a door.
    pub fn len(&self) -> usize {
        self.tables.iter().map(Knockers::len).sum()
    }

    /// Whether no address is at a door.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn table(&mut self, kind: Kind) -> &mut Knockers {
        of_kind(&mut self.tables, kind)
    }

    /// How much later than its time something ends. A pattern of counts opens its door by time, which
    /// nothing holds up.
    const fn lateness_of(&self, kind: Kind) -> Duration {
        match kind {
            Kind::Ports => self.lateness,
            Kind::Counts => Duration::ZERO,
        }
    }

    fn each_knocker(&mut self, kind: Kind, mut change: impl FnMut(&mut Knocker)) {
        for slot in self.table(kind).slots() {
            if let Some((_, knocker)) = self.table(kind).get_mut(slot) {
                change(knocker);
            }
            self.settle(kind, slot, false);
        }
    }

    /// Puts a knocker where it belongs now: out of the table if it is at no door.
    fn settle(&mut self, kind: Kind, slot: Slot, heard: bool) {
        let lateness = self.lateness_of(kind);
        let Self {
            doors,
            tables,
            recent,
            ..
        } = self;
        let table = of_kind(tables, kind);
        let Some((_, knocker)) = table.get_mut(slot) else {
            return;
        };
        knocker
            .attempts
            .retain(|(_, attempt)| attempt.memories() > 0);
        if knocker.attempts.is_empty() {
            if let Some((_, knocker)) = table.remove(slot) {
                let packets = knocker.packets.iter();
                packets.for_each(|&seen| recent.remember(seen));
            }
            return;
        }
        let deadlines = knocker
            .attempts
            .iter()
            .filter_map(|(number, attempt)| attempt.deadline(&doors.get(*number)?.rule));
        let wake = deadlines.min().map(|end| end.after(lateness));
        table.settle(slot, wake, heard);
    }

    /// Makes room: the least advanced goes first, of these the oldest.
    fn evict(&mut self, kind: Kind, at: Time, detected: &mut impl FnMut(Detected)) {
        let limits = self.limits;
        while self.table(kind).len() > limits.knockers
            || self.table(kind).memories() > limits.memories
        {
            let least = self.table(kind).least();
            let Some((src, knocker)) = least.and_then(|slot| self.table(kind).remove(slot)) else {
                return;
            };
            for (number, attempt) in knocker.attempts {
                let stage = attempt.stage();
                if let Some(door) = self.doors.get(number)
                    && stage > 0
                {
                    detected(Detected {
                        src,
                        door: Arc::clone(door),
                        progress: Progress::Reset {
                            stage,
                            reason: ResetReason::Evicted,
                            at,
                            failed: false,
                        },
                        knock: None,
                    });
                }
            }
        }
    }
}

/// The doors at which a source may knock.
#[derive(Debug)]
struct Audience(Arc<[Arc<str>]>);

impl Audience {
    /// A number for these doors.
    fn key(&self) -> u64 {
        let Self(doors) = self;
        let bytes = doors.iter().flat_map(|door| door.bytes().chain([0]));
        // FNV-1a, so that a source with no door has one too.
        bytes.fold(0xcbf2_9ce4_8422_2325, |key, byte| {
            (key ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }
}

fn hears(audiences: &HashMap<u16, Audience>, source: u16, door: &Door) -> bool {
    let audience = audiences.get(&source);
    audience.is_none_or(|Audience(doors)| doors.contains(&door.name))
}

/// A hit, and how long ago its packet was seen before, if it was.
struct Heard<'a> {
    hit: &'a Hit<'a>,
    age: Option<Duration>,
}

impl Heard<'_> {
    /// Whether it is a new packet for `door`, or one sent again after its window is over.
    fn is_new_to(&self, door: &Door) -> bool {
        self.age.is_none_or(|age| age > reach(door))
    }
}

/// What became of a hit at doors of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    /// No door was concerned.
    Ignored,
    /// It may be part of a knock that was answered.
    Hidden,
    /// Some door has counted it.
    Heard,
}

/// Whose attempt advances, and by which hit; by time alone without one.
struct Whose<'a> {
    src: IpAddr,
    who: IpAddr,
    hit: Option<&'a Hit<'a>>,
}

impl Whose<'_> {
    /// Lets `attempt` go on up to `at`, tells what became of it, and applies the limits of its door.
    fn go_on(
        &self,
        attempt: &mut Attempt,
        mut context: Context<'_>,
        at: Time,
        lockouts: &mut Lockouts,
        detected: &mut impl FnMut(Detected),
    ) {
        let mut made = Vec::new();
        let mut progress = |progress| made.push(progress);
        match self.hit {
            Some(hit) => attempt.hit(&mut context, hit, at, &mut progress),
            None => attempt.expire(&mut context, at, &mut progress),
        }
        let door = context.door;
        let mut tell = |progress, knock| {
            detected(Detected {
                src: self.src,
                door: Arc::clone(door),
                progress,
                knock,
            });
        };
        let mut locked_out = false;
        for progress in made {
            let of_hit = || self.hit.map(|hit| Knocked::by_hit(hit, door));
            let knock = match progress {
                Progress::Completed { .. } => attempt.knock().or_else(of_hit),
                _ => None,
            };
            tell(progress, knock);
            locked_out |= lockouts.note(self.who, door, progress, at);
        }
        if locked_out {
            *attempt = Attempt::new(&door.rule);
            tell(Progress::LockedOut { at }, None);
        }
    }
}

/// How long a TCP packet at `door` may still be sent again.
fn reach(door: &Door) -> Duration {
    door.rule.window().max(RETRANSMISSION)
}

fn longest(doors: &[Arc<Door>]) -> Duration {
    let all = doors.iter().map(|door| reach(door));
    all.max().unwrap_or(RETRANSMISSION)
}

fn of_kind(tables: &mut [Knockers; 2], kind: Kind) -> &mut Knockers {
    let [ports, counts] = tables;
    match kind {
        Kind::Ports => ports,
        Kind::Counts => counts,
    }
}

fn tables(prefix: KnockerPrefix) -> [Knockers; 2] {
    [Knockers::new(prefix), Knockers::new(prefix.of_counts())]
}

#[cfg(test)]
#[path = "counts_test.rs"]
mod counts_tests;
#[cfg(test)]
#[path = "attempts_test.rs"]
mod tests;
