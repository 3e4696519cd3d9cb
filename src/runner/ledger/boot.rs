//! This boot: deadlines are on its clock, and what another one opened is due at once.

use std::io;

use super::record::Due;
use crate::clock;
use crate::engine::time::Time;

/// This boot, and what its clock shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// The kernel's number for it.
    pub id: Box<str>,
    /// The time on its clock.
    pub now: Time,
}

impl Boot {
    /// As it is now.
    pub fn read() -> io::Result<Self> {
        Ok(Self {
            id: clock::boot_id()?,
            now: clock::boot_now(),
        })
    }
}

impl Due {
    /// This under the present boot: due at once if its clock is another, or has been turned back
    /// (another time namespace), which could make an hour a year.
    pub(super) fn under(&self, boot: &Boot) -> Self {
        let now = boot.now.as_nanos();
        if self.boot == boot.id && self.at <= now {
            return self.clone();
        }
        Self {
            boot: boot.id.clone(),
            at: now,
            deadline: now,
            wall: self.wall,
        }
    }
}
