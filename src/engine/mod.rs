//! The engine: bytes and times in, actions and events out. No I/O, no clock, no log.
//!
//! The walk, and the order in which the modules may know each other:
//!
//! ```text
//! line ─Record▶ packet ─Packet▶ knock ─Hit▶ detector ─Progress▶ grant ─Action▶ (the caller)
//!   [`line`]     [`packet`]      [`knock`]   [`detector`]          [`grant`]
//! ```
//!
//! [`Engine`] has four kinds of method. `handle_*` take what happened; `poll_*` give what follows
//! from it, and are asked until they answer `None`. Time only comes in as an argument. Calling
//! [`Engine::handle_timeout`] too early or too often does nothing. The daemon and `replay` drive the
//! same engine: the one with clocks and commands, the other with the log's own time.

pub mod account;
pub mod action;
pub mod answered;
mod attempt;
mod bloom;
pub mod command;
mod dedup;
pub mod detector;
pub mod door;
mod entry;
pub mod event;
mod facts;
pub mod grant;
mod identity;
mod kernel;
pub mod knock;
mod knockers;
pub mod line;
mod lockouts;
pub mod loss;
pub mod one_time;
pub mod packet;
pub mod reading;
pub mod reason;
mod scan;
pub mod sequence;
mod telling;
pub mod time;
pub mod timeline;
pub mod totp;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use action::{Action, Command, GrantId, Outcome};
use answered::Last;
use attempt::Progress;
use detector::{Detected, Detector, Limits};
use door::{Door, Rule};
use event::{Event, Whence};
use grant::{Completed, Grants, SavedGrant, Standing};
use knock::{Hit, KernelId, KnockerPrefix, Logged};
use packet::Packet;
use reason::{Reason, Tally};
use time::{Time, UnixClock};

/// A packet with its place on the engine's clock.
#[derive(Clone, Copy, Debug)]
pub struct Sighting<'a> {
    /// The packet.
    pub packet: Packet<'a>,
    /// When it was seen.
    pub at: Time,
    /// The kernel's stamp of it.
    pub uptime: Option<Time>,
    /// What its line says of when it was logged, for what an earlier run has answered.
    pub logged: Logged,
    /// The line it was read from.
    pub whence: Whence,
}

/// Why nothing is opened by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotOpened {
    /// No door has this name.
    NoSuchDoor,
    /// The door has no open command for the family of this address.
    NoCommand,
    /// The door does not let this address in.
    NotAllowed,
    /// No single host can have this address.
    Nobody,
}

/// The whole of the detection and of what is open.
#[derive(Debug)]
pub struct Engine {
    detector: Detector,
    grants: Grants,
    events: VecDeque<Event>,
    rejected: Tally,
    /// The latest time handed in: the engine's clock does not run backwards.
    now: Time,
}

impl Engine {
    /// An engine for `doors`. `lateness` is how long after its stamp a line may still be handed over
    /// (zero where lines come on their own time); `last_id` is the highest grant number ever used.
    pub fn new(doors: Vec<Arc<Door>>, lateness: Duration, limits: Limits, last_id: u64) -> Self {
        Self {
            detector: Detector::new(doors, lateness, limits),
            grants: Grants::new(last_id),
            events: VecDeque::new(),
            rejected: Tally::default(),
            now: Time::from_nanos(i64::MIN),
        }
    }

    /// Takes what time it is: at `now` the Unix time is `unix`. Doors whose sequences are derived from
    /// the time need it; the caller says it anew as often as the two clocks may have come apart.
    pub fn handle_unix(&mut self, now: Time, unix: Time) {
        self.detector.set_unix(UnixClock::new(now, unix));
    }

    /// Says who is one knocker, in place of each address. What is opened is opened for one address all the
    /// same: the one that completes the knock.
    pub fn set_knocker_prefix(&mut self, prefix: KnockerPrefix) {
        self.detector.set_knocker_prefix(prefix);
    }

    /// Takes a packet that was logged. What had to happen before it happens first.
    pub fn handle_packet(&mut self, now: Time, sighting: &Sighting<'_>) -> Result<(), Reason> {
        self.handle_timeout(now);
        let Sighting {
            packet,
            at,
            uptime,
            logged,
            whence,
        } = sighting;
        let counted = Hit::new(packet, *at, *uptime, whence.source, *logged)
            .and_then(|hit| self.handle_hit(&hit, *whence));
        if let Err(reason) = counted {
            self.rejected.add(reason);
        }
        counted
    }

    /// Counts a line that did not get as far as a packet.
    pub fn handle_rejected(&mut self, reason: Reason) {
        self.rejected.add(reason);
    }

    /// Counts so many lines that never came here at all.
    pub fn handle_rejected_many(&mut self, reason: Reason, count: u64) {
        self.rejected.add_many(reason, count);
    }

    /// Lets time pass: what ended before `now` ends, what is due at `now` is done.
    pub fn handle_timeout(&mut self, now: Time) {
        self.now = self.now.max(now);
        let Self {
            detector,
            grants,
            events,
            now,
            ..
        } = self;
        detector.handle_timeout(*now, &mut |detected| {
            events.extend(telling::of_attempt(&detected, None));
            if let Some(completed) = completed(&detected) {
                let tell = &mut |told| events.push_back(telling::of_grant(told, None));
                grants.handle_knock(&detected.door, completed, *now, tell);
            }
        });
        grants.handle_timeout(*now, &mut |told| {
            events.push_back(telling::of_grant(told, None));
        });
    }

    /// Takes the end of a command that [`Action::Open`] or [`Action::Close`] asked for.
    pub fn handle_finished(
        &mut self,
        now: Time,
        grant: GrantId,
        command: Command,
        outcome: Outcome,
    ) {
        self.now = self.now.max(now);
        let Self {
            grants,
            events,
            now,
            ..
        } = self;
        let tell = &mut |told| events.push_back(telling::of_grant(told, None));
        grants.handle_finished(grant, command, outcome, *now, tell);
    }

    /// Drops the attempts in flight: lines were lost, or their clock began anew. What is open stays.
    pub fn handle_gap(&mut self) {
        self.detector.forget_all();
    }

    /// Drops the attempts that `kernel` has logged a part of: it has booted since. What is open stays.
    pub fn handle_reboot(&mut self, kernel: KernelId) {
        self.detector.forget_fed_by(kernel);
    }

    /// Takes new doors. What is open stays open, and closes as it was opened; attempts in flight go on
    /// at doors that are as they were.
    pub fn handle_reload(&mut self, doors: Vec<Arc<Door>>) {
        self.detector.replace_doors(doors);
    }

    /// Opens the door called `name` for `src`, as if it had been knocked at rightly.
    pub fn handle_open(&mut self, now: Time, name: &str, src: IpAddr) -> Result<(), NotOpened> {
        self.handle_timeout(now);
        let src = src.to_canonical();
        let mut doors = self.detector.doors().iter();
        let door = doors.find(|door| *door.name == *name).map(Arc::clone);
        let door = door.ok_or(NotOpened::NoSuchDoor)?;
        if door.grant.open.of(src).is_none() {
            return Err(NotOpened::NoCommand);
        }
        if knock::is_nobody(src) {
            return Err(NotOpened::Nobody);
        }
        if !door.scope.lets_in(src) {
            return Err(NotOpened::NotAllowed);
        }
        let Self {
            grants,
            events,
            now,
            ..
        } = self;
        let tell = &mut |told| events.push_back(telling::of_grant(told, None));
        let completed = Completed {
            facts: facts::by_hand(src, &door),
            spend: None,
            until: None,
            last: None,
        };
        grants.handle_knock(&door, completed, *now, tell);
        Ok(())
    }

    /// Closes what is open for `src`, or for everybody; returns how many doors that concerns.
    pub fn handle_close_all(&mut self, now: Time, src: Option<IpAddr>) -> usize {
        self.now = self.now.max(now);
        let Self {
            grants,
            events,
            now,
            ..
        } = self;
        let src = src.map(|src| src.to_canonical());
        let tell = &mut |told| events.push_back(telling::of_grant(told, None));
        grants.close_all(src, *now, tell)
    }

    /// Takes over a grant that an earlier run left on disk.
    pub fn restore(&mut self, saved: SavedGrant) {
        self.grants.restore(saved);
    }

    /// Takes over what an earlier run has put on disk with [`Action::Spend`] or an open: at `door` every
    /// step of time that begins before the Unix time `until`, in seconds, is used.
    pub fn restore_used(&mut self, door: Arc<str>, until: i64) {
        self.detector.restore_used(door, until);
    }

    /// Takes over that an earlier run answered the knock of `src` at `door` which `last` completed, at `at`
    /// on the engine's clock: it is not answered again.
    pub fn restore_answer(&mut self, door: &Arc<str>, src: IpAddr, at: Time, last: Last) {
        self.detector.restore_answer(door, src, at, last);
    }

    /// How many sequences are left of the doors that have a list of them.
    pub fn left(&self) -> impl Iterator<Item = (&Arc<str>, usize)> {
        let book = self.detector.book();
        let doors = self.detector.doors().iter();
        doors.filter_map(|door| match &door.rule {
            Rule::OneTime(rule) => Some((&door.name, book.left(&door.name, &rule.origin)?)),
            Rule::Sequence(_) | Rule::Counts(_) => None,
        })
    }

    /// When [`Self::handle_timeout`] has something to do next.
    pub fn poll_timeout(&self) -> Option<Time> {
        // A window includes its last moment, so it is over one step later.
        let window = self
            .detector
            .poll_timeout()
            .map(|last| last.after(Duration::from_nanos(1)));
        window.into_iter().chain(self.grants.poll_timeout()).min()
    }

    /// When [`Self::handle_timeout`] has something to do next for what is open or opens by time alone, other
    /// attempts left out.
    pub fn poll_grants(&self) -> Option<Time> {
        let dues = [self.grants.poll_timeout(), self.detector.poll_opening()];
        dues.into_iter().flatten().min()
    }

    /// How long an attempt can last at any door.
    pub fn longest_window(&self) -> Duration {
        let windows = self.detector.doors().iter().map(|door| door.rule.window());
        windows.max().unwrap_or_default()
    }

    /// What to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.grants.poll_action()
    }

    /// What to tell next.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// How many packets were no knock, and why.
    pub fn rejected(&self) -> &Tally {
        &self.rejected
    }

    /// How many doors are open or being closed.
    pub fn grants(&self) -> usize {
        self.grants.len()
    }

    /// Everything that is open or being closed, the oldest first.
    pub fn standing(&self) -> impl Iterator<Item = Standing<'_>> {
        self.grants.standing()
    }

    /// The doors, each with the number of addresses that are part-way through it.
    pub fn attempts(&self) -> Vec<(&Arc<Door>, usize)> {
        self.detector.attempts()
    }

    /// The door of a grant.
    pub fn door_of(&self, grant: GrantId) -> Option<Arc<str>> {
        self.grants.door_of(grant)
    }

    /// How many addresses are part-way through a door.
    pub fn knockers(&self) -> usize {
        self.detector.len()
    }

    fn handle_hit(&mut self, hit: &Hit<'_>, whence: Whence) -> Result<(), Reason> {
        let Self {
            detector,
            grants,
            events,
            now,
            ..
        } = self;
        for door in detector.doors() {
            if entry::is_last(door, hit, grants) {
                let tell = &mut |told| events.push_back(telling::of_grant(told, Some(whence)));
                grants.handle_close(&door.name, hit.src, *now, tell);
            }
        }
        let prefix = detector.knocker_prefix().of_counts();
        detector.handle_hit(hit, &mut |detected| {
            events.extend(telling::of_attempt(&detected, Some((whence, hit.at))));
            let Detected {
                src,
                door,
                progress,
                ..
            } = &detected;
            let tell = &mut |told| events.push_back(telling::of_grant(told, Some(whence)));
            if let Some(completed) = completed(&detected) {
                grants.handle_knock(door, completed, *now, tell);
            }
            if *progress == Progress::Overcount {
                for src in open_for(grants, &door.name, prefix, *src) {
                    grants.handle_close(&door.name, src, *now, tell);
                }
            }
        })
    }
}

/// What opens a door, where the knock was completed.
fn completed(detected: &Detected) -> Option<Completed> {
    let Detected {
        door,
        progress: Progress::Completed { number, until },
        knock: Some((facts, last)),
        ..
    } = detected
    else {
        return None;
    };
    Some(Completed {
        facts: facts.clone(),
        spend: number.and_then(|number| door.rule.token(&door.name, number)),
        until: *until,
        last: Some(*last),
    })
}

/// For which addresses of the knocker who has `src` the door called `name` is open.
fn open_for(grants: &Grants, name: &Arc<str>, prefix: KnockerPrefix, src: IpAddr) -> Vec<IpAddr> {
    let who = prefix.of(src);
    let theirs = grants
        .standing()
        .filter(|grant| grant.door == name && prefix.of(grant.src) == who);
    theirs.map(|grant| grant.src).collect()
}

#[cfg(test)]
#[path = "by_hand_test.rs"]
mod tests;

#[cfg(test)]
#[path = "damage_test.rs"]
mod damage;
#[cfg(test)]
#[path = "example_test.rs"]
pub(crate) mod example;
