//! Sequences from a secret and the time, in the way of RFC 6238.
//!
//! In: a key, and the number of a step of time, T = ⌊Unix time / step⌋ (§4.2). Out: that step's sequence.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::sequence::{MAX_STEPS, Sequence, Step, Transport};

/// Most steps of time that a knocker's clock may be off.
pub const MAX_SKEW: u8 = 10;

/// A key, which nothing shows and which leaves no copy in freed memory.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// The key `bytes`; `None` when it is empty.
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        let bytes = Zeroizing::new(bytes);
        (!bytes.is_empty()).then_some(Self(bytes))
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never: a key has at least one byte.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// HMAC-SHA-256 of `message`, cut to 31 bits as RFC 4226 §5.3 says: the low four bits of the last
    /// byte say where the four bytes begin whose lowest 31 bits are taken.
    fn truncated(&self, message: &[&[u8]]) -> u32 {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else {
            return 0; // HMAC takes a key of any length
        };
        for part in message {
            mac.update(part);
        }
        let hash = mac.finalize().into_bytes();
        let offset = hash.last().map_or(0, |byte| usize::from(byte & 0xf));
        let four = hash.iter().skip(offset).take(4);
        four.fold(0, |value, &byte| value << 8 | u32::from(byte)) & 0x7fff_ffff
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(*)")
    }
}

/// Sequences from a secret and the time, in the way of RFC 6238.
#[derive(Clone, PartialEq, Eq)]
pub struct Totp {
    secret: Secret,
    knocks: u8,
    low: u16,
    high: u16,
    transport: Transport,
    /// Seconds.
    step: u32,
    skew: u8,
}

/// What a [`Totp`] is made of.
#[derive(Clone, Debug)]
pub struct TotpKeys {
    /// The shared key.
    pub secret: Secret,
    /// Knocks in a sequence, 1 to [`MAX_STEPS`].
    pub knocks: u8,
    /// The ports, both ends included.
    pub ports: (u16, u16),
    /// What they are knocked with.
    pub transport: Transport,
    /// How long a sequence lasts, in seconds.
    pub step: u32,
    /// How many steps a knocker's clock may be off, at most [`MAX_SKEW`].
    pub skew: u8,
}

impl Totp {
    /// `None` when a value is out of its range.
    pub fn new(keys: TotpKeys) -> Option<Self> {
        let TotpKeys {
            secret,
            knocks,
            ports: (low, high),
            transport,
            step,
            skew,
        } = keys;
        let sound = (1..=MAX_STEPS).contains(&usize::from(knocks))
            && 0 < low
            && low <= high
            && step > 0
            && skew <= MAX_SKEW;
        sound.then_some(Self {
            secret,
            knocks,
            low,
            high,
            transport,
            step,
            skew,
        })
    }

    /// The number of the step that holds a Unix time in seconds; `None` before 1970.
    pub fn number_at(&self, unix: i64) -> Option<u64> {
        Some(u64::try_from(unix).ok()? / u64::from(self.step))
    }

    /// When the step called `number` begins, in seconds of Unix time.
    pub fn begin_of(&self, number: u64) -> i64 {
        i64::try_from(number.saturating_mul(self.step.into())).unwrap_or(i64::MAX)
    }

    /// How long a step lasts, in seconds.
    pub fn step(&self) -> u32 {
        self.step
    }

    /// Knocks in a sequence.
    pub fn knocks(&self) -> usize {
        self.knocks.into()
    }

    /// Random guesses that one right guess is among, on average: so many sequences count at a time.
    pub fn guesses(&self) -> f64 {
        let choices = f64::from(self.high - self.low) + 1.0;
        choices.powi(self.knocks.into()) / (2.0 * f64::from(self.skew) + 1.0)
    }

    /// Whether `step` can be a knock of some sequence.
    pub fn may_have(&self, step: Step) -> bool {
        step.transport == self.transport && (self.low..=self.high).contains(&step.port)
    }

    /// How many steps a knocker's clock may be off.
    pub fn skew(&self) -> u8 {
        self.skew
    }

    /// The sequence of the step called `number`: its i-th port is
    /// `low + trunc(HMAC(secret, number ‖ i)) mod (high − low + 1)`, with the number as eight bytes,
    /// the highest first, and i as one, from 0.
    pub fn sequence(&self, number: u64) -> Option<Sequence> {
        let range = u32::from(self.high - self.low) + 1;
        let steps = (0..self.knocks).map(|index| {
            let value = self.secret.truncated(&[&number.to_be_bytes(), &[index]]);
            let port = u32::from(self.low) + value % range;
            Step {
                port: u16::try_from(port).unwrap_or(self.high),
                transport: self.transport,
            }
        });
        Sequence::new(steps.collect::<Vec<_>>())
    }
}

impl fmt::Debug for Totp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Totp({} knocks each {} s)", self.knocks, self.step)
    }
}

#[cfg(test)]
#[path = "totp_test.rs"]
pub(super) mod tests;
