//! Notifications to systemd, by the main process of the unit.
//!
//! In: what happened. Out: a datagram. Nothing comes back. Without `NOTIFY_SOCKET` every call does
//! nothing.

use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use sd_notify::NotifyState;

/// Messages that wait for it.
const MAX_WAITING: usize = 64;

/// The work has begun, or the configuration has been read again.
pub fn ready() {
    say(&[NotifyState::Ready]);
}

/// Our state, in one line.
pub fn status(text: &str) {
    say(&[NotifyState::Status(text)]);
}

/// The loop turns.
pub fn alive() {
    say(&[NotifyState::Watchdog]);
}

/// How often it wants to hear that the loop turns, if it does: twice in the time that it allows.
pub fn alive_every() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|whole| whole / 2)
}

/// The configuration is read again, until [`ready`].
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

/// Never waits: a service manager that does not listen holds up no door. What it does not take waits, up to a
/// bound, in a thread of its own.
fn say(state: &[NotifyState<'_>]) {
    static SAYER: OnceLock<Option<SyncSender<String>>> = OnceLock::new();
    let lines: Vec<_> = state.iter().map(ToString::to_string).collect();
    let lines = lines.join("\n");
    if let Some(sayer) = SAYER.get_or_init(start) {
        // What is too much is dropped.
        drop(sayer.try_send(lines));
    }
}

fn start() -> Option<SyncSender<String>> {
    let (sayer, said) = sync_channel::<String>(MAX_WAITING);
    let say = move || {
        for lines in said {
            drop(sd_notify::notify(&[NotifyState::Custom(lines.trim_end())]));
        }
    };
    let started = thread::Builder::new().name("systemd".to_owned()).spawn(say);
    started.ok().map(|_| sayer)
}
