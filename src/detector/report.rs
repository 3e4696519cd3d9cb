//! Everything the daemon says while it runs: every sentence of its log is in this file.
//!
//! The level is chosen by who can cause the line. `error`: a door may stand open, or nothing opens. `warn`: the
//! operator should act. `info`: start, stop, open, close, which only a finished sequence or the operator can cause.
//! What any stranger can cause is `debug`. Otherwise the daemon would amplify logs and, if its log is in the followed
//! file, loop. No prefix and no port ever appears.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use thiserror::Error;
use tracing::{debug, error, info, warn};

use crate::confine::Confined;
use crate::engine::detection::Detection;
use crate::engine::event::{Event, EventKind, RefusedReason};
use crate::engine::reason::Reason;
use crate::engine::time::{Pause, Time};
use crate::privsep::Record;
use crate::source::Health;
use crate::source_spec::SourceSpec;

/// One warning per reason in this time.
const PAUSE: Duration = Duration::from_secs(60);

/// An event of the engine.
pub(super) fn event(event: &Event) {
    let Event {
        door, src, kind, ..
    } = event;
    match *kind {
        EventKind::Stage { stage, of } => debug!(%door, %src, stage, of, "knocked"),
        EventKind::Reset { stage, of, reason } => {
            debug!(%door, %src, stage, of, reason = reason.as_str(), "attempt ended");
        }
        EventKind::Open => info!(%door, %src, "open"),
        EventKind::Refresh => info!(%door, %src, "refresh"),
        EventKind::Close => info!(%door, %src, "close"),
        EventKind::LockedOut => debug!(%door, %src, "locked out"),
        EventKind::CodesRefused => {
            warn!(%door, "too many codes failed, from all addresses together: codes are refused for an hour");
        }
        EventKind::Refused {
            reason: RefusedReason::FailedCodes,
        } => warn!(%door, %src, "refused: the code was right, but too many have failed"),
        EventKind::Refused {
            reason: RefusedReason::Full,
        } => error!(%door, %src, "refused: too many doors are open"),
        EventKind::Refused {
            reason: RefusedReason::Used,
        } => debug!(%door, %src, "refused: the sequence has been used"),
        EventKind::Refused { reason } => {
            info!(%door, %src, reason = reason.as_str(), "refused: a code shared by the fleet");
        }
    }
}

/// What a source says of itself.
pub(super) fn health(source: &SourceSpec, health: &Health) {
    match health {
        Health::Following => info!(%source, "following"),
        Health::Degraded(trouble) => warn!(%source, "{trouble}"),
    }
}

/// A source has come to its end.
pub(super) fn ended(source: &SourceSpec) {
    info!(%source, "the source has ended");
}

/// Doors whose list of sequences is used up.
pub(super) fn sequences_left(detection: &Detection) {
    for (door, _) in detection.left().filter(|&(_, left)| left == 0) {
        warn!(%door, "no one-time sequence is left in the door's list: it cannot open");
    }
}

/// A configuration that was read again.
pub(super) fn reloaded(doors: usize) {
    info!(doors, "reloaded");
}

/// A configuration that was read again and not taken.
pub(super) fn not_reloaded(why: &str) {
    error!("not reloaded, nothing has changed: {why}");
}

/// What this process has given up.
pub(super) fn confined(confined: &Confined) {
    if confined.is_full() {
        debug!("confined: {confined}");
    } else {
        warn!("the detector is not fully confined: {confined}");
    }
}

/// The event log, or the log in knockd's words.
pub(super) fn not_written(record: Record, error: &io::Error) {
    let record = match record {
        Record::EventLog => "event_log",
        Record::KnockdLog => "knockd_log",
        Record::KnockdSyslog => "knockd_syslog",
        Record::Checkpoint => "checkpoint",
    };
    error!(
        record,
        "cannot be written; further errors are suppressed until it can: {error}"
    );
}

/// How far files are read.
pub(super) fn checkpoints_not_written(error: &io::Error) {
    error!(
        "the record of how far files are read cannot be written; further errors are suppressed until it can: {error}"
    );
}

/// Events came faster than the disk takes them.
pub(super) fn events_dropped() {
    error!("the event log cannot keep up: events are missing from it");
}

/// Why files are followed from their ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum Unusable {
    /// Nothing was written before.
    #[error("there is no record of how far files were read")]
    Missing,
    /// What was written cannot be understood.
    #[error("the record of how far files were read is damaged")]
    Damaged,
    /// The machine has booted since: the numbers of devices and files may mean others.
    #[error("the machine has booted since the files were read")]
    Rebooted,
}

/// Nothing tells how far files were read before.
pub(super) fn from_the_ends(why: Unusable) {
    match why {
        Unusable::Missing | Unusable::Rebooted => {
            info!("{why}: files are followed from their ends");
        }
        Unusable::Damaged => warn!("{why}: files are followed from their ends"),
    }
}

/// A file is not the one that was read before.
pub(super) fn unproven(path: &Path) {
    info!(path = %path.display(), "not the file that was read before: it is followed from its end");
}

/// The disk did not take the last records in time.
pub(super) fn records_stuck() {
    error!("the last records were not written to disk in time");
}

/// The daemon runs.
pub(super) fn started(doors: usize, sources: usize) {
    info!(doors, sources, "started");
}

/// Counts lines that do not count, and warns of them once in a while.
#[derive(Debug, Default)]
pub(super) struct Rejections(HashMap<Reason, Pause>);

impl Rejections {
    /// A line that did not count. Only what a wrong clock or a restored file causes is worth a warning.
    pub(super) fn tell(&mut self, reason: Reason, now: Time) {
        let what = match reason {
            Reason::Future => "stamped later than now",
            Reason::Stale => "older than max_line_age",
            _ => {
                debug!(reason = reason.as_str(), "not a knock");
                return;
            }
        };
        let pause = self.0.entry(reason).or_insert(Pause::new(now, PAUSE));
        if let Some(count) = pause.add(1, now) {
            warn!(
                count,
                "packet lines do not count: they are {what}; is a clock or the syslog's zone (TZ) wrong, or was a file restored?"
            );
        }
    }
}

/// Says that a host has booted, once in a while: where lines can be forged, so can this.
#[derive(Debug, Default)]
pub(super) struct Reboots(Option<Pause>);

impl Reboots {
    /// A kernel's clock started again.
    pub(super) fn tell(&mut self, now: Time) {
        if let Some(count) = self.0.get_or_insert(Pause::new(now, PAUSE)).add(1, now) {
            info!(
                count,
                "a kernel's clock started again: unfinished attempts are dropped"
            );
        }
    }
}

/// Why lines are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Cause {
    /// They were overwritten before they could be read.
    Overrun,
    /// The log says so of itself.
    Said,
}

/// Counts lines that were lost, and warns of them once in a while.
#[derive(Debug, Default)]
pub(super) struct Losses(HashMap<(SourceSpec, Cause), Pause>);

impl Losses {
    /// Lines of `source` were lost; `count` of them, if that is known. Whether it was reported.
    pub(super) fn tell(
        &mut self,
        source: &SourceSpec,
        cause: Cause,
        count: Option<u64>,
        now: Time,
    ) -> bool {
        let key = (source.clone(), cause);
        let pause = self.0.entry(key).or_insert(Pause::new(now, PAUSE));
        let Some(count) = pause.add(count.unwrap_or(0), now) else {
            return false;
        };
        // Of an unknown number nothing is known but that it is not zero.
        let count = (count > 0).then_some(count);
        match cause {
            Cause::Overrun => warn!(
                %source,
                count,
                "lines were lost before they were read: knocks may be missing, and unfinished attempts are dropped"
            ),
            Cause::Said => warn!(
                %source,
                count,
                "the log says that messages are missing from it: knocks may have been dropped"
            ),
        }
        true
    }
}

#[cfg(test)]
#[path = "report_test.rs"]
mod tests;
