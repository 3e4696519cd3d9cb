//! How long to pause after a hit: `500` (milliseconds, as knockd's client takes it), `500ms`, `1.5s`.
//!
//! In: a text. Out: a duration up to a minute; none is a delay too. The default is not zero:
//! without a pause a network may deliver three SYNs in another order.

use std::time::Duration;

use thiserror::Error;

use super::duration::{self, DurationError};

/// The default of `--delay`.
pub const DEFAULT: Duration = Duration::from_millis(100);

const LONGEST: Duration = Duration::from_secs(60);

/// Why a text is no delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DelayError {
    /// Not written as one.
    #[error("not a delay; write milliseconds, or as in 500ms or 1.5s")]
    Form,
    /// Longer than a minute.
    #[error("a delay is at most one minute")]
    TooLong,
}

/// A number of milliseconds, or a duration with its unit.
pub fn parse(text: &str) -> Result<Duration, DelayError> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number {
        return with_unit(text);
    }
    let millis = text.parse().map_err(|_| DelayError::TooLong)?;
    checked(Duration::from_millis(millis))
}

/// A duration with its unit.
pub fn with_unit(text: &str) -> Result<Duration, DelayError> {
    if !text.ends_with(|last: char| last.is_ascii_alphabetic()) {
        return Err(DelayError::Form);
    }
    match duration::from_text(text) {
        Ok(delay) => checked(delay),
        Err(DurationError::NotPositive) if !text.contains('-') => Ok(Duration::ZERO),
        Err(DurationError::TooLong) => Err(DelayError::TooLong),
        Err(DurationError::Form | DurationError::NotPositive) => Err(DelayError::Form),
    }
}

fn checked(delay: Duration) -> Result<Duration, DelayError> {
    if delay > LONGEST {
        return Err(DelayError::TooLong);
    }
    Ok(delay)
}

#[cfg(test)]
#[path = "delay_test.rs"]
mod tests;
