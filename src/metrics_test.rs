//! The counters as text, and what they must not tell.

use std::collections::BTreeSet;

use super::*;
use crate::protocol::{DoorStatus, GrantStatus, PeerStatus, Phase, SourceStatus};

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
            doors: None,
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
            origin: None,
            door: "ssh".to_owned(),
            src: "192.0.2.77".parse().unwrap(),
            phase: Phase::Open,
            left_seconds: 9,
            failed: 0,
            words: String::new(),
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
        "logknock_grants{phase=\"open\"} 1",
        "logknock_rejected_total{reason=\"grammar\"} 4",
        "logknock_source_lines_total{source=\"/var/log/a\\\"b\\\\c\"} 7",
        "logknock_source_following{source=\"/var/log/a\\\"b\\\\c\"} 1",
        "logknock_source_gaps_total{source=\"/var/log/a\\\"b\\\\c\"} 2",
        "logknock_source_lost_lines_total{source=\"/var/log/a\\\"b\\\\c\"} 12",
        "logknock_source_lag_milliseconds{source=\"/var/log/a\\\"b\\\\c\"} 449",
        "logknock_source_overflows_total{source=\"/var/log/a\\\"b\\\\c\"} 1",
        "logknock_disk_trouble 0",
        "logknock_firewall_trouble 0",
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

#[test]
fn nothing_tells_a_right_hit_from_a_wrong_one() {
    let quiet = render(&status());
    let mut knocked = status();
    knocked.addresses += 1;
    for door in &mut knocked.doors {
        door.attempts += 1;
    }
    knocked.events.insert("stage".to_owned(), 2);
    knocked.events.insert("reset".to_owned(), 1);
    knocked.events.insert("locked_out".to_owned(), 1);
    knocked.resets.insert("wrong_port".to_owned(), 1);
    assert_eq!(render(&knocked), quiet);
}

/// The names behind `logknock_` in `text`.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let end = |rest: &str| rest.find(|letter| !matches!(letter, 'a'..='z' | '_'));
    let names = text.split("logknock_").skip(1);
    names.map(move |rest| {
        rest.get(..end(rest).unwrap_or(rest.len()))
            .unwrap_or_default()
    })
}

#[test]
fn the_dashboard_shows_every_metric_and_no_other() {
    let dashboard = include_str!("../packaging/grafana/logknock.json");
    let dashboard: serde_json::Value = serde_json::from_str(dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    let asked: Vec<_> = targets
        .map(|target| target["expr"].as_str().unwrap())
        .collect();
    let mut full = status();
    full.events = TOLD.map(|word| (word.to_owned(), 1)).into();
    full.failed_commands = [("close".to_owned(), 1)].into();
    full.fleet = Some(FleetStatus {
        peers: vec![PeerStatus::default()],
        ..FleetStatus::default()
    });
    let text = render(&full);
    let exported: BTreeSet<_> = names(&text).collect();
    assert_eq!(
        asked
            .iter()
            .flat_map(|asked| names(asked))
            .collect::<BTreeSet<_>>(),
        exported
    );
    for asked in asked {
        // `by (LABEL)`: Prometheus adds `instance`.
        let label = asked
            .split_once(" by (")
            .and_then(|(_, rest)| rest.split_once(')'));
        let label = label
            .map(|(label, _)| label)
            .filter(|label| *label != "instance");
        let name = names(asked).next().unwrap();
        let has = |label: &str| text.contains(&format!("logknock_{name}{{{label}=\""));
        assert!(label.is_none_or(has), "{asked}");
        for told in ["stage", "reset", "attempt", "door=", "src"] {
            assert!(!asked.contains(told), "{asked}");
        }
    }
}
