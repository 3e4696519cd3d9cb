//! The state of the daemon: what only the loop can count, and the whole in the form of the protocol.
//!
//! In: what happens, as the loop sees it. Out: a [`Status`]. What the engine counts is taken from the
//! detection. Nothing here decides anything.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Followed;
use crate::engine::detection::Detection;
use crate::engine::event::{Event, EventKind};
use crate::engine::loss::Losses;
use crate::engine::time::Time;
use crate::protocol::{DoorStatus, SourceStatus, Status};
use crate::source::Health;
use crate::source_spec::SourceSpec;

/// What happened since the start.
#[derive(Debug)]
pub(super) struct Counts {
    hits: u64,
    events: Words,
    resets: Words,
    /// By the number of the source.
    traffic: Vec<Traffic>,
}

type Words = BTreeMap<&'static str, u64>;

#[derive(Clone, Debug, Default)]
struct Traffic {
    lines: u64,
    last: Option<Time>,
    /// How much later than its stamp the last packet line came.
    lag: Option<Duration>,
}

impl Counts {
    /// Nothing has happened; the number of sources.
    pub(super) fn new(sources: usize) -> Self {
        Self {
            hits: 0,
            events: Words::new(),
            resets: Words::new(),
            traffic: vec![Traffic::default(); sources],
        }
    }

    /// A packet counted.
    pub(super) fn hit(&mut self) {
        self.hits += 1;
    }

    /// Lines came from a source.
    pub(super) fn lines(&mut self, source: u16, count: u64, now: Time) {
        if let Some(traffic) = self.traffic.get_mut(usize::from(source)) {
            traffic.lines += count;
            traffic.last = Some(now);
        }
    }

    /// A packet line of a source came so much later than its stamp.
    pub(super) fn lag(&mut self, source: u16, lag: Duration) {
        if let Some(traffic) = self.traffic.get_mut(usize::from(source)) {
            traffic.lag = Some(lag);
        }
    }

    /// The engine has reported an event.
    pub(super) fn event(&mut self, event: &Event) {
        *self.events.entry(event.kind.as_str()).or_default() += 1;
        if let EventKind::Reset { reason, .. } = event.kind {
            *self.resets.entry(reason.as_str()).or_default() += 1;
        }
    }

    /// All of it; what is open is for the monitor to say.
    pub(super) fn status(&self, detection: &Detection, sources: &[Followed], now: Time) -> Status {
        let doors = detection.attempts.by_door().into_iter();
        let sources = sources.iter().zip(&self.traffic).zip(0..);
        let rejected = detection.rejected().iter();
        Status {
            doors: doors
                .map(|(door, attempts)| DoorStatus {
                    name: door.name.to_string(),
                    steps: door.rule.knocks(),
                    attempts,
                })
                .collect(),
            sources: sources
                .map(|((followed, traffic), number)| SourceStatus {
                    doors: detection.attempts.audience(number).map(names),
                    ..source(followed, traffic, now)
                })
                .collect(),
            addresses: detection.attempts.len(),
            hits: self.hits,
            rejected: rejected
                .map(|(reason, count)| (reason.as_str().to_owned(), count))
                .collect(),
            events: owned(&self.events),
            resets: owned(&self.resets),
            ..Status::default()
        }
    }
}

/// Our state in one line, for `systemctl status`; `None` until each source has said how it is.
pub(super) fn in_short(detection: &Detection, sources: &[Followed]) -> Option<String> {
    let mut troubles = Vec::new();
    let mut gaps = Vec::new();
    for followed in sources {
        let spec = &followed.spec;
        if let Health::Degraded(trouble) = followed.health.as_ref()? {
            troubles.push(format!("{spec}: {trouble}"));
        }
        match followed.gaps {
            Losses { times: 0, .. } => {}
            Losses { times, messages: 0 } => gaps.push(format!("{spec} lost lines {times} times")),
            Losses { times, messages } => {
                gaps.push(format!(
                    "{spec} lost lines {times} times, {messages} or more"
                ));
            }
        }
    }
    let doors = match detection.open() {
        0 => "no door open".to_owned(),
        1 => "1 door open".to_owned(),
        count => format!("{count} doors open"),
    };
    let health = match troubles.len() {
        0 => format!("following, {doors}"),
        count => format!(
            "{doors}; {count} of {} sources degraded: {}",
            sources.len(),
            troubles.join("; ")
        ),
    };
    gaps.insert(0, health);
    Some(gaps.join("; "))
}

fn source(followed: &Followed, traffic: &Traffic, now: Time) -> SourceStatus {
    let (health, trouble) = match &followed.health {
        _ if followed.ended => ("ended", None),
        None => ("starting", None),
        Some(Health::Following) => ("following", None),
        Some(Health::Degraded(trouble)) => ("degraded", Some(trouble.to_string())),
    };
    SourceStatus {
        source: followed.spec.to_string(),
        trust: match followed.spec {
            SourceSpec::Kmsg | SourceSpec::Journald | SourceSpec::Nflog(_) => "kernel",
            _ => "claimed",
        }
        .to_owned(),
        health: health.to_owned(),
        trouble,
        doors: None,
        lines: traffic.lines,
        overflows: followed.overflows,
        last_line_seconds: traffic.last.map(|last| now.since(last).as_secs()),
        lag_ms: traffic
            .lag
            .map(|lag| lag.as_millis().try_into().unwrap_or(u64::MAX)),
        gaps: followed.gaps.times,
        lost_lines: followed.gaps.messages,
    }
}

fn names(doors: &[Arc<str>]) -> Vec<String> {
    doors.iter().map(ToString::to_string).collect()
}

fn owned(words: &Words) -> BTreeMap<String, u64> {
    let words = words.iter();
    words
        .map(|(word, count)| ((*word).to_owned(), *count))
        .collect()
}
