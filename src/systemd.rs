//! What systemd is told, and by whom: the main process of the unit.
//!
//! In: a [`Notice`]. Out: a datagram. Nothing comes back. Without `NOTIFY_SOCKET` every call does
//! nothing.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::privsep::Notice;

/// Tells it.
pub fn tell(notice: &Notice) {
    match notice {
        Notice::Ready | Notice::Reloaded => say(&[NotifyState::Ready]),
        Notice::Status(text) => say(&[NotifyState::Status(text)]),
        Notice::Alive => say(&[NotifyState::Watchdog]),
    }
}

/// How often it wants to hear that the loop turns, if it does: twice in the time that it allows.
pub fn alive_every() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|whole| whole / 2)
}

/// The configuration is read again, until [`Notice::Reloaded`].
pub fn reloading() {
    // With Type=notify-reload systemd drops a RELOADING=1 that does not say when.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => say(&[NotifyState::Reloading, now]),
        Err(_) => say(&[NotifyState::Reloading]),
    }
}

/// The end has begun.
pub fn stopping() {
    say(&[NotifyState::Stopping]);
}

fn say(state: &[NotifyState<'_>]) {
    // A service manager that does not listen any more is no reason to stop guarding doors.
    drop(sd_notify::notify(state));
}
