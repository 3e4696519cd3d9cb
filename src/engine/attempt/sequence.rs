//! Ports in order: the longest match that the last knocks could be.
//!
//! After Knuth, Morris and Pratt: the hit that breaks a match may begin the next one, and what a
//! window leaves of an expired match goes on.

use std::time::Duration;

use super::{Knocks, Progress};
use crate::engine::door::{OtherPorts, SequenceRule};
use crate::engine::event::ResetReason;
use crate::engine::sequence::Step;
use crate::engine::time::Time;

/// The last moment at which the next knock still counts, and what ends the match after it.
pub(super) fn deadline(
    knocks: &[Time],
    window: Duration,
    knock_timeout: Option<Duration>,
) -> Option<(Time, ResetReason)> {
    let window = (knocks.first()?.after(window), ResetReason::Timeout);
    let gap = knock_timeout.and_then(|gap| Some((knocks.last()?.after(gap), ResetReason::Gap)));
    Some(gap.filter(|gap| gap.0 < window.0).unwrap_or(window))
}

pub(super) fn expire(
    knocks: &mut Knocks,
    rule: &SequenceRule,
    now: Time,
    progress: &mut impl FnMut(Progress),
) {
    let end = |knocks: &[Time]| deadline(knocks, rule.window, rule.knock_timeout);
    while let Some((at, reason)) = end(knocks).filter(|&(at, _)| at < now) {
        let stage = knocks.len();
        let kept = match reason {
            ResetReason::Gap => 0,
            _ => rule.sequence.fallback(stage),
        };
        keep_last(knocks, kept);
        progress(Progress::Reset { stage, reason, at });
        if kept > 0 {
            progress(Progress::Stage { stage: kept, at });
        }
    }
}

pub(super) fn hit(
    knocks: &mut Knocks,
    rule: &SequenceRule,
    step: Step,
    at: Time,
    progress: &mut impl FnMut(Progress),
) {
    if rule.other_ports == OtherPorts::Ignore && !rule.sequence.has(step) {
        return;
    }
    let before = knocks.len();
    let right = rule.sequence.advance(before, step) == before + 1;
    let min_gap = rule.min_gap.unwrap_or(Duration::ZERO);
    let too_fast = knocks.last().is_some_and(|&last| at.since(last) < min_gap);
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
        knocks.push(at);
        progress(Progress::Stage { stage: after, at });
    }
    keep_last(knocks, after);
    if after == rule.sequence.len() {
        knocks.clear();
        progress(Progress::Completed { number: None });
    }
}

fn keep_last(knocks: &mut Knocks, count: usize) {
    knocks.drain(..knocks.len().saturating_sub(count));
}
