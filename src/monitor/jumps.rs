//! Jumps of the wall clock while the daemon runs.
//!
//! In: the wall clock and the boot clock, read together in each turn of the loop. Out: by how much the first has jumped
//! against the second, and when that was seen. NTP slews both alike, so only somebody who sets the clock makes them
//! differ. A clock that was wrong for a while and is set back to where it would be has not jumped.

use std::time::Duration;

use crate::engine::time::Time;
use crate::protocol::JumpStatus;

/// Less than this is what an NTP daemon puts right at its start, and spoils nothing.
const LEAST: Duration = Duration::from_secs(10);
/// Lines and codes from before it are of no use any more.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// What was seen of the clocks.
#[derive(Debug)]
pub(super) struct Jumps {
    /// The wall clock's lead over the boot clock, as it would be without any jump, and as it was last.
    true_lead: i64,
    lead: i64,
    last: Option<Time>,
}

impl Jumps {
    /// From now on; `wall` and `boot` are of one moment.
    pub(super) fn new(wall: Time, boot: Time) -> Self {
        let lead = lead(wall, boot);
        Self {
            true_lead: lead,
            lead,
            last: None,
        }
    }

    /// Takes the clocks as they are now. Returns the jump, if there was one just now.
    pub(super) fn look(&mut self, wall: Time, boot: Time) -> Option<JumpStatus> {
        let lead = lead(wall, boot);
        let has_jumped = seconds(lead, self.lead).unsigned_abs() >= LEAST.as_secs();
        if has_jumped {
            self.last = Some(boot);
        }
        self.lead = lead;
        if self.last.is_some_and(|last| boot.since(last) > REMEMBERED) {
            (self.last, self.true_lead) = (None, lead);
        }
        self.status(boot).filter(|_| has_jumped)
    }

    /// The jump that is not undone and not forgotten.
    pub(super) fn status(&self, boot: Time) -> Option<JumpStatus> {
        let ahead_seconds = seconds(self.lead, self.true_lead);
        let is_undone = ahead_seconds.unsigned_abs() < LEAST.as_secs();
        let last = self.last.filter(|_| !is_undone)?;
        Some(JumpStatus {
            ahead_seconds,
            seconds_ago: boot.since(last).as_secs(),
        })
    }
}

fn lead(wall: Time, boot: Time) -> i64 {
    wall.as_nanos().saturating_sub(boot.as_nanos())
}

/// Whole seconds between two leads.
const fn seconds(lead: i64, before: i64) -> i64 {
    lead.saturating_sub(before) / 1_000_000_000
}

#[cfg(test)]
#[path = "jumps_test.rs"]
mod tests;
