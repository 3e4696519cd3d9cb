//! Durations as people write them.
//!
//! In: `15`, `0.5`, `"15s"`, `"1m30s"`, `"500ms"`, `"1h"`, `"2 s"`. Out: a `Duration` above zero and
//! at most [`MAX_DAYS`] days. Whole-number arithmetic, so that `"0.1s"` is exactly 100 ms.

use std::time::Duration;

use thiserror::Error;

/// Longest duration, in days.
pub(super) const MAX_DAYS: u64 = 366;

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// Units, the longest first, with their nanoseconds.
const UNITS: [(&str, u128); 5] = [
    ("d", 86_400 * NANOS_PER_SECOND),
    ("h", 3_600 * NANOS_PER_SECOND),
    ("m", 60 * NANOS_PER_SECOND),
    ("s", NANOS_PER_SECOND),
    ("ms", 1_000_000),
];

/// Why something is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum DurationError {
    /// Not written as one.
    #[error("not a duration")]
    Form,
    /// Zero, or below.
    #[error("a duration must be longer than zero")]
    NotPositive,
    /// More than [`MAX_DAYS`] days.
    #[error("longer than {} days", MAX_DAYS)]
    TooLong,
}

/// From whole seconds.
pub(super) fn from_seconds(seconds: i64) -> Result<Duration, DurationError> {
    match u64::try_from(seconds) {
        Ok(seconds) => checked(u128::from(seconds) * NANOS_PER_SECOND),
        Err(_) => Err(DurationError::NotPositive),
    }
}

/// From seconds with a fraction.
pub(super) fn from_float(seconds: f64) -> Result<Duration, DurationError> {
    if seconds.is_nan() {
        return Err(DurationError::Form);
    }
    if seconds <= 0.0 {
        return Err(DurationError::NotPositive);
    }
    let span = Duration::try_from_secs_f64(seconds).map_err(|_| DurationError::TooLong)?;
    checked(span.as_nanos())
}

/// From a text: numbers with units, the longest unit first, or one number of seconds.
pub(crate) fn from_text(text: &str) -> Result<Duration, DurationError> {
    let mut rest = text.trim();
    if rest.starts_with('-') {
        return Err(DurationError::NotPositive);
    }
    if rest.bytes().all(is_number) {
        return checked(nanos(rest, NANOS_PER_SECOND).ok_or(DurationError::Form)?);
    }
    let mut units = UNITS.iter();
    let mut total = 0_u128;
    while !rest.is_empty() {
        let (number, tail) = split_while(rest, is_number);
        let (unit, tail) = split_while(tail.trim_start(), |byte| byte.is_ascii_alphabetic());
        // Taking from one iterator leaves only shorter units for what follows.
        let (_, scale) = units
            .find(|(name, _)| *name == unit)
            .ok_or(DurationError::Form)?;
        total = total.saturating_add(nanos(number, *scale).ok_or(DurationError::Form)?);
        rest = tail.trim_start();
    }
    checked(total)
}

fn is_number(byte: u8) -> bool {
    byte.is_ascii_digit() || byte == b'.'
}

/// `text` cut behind the bytes at its start that are as `accept` says; these are ASCII.
fn split_while(text: &str, accept: impl Fn(u8) -> bool) -> (&str, &str) {
    let end = text.bytes().take_while(|&byte| accept(byte)).count();
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// A decimal number of units; what is below a nanosecond is dropped.
fn nanos(number: &str, scale: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    // Nineteen digits at most, so that the products below cannot overflow.
    let whole: u64 = whole.parse().ok()?;
    let places = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let fraction: u64 = fraction.parse().ok()?;
    Some(u128::from(whole) * scale + u128::from(fraction) * scale / places)
}

fn checked(nanos: u128) -> Result<Duration, DurationError> {
    if nanos == 0 {
        return Err(DurationError::NotPositive);
    }
    match u64::try_from(nanos).map(Duration::from_nanos) {
        Ok(span) if span <= Duration::from_secs(MAX_DAYS * 86_400) => Ok(span),
        _ => Err(DurationError::TooLong),
    }
}

#[cfg(test)]
#[path = "duration_test.rs"]
mod tests;
