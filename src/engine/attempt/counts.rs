//! One port, counted in windows (Open Sesamy).
//!
//! Let h(t) be the hits in the last t, both ends included; S the sum of the counts s1 … sn; W the window. A list of
//! hits is right while h(nW) ≥ S, h(W) = sn, h(2W) = sn−1 + sn, …, h((n−1)W) = s2 + … + sn. That may become so at a
//! hit, or when an older hit leaves a window. Open Sesamy's kernel rules decide when a client connects. Here the door
//! opens at the first moment at which they would let the client in. As there, a connection empties the list once S
//! hits are in nW. So does the hit after S + 1 of them, or after more than 2·S that were ever remembered.

use std::time::Duration;

use super::{Context, Progress};
use crate::engine::door::CountsRule;
use crate::engine::event::ResetReason;
use crate::engine::finding::Knocked;
use crate::engine::knock::{Hit, KernelId};
use crate::engine::sequence::Transport;
use crate::engine::time::Time;

/// How long hits are remembered after the last one. The kernel's lists know no end but their length.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// The hits of one knocker at one door.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::engine) struct Hits {
    /// When each was made, the oldest first; at most twice the sum and one.
    at: Vec<Time>,
    phase: Phase,
    /// Up to when that is known.
    looked: Time,
    /// Hits that were reported, but not yet their outcome.
    stage: usize,
    /// Hits recorded since the pattern was full and wrong.
    wrong: usize,
    /// The kernels that logged them.
    kernels: Vec<KernelId>,
    /// What it is if the last hit completes it.
    knock: Option<Knocked>,
}

/// What the windows hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Fewer hits than the sum.
    #[default]
    Few,
    /// At least the sum, and it has not been right since.
    Wrong,
    Right,
    /// At least the sum, and it was right since.
    Past,
}

impl Hits {
    /// Hits that may belong to a pattern, up to the sum.
    pub(super) fn stage(&self) -> usize {
        self.stage
    }

    /// How many hits are remembered.
    pub(super) fn len(&self) -> usize {
        self.at.len()
    }

    /// What it is if the last hit completes it.
    pub(super) fn knock(&self) -> Option<Knocked> {
        self.knock.clone()
    }

    /// Whether `kernel` has logged any of them.
    pub(super) fn are_fed_by(&self, kernel: KernelId) -> bool {
        self.kernels.contains(&kernel)
    }

    /// When it will be right, if no hit comes before.
    pub(super) fn opening(&self, rule: &CountsRule) -> Option<Time> {
        if matches!(self.phase, Phase::Few | Phase::Right) {
            return None;
        }
        let mut at = self.looked;
        while self.within(rule, rule.groups().len(), at) >= rule.total() {
            at = self.next_change(rule, at)?.after(TICK);
            if self.is_right(rule, at) {
                return Some(at);
            }
        }
        None
    }

    /// The last moment before something changes.
    pub(super) fn deadline(&self, rule: &CountsRule) -> Option<Time> {
        let last = *self.at.last()?;
        if self.phase != Phase::Few {
            self.next_change(rule, self.looked)
        } else if self.stage > 0 {
            Some(last.after(rule.span()))
        } else {
            Some(last.after(REMEMBERED))
        }
    }

    /// Lets time pass up to `now`.
    pub(super) fn expire(
        &mut self,
        rule: &CountsRule,
        now: Time,
        progress: &mut impl FnMut(Progress),
    ) {
        while let Some(end) = self.deadline(rule).filter(|&end| end < now) {
            self.look(rule, end.after(TICK), progress);
        }
    }

    /// Takes one hit. What changed before it has been seen.
    pub(super) fn hit(
        &mut self,
        rule: &CountsRule,
        context: &Context<'_>,
        hit: &Hit<'_>,
        at: Time,
        progress: &mut impl FnMut(Progress),
    ) {
        let sum = rule.total();
        let held = self.within(rule, rule.groups().len(), at);
        let failed = self.phase == Phase::Wrong;
        let step = hit.step;
        if step.transport == Transport::Tcp && context.door.opens(step) && held >= sum {
            if failed {
                self.end(ResetReason::WrongPort, true, at, progress);
            }
            *self = Self::default();
            return;
        }
        if !rule.counts(step) {
            return;
        }
        if self.phase == Phase::Right {
            progress(Progress::Overcount);
            self.stage = sum;
        }
        if held > sum || self.at.len() > 2 * sum {
            self.end(ResetReason::Overcount, failed, at, progress);
            *self = Self::default();
            return;
        }
        if self.phase == Phase::Right {
            self.end(ResetReason::Overcount, false, at, progress);
        }
        self.at.push(at);
        if !self.kernels.contains(&hit.kernel()) {
            self.kernels.push(hit.kernel());
        }
        self.knock = Some(Knocked::by_hit(hit, context.door));
        self.stage = (held + 1).min(sum);
        let stage = self.stage;
        progress(Progress::Stage { stage, at });
        self.look(rule, at, progress);
        if self.phase == Phase::Wrong {
            self.wrong += 1;
            if self.wrong > sum {
                self.end(ResetReason::Overcount, true, at, progress);
            }
        }
    }

    /// Tells what the windows hold at `at`, where that is something else than before.
    fn look(&mut self, rule: &CountsRule, at: Time, progress: &mut impl FnMut(Progress)) {
        let held = self.within(rule, rule.groups().len(), at);
        let before = self.phase;
        self.looked = at;
        self.phase = if held < rule.total() {
            Phase::Few
        } else if self.is_right(rule, at) {
            Phase::Right
        } else if before == Phase::Right {
            Phase::Past
        } else if before == Phase::Few {
            Phase::Wrong
        } else {
            before
        };
        match (before, self.phase) {
            (Phase::Wrong | Phase::Few | Phase::Past, Phase::Right) => {
                (self.stage, self.wrong) = (0, 0);
                let until = rule.while_right.then(|| self.right_until(rule, at));
                progress(Progress::Completed {
                    number: None,
                    until: until.flatten(),
                });
            }
            (Phase::Wrong, Phase::Few) => self.end(ResetReason::Timeout, true, at, progress),
            _ if held == 0 => {
                self.end(ResetReason::Timeout, false, at, progress);
                let last = self.at.last();
                if last.is_some_and(|last| at.since(*last) > REMEMBERED) {
                    *self = Self::default();
                }
            }
            _ => {}
        }
    }

    /// Reports the end of an attempt that was reported before; it counts as a failure if it has `failed`.
    fn end(
        &mut self,
        reason: ResetReason,
        failed: bool,
        at: Time,
        progress: &mut impl FnMut(Progress),
    ) {
        self.wrong = 0;
        let stage = std::mem::take(&mut self.stage);
        if stage > 0 || failed {
            progress(Progress::Reset {
                stage,
                reason,
                at,
                failed,
            });
        }
    }

    /// Whether every window holds its count at `at`.
    fn is_right(&self, rule: &CountsRule, at: Time) -> bool {
        let mut sum = 0;
        let later = rule.groups().iter().skip(1).rev();
        let held = self.within(rule, rule.groups().len(), at);
        held >= rule.total()
            && (rule.groups().len() > 1 || held == rule.total())
            && later.zip(1..).all(|(&count, windows)| {
                sum += usize::from(count);
                self.within(rule, windows, at) == sum
            })
    }

    /// The last moment at which it is right, as it is at `at`, if no hit comes.
    fn right_until(&self, rule: &CountsRule, mut at: Time) -> Option<Time> {
        loop {
            let end = self.next_change(rule, at)?;
            at = end.after(TICK);
            if !self.is_right(rule, at) {
                return Some(at);
            }
        }
    }

    /// The last moment, from `at` on, before a hit leaves a window.
    fn next_change(&self, rule: &CountsRule, at: Time) -> Option<Time> {
        let ends = self.at.iter().flat_map(|hit| {
            (1..=rule.groups().len()).map(|windows| hit.after(rule.span_of(windows)))
        });
        ends.filter(|&end| end >= at).min()
    }

    /// Hits in the last `windows` windows at `at`.
    fn within(&self, rule: &CountsRule, windows: usize, at: Time) -> usize {
        let span = rule.span_of(windows);
        let hits = self.at.iter().rev();
        hits.take_while(|hit| at.since(**hit) <= span).count()
    }
}

/// The engine's clock knows nothing shorter.
const TICK: Duration = Duration::from_nanos(1);
