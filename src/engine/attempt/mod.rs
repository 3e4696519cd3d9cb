//! One address part-way through one door's rule.
//!
//! In: the hits that the door's scope admits, in order. Out: [`Progress`]. It is never asked about the
//! present time: expiry is a deadline that the table keeps.

mod counts;
mod sequence;

use std::sync::Arc;

use super::door::{Door, Rule};
use super::event::{RefusedReason, ResetReason};
use super::finding::Knocked;
use super::knock::{Hit, KernelId};
use super::one_time::Book;
use super::time::{Time, UnixClock};

/// What a hit, or time, did to an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// The steps that are matched at `at`.
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
        /// When it is to close, where the door's own hold does not say so.
        until: Option<Time>,
    },
    /// One hit too many: the door is to close.
    Overcount,
    /// All of them, but nothing is to open.
    Refused {
        /// Why not.
        reason: RefusedReason,
        /// When.
        at: Time,
    },
    /// It was the last of too many codes that failed at the door: none is taken for a while.
    TooManyFailed {
        /// When.
        at: Time,
        /// Before which Unix time all steps of time are used, in seconds.
        until: i64,
    },
    /// It was the last of too many failures: hits of the address are ignored for a while.
    LockedOut {
        /// When.
        at: Time,
    },
    /// The match of `stage` steps ended at `at`.
    Reset {
        /// Steps that were matched.
        stage: usize,
        /// Why it ended.
        reason: ResetReason,
        /// When.
        at: Time,
        /// Whether that is a failure for a lockout.
        failed: bool,
    },
}

impl Progress {
    /// The end of a match of ports in order.
    const fn reset(stage: usize, reason: ResetReason, at: Time) -> Self {
        Self::Reset {
            stage,
            reason,
            at,
            failed: matches!(reason, ResetReason::WrongPort),
        }
    }
}

/// What may still belong to a match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// Ports in order.
    Sequence(sequence::Knocks),
    /// Hits on one port.
    Counts(Box<counts::Hits>),
}

/// What an attempt is made in.
pub(super) struct Context<'a> {
    /// The door.
    pub(super) door: &'a Arc<Door>,
    /// What has been used of sequences that open once.
    pub(super) book: &'a mut Book,
    /// What time it is, if that is known.
    pub(super) unix: Option<UnixClock>,
}

impl Attempt {
    /// An attempt at a door with `rule`, of which nothing has been made.
    pub(super) fn new(rule: &Rule) -> Self {
        match rule {
            Rule::Sequence(_) | Rule::OneTime(_) => Self::Sequence(sequence::Knocks::default()),
            Rule::Counts(_) => Self::Counts(Box::default()),
        }
    }

    /// How far it is: knocks that may still belong to a match.
    pub(super) fn stage(&self) -> usize {
        match self {
            Self::Sequence(knocks) => knocks.stage(),
            Self::Counts(hits) => hits.stage(),
        }
    }

    /// How many knocks it remembers; with none it is as good as no attempt.
    pub(super) fn memories(&self) -> usize {
        match self {
            Self::Sequence(knocks) => knocks.len(),
            Self::Counts(hits) => hits.len(),
        }
    }

    /// Whether `kernel` has logged any of it.
    pub(super) fn is_fed_by(&self, kernel: KernelId) -> bool {
        match self {
            Self::Sequence(knocks) => knocks.are_fed_by(kernel),
            Self::Counts(hits) => hits.are_fed_by(kernel),
        }
    }

    /// What it is if time completes it.
    pub(super) fn knock(&self) -> Option<Knocked> {
        match self {
            Self::Sequence(_) => None,
            Self::Counts(hits) => hits.knock(),
        }
    }

    /// When time alone will complete it, if no hit comes before.
    pub(super) fn opening(&self, rule: &Rule) -> Option<Time> {
        match (self, rule) {
            (Self::Counts(hits), Rule::Counts(rule)) => hits.opening(rule),
            _ => None,
        }
    }

    /// The last moment before time changes it; `None` when there is nothing to change.
    pub(super) fn deadline(&self, rule: &Rule) -> Option<Time> {
        match (self, rule) {
            (Self::Counts(hits), Rule::Counts(rule)) => hits.deadline(rule),
            (Self::Sequence(knocks), rule) => knocks.deadline(rule.pace()?),
            (Self::Counts(_), _) => None,
        }
    }

    /// Ends what is over at `now`.
    pub(super) fn expire(
        &mut self,
        context: &mut Context<'_>,
        now: Time,
        progress: &mut impl FnMut(Progress),
    ) {
        match (self, &context.door.rule) {
            (Self::Counts(hits), Rule::Counts(rule)) => hits.expire(rule, now, progress),
            (Self::Sequence(knocks), rule) => {
                if let Some(pace) = rule.pace() {
                    knocks.expire(pace, context, now, progress);
                }
            }
            (Self::Counts(_), _) => {}
        }
    }

    /// Takes one hit, made at `at`. What was over before it ends first.
    pub(super) fn hit(
        &mut self,
        context: &mut Context<'_>,
        hit: &Hit<'_>,
        at: Time,
        progress: &mut impl FnMut(Progress),
    ) {
        self.expire(context, at, progress);
        match (self, &context.door.rule) {
            (Self::Counts(hits), Rule::Counts(rule)) => {
                hits.hit(rule, context, hit, at, progress);
            }
            (Self::Sequence(knocks), rule) => {
                if let Some(pace) = rule.pace() {
                    knocks.hit(pace, context, sequence::Knock::new(hit, at), progress);
                }
            }
            (Self::Counts(_), _) => {}
        }
    }
}
