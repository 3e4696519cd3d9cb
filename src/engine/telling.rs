//! What became of attempts, as events.

use std::sync::Arc;

use super::attempt::Progress;
use super::attempts::Detected;
use super::event::{Event, EventKind, Whence};
use super::time::Time;

/// What to tell of an attempt; nothing of a completed one, whose grant tells. What was over before
/// the hit has no line: time did it.
pub(super) fn of_attempt(detected: &Detected, cause: Option<(Whence, Time)>) -> Option<Event> {
    let of = detected.door.rule.knocks();
    let (kind, at) = match detected.progress {
        Progress::Stage { stage, at } => (EventKind::Stage { stage, of }, at),
        Progress::Reset {
            stage, reason, at, ..
        } => (EventKind::Reset { stage, of, reason }, at),
        Progress::LockedOut { at } => (EventKind::LockedOut, at),
        Progress::Refused { reason, at } => (EventKind::Refused { reason }, at),
        Progress::TooManyFailed { at, .. } => (EventKind::CodesRefused, at),
        Progress::Completed { .. } | Progress::Overcount => return None,
    };
    let whence = cause
        .filter(|&(_, hit)| at >= hit)
        .map(|(whence, _)| whence);
    Some(Event {
        at,
        door: Arc::clone(&detected.door.name),
        src: detected.src,
        kind,
        whence,
    })
}
