//! One address part-way through one door's rule.
//!
//! In: the hits that the door's scope admits, in order. Out: [`Progress`]. It is never asked about the
//! present time: expiry is a deadline that the detector keeps.

mod counts;
mod sequence;

use super::door::Rule;
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
    /// It was the last of too many failures: the address is not listened to for a while.
    LockedOut {
        /// When.
        at: Time,
    },
    /// The match of `stage` steps ended at `at`. After [`ResetReason::Overcount`] the door is to close.
    Reset {
        /// Steps that were matched.
        stage: usize,
        /// Why it ended.
        reason: ResetReason,
        /// When.
        at: Time,
    },
}

/// When the knocks that may still belong to a match were made, first to last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Attempt(Vec<Time>);

impl Attempt {
    /// How far it is: knocks that may still belong to a match.
    pub(super) fn stage(&self) -> usize {
        self.0.len()
    }

    /// The last moment at which the next knock still counts; `None` when nothing is matched.
    pub(super) fn deadline(&self, rule: &Rule) -> Option<Time> {
        match rule {
            Rule::Sequence(rule) => sequence::deadline(&self.0, rule).map(|(at, _)| at),
            Rule::Counts(rule) => counts::deadline(&self.0, rule),
        }
    }

    /// Drops the match, if there is one.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    /// Ends what is over at `now`.
    pub(super) fn expire(&mut self, rule: &Rule, now: Time, progress: &mut impl FnMut(Progress)) {
        match rule {
            Rule::Sequence(rule) => sequence::expire(&mut self.0, rule, now, progress),
            Rule::Counts(rule) => counts::expire(&mut self.0, rule, now, progress),
        }
    }

    /// Takes one hit. What was over before it ends first.
    pub(super) fn hit(
        &mut self,
        rule: &Rule,
        step: Step,
        at: Time,
        progress: &mut impl FnMut(Progress),
    ) {
        self.expire(rule, at, progress);
        match rule {
            Rule::Sequence(rule) => sequence::hit(&mut self.0, rule, step, at, progress),
            Rule::Counts(rule) => counts::hit(&mut self.0, rule, step, at, progress),
        }
    }
}
