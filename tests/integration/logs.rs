//! Runs `fixtures/logs` through the real `replay`: see `fixtures/logs/README.md`.

use std::env;
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::logknock::{Logknock, files};

#[test]
fn every_log_gives_the_events_beside_it() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/logs");
    let logs = files(&directory, "log");
    assert!(logs.len() > 12, "the logs are missing");
    let failures: Vec<_> = logs.iter().filter_map(|log| replay(log)).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_order_of_rotated_files_means_nothing() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/logs");
    let logknock = set(&directory.join("rotated.log"));
    let upwards = logknock.run("replay rotated.log.1 rotated.log").succeeds();
    let downwards = logknock.run("replay rotated.log rotated.log.1").succeeds();
    assert!(upwards.stdout.contains("  open "), "{}", upwards.stdout);
    assert_eq!(upwards.stdout, downwards.stdout);
}

#[test]
fn an_event_that_is_not_expected_is_a_difference() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/logs");
    let logknock = set(&directory.join("rotated.log"));
    logknock.append(
        "rotated.expect",
        "2026-11-21T00:00:00Z ssh open 203.0.113.7 rotated.log:9\n",
    );
    logknock
        .run("replay --expect rotated.expect rotated.log.1 rotated.log")
        .fails_with(1)
        .prints_among_others("\n-2026-11-21T00:00:00Z ssh open 203.0.113.7 rotated.log:9\n")
        .says("the events differ");
}

/// The difference between what the log does and what it should do; with `BLESS=1` none.
fn replay(log: &Path) -> Option<String> {
    let logknock = set(log);
    let stem = log.file_stem().unwrap().to_str().unwrap();
    let rotated = logknock.path(&format!("{stem}.log.1")).exists();
    let older = if rotated {
        format!("{stem}.log.1 ")
    } else {
        String::new()
    };
    let logs = format!("{older}{stem}.log");
    let expect = log.with_extension("expect");
    if env::var_os("BLESS").is_some() {
        bless(&logknock, &logs, &expect);
    }
    let ended = logknock.run(&format!("replay --expect {stem}.expect {logs}"));
    (ended.code != Some(0)).then(|| format!("{stem}:\n{}{}", ended.stdout, ended.stderr))
}

/// The log with its config, its expected events and its older file, as it was when it was written.
fn set(log: &Path) -> Logknock {
    let config = fs::read_to_string(log.with_extension("toml")).unwrap();
    let stem = log.file_stem().unwrap().to_str().unwrap();
    let mut logknock = Logknock::new().config(&config);
    for end in ["log", "log.1", "expect"] {
        if let Ok(text) = fs::read(log.with_extension(end)) {
            logknock.write(&format!("{stem}.{end}"), text);
        }
    }
    if let Some(zone) = directive(&config, "zone") {
        logknock = logknock.set("TZ", zone);
    }
    if let Some(written) = directive(&config, "written") {
        let written = OffsetDateTime::parse(written, &Rfc3339).unwrap();
        let since = Duration::from_secs(written.unix_timestamp().try_into().unwrap());
        let file = File::options()
            .append(true)
            .open(logknock.path(&format!("{stem}.log")));
        file.unwrap()
            .set_modified(SystemTime::UNIX_EPOCH + since)
            .unwrap();
    }
    logknock
}

/// The value in a comment `# name value`.
fn directive<'a>(config: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = config.lines().filter_map(|line| line.strip_prefix("# "));
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
}

/// Writes what happens to the file of what is expected, in the form that it has, below its comments.
fn bless(logknock: &Logknock, logs: &str, expect: &Path) {
    let before = fs::read_to_string(expect).unwrap_or_default();
    let is_comment = |line: &&str| line.starts_with('#') || line.is_empty();
    let comments: String = before
        .split_inclusive('\n')
        .take_while(|line| is_comment(&line.trim_end()))
        .collect();
    let is_json = expect.to_str().unwrap().ends_with("-json.expect");
    let form = if is_json { "--json " } else { "" };
    let events = logknock.run(&format!("replay {form}{logs}")).succeeds();
    let events = format!("{comments}{}", events.stdout);
    fs::write(expect, &events).unwrap();
    logknock.write(expect.file_name().unwrap().to_str().unwrap(), events);
}
