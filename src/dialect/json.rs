//! JSON around a log line: what journalctl, syslog-ng, rsyslog and log shippers write.
//!
//! In: a line, and which keys say what. Out: an [`Entry`], or nothing when the line is no such object. An entry
//! is the kernel's only if it says so itself: under a key for its program, or, where no key can name another
//! writer, by the kernel's tag in its line. Two values of one key are no object.

use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::engine::line::{self, Record, Stamp, Writer};
use crate::engine::reason::Reason;
use crate::engine::time::Time;

/// The keys of an object, in any case; `a.b` is also `b` in the object `a`. The first key that exists is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// The message, or the whole line.
    pub message: Vec<Box<str>>,
    /// Who wrote it. Without any, the line must have the kernel's tag.
    pub program: Vec<Box<str>>,
    /// The syslog facility, by name or number.
    pub facility: Vec<Box<str>>,
    /// When.
    pub time: Vec<Box<str>>,
    /// The host.
    pub host: Vec<Box<str>>,
}

/// What shippers call these, the commonest first.
const MESSAGES: &str = "message msg log line full_message short_message";
const TIMES: &str = "timestamp @timestamp time date isodate";
const HOSTS: &str = "_HOSTNAME hostname host host.name";
const PROGRAMS: &str = "SYSLOG_IDENTIFIER program programname appname app-name app_name syslogtag \
    ident process.name log.syslog.appname";
const FACILITIES: &str = "facility SYSLOG_FACILITY syslogfacility syslogfacility-text \
    facility_label log.syslog.facility.name log.syslog.facility.code";
/// What else can name a writer: it must not name another than the kernel.
const OTHERS: &str = "tag logger unit _SYSTEMD_UNIT _COMM _EXE process service app application \
    identifier syslog_tag pid procid _PID SYSLOG_PID";
/// Keys that name no writer, beside those of message, time and host.
const HARMLESS: &str = "stream offset priority severity level @version";

fn owned(keys: &str) -> Vec<Box<str>> {
    keys.split(' ').map(Box::from).collect()
}

impl Keys {
    /// The keys that shippers commonly use.
    pub(super) fn common() -> Self {
        Self {
            message: owned(MESSAGES),
            program: owned(PROGRAMS),
            facility: owned(FACILITIES),
            time: owned(TIMES),
            host: owned(HOSTS),
        }
    }

    /// `$(format-json --scope rfc5424 --scope nv-pairs)`
    pub(super) fn syslog_ng() -> Self {
        Self {
            message: owned("MESSAGE"),
            program: owned("PROGRAM"),
            facility: owned("FACILITY"),
            time: owned("ISODATE DATE"),
            host: owned("HOST"),
        }
    }

    /// The entry in `object`; `None` where it has no message.
    pub(super) fn entry(&self, object: &Object) -> Option<Entry> {
        let text = self.message.iter().find_map(|key| object.bytes(key))?;
        let first = |keys: &[Box<str>]| keys.iter().find_map(|key| object.text(key));
        Some(Entry {
            text,
            is_bare: false,
            stamp: first(&self.time).and_then(|text| Stamp::whole(text.as_bytes())),
            uptime: None,
            host: first(&self.host).unwrap_or_default(),
            says: self.says(object),
        })
    }

    /// Whose the entry is.
    fn says(&self, object: &Object) -> Result<Says, Reason> {
        if object.any(&self.facility, |value| !is_kern(value)) {
            return Err(Reason::Facility);
        }
        if object.any(&self.program, |value| !is_kernel(value)) {
            return Err(Reason::Program);
        }
        if object.any(&self.program, is_kernel) {
            return Ok(Says::Kernel);
        }
        let common = *self == Self::common();
        let known = [MESSAGES, TIMES, HOSTS, FACILITIES, HARMLESS];
        let is_known = |key: &str| {
            let mut known = known.iter().flat_map(|list| list.split(' '));
            known.any(|known| known.eq_ignore_ascii_case(key))
        };
        let is_plain = || object.0.keys().all(|key| is_known(key));
        if (common && is_plain()) || (self.program.is_empty() && !object.names_another()) {
            return Ok(Says::Nobody);
        }
        Err(Reason::Program)
    }
}

/// An entry of `journalctl -o json`: the kernel's where both fields that users cannot write say so.
pub(super) fn journal(object: &Object) -> Option<Entry> {
    let text = |key| object.text(key);
    let micros = |key| {
        let micros: u64 = text(key)?.parse().ok()?;
        Some(Time::from_nanos(0).after(Duration::from_micros(micros)))
    };
    let realtime = micros("_SOURCE_REALTIME_TIMESTAMP").or_else(|| micros("__REALTIME_TIMESTAMP"));
    let is = |key, value: &str| object.0.get(key).map(|found| found == value);
    Some(Entry {
        text: object.bytes("MESSAGE")?,
        is_bare: true,
        stamp: realtime.map(Stamp::Utc),
        uptime: micros("_SOURCE_MONOTONIC_TIMESTAMP"),
        host: text("_HOSTNAME").unwrap_or_default(),
        says: match (is("_TRANSPORT", "kernel"), is("SYSLOG_FACILITY", "0")) {
            (Some(true), Some(true)) => Ok(Says::Kernel),
            (Some(true), Some(false)) => Err(Reason::Facility),
            _ => Err(Reason::Transport),
        },
    })
}

/// A JSON object, each key once.
pub(super) struct Object(Map<String, Value>);

impl Object {
    /// The object that is all of `line`, also behind what `-o json-seq` and `-o json-sse` put in front.
    pub(super) fn of(line: &[u8]) -> Option<Self> {
        let text = line.strip_prefix(b"\x1e").unwrap_or(line);
        let text = text.strip_prefix(b"data: ").unwrap_or(text).trim_ascii();
        if !text.starts_with(b"{") || !text.ends_with(b"}") {
            return None;
        }
        serde_json::from_slice(text).ok()
    }

    pub(super) fn fields(&self) -> &Map<String, Value> {
        &self.0
    }

    /// Whether it is journald's.
    pub(super) fn is_journals(&self) -> bool {
        self.0.contains_key("_TRANSPORT") || self.0.contains_key("__REALTIME_TIMESTAMP")
    }

    /// The values at `path`, in any case.
    fn at<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a Value> {
        fn nested<'a>(object: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
            if let Some(value) = object.get(path) {
                return Some(value);
            }
            path.match_indices('.').find_map(|(dot, _)| {
                let (head, tail) = path.split_at(dot);
                nested(object.get(head)?.as_object()?, tail.strip_prefix('.')?)
            })
        }
        let here = self.0.iter();
        let here = here.filter(move |(key, _)| key.eq_ignore_ascii_case(path));
        let below = nested(&self.0, path).filter(|_| !self.0.contains_key(path));
        here.map(|(_, value)| value).chain(below)
    }

    fn any(&self, keys: &[Box<str>], is: impl Fn(&Value) -> bool) -> bool {
        keys.iter().any(|key| self.at(key).any(&is))
    }

    fn text(&self, key: &str) -> Option<String> {
        self.at(key).find_map(|value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        })
    }

    /// A text; journald writes a value that is not UTF-8 as a list of bytes.
    fn bytes(&self, key: &str) -> Option<Vec<u8>> {
        self.at(key).find_map(|value| match value {
            Value::String(text) => Some(text.trim_end_matches('\n').as_bytes().to_vec()),
            Value::Array(bytes) => bytes
                .iter()
                .map(|byte| byte.as_u64()?.try_into().ok())
                .collect(),
            _ => None,
        })
    }

    /// Whether a common key names another writer than the kernel.
    fn names_another(&self) -> bool {
        let names = PROGRAMS.split(' ').chain(OTHERS.split(' '));
        let mut names = names.flat_map(|key| self.at(key));
        let mut facilities = FACILITIES.split(' ').flat_map(|key| self.at(key));
        names.any(|value| !is_kernel(value)) || facilities.any(|value| !is_kern(value))
    }
}

/// Whether a program's name is the kernel's: `kernel`, or rsyslog's tag `kernel:`.
fn is_kernel(value: &Value) -> bool {
    value == "kernel" || value == "kernel:"
}

fn is_kern(value: &Value) -> bool {
    value == "kern" || value == "0" || value == 0
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Once;
        impl<'de> Visitor<'de> for Once {
            type Value = Object;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut object = Map::new();
                while let Some((key, value)) = map.next_entry::<String, Value>()? {
                    if object.insert(key, value).is_some() {
                        return Err(A::Error::custom("a key is given twice"));
                    }
                }
                Ok(Object(object))
            }
        }
        from.deserialize_map(Once)
    }
}

/// A line out of its object.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    text: Vec<u8>,
    /// The text is the message, from its column 0.
    is_bare: bool,
    stamp: Option<Stamp>,
    uptime: Option<Time>,
    host: String,
    says: Result<Says, Reason>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Kernel,
    Nobody,
}

impl Entry {
    /// The record, which the object fills in where the line says nothing, or why it is not the kernel's.
    pub(super) fn record(&self) -> (Record<'_>, Option<Reason>) {
        let record = if self.is_bare {
            Record::bare(&self.text)
        } else {
            line::read(&self.text)
        };
        let refused = match (self.says, record.writer) {
            (Err(reason), _) => Some(reason),
            (Ok(Says::Nobody), Writer::Untagged) | (_, Writer::Program) => Some(Reason::Program),
            (_, Writer::Facility) => Some(Reason::Facility),
            (Ok(_), Writer::Kernel | Writer::Untagged) => None,
        };
        let record = Record {
            stamp: record.stamp.or(self.stamp),
            uptime: record.uptime.or(self.uptime),
            host: match record.host {
                b"" => self.host.as_bytes(),
                host => host,
            },
            writer: match refused {
                Some(_) => Writer::Program,
                None => Writer::Kernel,
            },
            ..record
        };
        (record, refused)
    }
}
