//! What the runner says while it runs: of commands, of the disk, and of the follower.
//!
//! The levels are those of `daemon::report`. Nothing that the follower has said is repeated.

use std::process::ExitStatus;
use std::time::Duration;

use tracing::{debug, error, info, warn};

use super::book::Refused;
use crate::engine::action::{Command, Outcome};
use crate::privsep::Broken;
use crate::runner::ledger::{Notice, Trouble};
use crate::runner::{Ended, How, NotStarted};

/// The end of a command.
pub(super) fn finished(door: &str, what: Option<Command>, ended: &Ended) {
    let output = String::from_utf8_lossy(&ended.output);
    let output = output.trim();
    let took = ended.took.as_millis();
    match (ended.outcome(), what) {
        (Outcome::Done, _) => debug!(door, took_ms = took, "{ended}"),
        (Outcome::Failed, Some(Command::Close)) => {
            error!(
                door,
                output, "closing failed and will be tried again: {ended}"
            );
        }
        (Outcome::Failed, Some(Command::Open)) => error!(door, output, "opening failed: {ended}"),
        (Outcome::Failed, None) if ended.how == How::Stopped => warn!(door, "{ended}"),
        (Outcome::Failed, None) => error!(door, output, "the command failed: {ended}"),
    }
}

/// A sequence that opened nothing is not marked as used on the disk.
pub(super) fn not_spent(door: &str, why: NotStarted) {
    error!(
        door,
        "a one-time sequence was knocked while its door was open, and after a restart it could open: {why}"
    );
}

/// The disk refuses.
pub(super) fn disk(trouble: Trouble) {
    error!("no door opens until the state directory can be written again: {trouble}");
}

/// The disk takes grants again.
pub(super) fn recovered() {
    info!("the state directory can be written again");
}

/// What was found in the state directory.
pub(super) fn notice(notice: &Notice) {
    warn!("{notice}");
}

/// Grants of an earlier run.
pub(super) fn restored(count: usize) {
    if count > 0 {
        info!(
            count,
            "doors were left open by an earlier run; they will be closed when due"
        );
    }
}

/// What an earlier run has left open is closed by a start that cannot follow.
pub(super) fn closed_unattended(door: &str) {
    info!(door, "closed, as it was due");
}

/// The follower has ended, and it was not to.
pub(super) fn lost(why: Broken, how: Option<ExitStatus>, open: usize, again: Duration) {
    let how = how.map(|how| how.to_string()).unwrap_or_default();
    error!(
        open,
        again_in_ms = again.as_millis(),
        "the process that reads the log is gone ({why}; {how}): it is started again, and what is open closes when due"
    );
}

/// The follower could not be started again.
pub(super) fn not_started(error: &std::io::Error) {
    error!("the process that reads the log cannot be started: {error}");
}

/// The follower asked for what it may not.
pub(super) fn refused(why: Refused) {
    warn!("the process that reads the log asked for what it may not have: {why}");
}

/// The daemon has stopped.
pub(super) fn stopped(left: usize) {
    if left > 0 {
        error!(
            left,
            "stopped with doors left open; they are on disk and closed at the next start"
        );
    } else {
        info!("stopped");
    }
}
