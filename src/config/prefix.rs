//! The log prefix that the firewall rule and the daemon share.
//!
//! In: a text from the config or from `--prefix`. Out: its bytes, for the engine to compare, and
//! whether they work as a shared secret. It has no `Display`, and its `Debug` hides it.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Longest prefix, in bytes (`NF_LOG_PREFIXLEN` is 128 with its NUL).
pub const MAX_PREFIX: usize = 127;

/// An exact log prefix.
#[derive(Clone, PartialEq, Eq)]
pub struct Prefix(Box<[u8]>);

/// Why a text is no log prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PrefixError {
    /// Nothing.
    #[error("an empty prefix matches every logged packet")]
    Empty,
    /// Longer than [`MAX_PREFIX`].
    #[error("longer than {} bytes, the limit of a LOG rule", MAX_PREFIX)]
    TooLong,
    /// A NUL, a newline or another control character.
    #[error("contains a control character, which logs do not keep")]
    Control,
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        if text.is_empty() {
            Err(PrefixError::Empty)
        } else if text.len() > MAX_PREFIX {
            Err(PrefixError::TooLong)
        } else if text.chars().any(char::is_control) {
            Err(PrefixError::Control)
        } else {
            Ok(Self(text.as_bytes().into()))
        }
    }
}

impl Prefix {
    /// The bytes that a line must begin with.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it works as a shared secret: it has a run of at least eight ASCII letters and digits,
    /// with one of each and five different ones. `KNOCK: ` is a name, `lk-4f9a1c7e: ` a secret.
    pub fn is_secret(&self) -> bool {
        self.0
            .split(|byte| !byte.is_ascii_alphanumeric())
            .any(is_random)
    }
}

fn is_random(run: &[u8]) -> bool {
    let mut distinct = run.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    run.len() >= 8
        && distinct.len() >= 5
        && run.iter().any(u8::is_ascii_digit)
        && run.iter().any(u8::is_ascii_alphabetic)
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prefix(*)")
    }
}

#[cfg(test)]
#[path = "prefix_test.rs"]
mod tests;
