//! Sequences that open once: a door's `totp` and its `one_time_sequences`.
//!
//! In: their keys as written, and the files that these name. Out: the engine's [`Totp`] and [`List`].
//! A report names a line of a list by its number and never repeats it; a secret is never shown.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE32_NOPAD;
use toml::de::{DeTable, DeValue};

use crate::engine::one_time::{Line, List};
use crate::engine::sequence::{MAX_STEPS, Sequence, Transport};
use crate::engine::totp::{MAX_SKEW, Secret, Totp, TotpKeys};

use super::files;
use super::problem::{Problem, TotpFlaw};
use super::report::{Report, Span};
use super::steps;
use super::value::{Value, Written, integer};

/// What a `totp` has that does not say so.
const KNOCKS: u8 = 4;
const PORTS: (u16, u16) = (20_000, 29_999);
const STEP: u32 = 30;
const SKEW: u8 = 1;

/// Shorter keys than this can be tried through (RFC 4226 §4, R6).
const MIN_SECRET: usize = 16;

/// Fewer sequences than this are too few to hide one in.
const MIN_CHOICES: f64 = 1e6;

/// How many of the next lines of a list may be knocked, unless it says so.
pub(super) const LOOK_AHEAD: usize = 5;

/// `totp`: what there is but for the key, and where that is.
#[derive(Clone)]
pub(super) struct TotpText {
    key: KeyText,
    /// Where it stands.
    key_at: Span,
    at: Span,
    knocks: u8,
    ports: (u16, u16),
    transport: Transport,
    step: u32,
    skew: u8,
}

#[derive(Clone)]
enum KeyText {
    Here(Secret),
    File(PathBuf),
}

impl Value for TotpText {
    const SECRET: bool = true;

    fn read(written: Written<'_>, report: &mut Report) -> Option<Self> {
        let DeValue::Table(table) = written.value else {
            return written.wrong_type("a table with 'secret_file' or 'secret'", report);
        };
        let keys = Keys { written, table };
        for (name, _) in table {
            if !Keys::NAMES.contains(&name.get_ref().as_ref()) {
                let at = keys.span(name.span());
                report.add(at, Problem::Totp(TotpFlaw::Key));
            }
        }
        let key = match (keys.get("secret"), keys.get("secret_file")) {
            (Some(_), Some(_)) | (None, None) => {
                written.refuse(Problem::Totp(TotpFlaw::OneSecret), report)
            }
            (Some(item), None) => {
                let text = item.string("a key in base32", report);
                let key = text.and_then(|text| {
                    secret(text).or_else(|| item.refuse(Problem::Totp(TotpFlaw::Base32), report))
                });
                key.map(|key| (KeyText::Here(key), item.span))
            }
            (None, Some(item)) => {
                PathBuf::read(item, report).map(|path| (KeyText::File(path), item.span))
            }
        };
        let most = i64::try_from(MAX_STEPS).unwrap_or(i64::MAX);
        let knocks = keys.number("knocks", KNOCKS, 1, most, report);
        let skew = keys.number("skew", SKEW, 0, MAX_SKEW.into(), report);
        let step = keys.step(report);
        let ports = keys.ports(report);
        let transport = keys.transport(report);
        let (key, key_at) = key?;
        Some(Self {
            key,
            key_at,
            at: written.span,
            knocks: knocks?,
            ports: ports?,
            transport: transport?,
            step: step?,
            skew: skew?,
        })
    }
}

/// The keys of a `totp`.
struct Keys<'a> {
    written: Written<'a>,
    table: &'a DeTable<'a>,
}

impl<'a> Keys<'a> {
    const NAMES: [&'static str; 7] = [
        "secret",
        "secret_file",
        "knocks",
        "ports",
        "step",
        "skew",
        "proto",
    ];

    fn span(&self, range: std::ops::Range<usize>) -> Span {
        Span {
            document: self.written.span.document,
            start: range.start,
            end: range.end,
        }
    }

    fn get(&self, name: &str) -> Option<Written<'a>> {
        let value = self.table.get(name)?;
        Some(Written {
            value: value.get_ref(),
            span: self.span(value.span()),
        })
    }

    fn number(
        &self,
        name: &str,
        usual: u8,
        least: i64,
        most: i64,
        report: &mut Report,
    ) -> Option<u8> {
        let Some(item) = self.get(name) else {
            return Some(usual);
        };
        integer(item.value)
            .filter(|number| (least..=most).contains(number))
            .and_then(|number| u8::try_from(number).ok())
            .or_else(|| item.refuse(Problem::Range { least, most }, report))
    }

    /// Whole seconds: authenticators count in no other.
    fn step(&self, report: &mut Report) -> Option<u32> {
        let Some(item) = self.get("step") else {
            return Some(STEP);
        };
        let (least, most) = (Duration::from_secs(1), Duration::from_secs(24 * 3600));
        let step = Duration::read(item, report)?;
        if step.subsec_nanos() != 0 || !(least..=most).contains(&step) {
            return item.refuse(Problem::DurationRange { least, most }, report);
        }
        u32::try_from(step.as_secs()).ok()
    }

    fn ports(&self, report: &mut Report) -> Option<(u16, u16)> {
        let Some(item) = self.get("ports") else {
            return Some(PORTS);
        };
        let text = item.string("a range of ports in quotes", report)?;
        ports(text).or_else(|| item.refuse(Problem::Totp(TotpFlaw::Ports), report))
    }

    fn transport(&self, report: &mut Report) -> Option<Transport> {
        let Some(item) = self.get("proto") else {
            return Some(Transport::Tcp);
        };
        let text = item.string("\"tcp\" or \"udp\"", report)?;
        steps::transport(text)
            .or_else(|_| {
                item.refuse(Problem::Totp(TotpFlaw::Proto), report)
                    .ok_or(())
            })
            .ok()
    }
}

/// The key that `text` is in base32 (RFC 4648 §6), in upper or lower case, in groups, with padding or
/// without.
pub fn secret(text: &str) -> Option<Secret> {
    let digit = |byte: &u8| !byte.is_ascii_whitespace() && *byte != b'-';
    let text = text.trim_end().trim_end_matches('=');
    let digits = text.bytes().filter(digit);
    let digits: zeroize::Zeroizing<Vec<u8>> = digits
        .map(|byte| byte.to_ascii_uppercase())
        .collect::<Vec<_>>()
        .into();
    Secret::new(BASE32_NOPAD.decode(&digits).ok()?)
}

/// `bytes` in base32, as [`secret`] reads it.
pub fn base32(bytes: &[u8]) -> String {
    BASE32_NOPAD.encode(bytes)
}

/// The range of ports that `text` is: `low-high`, both ends included.
pub fn ports(text: &str) -> Option<(u16, u16)> {
    let (low, high) = text.split_once('-')?;
    let (low, high) = (low.trim().parse().ok()?, high.trim().parse().ok()?);
    (0 < low && low <= high).then_some((low, high))
}

/// What goes with a secret that is not in a config; what is not said is as in a door's `totp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Knocks in a sequence.
    pub knocks: Option<u8>,
    /// The ports, both ends included.
    pub ports: Option<(u16, u16)>,
    /// How long a sequence lasts, in seconds.
    pub step: Option<u32>,
    /// What they are knocked with.
    pub transport: Transport,
}

/// The sequences of `secret`; `None` when the form is none.
pub fn totp_of(secret: Secret, form: Form) -> Option<Totp> {
    Totp::new(TotpKeys {
        secret,
        knocks: form.knocks.unwrap_or(KNOCKS),
        ports: form.ports.unwrap_or(PORTS),
        transport: form.transport,
        step: form.step.unwrap_or(STEP),
        skew: SKEW,
    })
}

/// What a door's `totp` is, with its key.
pub(super) fn totp(text: &TotpText, report: &mut Report) -> Option<Totp> {
    let secret = match &text.key {
        KeyText::Here(secret) => secret.clone(),
        KeyText::File(path) => read_secret(path, text.key_at, report)?,
    };
    if secret.len() < MIN_SECRET {
        report.add(text.key_at, Problem::Totp(TotpFlaw::Short));
    }
    let choices = f64::from(text.ports.1 - text.ports.0) + 1.0;
    if choices.powi(text.knocks.into()) < MIN_CHOICES {
        report.add(text.at, Problem::Totp(TotpFlaw::Guessable));
    }
    Totp::new(TotpKeys {
        secret,
        knocks: text.knocks,
        ports: text.ports,
        transport: text.transport,
        step: text.step,
        skew: text.skew,
    })
}

fn read_secret(path: &Path, at: Span, report: &mut Report) -> Option<Secret> {
    let text = files::read_named(path, at, report)?;
    let text = zeroize::Zeroizing::new(text);
    let key = str::from_utf8(&text).ok().and_then(secret);
    if key.is_none() {
        report.add_file(&path.display().to_string(), Problem::Totp(TotpFlaw::Base32));
    }
    key
}

/// The list that the file at `path` is: a sequence a line, `#` before what is used.
pub(super) fn list(path: &Path, at: Span, ahead: usize, report: &mut Report) -> Option<List> {
    let text = files::read_named(path, at, report)?;
    let name = path.display().to_string();
    let mut lines: Vec<Line> = Vec::new();
    for (line, number) in text.split(|&byte| byte == b'\n').zip(1_u32..) {
        let content = line.trim_ascii();
        if content.is_empty() || content.starts_with(b"#") {
            continue;
        }
        let parsed = str::from_utf8(line).ok();
        let Some((text, sequence)) = parsed.and_then(|text| Some((text, sequence(text)?))) else {
            report.add_file(&name, Problem::ListLine { number });
            continue;
        };
        if lines.iter().any(|line| line.sequence == sequence) {
            report.add_file(&name, Problem::ListTwice { number });
        }
        lines.push(Line {
            number,
            text: text.into(),
            sequence,
        });
    }
    if lines.is_empty() {
        report.add_file(&name, Problem::ListEmpty);
    }
    Some(List {
        file: Arc::from(path),
        lines: lines.into(),
        ahead,
    })
}

/// `PORT[:PROTO], PORT[:PROTO], …`, as in a knockd.conf.
fn sequence(text: &str) -> Option<Sequence> {
    let steps = text.split(',').map(|step| steps::from_text(step).ok());
    Sequence::new(steps.collect::<Option<Vec<_>>>()?)
}

#[cfg(test)]
#[path = "one_time_test.rs"]
mod tests;
