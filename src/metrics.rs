//! The daemon's counters as Prometheus reads them (text format 0.0.4).
//!
//! In: a [`Status`]. Out: text. Labels are names from the configuration and words of closed lists;
//! nothing that a stranger sent, no address and no port, is ever one, so the number of series is
//! bounded whatever arrives.

use std::fmt::Write;

use crate::protocol::Status;

/// All of `status` as metrics.
pub fn render(status: &Status) -> String {
    let mut text = Text(String::new());
    plain(&mut text, status);
    labelled(&mut text, status);
    text.0
}

/// What is one number.
fn plain(text: &mut Text, status: &Status) {
    let trouble = u64::from(status.disk_trouble.is_some());
    for (name, help, value) in [
        ("uptime_seconds", "Since the start.", status.uptime_seconds),
        ("hits_total", "Packets that counted.", status.hits),
        (
            "addresses",
            "Addresses remembered.",
            status.addresses as u64,
        ),
        ("disk_trouble", "Whether the disk refuses grants.", trouble),
    ] {
        text.family(name, help, [(None, value)]);
    }
}

/// What is a number for each of some words.
fn labelled(text: &mut Text, status: &Status) {
    let version = (Some(("version", &*status.version)), 1);
    text.family("info", "Which logknock runs.", [version]);
    let attempts = status.doors.iter();
    let attempts = attempts.map(|door| (Some(("door", &*door.name)), door.attempts as u64));
    text.family("attempts", "Addresses part-way through a door.", attempts);
    let grants = [
        (Some(("phase", "open")), status.grants_open as u64),
        (Some(("phase", "closing")), status.grants_closing as u64),
    ];
    text.family("grants", "Doors open for an address.", grants);
    for (name, help, label, counts) in [
        (
            "rejected_total",
            "Packet lines that did not count.",
            "reason",
            &status.rejected,
        ),
        (
            "events_total",
            "What happened at the doors.",
            "event",
            &status.events,
        ),
        (
            "resets_total",
            "Attempts that failed.",
            "reason",
            &status.resets,
        ),
        (
            "failed_commands_total",
            "Commands that failed.",
            "command",
            &status.failed_commands,
        ),
    ] {
        let counts = counts
            .iter()
            .map(|(word, count)| (Some((label, &**word)), *count));
        text.family(name, help, counts);
    }
    let sources = || {
        let sources = status.sources.iter();
        sources.map(|source| (Some(("source", &*source.source)), source))
    };
    let lines = sources().map(|(label, source)| (label, source.lines));
    text.family("source_lines_total", "Lines that came.", lines);
    let overflows = sources().map(|(label, source)| (label, source.overflows));
    let help = "How often inotify had more events than room for them.";
    text.family("source_overflows_total", help, overflows);
    let health = sources().map(|(label, it)| (label, u64::from(it.health == "following")));
    text.family("source_following", "Whether it is followed.", health);
    let ages = sources().filter_map(|(label, source)| Some((label, source.last_line_seconds?)));
    text.family("source_idle_seconds", "Since its last line.", ages);
    let gaps = sources().map(|(label, source)| (label, source.gaps));
    text.family("source_gaps_total", "Times lines were lost.", gaps);
    let lost = sources().map(|(label, source)| (label, source.lost_lines));
    text.family("source_lost_lines_total", "Lines lost, at least.", lost);
    let lags = sources().filter_map(|(label, source)| Some((label, source.lag_ms?)));
    text.family("source_lag_milliseconds", "Of its last packet line.", lags);
}

struct Text(String);

impl Text {
    /// A metric: a counter if it is called one.
    fn family<'a>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Option<(&'a str, &'a str)>, u64)>,
    ) {
        let kind = if name.ends_with("_total") {
            "counter"
        } else {
            "gauge"
        };
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP logknock_{name} {help}");
        let _ = writeln!(self.0, "# TYPE logknock_{name} {kind}");
        for (label, value) in values {
            let label = label.map(|(label, word)| format!("{{{label}=\"{}\"}}", escaped(word)));
            let label = label.unwrap_or_default();
            let _ = writeln!(self.0, "logknock_{name}{label} {value}");
        }
    }
}

/// A label's value: a path may hold anything.
fn escaped(value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    value.replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{DoorStatus, GrantStatus, PhaseWord, SourceStatus};

    fn status() -> Status {
        Status {
            version: "9.9.9".to_owned(),
            uptime_seconds: 61,
            doors: vec![DoorStatus {
                name: "ssh".to_owned(),
                steps: 3,
                attempts: 2,
            }],
            sources: vec![SourceStatus {
                source: "/var/log/a\"b\\c".to_owned(),
                trust: "claimed".to_owned(),
                health: "following".to_owned(),
                trouble: None,
                overflows: 1,
                lines: 7,
                last_line_seconds: Some(5),
                lag_ms: Some(449),
                gaps: 2,
                lost_lines: 12,
            }],
            grants: vec![GrantStatus {
                door: "ssh".to_owned(),
                src: "192.0.2.77".parse().unwrap(),
                phase: PhaseWord::Open,
                left_seconds: 9,
                failed: 0,
            }],
            grants_open: 1,
            rejected: [("grammar".to_owned(), 4)].into(),
            ..Status::default()
        }
    }

    #[test]
    fn every_counter_has_its_line() {
        let text = render(&status());
        for line in [
            "logknock_info{version=\"9.9.9\"} 1",
            "logknock_uptime_seconds 61",
            "logknock_attempts{door=\"ssh\"} 2",
            "logknock_grants{phase=\"open\"} 1",
            "logknock_rejected_total{reason=\"grammar\"} 4",
            "logknock_source_lines_total{source=\"/var/log/a\\\"b\\\\c\"} 7",
            "logknock_source_following{source=\"/var/log/a\\\"b\\\\c\"} 1",
            "logknock_source_gaps_total{source=\"/var/log/a\\\"b\\\\c\"} 2",
            "logknock_source_lost_lines_total{source=\"/var/log/a\\\"b\\\\c\"} 12",
            "logknock_source_lag_milliseconds{source=\"/var/log/a\\\"b\\\\c\"} 449",
            "logknock_source_overflows_total{source=\"/var/log/a\\\"b\\\\c\"} 1",
            "logknock_disk_trouble 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn no_address_is_a_label() {
        assert!(!render(&status()).contains("192.0.2.77"));
    }

    #[test]
    fn every_metric_is_described_once_before_its_values() {
        let text = render(&status());
        let mut described = Vec::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let name = rest.split(' ').next().unwrap();
                assert!(!described.contains(&name), "{name}");
                described.push(name);
            } else if !line.starts_with('#') {
                let name = line.split(['{', ' ']).next().unwrap();
                assert_eq!(described.last(), Some(&name));
            }
        }
    }
}
