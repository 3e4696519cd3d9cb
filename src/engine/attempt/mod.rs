//! One address part-way through one door's rule.
//!
//! In: the hits that the door's scope admits, in order. Out: [`Progress`]. It is never asked about the
//! present time: expiry is a deadline that the detector keeps.

mod counts;
mod one_time;
mod sequence;

use std::sync::Arc;

use smallvec::SmallVec;

use super::door::Rule;
use super::event::ResetReason;
use super::one_time::Book;
use super::sequence::Step;
use super::time::{Time, UnixClock};

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
    Completed {
        /// Which sequence it was, where there are several and each opens once.
        number: Option<u64>,
    },
    /// All of them, in an order that has been used: nothing is to open.
    Used {
        /// When.
        at: Time,
    },
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

/// When knocks were made. Most attempts end at their first.
type Knocks = SmallVec<[Time; 2]>;

/// The knocks that may still belong to a match, first to last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Attempt {
    /// When each was made.
    knocks: Knocks,
    /// What each was, where that does not follow from the rule.
    steps: Vec<Step>,
}

/// What all attempts at one door share.
pub(super) struct Ground<'a> {
    /// Its name.
    pub(super) door: &'a Arc<str>,
    /// What has been used.
    pub(super) book: &'a mut Book,
    /// What time it is, if that is known.
    pub(super) unix: Option<UnixClock>,
}

impl Attempt {
    /// How far it is: knocks that may still belong to a match.
    pub(super) fn stage(&self) -> usize {
        self.knocks.len()
    }

    /// The last moment at which the next knock still counts; `None` when nothing is matched.
    pub(super) fn deadline(&self, rule: &Rule) -> Option<Time> {
        match rule {
            Rule::Sequence(rule) => {
                let end = sequence::deadline(&self.knocks, rule.window, rule.knock_timeout);
                end.map(|(at, _)| at)
            }
            Rule::Counts(rule) => counts::deadline(&self.knocks, rule),
            Rule::OneTime(rule) => one_time::deadline(&self.knocks, rule).map(|(at, _)| at),
        }
    }

    /// Drops the match, if there is one.
    pub(super) fn forget(&mut self) {
        self.knocks.clear();
        self.steps.clear();
    }

    /// Ends what is over at `now`.
    pub(super) fn expire(
        &mut self,
        rule: &Rule,
        ground: &mut Ground<'_>,
        now: Time,
        progress: &mut impl FnMut(Progress),
    ) {
        match rule {
            Rule::Sequence(rule) => sequence::expire(&mut self.knocks, rule, now, progress),
            Rule::Counts(rule) => counts::expire(&mut self.knocks, rule, now, progress),
            Rule::OneTime(rule) => one_time::expire(self, rule, ground, now, progress),
        }
    }

    /// Takes one hit. What was over before it ends first.
    pub(super) fn hit(
        &mut self,
        rule: &Rule,
        ground: &mut Ground<'_>,
        step: Step,
        at: Time,
        progress: &mut impl FnMut(Progress),
    ) {
        self.expire(rule, ground, at, progress);
        match rule {
            Rule::Sequence(rule) => sequence::hit(&mut self.knocks, rule, step, at, progress),
            Rule::Counts(rule) => counts::hit(&mut self.knocks, rule, step, at, progress),
            Rule::OneTime(rule) => one_time::hit(self, rule, ground, step, at, progress),
        }
    }
}
