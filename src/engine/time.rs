//! A point in time as the engine sees it, and nothing that could read a clock.
//!
//! In: nanoseconds from an origin that the caller chooses (the boot for the daemon, the Unix epoch
//! for `replay`). Out: comparisons and sums that saturate. The engine never learns which origin it
//! is, so a test of it never waits.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point on the caller's clock, in nanoseconds from the caller's origin (±292 years).
#[derive(
    Copy, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Time(i64);

impl Time {
    /// `nanos` nanoseconds after the origin; negative is before it.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// `seconds` seconds after the origin, at the limit of the type where it does not fit.
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// This point and `span` later.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }

    /// This point and `span` earlier.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(span)))
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0).try_into().unwrap_or(0))
    }
}

/// What Unix time it is when: a point of the caller's clock that has been seen on both.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct UnixClock {
    /// The Unix time of the caller's origin, in nanoseconds.
    origin: i64,
}

impl UnixClock {
    /// A clock whose Unix time is `unix` at `at`.
    pub const fn new(at: Time, unix: Time) -> Self {
        Self {
            origin: unix.0.saturating_sub(at.0),
        }
    }

    /// The Unix time at `at`, in whole seconds.
    pub const fn seconds_at(self, at: Time) -> i64 {
        at.0.saturating_add(self.origin).div_euclid(1_000_000_000)
    }
}

/// Limits how often something is let through, and counts what is held back.
#[derive(Clone, Copy, Debug)]
pub struct Pause {
    span: Duration,
    again: Time,
    count: u64,
}

impl Pause {
    /// A limit that lets something through at once, and then after each `span`.
    pub const fn new(now: Time, span: Duration) -> Self {
        Self {
            span,
            again: now,
            count: 0,
        }
    }

    /// Adds `more`. Returns the number since the last time, if it is time again.
    pub fn add(&mut self, more: u64, now: Time) -> Option<u64> {
        self.count = self.count.saturating_add(more);
        if now < self.again {
            return None;
        }
        self.again = now.after(self.span);
        Some(std::mem::take(&mut self.count))
    }
}

/// A span as signed nanoseconds, at the limit of the type where it does not fit.
pub(super) fn nanos(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "time_test.rs"]
mod tests;
