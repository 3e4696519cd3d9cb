//! When to send which knock.
//!
//! In: steps and a delay, or counts and a window. Out: hits with their times, from the first. A
//! sequence keeps the delay after every hit, the last one too, as knockd's client does: what follows
//! the client finds the knocks arrived. Counts are told by windows that end at the last hit, so the
//! groups are spaced by their last hits, and by an eighth more than a window, so that a network that
//! is late by less than that moves no hit into the wrong window.

use std::fmt;
use std::time::Duration;

use super::counts::Counts;
use crate::engine::sequence::Step;

/// Between the hits of a group.
const WITHIN_GROUP: Duration = Duration::from_millis(10);

/// One knock and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// After the first hit.
    pub at: Duration,
    /// What is hit.
    pub step: Step,
}

/// Whether the same may be sent again while what was sent before is still remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// A sequence begins anew with its first step.
    Harmless,
    /// More hits than the counts say close the door.
    Harmful,
}

/// Hits in the order of their times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    hits: Vec<Hit>,
    gap: Duration,
    again: Again,
}

/// The hits of a group do not fit into a quarter of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooSlow;

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("with this delay a group of hits takes longer than a quarter of the window")
    }
}

impl std::error::Error for TooSlow {}

impl Schedule {
    /// A sequence.
    pub fn sequence(steps: &[Step], delay: Duration) -> Self {
        let times = (0_u32..).map(|number| delay.saturating_mul(number));
        let hits = times.zip(steps).map(|(at, step)| Hit { at, step: *step });
        Self {
            hits: hits.collect(),
            gap: delay,
            again: Again::Harmless,
        }
    }

    /// Counts of hits on one port.
    pub fn counts(
        counts: Counts,
        step: Step,
        window: Duration,
        delay: Option<Duration>,
    ) -> Result<Self, TooSlow> {
        let delay = delay.unwrap_or(WITHIN_GROUP);
        let span = |count: u8| delay.saturating_mul(u32::from(count) - 1);
        let groups = counts.groups();
        if groups.iter().any(|count| span(*count) > window / 4) {
            return Err(TooSlow);
        }
        let pitch = window + window / 8;
        let first_ends = groups.first().map_or(Duration::ZERO, |count| span(*count));
        let mut hits = Vec::new();
        for (number, count) in (0_u32..).zip(groups) {
            let begins = (first_ends + pitch * number).saturating_sub(span(count));
            hits.extend((0..u32::from(count)).map(|hit| Hit {
                at: begins + delay * hit,
                step,
            }));
        }
        Ok(Self {
            hits,
            gap: delay,
            again: Again::Harmful,
        })
    }

    /// The hits.
    pub fn hits(&self) -> &[Hit] {
        &self.hits
    }

    /// The least time after a hit, also after the last.
    pub fn gap(&self) -> Duration {
        self.gap
    }

    /// Whether it may be sent again.
    pub fn again(&self) -> Again {
        self.again
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    use super::*;
    use crate::engine::detector::{Detected, Detector, Limits};
    use crate::engine::door::{CountsRule, Rule};
    use crate::engine::knock::Logged;
    use crate::engine::packet::{Fingerprint, Packet, Ports, Proto, TcpFlags};
    use crate::engine::sequence::Transport;
    use crate::engine::time::Time;
    use crate::engine::{self, example};

    const STEP: Step = Step {
        port: 443,
        transport: Transport::Tcp,
    };
    const WINDOW: Duration = Duration::from_secs(4);

    fn times(schedule: &Schedule) -> Vec<u128> {
        let hits = schedule.hits().iter();
        hits.map(|hit| hit.at.as_millis()).collect()
    }

    fn of(counts: &str) -> Schedule {
        Schedule::counts(counts.parse().unwrap(), STEP, WINDOW, None).unwrap()
    }

    #[test]
    fn the_steps_of_a_sequence_are_a_delay_apart() {
        let steps = [7000, 8000, 9000].map(|port| Step { port, ..STEP });
        let schedule = Schedule::sequence(&steps, Duration::from_millis(500));
        assert_eq!(times(&schedule), [0, 500, 1000]);
        assert_eq!(schedule.gap(), Duration::from_millis(500));
        assert!(schedule.hits().iter().map(|hit| hit.step).eq(steps));
    }

    #[test]
    fn counts_are_groups_whose_last_hits_are_more_than_a_window_apart() {
        assert_eq!(
            times(&of("1234")),
            [0, 4490, 4500, 8980, 8990, 9000, 13470, 13480, 13490, 13500]
        );
    }

    /// At which of the hits a door opens; at none of them where time alone opens it.
    fn opens_at(times: &[i128], counts: [u8; 4]) -> Vec<usize> {
        let mut door = example::door(&[1]);
        let rule = CountsRule::new((STEP.port, None), WINDOW, &counts).unwrap();
        door.rule = Rule::Counts(rule);
        let mut detector = Detector::new(vec![Arc::new(door)], Duration::ZERO, Limits::default());
        let mut opened = Vec::new();
        let millis = |at: i128| Time::from_nanos(i64::try_from(at).unwrap() * 1_000_000);
        for (number, &at) in times.iter().enumerate() {
            let mut note = |detected: Detected| {
                opened.extend(detected.knock.map(|_| number));
            };
            detector.handle_timeout(millis(at), &mut |_| panic!("nothing ends meanwhile"));
            let packet = Packet {
                prefix: b"",
                iif: b"eth0",
                oif: b"",
                src: Ipv4Addr::new(192, 0, 2, 7).into(),
                dst: Ipv4Addr::new(198, 51, 100, 1).into(),
                proto: Proto::Tcp,
                ports: Some(Ports {
                    src: 1024 + u16::try_from(number).unwrap(),
                    dst: STEP.port,
                }),
                flags: TcpFlags::SYN,
                mark: Fingerprint::default(),
            };
            let hit = engine::knock::Hit::new(&packet, millis(at), None, 0, Logged::default());
            detector.handle_hit(&hit.unwrap(), &mut note).unwrap();
        }
        opened
    }

    #[test]
    fn all_counts_open_at_their_last_hit_and_at_no_other() {
        for code in 1111..=9999_u32 {
            let Ok(counts) = code.to_string().parse::<Counts>() else {
                continue;
            };
            let schedule = of(&code.to_string());
            let times: Vec<i128> = schedule
                .hits()
                .iter()
                .map(|hit| i128::try_from(hit.at.as_millis()).unwrap())
                .collect();
            assert!(times.is_sorted(), "{code}");
            assert_eq!(times[0], 0, "{code}");
            let last = times.len() - 1;
            assert_eq!(opens_at(&times, counts.groups()), [last], "{code}");
            // … and when the network is 400 ms late with the last group, or was with the others.
            let others = last + 1 - usize::from(counts.groups()[3]);
            for (late, by) in [(others..last + 1, 400), (0..others, 400)] {
                let mut shifted = times.clone();
                shifted[late].iter_mut().for_each(|at| *at += by);
                assert_eq!(opens_at(&shifted, counts.groups()), [last], "{code}");
            }
        }
    }

    #[test]
    fn a_group_that_does_not_fit_into_its_window_is_refused() {
        let counts = "1119".parse().unwrap();
        let slow = |millis| {
            let delay = Some(Duration::from_millis(millis));
            Schedule::counts(counts, STEP, WINDOW, delay).is_err()
        };
        assert!(!slow(125));
        assert!(slow(126));
    }

    #[test]
    fn debug_says_nothing_of_the_ports() {
        let text = format!("{:?}", Schedule::sequence(&[STEP], Duration::ZERO));
        assert!(!text.contains("443"), "{text}");
    }
}
