use std::net::Ipv4Addr;
use std::sync::Arc;

use super::*;
use crate::engine::attempts::{AttemptTable, Detected, Limits};
use crate::engine::door::{CountsRule, Rule};
use crate::engine::knock::Logged;
use crate::engine::packet::{Fingerprint, Headers, Packet, Ports, Proto, TcpFlags};
use crate::engine::sequence::Transport;
use crate::engine::time::Time;
use crate::engine::{self, example};

const STEP: Step = Step {
    port: 443,
    transport: Transport::Tcp,
};
const WINDOW: Duration = Duration::from_secs(4);

fn times(schedule: &Schedule) -> Vec<u128> {
    let hits = schedule.hits.iter();
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
    assert_eq!(schedule.gap, Duration::from_millis(500));
    assert!(schedule.hits.iter().map(|hit| hit.step).eq(steps));
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
    let mut table = AttemptTable::new(vec![Arc::new(door)], Duration::ZERO, Limits::default());
    let mut opened = Vec::new();
    let millis = |at: i128| Time::from_nanos(i64::try_from(at).unwrap() * 1_000_000);
    for (number, &at) in times.iter().enumerate() {
        let mut note = |detected: Detected| {
            opened.extend(detected.knock.map(|_| number));
        };
        table.handle_timeout(millis(at), &mut |_| panic!("nothing ends meanwhile"));
        let packet = Packet {
            prefix: b"",
            iif: b"eth0",
            oif: b"",
            headers: Headers {
                src: Ipv4Addr::new(192, 0, 2, 7).into(),
                dst: Ipv4Addr::new(198, 51, 100, 1).into(),
                proto: Proto::Tcp,
                ports: Some(Ports {
                    src: 1024 + u16::try_from(number).unwrap(),
                    dst: STEP.port,
                }),
                flags: TcpFlags::SYN,
                mark: Fingerprint::default(),
            },
        };
        let hit = engine::knock::Hit::new(&packet, millis(at), None, 0, Logged::default());
        table.handle_hit(&hit.unwrap(), &mut note).unwrap();
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
            .hits
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
