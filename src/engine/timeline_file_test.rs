//! The lines of a finished log, on its own time.

use super::tests::{exact, from, time};
use super::*;

/// Places a file's lines, given as (header, kernel stamp): seconds since the first one's place.
fn logged(lines: &[(Option<f64>, Option<f64>)]) -> Vec<f64> {
    let mut timeline = Timeline::new(Duration::ZERO, *b"");
    let mut first = None;
    let mut place = |&(wall, uptime): &(Option<f64>, Option<f64>)| {
        let stamps = Stamps {
            host: b"fw",
            wall: wall.map(exact),
            uptime: uptime.map(time),
        };
        let placed = timeline.place_logged(stamps, std::iter::empty());
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
fn in_a_file_time_continues_over_a_reboot_from_the_header_or_the_last_line() {
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
    let mut booted = |uptime| {
        let ahead = std::iter::empty();
        timeline
            .place_logged(from(b"fw", uptime), ahead)
            .rebooted
            .is_some()
    };
    assert!(!booted(100.0) && !booted(99.5) && booted(98.0) && !booted(99.0));
}

#[test]
fn in_a_file_the_line_that_was_written_fastest_tells_when_the_boot_was() {
    let line = |(host, wall, uptime)| Stamps {
        host,
        wall: Some(exact(wall)),
        uptime: Some(time(uptime)),
    };
    // Ten minutes of the ring buffer, written at once; another host; and the next boot.
    let file: [(&[u8], f64, f64); 5] = [
        (b"fw", 600.0, 0.0),
        (b"other", 5.0, 300.0),
        (b"fw", 600.0, 300.0),
        (b"fw", 601.0, 601.0),
        (b"fw", 610.0, 5.0),
    ];
    let mut timeline = Timeline::new(Duration::ZERO, *b"");
    let mut places = file.iter().enumerate().map(|(place, &one)| {
        let ahead = file[place + 1..].iter().copied().map(line);
        timeline.place_logged(line(one), ahead).at
    });
    for expected in [0.0, 5.0, 300.0, 601.0, 610.0] {
        assert_eq!(places.next(), Some(exact(expected).time()));
    }
}
