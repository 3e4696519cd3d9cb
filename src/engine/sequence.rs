//! What must be knocked: ports in order.
//!
//! A sequence is a password. Its `Debug` shows how many steps it has and nothing else, and there is
//! no `Display`.

use std::fmt;

use super::packet::Proto;

/// Longest sequence, in steps (knockd's `SEQ_MAX`).
pub const MAX_STEPS: usize = 32;

/// The transport of a knock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// TCP
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
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
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
mod tests {
    use super::*;

    fn sequence(ports: &[u16]) -> Sequence {
        let step = |&port| Step {
            port,
            transport: Transport::Tcp,
        };
        Sequence::new(ports.iter().map(step).collect::<Vec<_>>()).unwrap()
    }

    fn stages(ports: &[u16], knocks: &[u16]) -> Vec<usize> {
        let sequence = sequence(ports);
        let mut matched = 0;
        knocks
            .iter()
            .map(|&port| {
                matched = sequence.advance(
                    matched,
                    Step {
                        port,
                        transport: Transport::Tcp,
                    },
                );
                let stage = matched;
                if matched == sequence.len() {
                    matched = 0;
                }
                stage
            })
            .collect()
    }

    #[test]
    fn the_knock_that_breaks_a_match_may_begin_the_next() {
        assert_eq!(stages(&[7, 8, 9], &[7, 8, 7, 8, 9]), [1, 2, 1, 2, 3]);
    }

    #[test]
    fn a_repeated_first_step_keeps_the_longest_match() {
        assert_eq!(stages(&[7, 7, 8], &[7, 7, 7, 8]), [1, 2, 2, 3]);
    }

    #[test]
    fn the_other_transport_is_another_step() {
        let udp = Step {
            port: 7,
            transport: Transport::Udp,
        };
        assert_eq!(sequence(&[7, 8]).advance(0, udp), 0);
    }

    #[test]
    fn debug_says_nothing_of_the_ports() {
        let text = format!(
            "{:?} {:?}",
            sequence(&[7001, 8002]),
            Step {
                port: 9003,
                transport: Transport::Udp
            }
        );
        assert_eq!(text, "Sequence(2 steps) Step(*)");
    }

    #[test]
    fn empty_and_endless_sequences_do_not_exist() {
        let step = Step {
            port: 1,
            transport: Transport::Tcp,
        };
        assert_eq!(Sequence::new([]), None);
        assert!(Sequence::new(vec![step; MAX_STEPS]).is_some());
        assert_eq!(Sequence::new(vec![step; MAX_STEPS + 1]), None);
    }
}
