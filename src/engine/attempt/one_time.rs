//! Ports in order, each order once: the longest match that the last knocks could be of any sequence
//! that may be knocked now.
//!
//! The knocks are kept as they were, because what may be knocked changes with the time. Which
//! sequences may, the first knock of a match decides: a knock that straddles the border of two steps
//! of time is one of the step in which it began. Where several are completed at once, the last of them
//! is used, and those before it with it; where one of them is used already, nothing opens.

use std::sync::Arc;
use std::time::Duration;

use super::{Attempt, Ground, Progress, sequence};
use crate::engine::door::{OneTimeRule, OtherPorts};
use crate::engine::event::ResetReason;
use crate::engine::one_time::Candidate;
use crate::engine::sequence::Step;
use crate::engine::time::Time;

/// The last moment at which the next knock still counts, and what ends the match after it.
pub(super) fn deadline(knocks: &[Time], rule: &OneTimeRule) -> Option<(Time, ResetReason)> {
    sequence::deadline(knocks, rule.window, rule.knock_timeout)
}

pub(super) fn expire(
    attempt: &mut Attempt,
    rule: &OneTimeRule,
    ground: &mut Ground<'_>,
    now: Time,
    progress: &mut impl FnMut(Progress),
) {
    while let Some((at, reason)) = deadline(&attempt.knocks, rule).filter(|&(at, _)| at < now) {
        let stage = attempt.stage();
        let kept = match reason {
            ResetReason::Gap => 0,
            _ => look(attempt, 1, rule, ground).longest,
        };
        keep_last(attempt, kept);
        progress(Progress::Reset { stage, reason, at });
        if kept > 0 {
            progress(Progress::Stage { stage: kept, at });
        }
    }
}

pub(super) fn hit(
    attempt: &mut Attempt,
    rule: &OneTimeRule,
    ground: &mut Ground<'_>,
    step: Step,
    at: Time,
    progress: &mut impl FnMut(Progress),
) {
    let before = attempt.stage();
    let since = attempt.knocks.first().copied();
    if rule.other_ports == OtherPorts::Ignore
        && !since
            .into_iter()
            .chain([at])
            .any(|since| has(step, since, rule, ground))
    {
        return;
    }
    let min_gap = rule.min_gap.unwrap_or(Duration::ZERO);
    let last = attempt.knocks.last();
    let too_fast = last.is_some_and(|&last| at.since(last) < min_gap);
    attempt.knocks.push(at);
    attempt.steps.push(step);
    let mut found = look(attempt, 0, rule, ground);
    let right = found.longest == before + 1;
    if too_fast {
        // A knock too soon after the last breaks every match that holds both of them.
        found = look(attempt, before, rule, ground);
    }
    if before > 0 && (too_fast || !right) {
        let reason = if right {
            ResetReason::TooFast
        } else {
            ResetReason::WrongPort
        };
        let stage = before;
        progress(Progress::Reset { stage, reason, at });
    }
    if found.longest > 0 {
        let stage = found.longest;
        progress(Progress::Stage { stage, at });
    }
    keep_last(attempt, found.longest);
    match found.whole {
        None => {}
        Some(Whole { used: true, .. }) => {
            attempt.forget();
            progress(Progress::Used { at });
        }
        Some(Whole { number, .. }) => {
            attempt.forget();
            ground.book.spend(ground.door, &rule.origin, number);
            let number = Some(number);
            progress(Progress::Completed { number });
        }
    }
}

/// What the last knocks could be.
#[derive(Default)]
struct Found {
    /// So many of them begin a sequence, or are all of it.
    longest: usize,
    /// Some of them are all of a sequence.
    whole: Option<Whole>,
}

struct Whole {
    number: u64,
    used: bool,
}

/// Looks for a match that begins at the knock `from` or later.
fn look(attempt: &Attempt, from: usize, rule: &OneTimeRule, ground: &mut Ground<'_>) -> Found {
    let mut found = Found::default();
    for (place, &since) in attempt.knocks.iter().enumerate().skip(from) {
        let last = attempt.steps.get(place..).unwrap_or_default();
        ground.candidates(rule, since, &mut |candidate| {
            let steps = candidate.sequence.steps();
            if !steps.starts_with(last) {
                return;
            }
            found.longest = found.longest.max(last.len());
            if steps.len() == last.len() {
                let whole = found.whole.get_or_insert(Whole {
                    number: candidate.number,
                    used: false,
                });
                whole.number = whole.number.max(candidate.number);
                whole.used |= candidate.used;
            }
        });
    }
    found
}

/// Whether `step` is in a sequence that may be knocked by who began at `since`.
fn has(step: Step, since: Time, rule: &OneTimeRule, ground: &mut Ground<'_>) -> bool {
    let mut found = false;
    ground.candidates(rule, since, &mut |candidate| {
        found |= candidate.sequence.has(step);
    });
    found
}

fn keep_last(attempt: &mut Attempt, count: usize) {
    let spare = attempt.knocks.len().saturating_sub(count);
    attempt.knocks.drain(..spare);
    attempt.steps.drain(..spare);
}

impl Ground<'_> {
    fn candidates(&mut self, rule: &OneTimeRule, since: Time, see: &mut dyn FnMut(Candidate<'_>)) {
        let unix = self.unix.map(|unix| unix.seconds_at(since));
        let door: &Arc<str> = self.door;
        self.book.candidates(door, &rule.origin, unix, see);
    }
}
