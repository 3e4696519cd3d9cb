//! The clocks, read here and nowhere else.
//!
//! Out: points of time on three clocks, and the number of this boot. A deadline that must survive a
//! restart is on the boot clock (it counts suspend, and no `date` moves it) and is worth nothing
//! under another [`boot_id`]. What a process may take is on the monotonic clock: a laptop that slept
//! two hours must not find its commands timed out.
#![expect(
    clippy::disallowed_methods,
    reason = "the number of the boot belongs to the boot clock, and the kernel tells it in a file"
)]

use std::{fs, io};

use rustix::time::{ClockId, clock_gettime};

use crate::engine::time::Time;

/// Since the boot, suspend included (`CLOCK_BOOTTIME`).
pub fn boot_now() -> Time {
    read(ClockId::Boottime)
}

/// Since the Unix epoch. It jumps: for people to read, never to wait for.
pub fn wall_now() -> Time {
    read(ClockId::Realtime)
}

/// Since some point, suspend left out (`CLOCK_MONOTONIC`): what a running process is measured by.
pub fn monotonic_now() -> Time {
    read(ClockId::Monotonic)
}

/// The kernel's number for this boot: two times of [`boot_now`] compare only when it is the same.
pub fn boot_id() -> io::Result<Box<str>> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    match id.trim() {
        "" => Err(io::ErrorKind::InvalidData.into()),
        id => Ok(id.into()),
    }
}

fn read(clock: ClockId) -> Time {
    let now = clock_gettime(clock);
    Time::from_nanos(
        now.tv_sec
            .saturating_mul(1_000_000_000)
            .saturating_add(now.tv_nsec),
    )
}

#[cfg(test)]
#[path = "clock_test.rs"]
mod tests;
