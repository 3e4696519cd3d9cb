//! Sequences from a secret and the time, in the way of RFC 6238.
//!
//! In: a key, and the number of a step of time, T = ⌊Unix time / step⌋ (§4.2). Out: that step's sequence. Either all
//! of it is derived, by SHA-256; or it has a static beginning, followed by the standard code of an authenticator app
//! (SHA-1), a few digits in each knock. A code is short, so its door also limits how many are tried:
//! [`Totp::refused_for`].

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::sequence::{MAX_STEPS, Sequence, Step, Transport};

/// Most steps of time that a knocker's clock may be off.
pub const MAX_SKEW: u8 = 10;

/// How long codes are refused after too many failed, in seconds.
pub const REFUSAL: i64 = 3600;

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

    /// The MAC of `message`, cut to 31 bits as RFC 4226 §5.3 says: the low four bits of the last byte say
    /// where the four bytes begin whose lowest 31 bits are taken.
    fn truncated<M: Mac + KeyInit>(&self, message: &[&[u8]]) -> u32 {
        let Ok(mut mac) = <M as KeyInit>::new_from_slice(&self.0) else {
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

/// Sequences from a secret and the time, in the way of RFC 6238; its keys are within their ranges.
#[derive(Clone, PartialEq, Eq)]
pub struct Totp(TotpKeys);

/// The keys of a [`Totp`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TotpKeys {
    /// The shared key.
    pub secret: Secret,
    /// Knocks that come from the secret, 1 to [`MAX_STEPS`] with the beginning.
    pub knocks: u8,
    /// Their ports, both ends included. With a code, the first is for the digits 00 and the last for 99, or
    /// so for groups of another length.
    pub ports: (u16, u16),
    /// What they are knocked with.
    pub transport: Transport,
    /// How long a sequence lasts, in seconds.
    pub step: u32,
    /// How many steps a knocker's clock may be off, at most [`MAX_SKEW`].
    pub skew: u8,
    /// With the standard code, what is knocked before it.
    pub beginning: Option<Box<[Step]>>,
}

impl Totp {
    /// Checks the keys; `None` if a value is out of range.
    pub fn new(keys: TotpKeys) -> Option<Self> {
        let (low, high) = keys.ports;
        let beginning = keys.beginning.as_ref().map_or(0, |steps| steps.len());
        let sound = keys.knocks > 0
            && usize::from(keys.knocks) + beginning <= MAX_STEPS
            && 0 < low
            && low <= high
            && keys.step > 0
            && keys.skew <= MAX_SKEW;
        sound.then_some(Self(keys))
    }

    /// The number of the step that holds a Unix time in seconds; `None` before 1970.
    pub fn number_at(&self, unix: i64) -> Option<u64> {
        Some(u64::try_from(unix).ok()? / u64::from(self.0.step))
    }

    /// When the step called `number` begins, in seconds of Unix time.
    pub fn begin_of(&self, number: u64) -> i64 {
        i64::try_from(number.saturating_mul(self.0.step.into())).unwrap_or(i64::MAX)
    }

    /// How long a step lasts, in seconds.
    pub fn step(&self) -> u32 {
        self.0.step
    }

    /// Knocks in a sequence.
    pub fn knocks(&self) -> usize {
        usize::from(self.0.knocks) + self.beginning().map_or(0, <[Step]>::len)
    }

    /// The steps before the standard code; `None` if the whole sequence is derived.
    pub fn beginning(&self) -> Option<&[Step]> {
        self.0.beginning.as_deref()
    }

    /// The average number of random guesses until one is right: the number of sequences that count at a time.
    ///
    /// A repeat of a step changes nothing, so the knocks `x x y x z` are at once the codes xxy, xyx and xyz:
    /// at most as many as there are ways to part the knocks of a code into groups (Bell's numbers). The ports
    /// of a derived sequence are too many for that to matter.
    pub fn guesses(&self) -> f64 {
        let at_once = match (&self.0.beginning, self.0.knocks) {
            (None, _) | (_, 0 | 1) => 1.0,
            (_, 2) => 2.0,
            (_, 3) => 5.0,
            _ => 15.0,
        };
        self.sequences() / (2.0 * f64::from(self.0.skew) + 1.0) / at_once
    }

    /// How many different sequences there can be.
    pub fn sequences(&self) -> f64 {
        let (low, high) = self.0.ports;
        let choices = f64::from(high - low) + 1.0;
        choices.powi(self.0.knocks.into())
    }

    /// Whether `step` can be a knock that comes from the secret.
    pub fn derives(&self, step: Step) -> bool {
        let (low, high) = self.0.ports;
        step.transport == self.0.transport && (low..=high).contains(&step.port)
    }

    /// Whether `step` can be a knock of some sequence.
    pub fn may_have(&self, step: Step) -> bool {
        self.derives(step) || self.beginning().is_some_and(|steps| steps.contains(&step))
    }

    /// For how many seconds from the Unix time `unix` on every code is refused, where every step that begins
    /// before `used` is used: more than knocks can have used means that too many codes failed.
    pub fn refused_for(&self, used: i64, unix: i64) -> Option<u64> {
        self.beginning()?;
        let next = self.number_at(unix)? + u64::from(self.0.skew) + 1;
        (used > self.begin_of(next)).then(|| used.saturating_sub(unix).unsigned_abs())
    }

    /// How many steps a knocker's clock may be off.
    pub fn skew(&self) -> u8 {
        self.0.skew
    }

    /// The sequence of the step called `number`, which is hashed as eight bytes, the highest first. Its i-th
    /// port, from 0, is `low + trunc(HMAC(secret, number ‖ i)) mod (high − low + 1)`, with i as one byte. Of a
    /// code `trunc(HMAC(secret, number))` it is `low` and the i-th group of digits.
    pub fn sequence(&self, number: u64) -> Option<Sequence> {
        let (low, high) = self.0.ports;
        let range = u32::from(high - low) + 1;
        let time = number.to_be_bytes();
        let code = self.0.secret.truncated::<Hmac<Sha1>>(&[&time]);
        let knocks = (0..self.0.knocks).map(|index| {
            let value = match self.0.beginning {
                None => self.0.secret.truncated::<Hmac<Sha256>>(&[&time, &[index]]),
                Some(_) => code / range.saturating_pow(u32::from(self.0.knocks - index) - 1),
            };
            let port = u32::from(low) + value % range;
            Step {
                port: u16::try_from(port).unwrap_or(high),
                transport: self.0.transport,
            }
        });
        let beginning = self.beginning().into_iter().flatten().copied();
        Sequence::new(beginning.chain(knocks).collect::<Vec<_>>())
    }
}

impl fmt::Debug for Totp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Totp({} knocks each {} s)", self.0.knocks, self.0.step)
    }
}

#[cfg(test)]
#[path = "totp_test.rs"]
pub(super) mod tests;
