//! Sequences that open once: a door's `totp` and its `one_time_sequences`.
//!
//! In: their keys as written, and the files that these name. Out: the engine's [`Totp`] and [`List`].
//! A report names a line of a list by its number and never repeats it; a secret is never shown.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::engine::one_time::{Line, List};
use crate::engine::sequence::{MAX_STEPS, Sequence, Step, Transport};
use crate::engine::totp::{MAX_SKEW, Secret, Totp, TotpKeys};
use data_encoding::BASE32_NOPAD;

use super::files;
use super::report::{Report, Span, error, warning};
use super::schema::Secrecy;
use super::sequence;
use super::value::{Keys, Value, Within, Written};

/// What a `totp` has that does not say so.
const KNOCKS: u8 = 4;
const PORTS: (u16, u16) = (20_000, 29_999);
const STEP: u32 = 30;
const SKEW: u8 = 1;

/// Shorter keys than this can be tried through (RFC 4226 §4, R6).
const MIN_SECRET: usize = 16;

/// Longest step, in seconds.
const DAY: u64 = 24 * 3600;

const NOT_BASE32: &str = "the secret is not base32";
const BASE32_FORM: &str = "write the letters A to Z and the digits 2 to 7";
const NEW_SECRET: &str =
    "make one with 'logknock totp --new FILE' and write secret_file = \"FILE\"";

/// Fewer sequences than this are too few to hide one in.
const MIN_CHOICES: f64 = 1e6;

/// How many of the next lines of a list may be knocked, unless it says so.
pub(super) const LOOK_AHEAD: Within<1, 100> = Within(5);

/// `totp`: what there is but for the key, and where that is.
#[derive(Clone)]
pub(super) struct TotpText {
    key: KeyText,
    /// Where it stands.
    key_at: Span,
    at: Span,
    pub(super) form: Form,
    skew: u8,
}

#[derive(Clone)]
enum KeyText {
    Here(Secret),
    File(PathBuf),
}

impl Value for TotpText {
    const SECRECY: Secrecy = Secrecy::Secret;

    fn read(written: Written<'_>) -> Option<Self> {
        const NAMES: [&str; 8] = [
            "secret",
            "secret_file",
            "code",
            "knocks",
            "ports",
            "step",
            "skew",
            "proto",
        ];
        let keys = written.table(&NAMES, "{ secret_file = \"/PATH\" }")?;
        let key = match (keys.get("secret"), keys.get("secret_file")) {
            (Some(_), Some(_)) | (None, None) => {
                let message = "'totp' needs one secret, either in 'secret' or in 'secret_file'";
                written.refuse_with(message, NEW_SECRET)
            }
            (Some(item), None) => {
                let text = item.string("a key in base32");
                let key = text.and_then(|text| {
                    secret(text).or_else(|| item.refuse_with(NOT_BASE32, BASE32_FORM))
                });
                key.map(|key| (KeyText::Here(key), item.span))
            }
            (None, Some(item)) => PathBuf::read(item).map(|path| (KeyText::File(path), item.span)),
        };
        let form = form(&keys);
        let ((key, key_at), (form, skew)) = (key?, form?);
        Some(Self {
            key,
            key_at,
            at: written.span,
            form,
            skew,
        })
    }
}

/// What goes with the secret of a `totp`, and how many steps a clock may be off.
pub(super) fn form(keys: &Keys<'_>) -> Option<(Form, u8)> {
    let most = i64::try_from(MAX_STEPS).unwrap_or(i64::MAX);
    let knocks = small(keys, "knocks", KNOCKS, 1..=most);
    let skew = small(keys, "skew", SKEW, 0..=MAX_SKEW.into());
    let step = keys.read("step", None, |item| step(item).map(Some));
    let ports = keys.read("ports", None, |item| {
        let text = item.string("a range of ports in quotes")?;
        let fix = "write \"LOW-HIGH\", as in \"20000-29999\"";
        let ports = ports(text).map(Some);
        ports.or_else(|| item.refuse_with("not a range of ports", fix))
    });
    let transport = keys.read("proto", Transport::Tcp, Transport::read);
    let code = keys.read("code", None, |item| {
        for key in ["knocks", "ports", "step", "skew"] {
            if let Some(idle) = keys.get(key) {
                let message = format!("a 'totp' with a 'code' cannot use '{key}'");
                idle.refuse_with::<()>(message, "remove the key");
            }
        }
        code(item).map(Some)
    });
    let (knocks, skew, code) = (Some(knocks?), skew?, code?);
    let form = Form {
        knocks,
        ports: ports?,
        step: step?,
        transport: transport?,
        code: code.map(|(code, _)| code),
    };
    Some((form, code.map_or(skew, |(_, skew)| skew)))
}

fn small(keys: &Keys<'_>, name: &str, usual: u8, range: RangeInclusive<i64>) -> Option<u8> {
    let number = keys.read(name, usual.into(), |item| item.within(range));
    u8::try_from(number?).ok()
}

/// The code of an authenticator app, as knocks: a group of its digits each, on a port as far above a base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// 6 or 8.
    pub digits: u8,
    /// How many of them a knock tells, 2 or 4.
    pub per_knock: u8,
    /// The port of the digits 00.
    pub base: u16,
}

impl Default for Code {
    fn default() -> Self {
        Self {
            digits: 6,
            per_knock: 2,
            base: 21_000,
        }
    }
}

impl Code {
    /// The number of knocks and their ports, or an error.
    pub fn knocks(self) -> Result<(u8, (u16, u16)), &'static str> {
        if !matches!((self.digits, self.per_knock), (6, 2) | (8, 2 | 4)) {
            return Err("a code has 6 digits (2 in each knock) or 8 digits (2 or 4 in each knock)");
        }
        let last = 10_u16.pow(self.per_knock.into()) - 1;
        let high = self.base.checked_add(last).filter(|_| self.base > 0);
        let high = high.ok_or("the highest port of the code would be above 65535")?;
        Ok((self.digits / self.per_knock, (self.base, high)))
    }
}

/// A `code`, and its `skew`.
fn code(item: Written<'_>) -> Option<(Code, u8)> {
    const FORM: &str = "{ digits = 6, per_knock = 2, base = 21000 }";
    let keys = item.table(&["digits", "per_knock", "base", "skew"], FORM)?;
    let usual = Code::default();
    let digits = small(&keys, "digits", usual.digits, 6..=8);
    let per_knock = small(&keys, "per_knock", usual.per_knock, 2..=4);
    let skew = small(&keys, "skew", 0, 0..=MAX_SKEW.into());
    let base = keys.read("base", usual.base.into(), |item| {
        item.within(1..=u16::MAX.into())
    });
    let code = Code {
        digits: digits?,
        per_knock: per_knock?,
        base: u16::try_from(base?).ok()?,
    };
    if let Err(why) = code.knocks() {
        return item.refuse_with(why, format!("write code = {FORM}"));
    }
    Some((code, skew?))
}

/// Whole seconds: authenticators count in no other.
fn step(item: Written<'_>) -> Option<u32> {
    let step = Duration::read(item)?;
    if step.subsec_nanos() != 0 || !(1..=DAY).contains(&step.as_secs()) {
        return item.refuse(format!("must be whole seconds, from 1 to {DAY}"));
    }
    u32::try_from(step.as_secs()).ok()
}

/// Decodes `text` from base32 (RFC 4648 §6), in upper or lower case, in groups, with or without padding.
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

/// The parameters of a secret outside a config; the defaults are those of a door's `totp`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// Knocks in a sequence.
    pub knocks: Option<u8>,
    /// The ports, both ends included.
    pub ports: Option<(u16, u16)>,
    /// How long a sequence lasts, in seconds.
    pub step: Option<u32>,
    /// What they are knocked with.
    pub transport: Transport,
    /// The standard code, which says what the knocks and ports are.
    pub code: Option<Code>,
}

impl Form {
    /// The number of knocks from the secret and their ports, or an error.
    pub fn knocks(self) -> Result<(u8, (u16, u16)), &'static str> {
        match self.code {
            Some(code) => code.knocks(),
            None => Ok((self.knocks.unwrap_or(KNOCKS), self.ports.unwrap_or(PORTS))),
        }
    }

    /// The sequences of `secret`, as a code after `beginning`; `None` for a form that is impossible.
    pub fn totp(self, secret: Secret, skew: Option<u8>, beginning: &[Step]) -> Option<Totp> {
        let (knocks, ports) = self.knocks().ok()?;
        Totp::new(TotpKeys {
            secret,
            knocks,
            ports,
            transport: self.transport,
            step: self.step.unwrap_or(STEP),
            skew: skew.unwrap_or(SKEW),
            beginning: self.code.map(|_| beginning.into()),
        })
    }
}

/// What a door's `totp` is, with its key and what is knocked before its code.
pub(super) fn totp(text: &TotpText, beginning: &[Step], report: &Report) -> Option<Totp> {
    let secret = match &text.key {
        KeyText::Here(secret) => secret.clone(),
        KeyText::File(path) => read_secret(path, text.key_at, report)?,
    };
    if secret.len() < MIN_SECRET {
        let message = "the secret has fewer than 128 bits, too few against guessing (RFC 4226)";
        report.add(warning(text.key_at, message).fix(NEW_SECRET));
    }
    let totp = text.form.totp(secret, Some(text.skew), beginning)?;
    if totp.sequences() < MIN_CHOICES && text.form.code.is_none() {
        let message = "there are fewer than a million sequences: one can be guessed";
        report.add(warning(text.at, message).fix("raise 'knocks' or widen 'ports'"));
    }
    Some(totp)
}

fn read_secret(path: &Path, at: Span, report: &Report) -> Option<Secret> {
    let text = files::read_named(path, at, report)?;
    let text = zeroize::Zeroizing::new(text);
    let key = str::from_utf8(&text).ok().and_then(secret);
    if key.is_none() {
        report.add(error(path, NOT_BASE32).fix(BASE32_FORM));
    }
    key
}

/// The list that the file at `path` is: a sequence a line, `#` before what is used.
pub(super) fn list(path: &Path, at: Span, ahead: usize, report: &Report) -> Option<List> {
    let text = files::read_named(path, at, report)?;
    let mut lines: Vec<Line> = Vec::new();
    for (line, number) in text.split(|&byte| byte == b'\n').zip(1_u32..) {
        let content = line.trim_ascii();
        if content.is_empty() || content.starts_with(b"#") {
            continue;
        }
        let read = str::from_utf8(line).ok();
        let Some((text, sequence)) = read.and_then(|text| Some((text, parsed(text)?))) else {
            let message = format!("line {number} is not a sequence and is skipped");
            report.add(warning(path, message));
            continue;
        };
        if lines.iter().any(|line| line.sequence == sequence) {
            let message = format!("line {number} repeats an earlier line, and is used up with it");
            report.add(warning(path, message));
        }
        lines.push(Line {
            number,
            text: text.into(),
            sequence,
        });
    }
    if lines.is_empty() {
        let message = "it has no sequence left: the door never opens";
        report.add(warning(path, message).fix("write new sequences into it, one a line"));
    }
    Some(List {
        file: Arc::from(path),
        lines: lines.into(),
        ahead,
    })
}

/// `PORT[:PROTO], PORT[:PROTO], …`, as in a knockd.conf.
fn parsed(text: &str) -> Option<Sequence> {
    let steps = text.split(',').map(|step| sequence::from_text(step).ok());
    Sequence::new(steps.collect::<Option<Vec<_>>>()?)
}

#[cfg(test)]
#[path = "one_time_test.rs"]
mod tests;
