//! What must be knocked: ports in order.
//!
//! A sequence is a password. Its `Debug` shows how many steps it has and nothing else, and there is
//! no `Display`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::packet::Proto;

/// Longest sequence, in steps (knockd's `SEQ_MAX`).
pub const MAX_STEPS: usize = 32;

/// The transport of a knock.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP
    #[default]
    Tcp,
    /// UDP
    Udp,
}

impl Transport {
    /// `tcp` or `udp`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl TryFrom<Proto> for Transport {
    type Error = ();

    fn try_from(proto: Proto) -> Result<Self, ()> {
        match proto {
            Proto::Tcp => Ok(Self::Tcp),
            Proto::Udp => Ok(Self::Udp),
            _ => Err(()),
        }
    }
}

/// One knock of a sequence.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Destination port, 1 to 65535.
    pub port: u16,
    /// Its transport.
    pub transport: Transport,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Step(*)")
    }
}

/// One to [`MAX_STEPS`] steps, with the table that says where to go on after a wrong one.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Sequence {
    steps: Box<[Step]>,
    /// `border[n]`: length of the longest proper prefix of the sequence that is also a suffix of its
    /// first `n + 1` steps (Knuth, Morris, Pratt 1977).
    border: Box<[u8]>,
}

impl Sequence {
    /// The sequence of `steps`; `None` when there are none or more than [`MAX_STEPS`].
    pub fn new(steps: impl Into<Box<[Step]>>) -> Option<Self> {
        let steps = steps.into();
        if steps.is_empty() || steps.len() > MAX_STEPS {
            return None;
        }
        let mut border: Vec<u8> = vec![0];
        let mut length = 0_usize;
        for step in steps.iter().skip(1) {
            while length > 0 && steps.get(length) != Some(step) {
                length = border.get(length - 1).copied().unwrap_or(0).into();
            }
            if steps.get(length) == Some(step) {
                length += 1;
            }
            border.push(u8::try_from(length).unwrap_or(0));
        }
        Some(Self {
            steps,
            border: border.into(),
        })
    }

    /// How many steps.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Never: a sequence has at least one step.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The steps in order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether `step` occurs anywhere in it.
    pub fn has(&self, step: Step) -> bool {
        self.steps.contains(&step)
    }

    /// The longest shorter match that a match of the first `matched` steps ends with.
    pub fn fallback(&self, matched: usize) -> usize {
        matched
            .checked_sub(1)
            .and_then(|last| self.border.get(last))
            .copied()
            .unwrap_or(0)
            .into()
    }

    /// How many steps are matched once `step` follows a match of the first `matched`.
    pub fn advance(&self, mut matched: usize, step: Step) -> usize {
        loop {
            if self.steps.get(matched) == Some(&step) {
                return matched + 1;
            }
            if matched == 0 {
                return 0;
            }
            matched = self.fallback(matched);
        }
    }
}

impl fmt::Debug for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sequence({} steps)", self.steps.len())
    }
}

#[cfg(test)]
#[path = "sequence_test.rs"]
mod tests;
