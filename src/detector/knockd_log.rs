//! Events in knockd's words, for readers of a knockd's `LogFile`.
//!
//! In: an event, and the doors as they are now. Out: the lines that knockd 0.8 would write about it, without their
//! stamp. As there, a knock at a wrong port is not logged. Of a command only what the config says and the address is
//! shown: no port, which could be one of a sequence.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::calendar::{self, Zone};
use crate::engine::door::{Door, PerFamily};
use crate::engine::event::{Event, EventKind, ResetReason};
use crate::engine::time::Time;

/// What knockd would write about `event`.
pub(super) fn lines(event: &Event, doors: &[Arc<Door>]) -> Vec<String> {
    let Event {
        door, src, kind, ..
    } = event;
    let found = doors.iter().find(|other| other.name == *door);
    let with = |first: String, commands: fn(&Door) -> &PerFamily| {
        let command = found.and_then(|door| running(door, commands(door), *src));
        std::iter::once(first).chain(command).collect()
    };
    match *kind {
        EventKind::Stage { stage, .. } => vec![format!("{src}: {door}: Stage {stage}")],
        EventKind::Open => with(format!("{src}: {door}: OPEN SESAME"), |door| {
            &door.grant.open
        }),
        EventKind::Refresh => vec![format!("{src}: {door}: OPEN SESAME")],
        EventKind::Close => with(format!("{src}: {door}: command timeout"), |door| {
            &door.grant.close
        }),
        EventKind::Reset {
            stage,
            reason: ResetReason::Timeout,
            ..
        } => vec![format!("{src}: {door}: sequence timeout (stage {stage})")],
        EventKind::Reset { .. }
        | EventKind::LockedOut
        | EventKind::CodesRefused
        | EventKind::Refused { .. } => Vec::new(),
    }
}

fn running(door: &Door, commands: &PerFamily, src: IpAddr) -> Option<String> {
    let command = commands.of(src)?.shown_to(src);
    Some(format!("{}: running command: {command}", door.name))
}

/// What knockd would write about the end of a command that exited with this status.
pub(super) fn finished(door: &str, status: Option<i32>) -> Option<String> {
    let status = status.filter(|&status| status != 0)?;
    Some(format!(
        "{door}: command returned non-zero status code ({status})"
    ))
}

/// What knockd would write at its start.
pub(super) fn starting(sources: &[impl fmt::Display]) -> String {
    let names: Vec<_> = sources.iter().map(ToString::to_string).collect();
    format!("starting up, listening on {}", names.join(", "))
}

/// What knockd writes at its end.
pub(super) const STOPPING: &str = "shutting down";

/// A line with knockd's stamp; `time` is from the Unix epoch.
pub(super) fn stamped(text: &str, time: Time) -> String {
    format!("[{}] {text}", calendar::minute(time, Zone::Local))
}

/// A line as syslog(3) sends it for a knockd: facility user, severity notice; `time` is from the Unix epoch.
pub(super) fn for_syslog(text: &str, time: Time) -> String {
    const USER_NOTICE: u8 = (1 << 3) | 5;
    let stamp = calendar::syslog(time, Zone::Local);
    format!("<{USER_NOTICE}>{stamp} knockd: {text}")
}

#[cfg(test)]
#[path = "knockd_log_test.rs"]
mod tests;
