use proptest::prelude::*;

use super::*;

const US: &[u8] = b"gate";
const MAX_AGE: Duration = Duration::from_secs(30);
/// Our uptime when a test begins, and the wall clock then (2026-11-21T00:00:00Z).
const BOOTED_FOR: f64 = 5_000.0;
const EPOCH: f64 = 1_795_219_200.0;

fn time(seconds: f64) -> Time {
    let span = Duration::from_secs_f64(seconds.abs());
    if seconds < 0.0 {
        Time::default().before(span)
    } else {
        Time::default().after(span)
    }
}

/// A timeline of this machine and its clocks, which a test moves by hand.
struct Clock {
    timeline: Timeline,
    /// Seconds since the test began, awake and asleep.
    awake: f64,
    asleep: f64,
}

impl Clock {
    fn new() -> Self {
        Self {
            timeline: Timeline::new(MAX_AGE, US),
            awake: 0.0,
            asleep: 0.0,
        }
    }

    fn received(&self) -> Received {
        Received {
            now: time(BOOTED_FOR + self.awake + self.asleep),
            awake: time(BOOTED_FOR + self.awake),
            wall: time(EPOCH + self.awake + self.asleep),
            late: false,
        }
    }

    fn place(&mut self, stamps: Stamps<'_>) -> Result<Placed, Reason> {
        let received = self.received();
        self.timeline.place_live(stamps, received)
    }

    /// How long ago, in whole milliseconds, a line that is read after `awake` seconds is placed.
    fn age(&mut self, awake: f64, stamps: Stamps<'_>) -> Result<u128, Reason> {
        self.awake = awake;
        let placed = self.place(stamps)?;
        Ok((self.received().now.since(placed.at).as_nanos() + 500_000) / 1_000_000)
    }
}

/// A line of our kernel, logged so many seconds after the test began, with no header.
fn kernel(at: f64) -> Stamps<'static> {
    from(b"", BOOTED_FOR + at)
}

fn from(host: &[u8], uptime: f64) -> Stamps<'_> {
    Stamps {
        host,
        wall: None,
        uptime: Some(time(uptime)),
    }
}

/// The header's stamp, so many seconds after the test began, in UTC as it says.
fn exact(at: f64) -> Wall {
    Wall::Exact(time(EPOCH + at))
}

fn assumed(at: f64) -> Wall {
    Wall::Assumed(time(EPOCH + at))
}

fn headed(wall: Wall) -> Stamps<'static> {
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
fn what_was_written_while_nobody_read_is_believed_by_its_stamp_only_and_no_zone_is_guessed() {
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
fn an_old_kernel_stamp_is_stale_under_a_fresh_header() {
    // A syslogd that was restarted reads the ring buffer again and stamps all of it with now.
    let mut clock = Clock::new();
    assert_eq!(clock.age(100.0, kernel(100.0)), Ok(0));
    for at in [-4000.0, 3.0, 60.0] {
        let again = Stamps {
            host: US,
            wall: Some(exact(101.0)),
            uptime: Some(time(BOOTED_FOR + at)),
        };
        assert_eq!(clock.age(101.0, again), Err(Reason::Stale), "{at}");
    }
    assert_eq!(
        clock.age(102.0, kernel(102.0)),
        Ok(0),
        "and nothing was learnt"
    );
}

#[test]
fn the_first_line_of_all_is_stale_too_when_its_kernel_stamp_is_old() {
    assert_eq!(Clock::new().age(32.0, kernel(0.0)), Err(Reason::Stale));
    assert_eq!(Clock::new().age(30.0, kernel(0.0)), Ok(0));
}

#[test]
fn a_kernel_stamp_ahead_of_the_boot_clock_is_of_the_future() {
    assert_eq!(Clock::new().age(0.0, kernel(2.9)), Ok(0));
    assert_eq!(Clock::new().age(0.0, kernel(3.1)), Err(Reason::Future));
}

#[test]
fn the_kernels_stamps_say_how_far_two_lines_are_apart() {
    let mut clock = Clock::new();
    assert_eq!(clock.age(0.0, kernel(0.0)), Ok(0));
    assert_eq!(
        clock.age(8.0, kernel(3.0)),
        Ok(4998),
        "5 s, less what may be drift"
    );
    assert_eq!(clock.age(9.0, kernel(9.0)), Ok(0));
}

#[test]
fn lines_that_come_together_keep_their_distance_even_at_the_start() {
    let mut clock = Clock::new();
    clock.awake = 20.0;
    let received = clock.received();
    clock.timeline.calibrate(kernel(19.0), received);
    assert_eq!(clock.age(20.0, kernel(4.0)), Ok(15_000));
    assert_eq!(clock.age(20.0, kernel(19.0)), Ok(0));
}

#[test]
fn a_clock_that_drifts_is_followed() {
    let mut clock = Clock::new();
    for hour in 0..240 {
        let at = f64::from(hour) * 3600.0;
        // A hundred in a million: 86 s in ten days.
        let age = clock.age(at, kernel(at * 0.9999)).unwrap();
        assert!(age < 1000, "{age} ms after {hour} hours");
    }
}

#[test]
fn a_line_read_after_a_suspend_is_stale_unless_its_header_vouches_for_it() {
    let slept = || {
        let mut clock = Clock::new();
        assert_eq!(clock.age(0.0, kernel(0.0)), Ok(0));
        clock.asleep = 7200.0;
        clock
    };
    assert_eq!(slept().age(1.0, kernel(0.9)), Err(Reason::Stale));
    let waited = Stamps {
        wall: Some(exact(0.9)),
        ..kernel(0.9)
    };
    assert_eq!(slept().age(1.0, waited), Err(Reason::Stale));
    let fresh = Stamps {
        wall: Some(exact(7200.9)),
        ..kernel(0.9)
    };
    assert_eq!(slept().age(1.0, fresh), Ok(100));
}

#[test]
fn after_a_suspend_the_next_lines_count_again() {
    let mut clock = Clock::new();
    assert_eq!(clock.age(0.0, kernel(0.0)), Ok(0));
    clock.asleep = 7200.0;
    assert_eq!(clock.age(60.0, kernel(59.9)), Err(Reason::Stale));
    assert_eq!(
        clock.age(60.5, kernel(60.4)),
        Ok(88),
        "100 ms, less what may be drift"
    );
}

#[test]
fn a_wall_clock_that_steps_changes_nothing_for_kernel_stamps() {
    let mut clock = Clock::new();
    for (awake, wall) in [(0.0, 0.0), (3.0, -86_400.0), (6.0, 86_400.0)] {
        clock.awake = awake;
        let received = Received {
            wall: time(EPOCH + wall),
            ..clock.received()
        };
        let placed = clock.timeline.place_live(kernel(awake), received).unwrap();
        assert_eq!(placed.at, received.now);
    }
}

#[test]
fn a_remote_hosts_kernel_clock_is_its_own() {
    let mut clock = Clock::new();
    assert_eq!(clock.age(0.0, from(b"router", 9e6)), Ok(0));
    assert_eq!(clock.age(5.0, from(b"router", 9e6 + 3.0)), Ok(1999));
    assert_eq!(clock.age(6.0, from(b"switch", 12.0)), Ok(0));
    assert_eq!(clock.age(60.0, from(b"router", 9e6)), Err(Reason::Stale));
}

#[test]
fn a_remote_hosts_wrong_wall_clock_makes_its_lines_stale() {
    let stamps = Stamps {
        host: b"router",
        wall: Some(exact(-100.0)),
        uptime: Some(time(77.0)),
    };
    assert_eq!(Clock::new().age(0.0, stamps), Err(Reason::Stale));
}

#[test]
fn a_remote_host_that_slept_is_believed_behind_a_fresh_header() {
    let mut clock = Clock::new();
    let mut line = |awake, uptime| {
        let stamps = Stamps {
            wall: Some(exact(awake)),
            ..from(b"laptop", uptime)
        };
        clock.age(awake, stamps)
    };
    assert_eq!(line(0.0, 100.0), Ok(0));
    assert_eq!(line(7200.0, 101.0), Ok(0), "it slept, we did not");
    assert_eq!(line(7203.0, 102.0), Ok(1999));
}

#[test]
fn our_name_is_ours_with_or_without_its_domain() {
    for name in ["gate", "GATE", "gate.example.net"] {
        let stamps = from(name.as_bytes(), BOOTED_FOR - 3600.0);
        assert_eq!(Clock::new().age(0.0, stamps), Err(Reason::Stale), "{name}");
    }
    let other = from(b"gateway", BOOTED_FOR - 3600.0);
    assert_eq!(Clock::new().age(0.0, other), Ok(0));
}

#[test]
fn a_kernel_stamp_that_jumps_back_by_more_than_a_second_is_a_reboot() {
    let mut clock = Clock::new();
    let mut booted = |awake, uptime| {
        clock.awake = awake;
        clock
            .place(from(b"router", uptime))
            .map(|placed| placed.rebooted)
    };
    assert_eq!(booted(0.0, 500.0), Ok(false));
    assert_eq!(booted(0.0, 499.1), Ok(false), "two CPUs");
    assert_eq!(booted(60.0, 40.0), Ok(true));
    assert_eq!(booted(61.0, 41.0), Ok(false));
}

#[test]
fn what_cannot_have_booted_since_its_last_line_sends_old_lines() {
    let mut clock = Clock::new();
    assert_eq!(clock.age(0.0, from(b"router", 5000.0)), Ok(0));
    assert_eq!(clock.age(60.0, from(b"router", 300.0)), Err(Reason::Stale));
    assert_eq!(clock.age(61.0, from(b"router", 5061.0)), Ok(0));
}

#[test]
fn many_hosts_are_followed_and_the_one_longest_unheard_is_forgotten() {
    let mut clock = Clock::new();
    for number in 0..1000_u32 {
        let name = number.to_string();
        let awake = f64::from(number) / 100.0;
        assert_eq!(clock.age(awake, from(name.as_bytes(), 50.0)), Ok(0));
        assert!(clock.timeline.hosts.len() <= MAX_HOSTS);
    }
    let known = clock.age(10.0, from(b"999", 15.0)).is_err();
    let forgotten = clock.age(10.0, from(b"0", 15.0)).is_ok();
    assert!(known && forgotten);
}

/// Places a file's lines, given as (header, kernel stamp): seconds since the first one's place.
fn logged(lines: &[(Option<f64>, Option<f64>)]) -> Vec<f64> {
    let mut timeline = Timeline::new(Duration::ZERO, *b"");
    let mut first = None;
    let mut place = |&(wall, uptime): &(Option<f64>, Option<f64>)| {
        let placed = timeline.place_logged(Stamps {
            host: b"fw",
            wall: wall.map(exact),
            uptime: uptime.map(time),
        });
        let first = *first.get_or_insert(placed.at);
        (placed.at.since(first).as_secs_f64() * 1e3).round() / 1e3
    };
    lines.iter().map(&mut place).collect()
}

#[test]
fn in_a_file_the_kernels_stamp_gives_the_fraction_and_the_header_the_suspend() {
    let file = [
        (Some(0.0), Some(10.4)),
        (Some(1.0), Some(11.9)),
        (Some(3600.0), Some(20.4)),
    ];
    assert_eq!(logged(&file), [0.0, 1.5, 3600.0]);
}

#[test]
fn in_a_file_a_syslog_that_comes_late_does_not_bring_knocks_together() {
    // The ring buffer of ten minutes, written at once when the syslog started.
    let file = [
        (Some(600.0), Some(0.0)),
        (Some(600.0), Some(300.0)),
        (Some(600.0), Some(590.0)),
        (Some(601.0), Some(601.0)),
    ];
    assert_eq!(logged(&file), [0.0, 300.0, 590.0, 601.0]);
}

#[test]
fn in_a_file_a_reboot_goes_on_where_the_header_or_the_last_line_was() {
    let headed = [(Some(0.0), Some(500.0)), (Some(60.0), Some(20.0))];
    assert_eq!(logged(&headed), [0.0, 60.0]);
    let bare = [(None, Some(500.0)), (None, Some(20.0)), (None, Some(25.0))];
    assert_eq!(logged(&bare), [0.0, 0.0, 5.0]);
}

#[test]
fn in_a_file_a_line_without_a_header_does_not_leave_its_time() {
    let file = [
        (Some(0.0), Some(10.0)),
        (None, Some(12.0)),
        (Some(3.0), Some(13.0)),
        (None, None),
    ];
    assert_eq!(logged(&file), [0.0, 2.0, 3.0, 3.0]);
}

#[test]
fn in_a_file_a_jump_back_is_a_reboot() {
    let mut timeline = Timeline::new(Duration::ZERO, *b"");
    let mut booted = |uptime| timeline.place_logged(from(b"fw", uptime)).rebooted;
    assert!(!booted(100.0) && !booted(99.5) && booted(98.0) && !booted(99.0));
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
            timeline.place_logged(stamps);
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
