//! Open Sesamy: four counts of hits on one port, each in its own window.
//!
//! In: `1234`, `1,2,3,4` or `1-2-3-4`. Out: [`Counts`], a password like a sequence: it has no
//! `Display`, and its `Debug` shows nothing.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

use crate::config::duration;

/// How many groups there are.
pub const GROUPS: usize = 4;

/// Four counts, each 1 to 9.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Counts([u8; GROUPS]);

impl Counts {
    /// Them, in order.
    pub fn groups(self) -> [u8; GROUPS] {
        self.0
    }
}

impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counts(*)")
    }
}

/// A text that is no counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("counts are four digits 1 to 9, as in 1234 or 1,2,3,4")]
pub struct CountsError;

impl FromStr for Counts {
    type Err = CountsError;

    fn from_str(text: &str) -> Result<Self, CountsError> {
        let digits: Vec<&str> = match text.find([',', '-']) {
            Some(_) => text.split([',', '-']).collect(),
            None => text.split_terminator("").skip(1).collect(),
        };
        let digits = <[&str; GROUPS]>::try_from(digits).map_err(|_| CountsError)?;
        let mut counts = [0; GROUPS];
        for (count, digit) in counts.iter_mut().zip(digits) {
            *count = match digit.as_bytes() {
                [digit @ b'1'..=b'9'] => digit - b'0',
                _ => return Err(CountsError),
            };
        }
        Ok(Self(counts))
    }
}

/// The default window: what people use.
pub const DEFAULT_WINDOW: Duration = Duration::from_secs(4);

/// Shortest and longest window.
const WINDOWS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));

/// A text that is no window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a window is 500ms to 60s, as in 4s")]
pub struct WindowError;

/// Reads a window such as `4s`; a bare number is seconds.
pub fn window(text: &str) -> Result<Duration, WindowError> {
    check_window(duration::from_text(text).map_err(|_| WindowError)?)
}

/// A window that is not out of bounds.
pub(super) fn check_window(window: Duration) -> Result<Duration, WindowError> {
    if (WINDOWS.0..=WINDOWS.1).contains(&window) {
        Ok(window)
    } else {
        Err(WindowError)
    }
}

#[cfg(test)]
#[path = "counts_test.rs"]
mod tests;
