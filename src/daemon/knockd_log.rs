//! Events in knockd's words, for who reads a knockd's `LogFile`.
//!
//! In: an event, and the doors as they are now. Out: the lines that knockd 0.8 would write about it,
//! without their stamp. As there, a knock at a wrong port is not told. Of a command only what the
//! config says and the address is shown: no port, which could be one of a sequence.

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
        EventKind::Reset { .. } | EventKind::LockedOut | EventKind::Refused { .. } => Vec::new(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn said(kind: EventKind) -> Vec<String> {
        let text = "[S]\nsequence = 7001,8002\ncommand = /x -s %IP% %PORT%\nstop_command = /y\ncommand_6 =\ntcpflags = syn\n";
        let config = config::parse("knockd.conf", text).unwrap();
        let event = Event {
            at: Time::default(),
            door: "S".into(),
            src: IpAddr::from([192, 0, 2, 7]),
            kind,
            whence: None,
        };
        lines(&event, &config.doors)
    }

    #[test]
    fn events_are_told_in_knockds_words() {
        let reset = |reason| EventKind::Reset {
            stage: 1,
            of: 2,
            reason,
        };
        for (kind, expected) in [
            (
                EventKind::Stage { stage: 1, of: 2 },
                "192.0.2.7: S: Stage 1",
            ),
            (
                EventKind::Open,
                "192.0.2.7: S: OPEN SESAME|S: running command: /x -s 192.0.2.7 %PORT%",
            ),
            (EventKind::Refresh, "192.0.2.7: S: OPEN SESAME"),
            (
                EventKind::Close,
                "192.0.2.7: S: command timeout|S: running command: /y",
            ),
            (
                reset(ResetReason::Timeout),
                "192.0.2.7: S: sequence timeout (stage 1)",
            ),
            (reset(ResetReason::WrongPort), ""),
            (EventKind::LockedOut, ""),
        ] {
            assert_eq!(said(kind).join("|"), expected, "{kind:?}");
        }
    }

    #[test]
    fn no_port_is_shown_where_a_command_has_it() {
        let text =
            "[door.S]\nsequence = [7001, 8002]\nstart_command = [\"/x\", \"%PORT%\", \"%IP%\"]\n";
        let config = config::parse("x.toml", text).unwrap();
        let src = IpAddr::from([192, 0, 2, 7]);
        let command = config.doors[0].grant.open.of(src).unwrap();
        assert_eq!(command.shown_to(src), "/x %PORT% 192.0.2.7");
    }
}
