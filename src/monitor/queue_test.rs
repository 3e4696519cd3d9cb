//! The order of commands: within an address, between opens and closes, and how many wait.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn door() -> Arc<str> {
    "ssh".into()
}

fn address(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

#[test]
fn an_open_behind_ten_thousand_closes_starts_at_once() {
    let mut queue = Queue::new(8);
    for number in 0..10_000_u32 {
        queue.push(
            IpAddr::from(number.to_be_bytes()),
            Lane::Close,
            &door(),
            number,
        );
    }
    let started = std::iter::from_fn(|| queue.start()).count();
    assert_eq!(started, 7, "one place is left to opens");
    queue.push(address(1), Lane::Open, &door(), 0);
    assert_eq!(queue.start(), Some((address(1), door(), 0)));
    assert_eq!(queue.start(), None);
}

#[test]
fn a_close_behind_ten_thousand_opens_starts_at_once() {
    let mut queue = Queue::new(2);
    for number in 0..10_000_u32 {
        queue.push(
            IpAddr::from(number.to_be_bytes()),
            Lane::Open,
            &door(),
            number,
        );
    }
    assert!(queue.start().is_some());
    assert_eq!(queue.start(), None);
    queue.push(address(1), Lane::Close, &door(), 0);
    assert_eq!(queue.start(), Some((address(1), door(), 0)));
}

#[test]
fn with_a_single_place_the_lanes_take_turns() {
    let mut queue = Queue::new(1);
    for last in 0..4 {
        queue.push(address(last), Lane::Open, &door(), Lane::Open);
        queue.push(address(100 + last), Lane::Close, &door(), Lane::Close);
    }
    let mut lanes = Vec::new();
    while let Some((src, door, lane)) = queue.start() {
        lanes.push(lane);
        queue.ended(src, lane, &door);
    }
    assert_eq!(lanes, [Lane::Close, Lane::Open].repeat(4));
}

#[test]
fn what_is_cleared_does_not_start_and_what_runs_may_end() {
    let mut queue = Queue::new(8);
    queue.push(address(1), Lane::Open, &door(), 1);
    queue.push(address(1), Lane::Close, &door(), 2);
    queue.push(address(2), Lane::Close, &door(), 3);
    assert!(queue.start().is_some());
    let mut left: Vec<_> = queue.clear().into_iter().map(|(_, job)| job).collect();
    left.sort_unstable();
    assert!(left == [1, 2] || left == [2, 3], "{left:?}");
    assert_eq!((queue.opens(), queue.running()), (0, 1));
    assert_eq!(queue.start(), None);
}

#[test]
fn a_slow_door_leaves_a_place_to_the_opens_of_every_other() {
    let mut queue = Queue::new(8);
    let slow: Arc<str> = "slow".into();
    for last in 0..100 {
        queue.push(address(last), Lane::Open, &slow, last);
    }
    let started = std::iter::from_fn(|| queue.start()).count();
    assert_eq!(started, 6, "one is left to closes, and one to other doors");
    queue.push(address(200), Lane::Open, &door(), 0);
    assert_eq!(queue.start(), Some((address(200), door(), 0)));
    assert_eq!(queue.start(), None);
}

proptest! {
    /// Random submissions and ends: each address sees its own jobs, one at a time, in order; no more
    /// run than there are places; and nothing is left when all have ended.
    #[test]
    fn order_within_an_address_and_bounds_hold_for_any_schedule(
        places in 1_usize..5,
        steps in prop::collection::vec((0_u8..4, any::<bool>(), 0_u8..3), 1..200),
    ) {
        let mut queue = Queue::new(places);
        let mut expected: HashMap<IpAddr, VecDeque<usize>> = HashMap::new();
        let mut running: VecDeque<(IpAddr, Lane, Arc<str>)> = VecDeque::new();
        let mut submitted = 0;
        let mut steps = steps.into_iter();
        loop {
            let step = steps.next();
            if let Some((last, open, _)) = step {
                let lane = if open { Lane::Open } else { Lane::Close };
                let door = Arc::from(format!("door {}", submitted % 3));
                queue.push(address(last), lane, &door, (submitted, lane));
                expected.entry(address(last)).or_default().push_back(submitted);
                submitted += 1;
            }
            let mut idle = running.is_empty();
            while let Some((src, door, (job, lane))) = queue.start() {
                idle = false;
                prop_assert!(running.iter().all(|&(other, ..)| other != src));
                prop_assert_eq!(expected.get_mut(&src).unwrap().pop_front(), Some(job));
                running.push_back((src, lane, door));
                prop_assert!(running.len() <= places);
            }
            for _ in 0..step.map_or(1, |(.., ends)| ends) {
                if let Some((src, lane, door)) = running.pop_front() {
                    queue.ended(src, lane, &door);
                }
            }
            if step.is_none() && idle {
                break;
            }
        }
        prop_assert!(expected.values().all(VecDeque::is_empty));
        prop_assert!(queue.is_idle() && queue.waiting.is_empty());
    }
}
