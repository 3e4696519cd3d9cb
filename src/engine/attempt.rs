//! One address part-way through one door's rule.
//!
//! In: the hits that the door's scope admits, in order. Out: [`Progress`]. The match is the longest
//! one that the last hits could still be (Knuth, Morris, Pratt), so the hit that breaks a match may
//! begin the next, and what a window leaves of an expired match goes on. It is never asked about the
//! present time: expiry is a deadline that the detector keeps.

use std::time::Duration;

use super::door::{OtherPorts, SequenceRule};
use super::event::ResetReason;
use super::sequence::Step;
use super::time::Time;

/// What a hit, or the end of a window, did to an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// So many steps are matched at `at`.
    Stage {
        /// Steps matched.
        stage: usize,
        /// When.
        at: Time,
    },
    /// All of them: the door is to open.
    Completed,
    /// The match of `stage` steps ended at `at`.
    Reset {
        /// Steps that were matched.
        stage: usize,
        /// Why it ended.
        reason: ResetReason,
        /// When.
        at: Time,
    },
}

/// When the matched steps were knocked, first to last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Attempt(Vec<Time>);

impl Attempt {
    /// Steps matched.
    pub(super) fn stage(&self) -> usize {
        self.0.len()
    }

    /// The last moment at which the next knock still counts, and what ends the match after it.
    /// `None` when nothing is matched.
    pub(super) fn deadline(&self, rule: &SequenceRule) -> Option<(Time, ResetReason)> {
        let window = (self.0.first()?.after(rule.window), ResetReason::Timeout);
        let gap = rule.knock_timeout.map(|gap| (gap, ResetReason::Gap));
        let gap = gap.and_then(|(gap, reason)| Some((self.0.last()?.after(gap), reason)));
        Some(gap.filter(|gap| gap.0 < window.0).unwrap_or(window))
    }

    /// Ends what is over at `now`.
    pub(super) fn expire(
        &mut self,
        rule: &SequenceRule,
        now: Time,
        progress: &mut impl FnMut(Progress),
    ) {
        while let Some((at, reason)) = self.deadline(rule).filter(|&(at, _)| at < now) {
            let stage = self.stage();
            let kept = match reason {
                ResetReason::Gap => 0,
                _ => rule.sequence.fallback(stage),
            };
            self.keep_last(kept);
            progress(Progress::Reset { stage, reason, at });
            if kept > 0 {
                progress(Progress::Stage { stage: kept, at });
            }
        }
    }

    /// Takes one hit.
    pub(super) fn hit(
        &mut self,
        rule: &SequenceRule,
        step: Step,
        at: Time,
        progress: &mut impl FnMut(Progress),
    ) {
        self.expire(rule, at, progress);
        if rule.other_ports == OtherPorts::Ignore && !rule.sequence.has(step) {
            return;
        }
        let before = self.stage();
        let right = rule.sequence.advance(before, step) == before + 1;
        let too_fast = self
            .0
            .last()
            .is_some_and(|&last| at.since(last) < rule.min_gap.unwrap_or(Duration::ZERO));
        // A knock too soon after the last breaks every match that holds both of them.
        let after = rule
            .sequence
            .advance(if too_fast { 0 } else { before }, step);
        if before > 0 && (too_fast || !right) {
            let reason = if right {
                ResetReason::TooFast
            } else {
                ResetReason::WrongPort
            };
            progress(Progress::Reset {
                stage: before,
                reason,
                at,
            });
        }
        if after > 0 {
            self.0.push(at);
            progress(Progress::Stage { stage: after, at });
        }
        self.keep_last(after);
        if after == rule.sequence.len() {
            self.0.clear();
            progress(Progress::Completed);
        }
    }

    fn keep_last(&mut self, count: usize) {
        self.0.drain(..self.0.len().saturating_sub(count));
    }
}
