//! What must be knocked: ports in order.
//!
//! A sequence is a password. Its `Debug` shows how many steps it has and nothing else, and there is
//! no `Display`.

use std::fmt;

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

use super::packet::Proto;

/// Longest sequence, in steps (knockd's `SEQ_MAX`).
pub const MAX_STEPS: usize = 32;

/// The transport of a knock.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Transport {
    /// TCP
    #[default]
    Tcp,
    /// UDP
    Udp,
}

impl Transport {
    /// `tcp` or `udp`.
    pub fn as_str(self) -> &'static str {
        self.into()
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

/// One to [`MAX_STEPS`] steps.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Sequence {
    steps: Box<[Step]>,
}

impl Sequence {
    /// The sequence of `steps`; `None` when there are none or more than [`MAX_STEPS`].
    pub fn new(steps: impl Into<Box<[Step]>>) -> Option<Self> {
        let steps = steps.into();
        (1..=MAX_STEPS)
            .contains(&steps.len())
            .then_some(Self { steps })
    }

    /// The number of steps.
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

    /// Whether its first `matched` steps end with as many of its own first ones, but for all of them: a wrong
    /// knock then leaves a shorter match.
    pub fn begins_again_within(&self, matched: usize) -> bool {
        let made = self.steps.get(..matched).unwrap_or_default();
        (1..made.len()).any(|length| {
            self.steps
                .get(..length)
                .is_some_and(|first| made.ends_with(first))
        })
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
