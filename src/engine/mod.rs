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
//! [`grant::Grants`] holds what is open. The daemon runs each in a process of its own; `replay` and tests chain
//! them in one, by [`settle`].
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

use detection::Detection;
pub use detection::Sighting;
use finding::Told;
use grant::{Grants, Order, Outcome};
use time::Time;

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

/// The same, and every order is answered with success: what would happen if every command succeeded at once. `see`
/// gets each order before.
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
#[expect(dead_code, reason = "others answer every order with success")]
#[path = "chained_test.rs"]
pub(crate) mod chained;
#[cfg(test)]
#[path = "damage_test.rs"]
mod damage;
#[cfg(test)]
#[path = "example_test.rs"]
pub(crate) mod example;
