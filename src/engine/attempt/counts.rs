//! One port, counted in windows (Open Sesamy).
//!
//! With h(t) the hits in the last t, both ends included, and counts s1 … sn: the door opens at the hit
//! that makes h(W) = sn, h(2W) = sn−1 + sn, …, h(nW) = all. One hit more within W after that closes it
//! again. Hits are remembered only as far as they can matter, so a flood costs no memory.

use super::{Knocks, Progress};
use crate::engine::door::CountsRule;
use crate::engine::event::ResetReason;
use crate::engine::sequence::Step;
use crate::engine::time::Time;

/// When the last hit is too old to matter.
pub(super) fn deadline(hits: &[Time], rule: &CountsRule) -> Option<Time> {
    Some(hits.last()?.after(rule.span()))
}

pub(super) fn expire(
    hits: &mut Knocks,
    rule: &CountsRule,
    now: Time,
    progress: &mut impl FnMut(Progress),
) {
    let Some(at) = deadline(hits, rule).filter(|&at| at < now) else {
        return;
    };
    if !is_complete(hits, rule) {
        progress(Progress::Reset {
            stage: stage(hits, rule),
            reason: ResetReason::Timeout,
            at,
        });
    }
    hits.clear();
}

pub(super) fn hit(
    hits: &mut Knocks,
    rule: &CountsRule,
    step: Step,
    at: Time,
    progress: &mut impl FnMut(Progress),
) {
    if !rule.counts(step) {
        return;
    }
    // Complete hits are those that opened the door, at the last of them.
    let opened = hits.last().copied().filter(|_| is_complete(hits, rule));
    if opened.is_some_and(|opened| at.since(opened) <= rule.window) {
        progress(Progress::Reset {
            stage: rule.total(),
            reason: ResetReason::Overcount,
            at,
        });
        hits.clear();
        return;
    }
    hits.push(at);
    // One more than the total is enough to know that there are too many.
    let spare = hits.len().saturating_sub(rule.total() + 1);
    hits.drain(..spare);
    progress(Progress::Stage {
        stage: stage(hits, rule),
        at,
    });
    if is_complete(hits, rule) {
        progress(Progress::Completed { number: None });
    }
}

/// Hits that may belong to a match at the last of them, up to the total.
fn stage(hits: &[Time], rule: &CountsRule) -> usize {
    within(hits, rule, rule.groups().len()).min(rule.total())
}

/// Whether every window holds its count at the last hit.
fn is_complete(hits: &[Time], rule: &CountsRule) -> bool {
    let mut sum = 0;
    !hits.is_empty()
        && rule
            .groups()
            .iter()
            .rev()
            .zip(1..)
            .all(|(&count, windows)| {
                sum += usize::from(count);
                within(hits, rule, windows) == sum
            })
}

/// Hits in the last `windows` windows before the last hit.
fn within(hits: &[Time], rule: &CountsRule, windows: usize) -> usize {
    let Some(last) = hits.last() else { return 0 };
    let span = rule
        .window
        .saturating_mul(u32::try_from(windows).unwrap_or(u32::MAX));
    hits.iter()
        .rev()
        .take_while(|hit| last.since(**hit) <= span)
        .count()
}
