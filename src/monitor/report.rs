//! What the monitor says while it runs: of commands, of the disk, and of the detector.
//!
//! The levels are those of `daemon::report`. Nothing that the detector has said is repeated.

use std::net::IpAddr;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use tracing::{debug, error, info, warn};

use super::control::ControlError;
use super::ended::{Ended, How};
use super::ledger::{Notice, Trouble};
use crate::engine::grant::{Outcome, Task};
use crate::fleet::Refused;
use crate::privsep::Broken;
use crate::protocol::{FirewallStatus, JumpStatus};

/// The end of a command.
pub(super) fn ended(door: &str, task: &Task, ended: &Ended) {
    let output = String::from_utf8_lossy(&ended.output);
    let output = output.trim();
    let took = ended.took.as_millis();
    match (ended.outcome(), task) {
        (Outcome::Done, _) => debug!(door, took_ms = took, "{ended}"),
        (_, Task::Close(_)) => error!(door, output, "closing failed: {ended}"),
        (_, Task::Open(_)) => error!(door, output, "opening failed: {ended}"),
        (_, Task::Run(_)) if ended.how == How::Stopped => warn!(door, "{ended}"),
        (_, Task::Run(_)) => error!(door, output, "the command failed: {ended}"),
        (_, Task::Mark(_)) => error!(
            door,
            "a one-time sequence was knocked while its door was open, and is not marked as used; after a restart it could open: {ended}"
        ),
    }
}

/// The command of `[notify]` has failed; what it wrote may hold a secret.
pub(super) fn not_notified(ended: &Ended) {
    error!("the notify command failed; further failures are suppressed until it works: {ended}");
}

/// A close is not tried again.
pub(super) fn gave_up(door: &str) {
    error!(
        door,
        "closing failed too often and is not tried again; the door may still be open"
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

/// Somebody has set the wall clock.
pub(super) fn jumped(jump: JumpStatus) {
    let JumpStatus { ahead_seconds, .. } = jump;
    warn!(ahead_seconds, "the clock has jumped; see 'logknock doctor'");
}

/// The firewall's rules, when what is to be said of them has changed.
pub(super) fn firewall(status: &FirewallStatus) {
    if status.healed {
        warn!("the firewall rules were removed, and are loaded again");
    }
    if let Some(why) = &status.not_healed {
        error!("the firewall rules cannot be restored: {why}; run 'logknock rules --load'");
    }
    for fault in &status.faults {
        error!("firewall: {fault}; see 'logknock doctor'");
    }
    match &status.unknown {
        Some(why) => warn!("firewall: the rules cannot be read: {why}"),
        None if status.is_well() => info!("firewall: {status}"),
        None => {}
    }
}

/// The detector has ended, and it was not to.
pub(super) fn lost(why: Broken, how: Option<ExitStatus>, open: usize, again: Duration) {
    let how = how.map(|how| how.to_string()).unwrap_or_default();
    error!(
        open,
        again_in_ms = again.as_millis(),
        "the detector ended ({why}; {how}) and is started again; open doors still close when due"
    );
}

/// The detector could not be started again.
pub(super) fn not_started(error: &std::io::Error) {
    error!("the detector cannot be started: {error}");
}

/// The detector said what it may not.
pub(super) fn refused(count: u64) {
    warn!(count, "the detector asked for doors that may not be opened");
}

/// The configuration was read again.
pub(super) fn reloaded(doors: usize) {
    info!(doors, "reloaded");
}

/// The configuration was read again and not taken.
pub(super) fn not_reloaded(why: &str) {
    error!("not reloaded, nothing has changed: {why}");
}

/// The control socket could not be made.
pub(super) fn no_control(error: &ControlError) {
    warn!("there is no control socket, so commands such as 'logknock status' fail: {error}");
}

/// Somebody asked for something to be done.
pub(super) fn asked(what: &str) {
    info!(what, "request over the control socket");
}

/// A record or the metrics.
pub(super) fn not_written(path: &Path, error: &std::io::Error) {
    error!(path = %path.display(), "cannot be written; further errors are suppressed until it can: {error}");
}

/// The end has begun.
pub(super) fn stopping(open: usize) {
    info!(open, "stopping");
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

/// The socket of `logknock-fleet` could not be made.
pub(super) fn no_fleet(error: &ControlError) {
    error!("there is no socket for logknock-fleet, so this gateway works alone: {error}");
}

/// The bus can be reached again, or not any more.
pub(super) fn bus(is_connected: bool) {
    if is_connected {
        info!("connected to the fleet");
    } else {
        warn!("not connected to the fleet: this gateway works alone");
    }
}

/// A right code opened nothing, because another gateway had claimed it: it was knocked there too, replayed, or burned.
pub(super) fn claimed_elsewhere(door: &str, src: IpAddr, count: u64) {
    info!(
        door,
        %src,
        codes_claimed_elsewhere = count,
        "a code opened nothing: another gateway has claimed it; more are not told for a minute"
    );
}

/// A grant of another gateway did not count.
pub(super) fn grant_refused(from: &str, why: Refused) {
    warn!(gateway = ?from, reason = why.as_str(), "a grant was refused; further refusals are not logged for a minute");
}
