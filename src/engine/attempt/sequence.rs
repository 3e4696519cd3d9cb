//! Ports in order: how far the last knocks are along any sequence that may be knocked now.
//!
//! Every knock may begin a match, and each match is followed separately. A knock that breaks one match may belong to
//! another, and the rest of an expired match continues. The match that is furthest is the attempt's; of several the
//! oldest. A port that a match has already passed is neutral while the match waits for another one: clients retry a
//! step from a new source port. Such a repeat is kept, as it may begin the next match.
//!
//! Of sequences that open once, the first knock of a match decides which may be knocked, or the first one of
//! its code: a knock that straddles the border of two steps of time belongs to the step in which it began.
//! Where several are completed at once, the last of them is used, and those before it with it; where one of
//! them is used already, nothing opens.
//!
//! Behind the beginning of a code, a match that ends at a wrong port is a failed code.

use std::time::Duration;

use smallvec::SmallVec;

use super::{Context, Progress};
use crate::engine::door::{OtherPorts, Pace, Rule};
use crate::engine::event::{RefusedReason, ResetReason};
use crate::engine::knock::{Hit, KernelId};
use crate::engine::one_time::Candidate;
use crate::engine::sequence::Step;
use crate::engine::time::Time;

/// Repeats kept in one attempt; later ones cannot begin another.
const MAX_KNOCKS: usize = 64;

/// A knock, when it was made and which kernel logged it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Knock {
    at: Time,
    step: Step,
    kernel: KernelId,
}

impl Knock {
    /// `hit` as a knock made at `at`.
    pub(super) const fn new(hit: &Hit<'_>, at: Time) -> Self {
        let step = hit.step;
        let kernel = hit.kernel();
        Self { at, step, kernel }
    }
}

/// The knocks that may still belong to a match, first to last. Most attempts end at their first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::engine) struct Knocks {
    all: SmallVec<[Knock; 1]>,
    /// The furthest match.
    best: Match,
}

/// A match that began at the knock `place`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Match {
    /// Steps matched; 0 where there is no match.
    stage: usize,
    place: usize,
    /// When its first and its last step were made.
    first: Time,
    last: Time,
}

impl Match {
    /// The last moment at which the next knock still counts, and what ends the match after it.
    fn end(&self, pace: &Pace) -> (Time, ResetReason) {
        let window = (self.first.after(pace.window), ResetReason::Timeout);
        let gap = pace
            .knock_timeout
            .map(|gap| (self.last.after(gap), ResetReason::Gap));
        gap.filter(|gap| gap.0 < window.0).unwrap_or(window)
    }
}

impl Knocks {
    /// Steps of the furthest match.
    pub(super) fn stage(&self) -> usize {
        self.best.stage
    }

    /// How many knocks are remembered.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether `kernel` has logged any of them.
    pub(super) fn are_fed_by(&self, kernel: KernelId) -> bool {
        self.all.iter().any(|knock| knock.kernel == kernel)
    }

    /// The last moment before the furthest match ends.
    pub(super) fn deadline(&self, pace: &Pace) -> Option<Time> {
        (self.best.stage > 0).then(|| self.best.end(pace).0)
    }

    /// Ends what is over at `now`.
    pub(super) fn expire(
        &mut self,
        pace: &Pace,
        context: &mut Context<'_>,
        now: Time,
        progress: &mut impl FnMut(Progress),
    ) {
        while self.best.stage > 0 {
            let (at, reason) = self.best.end(pace);
            if at >= now {
                return;
            }
            progress(Progress::reset(self.best.stage, reason, at));
            self.all.drain(..=self.best.place);
            let over = at.after(Duration::from_nanos(1));
            self.keep(&look(&self.all, pace, context, over));
            if self.best.stage > 0 {
                let stage = self.best.stage;
                progress(Progress::Stage { stage, at });
            }
        }
    }

    /// Takes one hit. What was over before it has ended.
    pub(super) fn hit(
        &mut self,
        pace: &Pace,
        context: &mut Context<'_>,
        knock: Knock,
        progress: &mut impl FnMut(Progress),
    ) {
        if pace.other_ports == OtherPorts::Ignore && !self.may_have(context, knock) {
            return;
        }
        let (before, at) = (self.best, knock.at);
        self.all.push(knock);
        let found = look(&self.all, pace, context, at);
        let after = found.best;
        let is_neutral = found.whole.is_none()
            && before.stage > 0
            && (after.stage, after.first) == (before.stage, before.first);
        if is_neutral {
            if self.all.len() > MAX_KNOCKS {
                self.all.pop();
            }
            return;
        }
        if before.stage > 0 && after.stage <= before.stage {
            let reason = if found.too_fast == Some(before.stage) {
                ResetReason::TooFast
            } else {
                ResetReason::WrongPort
            };
            progress(Progress::reset(before.stage, reason, at));
            if reason == ResetReason::WrongPort
                && let Some(until) = context.fail(before.stage, knock)
            {
                progress(Progress::TooManyFailed { at, until });
            }
        }
        self.keep(&found);
        if after.stage > 0 {
            let stage = after.stage;
            progress(Progress::Stage { stage, at });
        }
        let Some(whole) = found.whole else { return };
        *self = Self::default();
        progress(match (whole.used, whole.number) {
            (true, _) => Progress::Refused {
                reason: context.why_used(at),
                at,
            },
            (false, number) => {
                if let Some(number) = number {
                    context.spend(number);
                }
                Progress::Completed {
                    number,
                    until: None,
                }
            }
        });
    }

    /// Whether a hit may be a step for somebody whose match began at one of the knocks, or begins now.
    fn may_have(&self, context: &mut Context<'_>, knock: Knock) -> bool {
        let mut found = false;
        for since in self.all.iter().chain([&knock]) {
            context.candidates(std::slice::from_ref(since), &mut |candidate| {
                found |= candidate.sequence.has(knock.step);
            });
        }
        found
    }

    /// Forgets the knocks that are of no match.
    fn keep(&mut self, found: &Found) {
        let dead = found.earliest.unwrap_or(self.all.len());
        self.all.drain(..dead);
        self.best = Match {
            place: found.best.place.saturating_sub(dead),
            ..found.best
        };
    }
}

/// What the knocks can be.
#[derive(Default)]
struct Found {
    best: Match,
    /// Where the first match that continues begins.
    earliest: Option<usize>,
    /// The stage of the furthest match that the last knock ended only by coming too soon.
    too_fast: Option<usize>,
    whole: Option<Whole>,
}

/// All of a sequence has been knocked.
struct Whole {
    /// The last of those that open once.
    number: Option<u64>,
    used: bool,
}

/// Looks for every match that can continue at `now`.
fn look(knocks: &[Knock], pace: &Pace, context: &mut Context<'_>, now: Time) -> Found {
    let mut found = Found::default();
    for (place, &Knock { at: first, .. }) in knocks.iter().enumerate() {
        let knocks = knocks.get(place..).unwrap_or_default();
        context.candidates(knocks, &mut |candidate| {
            let steps = candidate.sequence.steps();
            let (stage, last) = match follow(steps, knocks, pace) {
                Ok(reached) => reached,
                Err(too_fast) => {
                    found.too_fast = found.too_fast.max(too_fast);
                    return;
                }
            };
            let matched = Match {
                stage,
                place,
                first,
                last,
            };
            if matched.end(pace).0 < now {
                return;
            }
            found.earliest.get_or_insert(place);
            if stage > found.best.stage {
                found.best = matched;
            }
            if stage == steps.len() {
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

/// How many of `steps` the knocks are from the first of them on, and when the last one was made. An error
/// where one of them ended the match: the stage, if the last knock was right but too soon.
fn follow(steps: &[Step], knocks: &[Knock], pace: &Pace) -> Result<(usize, Time), Option<usize>> {
    let min_gap = pace.min_gap.unwrap_or(Duration::ZERO);
    let mut so_far = Match::default();
    for (number, &Knock { at, step, .. }) in knocks.iter().enumerate() {
        let stage = so_far.stage;
        if stage == 0 {
            so_far.first = at;
        } else if stage == steps.len() || so_far.end(pace).0 < at {
            // A line that was whole before it was among the next ones does not open later.
            return Err(None);
        }
        if steps.get(stage) == Some(&step) {
            if stage > 0 && at.since(so_far.last) < min_gap {
                return Err((number + 1 == knocks.len()).then_some(stage));
            }
            (so_far.stage, so_far.last) = (stage + 1, at);
            continue;
        }
        let is_repeat = steps.get(..stage).is_some_and(|made| made.contains(&step));
        let is_ignored =
            stage > 0 && pace.other_ports == OtherPorts::Ignore && !steps.contains(&step);
        if !is_repeat && !is_ignored {
            return Err(None);
        }
    }
    Ok((so_far.stage, so_far.last))
}

impl Context<'_> {
    /// Shows every sequence that `knocks` may be the beginning of.
    fn candidates(&mut self, knocks: &[Knock], see: &mut dyn FnMut(Candidate<'_>)) {
        match &self.door.rule {
            Rule::Sequence(rule) => see(Candidate {
                number: None,
                sequence: &rule.sequence,
                used: false,
            }),
            Rule::OneTime(rule) => {
                let mut all = knocks.iter();
                let dated = all.find(|knock| rule.origin.is_dated_by(knock.step));
                let since = dated.or(knocks.last()).map(|knock| knock.at);
                let unix = self.unix.zip(since);
                let unix = unix.map(|(unix, since)| unix.seconds_at(since));
                self.book
                    .candidates(&self.door.name, &rule.origin, unix, see);
            }
            Rule::Counts(_) => {}
        }
    }

    /// Notes that `knock` ended a match of `stage` steps, if that is a failed code; the time until which codes
    /// are refused, where it was one too many.
    fn fail(&mut self, stage: usize, knock: Knock) -> Option<i64> {
        let Rule::OneTime(rule) = &self.door.rule else {
            return None;
        };
        let beginning = rule.origin.beginning()?.len();
        let is_begun = stage > beginning;
        if !is_begun && (stage < beginning || !rule.origin.is_dated_by(knock.step)) {
            return None;
        }
        let unix = self.unix?.seconds_at(knock.at);
        self.book
            .fail(&self.door.name, &rule.origin, knock.at, unix)
    }

    /// Why a sequence that is used is refused at `at`.
    fn why_used(&self, at: Time) -> RefusedReason {
        match (&self.door.rule, self.unix) {
            (Rule::OneTime(rule), Some(unix))
                if self
                    .book
                    .refuses(&self.door.name, &rule.origin, unix.seconds_at(at)) =>
            {
                RefusedReason::FailedCodes
            }
            _ => RefusedReason::Used,
        }
    }

    fn spend(&mut self, number: u64) {
        if let Rule::OneTime(rule) = &self.door.rule {
            self.book.spend(&self.door.name, &rule.origin, number);
        }
    }
}
