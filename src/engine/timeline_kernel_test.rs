//! Kernel stamps: our own, other hosts', over suspends and reboots.

use super::tests::{BOOTED_FOR, Clock, EPOCH, US, exact, from, kernel, time};
use super::*;

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
            .map(|placed| placed.rebooted.is_some())
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
