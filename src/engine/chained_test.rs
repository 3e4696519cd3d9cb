//! Detection and grants in one process, with the orders for the test to answer.
//!
//! In: packets, requests by hand, ends of commands, time. Out: orders and events. It is a module of the engine's tests,
//! of `tests/integration.rs`, of the benches and of the fuzz targets, so it names the crate from outside.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use logknock::engine::attempts::Limits;
use logknock::engine::detection::{Detection, Sighting};
use logknock::engine::door::Door;
use logknock::engine::event::Event;
use logknock::engine::grant::{Grants, Order, Outcome};
use logknock::engine::reason::Reason;
use logknock::engine::time::Time;
use logknock::engine::{self};

/// Detection and grants in one process: what would happen if every command succeeded at once.
#[derive(Debug)]
pub(crate) struct Engine {
    /// What reads packets.
    pub(crate) detection: Detection,
    /// What is open.
    pub(crate) grants: Grants,
}

impl Engine {
    /// Creates an engine for `doors`, all closed. A line may come up to `lateness` after its stamp (zero if lines
    /// come on their own time).
    pub(crate) fn new(doors: Vec<Arc<Door>>, lateness: Duration, limits: Limits) -> Self {
        Self {
            detection: Detection::new(doors, lateness, limits),
            grants: Grants::default(),
        }
    }

    /// Takes a logged packet. Timeouts before it are handled first.
    pub(crate) fn handle_packet(
        &mut self,
        now: Time,
        sighting: &Sighting<'_>,
    ) -> Result<(), Reason> {
        self.handle_timeout(now);
        let counted = self.detection.handle_packet(now, sighting);
        self.pass_on(now);
        counted
    }

    /// Advances the time: ends attempts that ended before `now`, and closes grants that are due.
    pub(crate) fn handle_timeout(&mut self, now: Time) {
        self.detection.handle_timeout(now);
        self.grants.handle_timeout(now);
        self.pass_on(now);
    }

    /// Closes all grants of `src`, or all grants. Returns the number of grants.
    pub(crate) fn close_all(&mut self, now: Time, src: Option<IpAddr>) -> usize {
        let count = self.grants.close_all(src, now);
        self.pass_on(now);
        count
    }

    /// When [`Self::handle_timeout`] has something to do next.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        let dues = [self.detection.poll_timeout(), self.grants.poll_timeout()];
        dues.into_iter().flatten().min()
    }

    /// The next order. If no command is run, use [`Self::settle`] instead.
    pub(crate) fn poll_order(&mut self) -> Option<Order> {
        self.grants.take_changes();
        self.grants.poll_order()
    }

    /// Takes the end of a command.
    pub(crate) fn handle_finished(&mut self, now: Time, order: &Order, outcome: Outcome) {
        self.grants.handle_finished(&order.task, outcome, "", now);
        self.pass_on(now);
    }

    /// Answers every order with success; `see` gets each before.
    pub(crate) fn settle(&mut self, now: Time, see: &mut impl FnMut(&Grants, &Order)) {
        engine::settle(&mut self.detection, &mut self.grants, now, see);
    }

    /// The next event.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.detection.poll_event()
    }

    pub(crate) fn pass_on(&mut self, now: Time) {
        engine::pass_on(&mut self.detection, &mut self.grants, now);
    }
}
