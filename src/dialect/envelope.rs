//! JSON around a log line: journald's `-o json`, and what log shippers write.
//!
//! In: a line. Out: a reading of the text in its message field, of ulogd's own fields, or nothing when
//! the line is no JSON object. What the envelope says of the writer is believed only when it speaks
//! against it.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::{Map, Value};

use super::{Content, Header, Reading, ulogd};
use crate::engine::line::Stamp;
use crate::engine::reason::Reason;
use crate::engine::time::Time;

/// Where a line may be, the commonest first.
const MESSAGES: [&str; 7] = [
    "MESSAGE",
    "message",
    "msg",
    "log",
    "line",
    "full_message",
    "short_message",
];
const STAMPS: [&str; 3] = ["timestamp", "@timestamp", "time"];
const HOSTS: [&str; 3] = ["_HOSTNAME", "hostname", "host"];
const PROGRAMS: [&str; 5] = [
    "SYSLOG_IDENTIFIER",
    "appname",
    "program",
    "programname",
    "syslogtag",
];

pub(super) fn read(line: &[u8]) -> Option<Reading<'static>> {
    let text = line.trim_ascii();
    if !text.starts_with(b"{") || !text.ends_with(b"}") {
        return None;
    }
    let object: Map<String, Value> = serde_json::from_slice(text).ok()?;
    let content = match ulogd::read(&object) {
        Some(fields) => Content::Fields(fields),
        None => Content::Line(Cow::Owned(message(&object)?)),
    };
    Some(Reading {
        header: header(&object),
        content,
    })
}

/// The line in it. journald writes one that is not UTF-8 as a list of bytes.
fn message(object: &Map<String, Value>) -> Option<Vec<u8>> {
    MESSAGES.iter().find_map(|key| match object.get(*key)? {
        Value::String(text) => Some(text.trim_end_matches('\n').as_bytes().to_vec()),
        Value::Array(bytes) => bytes
            .iter()
            .map(|byte| byte.as_u64()?.try_into().ok())
            .collect(),
        _ => None,
    })
}

fn header(object: &Map<String, Value>) -> Header {
    let texts = |keys: &[&str]| keys.iter().find_map(|key| object.get(*key)?.as_str());
    let monotonic = texts(&["_SOURCE_MONOTONIC_TIMESTAMP"]).and_then(micros);
    let realtime = texts(&["_SOURCE_REALTIME_TIMESTAMP", "__REALTIME_TIMESTAMP"]).and_then(micros);
    let iso = texts(&STAMPS).and_then(|text| Stamp::from_iso(text.as_bytes()));
    Header {
        stamp: realtime.map(Stamp::Utc).or(iso),
        uptime: monotonic,
        host: texts(&HOSTS).unwrap_or_default().to_owned(),
        foreign: texts(&PROGRAMS).is_some_and(|program| !program.starts_with("kernel")),
        is_kernels: texts(&["_TRANSPORT"]) == Some("kernel")
            && texts(&["SYSLOG_FACILITY"]) == Some("0"),
        distrust: distrust(texts(&["_TRANSPORT"]), object.get("SYSLOG_FACILITY")),
    }
}

/// Why the journal says that the kernel did not write it: both fields, since users can forge either.
fn distrust(transport: Option<&str>, facility: Option<&Value>) -> Option<Reason> {
    if transport? != "kernel" {
        return Some(Reason::Transport);
    }
    (facility? != "0").then_some(Reason::Facility)
}

fn micros(text: &str) -> Option<Time> {
    let micros: u64 = text.parse().ok()?;
    Some(Time::from_nanos(0).after(Duration::from_micros(micros)))
}
