//! What the service manager is told of the loop: that it is ready, how it is, and that it turns.
//!
//! In: what the loop knows. Out: [`Notice`]s, by way of whoever the service manager listens to. Without
//! a watchdog nothing is ever due. The watchdog is fed by the loop and by nobody else, so it proves
//! that the loop turns.

use std::time::Duration;

use crate::engine::time::Time;
use crate::privsep::Notice;

/// Tells the service manager, if it listens.
pub(super) struct Notify {
    tell: Box<dyn Fn(Notice)>,
    /// How often the watchdog must be fed, and when it is due.
    watchdog: Option<(Duration, Time)>,
    is_ready: bool,
    /// What was last said of us.
    said: String,
}

impl Notify {
    /// One that tells by `tell`, and wants to be asked so often whether the loop turns.
    pub(super) fn new(now: Time, half: Option<Duration>, tell: Box<dyn Fn(Notice)>) -> Self {
        Self {
            tell,
            watchdog: half.map(|half| (half, now.after(half))),
            is_ready: false,
            said: String::new(),
        }
    }

    /// The work has begun. Said once.
    pub(super) fn ready(&mut self) {
        if !std::mem::replace(&mut self.is_ready, true) {
            (self.tell)(Notice::Ready);
        }
    }

    /// The configuration has been read, or left as it was.
    pub(super) fn reloaded(&self) {
        // Who is not ready yet must not say so because of a reload.
        if self.is_ready {
            (self.tell)(Notice::Reloaded);
        }
    }

    /// How we are, in one line. Said when it has changed.
    pub(super) fn status(&mut self, status: String) {
        if self.said != status {
            (self.tell)(Notice::status(&status));
            self.said = status;
        }
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.watchdog.map(|(_, due)| due)
    }

    /// Feeds the watchdog when it is due. Calling it early or often does nothing.
    pub(super) fn handle_timeout(&mut self, now: Time) {
        if let Some((half, due)) = &mut self.watchdog
            && now >= *due
        {
            *due = now.after(*half);
            (self.tell)(Notice::Alive);
        }
    }
}
