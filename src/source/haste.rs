//! Whether to hurry: a knock is on its way, and its next packet is awaited.
//!
//! In: until when, from whoever sees knocks. Out: whether now. The kernel wakes those who wait for its log
//! at its next tick only, up to 4 ms after the line (at 250 ticks a second). Who looks by itself has the line
//! at once, but not for nothing; so that is kept for when somebody is knocking.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::clock;
use crate::engine::time::Time;

/// Known to whoever sees knocks and to the sources that can hurry.
#[derive(Clone, Debug, Default)]
pub struct Haste(Arc<AtomicI64>);

impl Haste {
    /// Up to this time on the boot clock.
    pub fn until(&self, time: Time) {
        self.0.fetch_max(time.as_nanos(), Ordering::Relaxed);
    }

    /// Whether there is reason to, now.
    pub(super) fn is_on(&self) -> bool {
        clock::boot_now().as_nanos() < self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_lasts_until_the_latest_time_that_anybody_said() {
        let (haste, now) = (Haste::default(), clock::boot_now());
        assert!(!haste.is_on());
        haste.clone().until(now.after(Duration::from_secs(3600)));
        haste.until(now);
        assert!(haste.is_on());
    }

    #[test]
    fn it_is_over_when_its_time_is() {
        let haste = Haste::default();
        haste.until(clock::boot_now());
        assert!(!haste.is_on());
    }
}
