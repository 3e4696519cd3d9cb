//! The engine: bytes and times in, actions and events out. No I/O, no clock, no log.
//!
//! The walk, and the order in which the modules may know each other:
//!
//! ```text
//! line ─Record▶ packet ─Packet▶ knock ─Hit▶ attempts ─Finding▶ grant ─Order▶ (the caller)
//!   [`line`]     [`packet`]      [`knock`]   [`detection`]       [`grant`]
//! ```
//!
//! Two machines: [`detection::Detection`] reads packets and finds completed knocks;
//! [`grant::Grants`] holds what is open. The daemon runs each in a process of its own; [`Engine`] chains
//! them in one, for `replay`, a dry run and tests.
//!
//! Methods come in four kinds. `handle_*` take what happened; `poll_*` give what follows from it, and
//! are asked until they answer `None`. Time only comes in as an argument. Calling `handle_timeout` too
//! early or too often does nothing.

pub mod account;
pub mod answered;
mod attempt;
pub mod attempts;
mod bloom;
pub mod command;
mod dedup;
pub mod detection;
pub mod door;
pub mod event;
pub mod finding;
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
pub mod time;
pub mod timeline;
pub mod totp;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use attempts::Limits;
use detection::Detection;
pub use detection::Sighting;
use door::Door;
use event::Event;
use finding::Told;
use grant::{Grants, Order, Outcome};
use reason::Reason;
use time::Time;

/// Detection and grants in one process: what would happen if every command succeeded at once.
#[derive(Debug)]
pub struct Engine {
    /// What reads packets.
    pub detection: Detection,
    /// What is open.
    pub grants: Grants,
}

impl Engine {
    /// Creates an engine for `doors`, all closed. A line may come up to `lateness` after its stamp (zero if lines
    /// come on their own time).
    pub fn new(doors: Vec<Arc<Door>>, lateness: Duration, limits: Limits) -> Self {
        Self {
            detection: Detection::new(doors, lateness, limits),
            grants: Grants::default(),
        }
    }

    /// Takes a logged packet. Timeouts before it are handled first.
    pub fn handle_packet(&mut self, now: Time, sighting: &Sighting<'_>) -> Result<(), Reason> {
        self.handle_timeout(now);
        let counted = self.detection.handle_packet(now, sighting);
        self.pass_on(now);
        counted
    }

    /// Advances the time: ends attempts that ended before `now`, and closes grants that are due.
    pub fn handle_timeout(&mut self, now: Time) {
        self.detection.handle_timeout(now);
        self.grants.handle_timeout(now);
        self.pass_on(now);
    }

    /// Opens the door called `name` for `src`, as if it had knocked; `None` if there is no such door.
    pub fn handle_open(
        &mut self,
        now: Time,
        name: &str,
        src: IpAddr,
    ) -> Option<Result<grant::Answer, grant::NotOpened>> {
        let door = self.detection.door(name)?;
        let answer = self.grants.handle_open(&door, src, now);
        self.pass_on(now);
        Some(answer)
    }

    /// Closes all grants of `src`, or all grants. Returns the number of grants.
    pub fn close_all(&mut self, now: Time, src: Option<IpAddr>) -> usize {
        let count = self.grants.close_all(src, now);
        self.pass_on(now);
        count
    }

    /// When [`Self::handle_timeout`] has something to do next.
    pub fn poll_timeout(&self) -> Option<Time> {
        let dues = [self.detection.poll_timeout(), self.grants.poll_timeout()];
        dues.into_iter().flatten().min()
    }

    /// The next order. If no command is run, use [`Self::settle`] instead.
    pub fn poll_order(&mut self) -> Option<Order> {
        self.grants.take_changes();
        self.grants.poll_order()
    }

    /// Takes the end of a command.
    pub fn handle_finished(&mut self, now: Time, order: &Order, outcome: Outcome) {
        self.grants.handle_finished(&order.task, outcome, "", now);
        self.pass_on(now);
    }

    /// Answers every order with success; `see` gets each before.
    pub fn settle(&mut self, now: Time, see: &mut impl FnMut(&Grants, &Order)) {
        settle(&mut self.detection, &mut self.grants, now, see);
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.detection.poll_event()
    }

    fn pass_on(&mut self, now: Time) {
        pass_on(&mut self.detection, &mut self.grants, now);
    }
}

/// Passes findings to the grants, and their notifications back.
pub fn pass_on(detection: &mut Detection, grants: &mut Grants, now: Time) {
    while let Some(finding) = detection.poll_finding() {
        if let Some(door) = detection.door(finding.door()) {
            grants.handle_finding(&door, finding, now);
        }
    }
    while let Some(told) = grants.poll_told() {
        detection.handle_told(&told, now);
        if let Told::Event(event) = told {
            detection.tell(event);
        }
    }
}

/// The same, and every order is answered with success; `see` gets each before.
pub fn settle(
    detection: &mut Detection,
    grants: &mut Grants,
    now: Time,
    see: &mut impl FnMut(&Grants, &Order),
) {
    pass_on(detection, grants, now);
    while let Some(order) = grants.poll_order() {
        see(grants, &order);
        grants.handle_finished(&order.task, Outcome::Done, "", now);
        pass_on(detection, grants, now);
    }
    // Nothing is on a disk here.
    drop(grants.take_changes());
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
