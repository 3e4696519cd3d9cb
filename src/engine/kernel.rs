//! One kernel's clock, measured from outside: how old a line is by its kernel stamp.
//!
//! In: a kernel stamp and when its line came, on the comparing clock. Out: the line's age, or
//! [`Reason::Stale`]. Where printk's clock begins is only known by comparing: of all lines of a boot the
//! one that came fastest is nearest to the truth, and the offset follows the drift.

use std::time::Duration;

use super::reason::Reason;
use super::time::Time;

pub(super) const SECOND: i64 = 1_000_000_000;
/// A kernel stamp that jumps back by more than this is a reboot.
const REBOOT: Duration = Duration::from_secs(1);
/// A stamp further ahead than this is not from the present.
pub(super) const AHEAD: i64 = 2 * SECOND;
/// How much the kernel's clock may drift: 200 in a million, more than any crystal does.
const DRIFT_PER_MILLION: i64 = 200;

/// A kernel's clock, as seen from the comparing one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kernel {
    /// Add to a kernel stamp for the comparing clock, in nanoseconds.
    pub(super) offset: i64,
    /// When the offset was looked at last, on the comparing clock.
    compared: Time,
    /// The kernel stamp of the last line; `None` before a line was placed.
    pub(super) latest: Option<Time>,
}

/// What speaks for a line's being of now, beside the kernel's stamp in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Witness {
    /// The stamp is of the kernel that we run on: our clocks.
    OurClocks,
    /// Another host's fresh header.
    Header,
    /// Only the host's earlier lines.
    Nobody,
}

impl Kernel {
    pub(super) fn new(offset: i64, compared: Time) -> Self {
        Self {
            offset,
            compared,
            latest: None,
        }
    }

    /// Whether `uptime` is so much before the last line's that a reboot is between them.
    pub(super) fn has_jumped_back(&self, uptime: Time) -> bool {
        self.latest
            .is_some_and(|latest| latest.since(uptime) > REBOOT)
    }

    /// How old the line is, measured by the host's other lines: the one that came fastest sets the
    /// measure, and it may drift. A line that is far off begins a new measure if it is of a new boot
    /// or its header is fresh, and is [`Reason::Stale`] otherwise.
    pub(super) fn age(
        &mut self,
        uptime: Time,
        now: Time,
        witness: Witness,
        max_age: Duration,
    ) -> Result<Duration, Reason> {
        let offset = between(uptime, now);
        let elapsed = between(self.compared, now);
        // A boot that is younger than the last line; ours would have ended us.
        let has_jumped = self.has_jumped_back(uptime);
        let has_booted = has_jumped
            && witness != Witness::OurClocks
            && uptime.as_nanos() <= elapsed.saturating_add(AHEAD);
        let crept = self.offset.saturating_add(drift(elapsed)).min(offset);
        let mut age = Duration::from_nanos(offset.abs_diff(crept));
        self.offset = crept;
        if has_booted || (age > max_age && witness == Witness::Header) {
            self.offset = offset;
            age = Duration::ZERO;
        } else if age > max_age {
            return Err(Reason::Stale);
        }
        self.compared = now;
        self.latest = if has_jumped {
            Some(uptime)
        } else {
            self.latest.max(Some(uptime))
        };
        Ok(age)
    }
}

/// How far a clock may have drifted over `span` nanoseconds; zero for one that ran backwards.
pub(super) fn drift(span: i64) -> i64 {
    span.max(0) / 1_000_000 * DRIFT_PER_MILLION
}

/// From `earlier` to `later` in nanoseconds; negative when they are the other way round.
pub(super) fn between(earlier: Time, later: Time) -> i64 {
    later.as_nanos().saturating_sub(earlier.as_nanos())
}
