//! Headers, what they say beside a kernel stamp, and what holds for every line.

use proptest::prelude::*;

use super::*;

pub(super) const US: &[u8] = b"gate";
const MAX_AGE: Duration = Duration::from_secs(30);
/// Our uptime when a test begins, and the wall clock then (2026-11-21T00:00:00Z).
pub(super) const BOOTED_FOR: f64 = 5_000.0;
pub(super) const EPOCH: f64 = 1_795_219_200.0;

pub(super) fn time(seconds: f64) -> Time {
    let span = Duration::from_secs_f64(seconds.abs());
    if seconds < 0.0 {
        Time::default().before(span)
    } else {
        Time::default().after(span)
    }
}

/// A timeline of this machine and its clocks, which a test moves by hand.
pub(super) struct Clock {
    pub(super) timeline: Timeline,
    /// Seconds since the test began, awake and asleep.
    pub(super) awake: f64,
    pub(super) asleep: f64,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            timeline: Timeline::new(MAX_AGE, US),
            awake: 0.0,
            asleep: 0.0,
        }
    }

    pub(super) fn received(&self) -> Received {
        Received {
            now: time(BOOTED_FOR + self.awake + self.asleep),
            awake: time(BOOTED_FOR + self.awake),
            wall: time(EPOCH + self.awake + self.asleep),
            late: false,
        }
    }

    pub(super) fn place(&mut self, stamps: Stamps<'_>) -> Result<Placed, Reason> {
        let received = self.received();
        self.timeline.place_live(stamps, received)
    }

    /// How long ago, in whole milliseconds, a line that is read after `awake` seconds is placed.
    pub(super) fn age(&mut self, awake: f64, stamps: Stamps<'_>) -> Result<u128, Reason> {
        self.awake = awake;
        let placed = self.place(stamps)?;
        Ok((self.received().now.since(placed.at).as_nanos() + 500_000) / 1_000_000)
    }
}

/// A line of our kernel without a header, logged some seconds after the test began.
pub(super) fn kernel(at: f64) -> Stamps<'static> {
    from(b"", BOOTED_FOR + at)
}

pub(super) fn from(host: &[u8], uptime: f64) -> Stamps<'_> {
    Stamps {
        host,
        wall: None,
        uptime: Some(time(uptime)),
    }
}

/// The header's stamp, some seconds after the test began, in UTC as it says.
pub(super) fn exact(at: f64) -> Wall {
    Wall::Exact(time(EPOCH + at))
}

pub(super) fn assumed(at: f64) -> Wall {
    Wall::Assumed(time(EPOCH + at))
}

pub(super) fn headed(wall: Wall) -> Stamps<'static> {
    Stamps {
        host: US,
        wall: Some(wall),
        uptime: None,
    }
}

#[test]
fn a_line_without_any_stamp_is_of_now() {
    let bare = Stamps {
        host: US,
        wall: None,
        uptime: None,
    };
    assert_eq!(Clock::new().age(1.0, bare), Ok(0));
}

#[test]
fn a_header_older_than_max_line_age_is_stale() {
    assert_eq!(Clock::new().age(30.9, headed(exact(0.0))), Ok(0));
    assert_eq!(
        Clock::new().age(31.1, headed(exact(0.0))),
        Err(Reason::Stale)
    );
    assert_eq!(
        Clock::new().age(31.1, headed(assumed(0.0))),
        Err(Reason::Stale)
    );
}

#[test]
fn a_header_more_than_two_seconds_ahead_is_of_the_future() {
    assert_eq!(Clock::new().age(0.0, headed(exact(2.0))), Ok(0));
    assert_eq!(
        Clock::new().age(0.0, headed(exact(2.1))),
        Err(Reason::Future)
    );
    assert_eq!(
        Clock::new().age(0.0, headed(assumed(2.1))),
        Err(Reason::Future)
    );
}

#[test]
fn a_longer_max_line_age_takes_older_lines() {
    let mut clock = Clock::new();
    clock.timeline.set_max_age(Duration::from_secs(60));
    assert_eq!(clock.age(60.0, headed(exact(0.0))), Ok(0));
}

#[test]
fn a_header_whose_zone_is_stale_by_an_hour_is_believed() {
    for shift in [-7200.0, -3600.0, -900.0, 900.0, 3600.0, 7200.0] {
        let mut clock = Clock::new();
        assert_eq!(clock.age(1.0, headed(assumed(shift))), Ok(0), "{shift}");
        assert_eq!(
            clock.age(9.0, headed(assumed(shift + 8.0))),
            Ok(0),
            "{shift}"
        );
    }
}

#[test]
fn a_zone_that_is_named_is_not_stale() {
    assert_eq!(
        Clock::new().age(0.0, headed(exact(-3600.0))),
        Err(Reason::Stale)
    );
    assert_eq!(
        Clock::new().age(0.0, headed(exact(3600.0))),
        Err(Reason::Future)
    );
}

#[test]
fn lines_written_while_no_process_read_count_by_their_stamp_only_and_no_zone_is_guessed() {
    let mut clock = Clock::new();
    let late = Received {
        late: true,
        ..clock.received()
    };
    let header = |wall| Stamps {
        host: b"router",
        wall: Some(wall),
        uptime: None,
    };
    let nothing = Stamps {
        host: b"router",
        wall: None,
        uptime: None,
    };
    let foreign = from(b"router", 9e6);
    for (stamps, expected) in [
        (header(Wall::Assumed(time(EPOCH - 5.0))), true),
        (header(Wall::Exact(time(EPOCH - 5.0))), true),
        (header(Wall::Assumed(time(EPOCH - 3600.0))), false),
        (kernel(-5.0), true),
        (kernel(-40.0), false),
        (foreign, false),
        (nothing, false),
    ] {
        let placed = clock.timeline.place_live(stamps, late);
        assert_eq!(placed.is_ok(), expected, "{stamps:?}: {placed:?}");
    }
    for stamps in [
        header(Wall::Assumed(time(EPOCH - 3600.0))),
        foreign,
        nothing,
    ] {
        let placed = Clock::new().place(stamps);
        assert!(placed.is_ok(), "what comes now: {stamps:?}");
    }
}

#[test]
fn more_than_two_hours_are_no_stale_zone_when_the_header_stands_alone() {
    assert_eq!(
        Clock::new().age(0.0, headed(assumed(-9.0 * 3600.0))),
        Err(Reason::Stale)
    );
    assert_eq!(
        Clock::new().age(0.0, headed(assumed(9.0 * 3600.0))),
        Err(Reason::Future)
    );
}

#[test]
fn in_a_restored_file_not_even_the_line_of_exactly_an_hour_ago_counts() {
    let mut clock = Clock::new();
    assert_eq!(clock.age(0.0, headed(assumed(0.0))), Ok(0));
    assert_eq!(clock.age(1.0, headed(assumed(-3600.0))), Err(Reason::Stale));
    assert_eq!(
        clock.age(2.0, headed(assumed(2.0))),
        Ok(0),
        "nothing was learnt"
    );
}

#[test]
fn a_syslog_in_another_zone_is_believed_beside_a_fresh_kernel_stamp() {
    for hours in [-11.0, -5.75, 9.0, 14.0] {
        let stamps = Stamps {
            host: US,
            wall: Some(assumed(hours * 3600.0)),
            uptime: Some(time(BOOTED_FOR)),
        };
        assert_eq!(Clock::new().age(0.5, stamps), Ok(0), "{hours}");
    }
}

#[test]
fn in_a_container_of_another_name_and_zone_the_kernel_stamp_still_proves_that_a_line_is_of_now() {
    let line = |uptime: f64, hours: f64| Stamps {
        host: b"container",
        wall: Some(assumed(hours * 3600.0)),
        uptime: Some(time(uptime)),
    };
    for hours in [-11.0, -5.75, 9.0, 14.0] {
        let mut clock = Clock::new();
        assert_eq!(clock.age(0.5, line(BOOTED_FOR, hours)), Ok(0), "{hours}");
    }
    for uptime in [BOOTED_FOR - 40.0, BOOTED_FOR + 40.0, 17.0] {
        let placed = Clock::new().age(0.5, line(uptime, -5.0));
        assert_eq!(placed, Err(Reason::Stale), "{uptime}");
    }
    let mut clock = Clock::new();
    let late = Received {
        late: true,
        ..clock.received()
    };
    let placed = clock.timeline.place_live(line(BOOTED_FOR, -5.0), late);
    assert_eq!(placed, Err(Reason::Stale), "its boot may have been another");
}

fn any_time() -> impl Strategy<Value = Time> {
    prop_oneof![
        Just(i64::MIN),
        Just(i64::MAX),
        Just(0),
        -10 * SECOND..10 * SECOND,
        any::<i64>()
    ]
    .prop_map(Time::from_nanos)
}

prop_compose! {
    fn any_stamps()(
        host in prop::sample::select(vec![&b""[..], US, b"router"]),
        exact in any::<bool>(),
        wall in prop::option::of(any_time()),
        uptime in prop::option::of(any_time()),
    ) -> Stamps<'static> {
        let wall = wall.map(|wall| if exact { Wall::Exact(wall) } else { Wall::Assumed(wall) });
        Stamps { host, wall, uptime }
    }
}

prop_compose! {
    fn any_received()(now in any_time(), awake in any_time(), wall in any_time(), late in any::<bool>()) -> Received {
        Received { now, awake, wall, late }
    }
}

proptest! {
    #[test]
    fn nothing_is_placed_after_now_and_nothing_panics(
        lines in prop::collection::vec((any_stamps(), any_received()), 1..20),
        max_age in prop_oneof![Just(Duration::ZERO), Just(MAX_AGE), Just(Duration::MAX)],
    ) {
        let mut timeline = Timeline::new(max_age, US);
        for (stamps, received) in lines {
            timeline.calibrate(stamps, received);
            if let Ok(placed) = timeline.place_live(stamps, received) {
                prop_assert!(placed.at <= received.now);
            }
            timeline.place_logged(stamps, std::iter::empty());
        }
    }

    /// Whatever is read when: what a header or our kernel's stamp shows to be old does not count.
    #[test]
    fn nothing_old_is_placed(lines in prop::collection::vec((0.0..600.0, 0.0..90.0, any::<bool>()), 1..40)) {
        let mut clock = Clock::new();
        let mut awake = 0.0;
        for (pause, age, by_header) in lines {
            awake += pause;
            let stamps = if by_header { headed(exact(awake - age)) } else { kernel(awake - age) };
            let placed = clock.age(awake, stamps);
            // A clock may have drifted over all of the uptime.
            let slack = (BOOTED_FOR + awake) * 0.0002 + 1.0;
            if age > MAX_AGE.as_secs_f64() + slack {
                prop_assert_eq!(placed, Err(Reason::Stale));
            } else if age < MAX_AGE.as_secs_f64() - slack {
                prop_assert!(placed.is_ok());
            }
        }
    }
}
