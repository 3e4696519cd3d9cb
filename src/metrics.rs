//! The daemon's counters as Prometheus reads them (text format 0.0.4).
//!
//! In: a [`Status`]. Out: text. Labels are names from the configuration and words of closed lists;
//! nothing that a stranger sent, no address and no port, is ever one, so the number of series is
//! bounded whatever arrives. The file may be read by every local user, so nothing in it tells a right hit
//! from a wrong one before a door opens: no stage, attempt or reset is counted here.

use std::fmt::Write;

use crate::protocol::{FleetStatus, Status};

/// The events that a completed knock causes.
const TOLD: [&str; 3] = ["open", "refresh", "close"];

/// Returns all of `status` as metrics.
pub fn render(status: &Status) -> String {
    let mut text = Text(String::new());
    plain(&mut text, status);
    labelled(&mut text, status);
    if let Some(fleet) = &status.fleet {
        of_fleet(&mut text, fleet);
    }
    text.0
}

/// What is one number.
fn plain(text: &mut Text, status: &Status) {
    let trouble = u64::from(status.disk_trouble.is_some());
    let firewall = status.firewall.as_ref();
    let firewall = u64::from(firewall.is_some_and(|rules| !rules.faults.is_empty()));
    for (name, help, value) in [
        ("uptime_seconds", "Since the start.", status.uptime_seconds),
        ("hits_total", "Packets that counted.", status.hits),
        ("disk_trouble", "Whether the disk refuses grants.", trouble),
        (
            "firewall_trouble",
            "Whether the firewall's rules lack something.",
            firewall,
        ),
    ] {
        text.family(name, help, [(None, value)]);
    }
}

/// What is a number for each of some words.
fn labelled(text: &mut Text, status: &Status) {
    let version = (Some(("version", &*status.version)), 1);
    text.family("info", "Which logknock runs.", [version]);
    let grants = [
        (Some(("phase", "open")), status.grants_open as u64),
        (Some(("phase", "closing")), status.grants_closing as u64),
    ];
    text.family("grants", "Doors open for an address.", grants);
    let told = |word: &&String| TOLD.contains(&word.as_str());
    let told = status.events.iter().filter(|(word, _)| told(word));
    let told = told.map(|(word, count)| (word.clone(), *count)).collect();
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
            &told,
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

/// What comes from other gateways; each is one of the configuration.
fn of_fleet(text: &mut Text, fleet: &FleetStatus) {
    let connected = u64::from(fleet.connected);
    text.family(
        "fleet_connected",
        "Whether the bus is reached.",
        [(None, connected)],
    );
    let unpublished = fleet.unpublished as u64;
    text.family(
        "fleet_unpublished",
        "Grants to publish.",
        [(None, unpublished)],
    );
    let peers = || {
        let peers = fleet.peers.iter();
        peers.map(|peer| (Some(("gateway", &*peer.name)), peer))
    };
    let grants = peers().map(|(label, peer)| (label, peer.grants));
    text.family("fleet_grants_total", "Grants that counted.", grants);
    let refused = peers().map(|(label, peer)| (label, peer.refused.values().sum()));
    text.family("fleet_refused_total", "Grants that did not.", refused);
    let claims = [
        (Some(("result", "won")), fleet.claims_won),
        (Some(("result", "lost")), fleet.claims_lost),
        (Some(("result", "without_bus")), fleet.claims_without_bus),
    ];
    text.family("fleet_claims_total", "Codes that were decided.", claims);
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
#[path = "metrics_test.rs"]
mod tests;
