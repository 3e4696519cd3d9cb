//! Envelopes, stamps and reasons that `parse` shows.

use super::*;
use crate::engine::line::Stamp;
use crate::engine::time::Time;

#[test]
fn a_journal_entry_brings_its_stamps_and_host() {
    let line = br#"{"_TRANSPORT":"kernel","SYSLOG_FACILITY":"0","_HOSTNAME":"fw","__REALTIME_TIMESTAMP":"1795204870123456","_SOURCE_MONOTONIC_TIMESTAMP":"1234000001","MESSAGE":"x"}"#;
    let reading = read(line);
    let record = reading.record();
    assert_eq!(
        record.stamp,
        Some(Stamp::Utc(Time::from_nanos(1_795_204_870_123_456_000)))
    );
    assert_eq!(record.uptime, Some(Time::from_nanos(1_234_000_001_000)));
    assert_eq!((record.host, record.message), (&b"fw"[..], &b"x"[..]));
}

#[test]
fn a_line_in_an_envelope_keeps_its_own_stamp() {
    let reading =
        read(br#"{"time":"2026-11-20T20:00:00Z","log":"1970-01-01T00:00:01Z fw kernel: x\n"}"#);
    let record = reading.record();
    assert_eq!(record.stamp, Some(Stamp::Utc(Time::from_secs(1))));
    assert_eq!(record.message, b"x");
}

#[test]
fn each_distrust_has_its_reason() {
    let packet = "IN=eth0 OUT= SRC=203.0.113.7 DST=198.51.100.9 PROTO=UDP SPT=1 DPT=7000 LEN=8";
    for (line, reason) in [
        (format!("12,1,2,-;KNOCK: {packet}"), Reason::Facility),
        (
            format!("Nov 20 21:00:00 fw evil: kernel: KNOCK: {packet}"),
            Reason::Program,
        ),
        (
            format!(r#"{{"_TRANSPORT":"syslog","MESSAGE":"KNOCK: {packet}"}}"#),
            Reason::Transport,
        ),
        (
            format!(
                r#"{{"_TRANSPORT":"kernel","SYSLOG_FACILITY":"1","MESSAGE":"KNOCK: {packet}"}}"#
            ),
            Reason::Facility,
        ),
        (
            format!(r#"{{"program":"sshd","message":"kernel: KNOCK: {packet}","x":1}}"#),
            Reason::Program,
        ),
        (
            format!("Nov 20 21:00:00 fw kernel: KNOCK: {packet} more"),
            Reason::Grammar,
        ),
    ] {
        assert_eq!(
            read(line.as_bytes()).verdict(),
            Verdict::Rejected(reason),
            "{line}"
        );
    }
}

#[test]
fn a_tag_that_is_the_prefix_is_shown_as_the_prefix() {
    let packet = "IN=eth0 OUT= SRC=203.0.113.7 DST=198.51.100.9 PROTO=UDP SPT=1 DPT=7000 LEN=8";
    for (tag, prefix) in [
        ("lk-4f9a1c7e: ", "lk-4f9a1c7e: "),
        ("ulogd[7]: ", ""),
        ("ulogd: ", ""),
        ("ulogd: KNOCK  ", "KNOCK  "),
    ] {
        let line = format!("Nov 20 21:00:00 fw {tag}{packet}");
        let reading = read(line.as_bytes());
        let Verdict::Packet(packet) = reading.verdict() else {
            panic!("{line}");
        };
        assert_eq!(packet.prefix, prefix.as_bytes(), "{line}");
    }
}
