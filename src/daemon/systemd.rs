//! What systemd is told: that we are ready, reload, stop, how we are, and that we are not stuck.
//!
//! Nothing comes back. Without `NOTIFY_SOCKET` every call does nothing, and without `WatchdogSec=` in
//! the unit nothing is ever due. The watchdog is fed by the loop and by nobody else, so it proves that
//! the loop turns.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::engine::time::Time;

/// Tells systemd, if it listens.
#[derive(Debug)]
pub(super) struct Notify {
    /// How often the watchdog must be fed, and when it is due.
    watchdog: Option<(Duration, Time)>,
    is_ready: bool,
    /// What was last said of us.
    said: String,
}

impl Notify {
    /// As the unit wants it.
    pub(super) fn new(now: Time) -> Self {
        let half = sd_notify::watchdog_enabled().map(|whole| whole / 2);
        Self {
            watchdog: half.map(|half| (half, now.after(half))),
            is_ready: false,
            said: String::new(),
        }
    }

    /// The work has begun. Said once.
    pub(super) fn ready(&mut self) {
        if !std::mem::replace(&mut self.is_ready, true) {
            tell(&[NotifyState::Ready]);
        }
    }

    /// The configuration has been read, or left as it was.
    pub(super) fn reloaded(&self) {
        // Who is not ready yet must not say so because of a reload.
        if self.is_ready {
            tell(&[NotifyState::Ready]);
        }
    }

    /// How we are, in one line. Said when it has changed.
    pub(super) fn status(&mut self, status: String) {
        if self.said != status {
            tell(&[NotifyState::Status(&status)]);
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
            tell(&[NotifyState::Watchdog]);
        }
    }
}

/// The configuration is read again, until [`Notify::reloaded`].
pub(super) fn reloading() {
    // With Type=notify-reload systemd drops a RELOADING=1 that does not say when.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// The end has begun.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    // A service manager that does not listen any more is no reason to stop guarding doors.
    drop(sd_notify::notify(state));
}
