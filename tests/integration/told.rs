//! What the daemon tells of itself: status, the story of an address, metrics, events.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::daemon::{Daemon, KNOCKER, PORTS, SECRETS, eventually};

fn keys(value: &Value) -> Vec<&str> {
    let object = value.as_object().expect("an object");
    object.keys().map(String::as_str).collect()
}

#[test]
fn a_status_has_its_keys_and_no_secret() {
    let daemon = Daemon::start("");
    daemon.knock(KNOCKER, &PORTS);
    daemon.knock("198.51.100.9", &[7101]);
    daemon.wait_until("both have been read", |status| {
        status.grants_open == 1 && status.hits == 4
    });
    let json: Value = serde_json::from_str(&daemon.says(&["status", "--json"])).unwrap();
    assert_eq!(
        keys(&json),
        [
            "addresses",
            "confined",
            "doors",
            "events",
            "failed_commands",
            "grants",
            "grants_closing",
            "grants_open",
            "hits",
            "recent",
            "rejected",
            "resets",
            "restarts",
            "sources",
            "uptime_seconds",
            "version",
        ]
    );
    assert_eq!(
        json["doors"],
        serde_json::json!([{"name": "ssh", "steps": 3, "attempts": 1}])
    );
    let source = &json["sources"][0];
    assert_eq!(source["source"], daemon.log().to_str().unwrap());
    assert_eq!(source["trust"], "claimed");
    assert_eq!(source["health"], "following");
    assert_eq!(source["lines"], 4);
    let words = [
        "gaps",
        "health",
        "lag_ms",
        "last_line_seconds",
        "lines",
        "lost_lines",
        "overflows",
        "source",
        "trust",
    ];
    assert_eq!(keys(source), words);
    let grant = &json["grants"][0];
    assert_eq!(
        keys(grant),
        ["door", "failed", "left_seconds", "phase", "src"]
    );
    assert_eq!(
        (&grant["src"], &grant["phase"]),
        (&KNOCKER.into(), &"open".into())
    );
    for secret in SECRETS {
        assert!(!json.to_string().contains(secret), "{json}");
    }
}

#[test]
fn a_status_is_a_table_for_people() {
    let daemon = Daemon::start("");
    daemon.knock(KNOCKER, &PORTS);
    daemon.wait_until("it is open", |status| status.grants_open == 1);
    let said = daemon.says(&["status"]);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("logknock "), "{said}");
    assert!(lines.contains(&"door  steps  in progress"), "{said}");
    assert!(lines.contains(&"ssh       3            0"), "{said}");
    let grant = format!("{KNOCKER}  ssh   open ");
    assert!(said.contains(&grant), "{said}");
    assert!(said.contains("3 hits, 0 rejected"), "{said}");
    assert!(
        !said.contains('\x1b'),
        "no colour but on a terminal: {said}"
    );
    let said = daemon.says(&["status", "--prometheus"]);
    assert!(
        said.contains("\nlogknock_grants{phase=\"open\"} 1\n"),
        "{said}"
    );
}

/// Every sentence with which a log says that messages are missing from it, and how many are.
const MISSING: [(&str, u64); 6] = [
    (
        "kernel: [    5.000001] net_ratelimit: 12 callbacks suppressed",
        12,
    ),
    ("systemd-journald[231]: Missed 3 kernel messages", 3),
    (
        "systemd-journald[231]: Suppressed 40 messages from rsyslog.service",
        40,
    ),
    (
        "rsyslogd: imjournal: 500 messages lost due to rate-limiting (20000 allowed within 600 seconds)",
        500,
    ),
    (
        "rsyslogd: imuxsock lost 6000 messages from pid 4711 due to rate-limiting",
        6000,
    ),
    (
        "rsyslogd: imjournal: begin to drop messages due to rate-limiting",
        0,
    ),
];

#[test]
fn what_a_log_says_is_missing_is_counted_in_the_status_and_warned_of_once() {
    let daemon = Daemon::start_under_systemd(None);
    let mut lost = 0;
    for (number, (said, count)) in (1..).zip(MISSING) {
        daemon.write(&format!("Nov 20 10:00:00 gw {said}"));
        daemon.wait_until(said, |status| status.sources[0].gaps == number);
        lost += count;
        assert_eq!(daemon.status().sources[0].lost_lines, lost, "{said}");
    }
    daemon.write("Nov 20 10:00:00 gw sshd[1]: Missed 9 kernel messages");
    daemon.write("Nov 20 10:00:00 gw sshd[1]: net_ratelimit: 9 callbacks suppressed");
    daemon.wait_until("it has read on", |status| status.sources[0].lines == 8);
    let gaps = daemon.status().sources[0].gaps;
    assert_eq!(gaps, 6, "others are not believed");
    let said = daemon.said();
    let warned = |line: &&str| line.contains("WARN") && line.contains("may have been dropped");
    assert_eq!(said.lines().filter(warned).count(), 1, "{said}");
    daemon.await_notice("lost lines 6 times, 6555 or more");
    let table = daemon.says(&["status"]);
    assert!(table.contains("6555 or more"), "{table}");
    let metrics = daemon.says(&["status", "--prometheus"]);
    let source = daemon.log().display().to_string();
    for (name, value) in [("gaps", 6), ("lost_lines", 6555)] {
        let line = format!("logknock_source_{name}_total{{source=\"{source}\"}} {value}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
}

#[test]
fn a_source_that_dies_is_told_and_comes_back_alone() {
    let mut daemon = Daemon::start_under_systemd(None);
    let [here, aside] = ["second.log", "aside.log"].map(|name| daemon.dir().join(name));
    fs::write(&here, "").unwrap();
    fs::set_permissions(&here, fs::Permissions::from_mode(0o600)).unwrap();
    daemon.follow_too(&here);
    daemon.wait_until("both are followed", |status| {
        let mut sources = status.sources.iter();
        sources.all(|source| source.health == "following")
    });
    fs::rename(&here, &aside).unwrap();
    daemon.wait_until("one is degraded", |status| {
        let source = &status.sources[1];
        source.health == "degraded" && source.trouble.is_some()
    });
    assert_eq!(daemon.status().sources[0].health, "following");
    daemon.await_notice("1 of 2 sources degraded");
    daemon.open();
    fs::rename(&aside, &here).unwrap();
    daemon.wait_until("it is followed again", |status| {
        status.sources[1].health == "following"
    });
    daemon.await_notice("following, 1 door open");
}

#[test]
fn the_history_of_an_address_is_shown_live_and_from_its_log() {
    let daemon = Daemon::start("");
    daemon.knock(KNOCKER, &[7101, 9303]);
    daemon.knock("198.51.100.9", &[7101]);
    daemon.write(&format!(
        "sshd[1]: lk-4f9a1c7e: IN=eth0 OUT= SRC={KNOCKER} DST=x"
    ));
    daemon.wait_until("all has been read", |status| status.sources[0].lines == 4);
    let live = daemon.says(&["explain", KNOCKER]);
    let log = daemon.log();
    let logged = daemon.says(&["explain", KNOCKER, "--log", log.to_str().unwrap()]);
    for said in [&live, &logged] {
        assert!(
            said.starts_with("ssh for 203.0.113.7: did not open: 1 of 3 steps\n"),
            "{said}"
        );
        assert!(said.contains("  1 step 1 of 3  "), "{said}");
        assert!(
            said.contains("after step 1: step 3, but step 2 was due"),
            "{said}"
        );
        assert!(
            said.contains("\n→ Knock the steps in their order"),
            "{said}"
        );
        assert!(
            said.contains("did not count: another program wrote the line"),
            "{said}"
        );
        assert!(!said.contains("198.51.100.9"), "{said}");
        // The log's own name may hold anything.
        let name = log.file_name().unwrap().to_str().unwrap();
        let said = said.replace(name, "");
        assert!(
            SECRETS.iter().all(|secret| !said.contains(secret)),
            "{said}"
        );
    }
    let unknown = daemon.says(&["explain", "192.0.2.99"]);
    assert!(
        unknown.contains("no packet line from 192.0.2.99 is known"),
        "{unknown}"
    );
    let json: Value = serde_json::from_str(&daemon.says(&["explain", KNOCKER, "--json"])).unwrap();
    assert_eq!(keys(&json), ["grants", "happenings", "src"]);
    let reset = &json["happenings"][1];
    assert_eq!(
        (&reset["event"], &reset["reason"]),
        (&"reset".into(), &"wrong_port".into())
    );
    let seen = serde_json::json!([{"door": "ssh", "step": 3, "of": 3}]);
    assert_eq!(reset["seen"], seen);
}

#[test]
fn what_only_the_daemon_knows_of_a_knock_is_in_its_story() {
    let daemon = Daemon::start("");
    let written = OffsetDateTime::now_utc() - time::Duration::seconds(300);
    let stamp = written.format(&Rfc3339).unwrap();
    daemon.knock_behind(|| format!("{stamp} gw kernel:"), KNOCKER, &PORTS[..1]);
    daemon.write("Nov 20 10:00:00 gw systemd-journald[231]: Missed 3 kernel messages");
    daemon.wait_until("it has read on", |status| status.sources[0].lines == 2);
    let said = daemon.says(&["explain", KNOCKER]);
    let old = "step 1 did not count: the line is 5 min old";
    assert!(said.contains(old), "{said}");
    assert!(said.contains("? 3 lines are missing"), "{said}");
    assert!(
        said.contains("→ Compare clock and time zone (TZ)"),
        "{said}"
    );
    let other = daemon.says(&["explain", "192.0.2.99"]);
    assert!(other.contains("192.0.2.99: no packet is known"), "{other}");
    assert!(
        other.contains("→ Knock again: a step may have been among"),
        "{other}"
    );
}

#[test]
fn metrics_and_events_are_written_to_their_files() {
    let files = tempfile::tempdir().unwrap();
    let path = |name: &str| files.path().join(name);
    let (metrics, events) = (path("lk.prom"), path("events.jsonl"));
    let mut daemon = Daemon::start(&format!(
        "metrics_file = \"{}\"\nevent_log = \"{}\"\n",
        metrics.display(),
        events.display()
    ));
    daemon.open();
    let read = |path: &PathBuf| fs::read_to_string(path).unwrap_or_default();
    eventually("the events are on disk", || {
        read(&events).lines().count() == 4
    });
    fs::rename(&events, path("events.jsonl.1")).unwrap();
    daemon.says(&["reload"]);
    assert_eq!(daemon.stop().code(), Some(0));
    let text = read(&metrics);
    for line in [
        "logknock_hits_total 3",
        "logknock_events_total{event=\"open\"} 1",
        "logknock_events_total{event=\"close\"} 1",
        "logknock_grants{phase=\"open\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(!text.contains(KNOCKER));
    let words = |text: String| {
        let event = |line| serde_json::from_str::<Value>(line).unwrap()["event"].clone();
        let events: Vec<Value> = text.lines().map(event).collect();
        events
    };
    assert_eq!(
        words(read(&path("events.jsonl.1"))),
        ["stage", "stage", "stage", "open"]
    );
    assert_eq!(words(read(&events)), ["close"]);
    assert_eq!(fs::metadata(&events).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn what_cannot_be_written_is_said_and_knocks_count_all_the_same() {
    let daemon = Daemon::start("metrics_file = \"/dev/full/x\"\nevent_log = \"/dev/full\"\n");
    daemon.open();
    daemon.await_said("record=\"event_log\"");
    daemon.await_said("path=/dev/full/x");
    let said = daemon.said();
    let is_record = |line: &&str| line.contains("record=\"event_log\"");
    assert_eq!(said.lines().filter(is_record).count(), 1, "{said}");
}
