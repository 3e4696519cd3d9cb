//! What the detector reports about its loop: that it runs, and the state of the sources.
//!
//! In: what the loop knows. Out: the message, when it is due: at the service manager's watchdog's pace, and when the
//! line about our state has changed. The loop alone asks for it, so it proves that the loop turns.

use std::time::Duration;

use crate::engine::time::Time;
use crate::privsep::ToMonitor;

/// When to say that the loop turns.
pub(super) struct Alive {
    /// How often the watchdog must be fed, and when it is due.
    watchdog: Option<(Duration, Time)>,
    /// What was last said of us.
    said: String,
}

impl Alive {
    /// A reporter that sends at least once in `every`.
    pub(super) fn new(now: Time, every: Option<Duration>) -> Self {
        Self {
            watchdog: every.map(|every| (every, now.after(every))),
            said: String::new(),
        }
    }

    /// When [`Self::message`] is due whatever has changed.
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.watchdog.map(|(_, due)| due)
    }

    /// What to say now, if anything; `status` is our state, once that is known.
    pub(super) fn message(&mut self, now: Time, status: Option<String>) -> Option<ToMonitor> {
        let status = status.map(|status| ToMonitor::status(&status));
        let changed = status.filter(|status| *status != self.said);
        let is_due = self.watchdog.is_some_and(|(_, due)| now >= due);
        if changed.is_none() && !is_due {
            return None;
        }
        if let Some((every, due)) = &mut self.watchdog {
            *due = now.after(*every);
        }
        if let Some(changed) = &changed {
            self.said.clone_from(changed);
        }
        Some(ToMonitor::Alive(changed))
    }
}
