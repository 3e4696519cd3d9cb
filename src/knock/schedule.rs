//! When to send which knock.
//!
//! In: steps and a delay, or counts and a window. Out: hits with their times, from the first. A sequence keeps the
//! delay after every hit, the last one too, as knockd's client does: what follows the client finds the knocks
//! arrived. Counting windows end at the last hit, so the last hits of the groups are a window and an eighth apart. A
//! delay of the network below an eighth then moves no hit into another window.

use std::time::Duration;

use thiserror::Error;

use super::counts::Counts;
use crate::engine::sequence::Step;

/// Between the hits of a group.
const WITHIN_GROUP: Duration = Duration::from_millis(10);

/// One knock and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// After the first hit.
    pub at: Duration,
    /// What is hit.
    pub step: Step,
}

/// Whether the same may be sent again while what was sent before is still remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// A sequence begins again with its first step.
    Harmless,
    /// More hits than the counts say close the door.
    Harmful,
}

/// Hits in the order of their times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// The hits.
    pub hits: Vec<Hit>,
    /// The least time after a hit, also after the last.
    pub gap: Duration,
    /// Whether it may be sent again.
    pub again: Again,
}

/// The hits of a group do not fit into a quarter of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("with this delay a group of hits takes longer than a quarter of the window")]
pub struct TooSlow;

impl Schedule {
    /// A sequence.
    pub fn sequence(steps: &[Step], delay: Duration) -> Self {
        let times = (0_u32..).map(|number| delay.saturating_mul(number));
        let hits = times.zip(steps).map(|(at, step)| Hit { at, step: *step });
        Self {
            hits: hits.collect(),
            gap: delay,
            again: Again::Harmless,
        }
    }

    /// Counts of hits on one port.
    pub fn counts(
        counts: Counts,
        step: Step,
        window: Duration,
        delay: Option<Duration>,
    ) -> Result<Self, TooSlow> {
        let delay = delay.unwrap_or(WITHIN_GROUP);
        let span = |count: u8| delay.saturating_mul(u32::from(count) - 1);
        let groups = counts.groups();
        if groups.iter().any(|count| span(*count) > window / 4) {
            return Err(TooSlow);
        }
        let pitch = window + window / 8;
        let first_ends = groups.first().map_or(Duration::ZERO, |count| span(*count));
        let mut hits = Vec::new();
        for (number, count) in (0_u32..).zip(groups) {
            let begins = (first_ends + pitch * number).saturating_sub(span(count));
            hits.extend((0..u32::from(count)).map(|hit| Hit {
                at: begins + delay * hit,
                step,
            }));
        }
        Ok(Self {
            hits,
            gap: delay,
            again: Again::Harmful,
        })
    }
}

#[cfg(test)]
#[path = "schedule_test.rs"]
mod tests;
