//! Each form of stamp, and what is none.

use super::*;

fn header_of(text: &str) -> Option<Stamp> {
    header(&mut Scan::new(text.as_bytes()))
}

fn utc_nanos(text: &str) -> Option<i64> {
    match header_of(text)? {
        Stamp::Utc(time) => Some(time.as_nanos()),
        Stamp::Local(_) => None,
    }
}

#[test]
fn a_zone_makes_it_universal() {
    assert_eq!(utc_nanos("1970-01-01T00:00:00Z"), Some(0));
    assert_eq!(
        utc_nanos("2026-11-20T21:01:10,123456+0100 fw"),
        Some(1_795_204_870_123_456_000)
    );
    assert_eq!(
        utc_nanos("2025-11-30T00:00:20.570472-07:00 m1"),
        Some(1_764_486_020_570_472_000)
    );
    assert_eq!(
        utc_nanos("2000-02-29T23:59:60Z"),
        Some(951_868_799_000_000_000)
    );
    assert_eq!(utc_nanos("1969-12-31T23:59:59.5Z"), Some(-500_000_000));
}

#[test]
fn a_zone_by_name_is_only_known_when_it_is_utc() {
    assert_eq!(
        utc_nanos("Thu 1970-01-01 00:00:01 UTC fw"),
        Some(1_000_000_000)
    );
    assert!(matches!(
        header_of("Fri 2026-11-20 21:01:10 CET fw"),
        Some(Stamp::Local(_))
    ));
}

#[test]
fn without_a_zone_it_stays_local() {
    let civil = Civil {
        year: Some(2007),
        month: 1,
        day: 9,
        hour: 23,
        minute: 41,
        second: 9,
        nanos: 222_382_500,
    };
    assert_eq!(
        header_of("2007-01-09 23:41:09.222382500 <4>"),
        Some(Stamp::Local(civil))
    );
    let yearless = Civil {
        year: None,
        nanos: 0,
        ..civil
    };
    for text in ["Jan  9 23:41:09 fw", "Jan 9 23:41:09 fw", "Jan 09 23:41:09"] {
        assert_eq!(header_of(text), Some(Stamp::Local(yearless)), "{text}");
    }
}

#[test]
fn the_year_may_stand_before_or_behind_the_time() {
    for text in [
        "Mon Dec 25 13:31:15 2017 kern.warn",
        "Dec 25 2017 13:31:15 fw",
    ] {
        let Some(Stamp::Local(civil)) = header_of(text) else {
            panic!("{text}");
        };
        assert_eq!(civil.year, Some(2017));
    }
    let Some(Stamp::Local(civil)) = header_of("Dec 25 13:31:15 2017 is the host") else {
        panic!();
    };
    assert_eq!(civil.year, None);
}

#[test]
fn a_date_that_does_not_exist_is_no_stamp() {
    for text in [
        "Feb 30 00:00:00 fw",
        "2025-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "Jun  0 00:00:00",
        "Jun  1 24:00:00",
        "Jun  1 00:60:00",
        "Jun  1 00:00:61",
        "Jun  1 00:00:00x",
        "2026-01-01T00:00:00+24:00 fw",
    ] {
        assert_eq!(header_of(text), None, "{text}");
    }
    assert!(header_of("Feb 29 00:00:00 fw").is_some());
}

#[test]
fn printks_stamp_may_be_padded_and_name_its_caller() {
    let read = |text: &'static str| {
        let mut scan = Scan::new(text.as_bytes());
        uptime(&mut scan).map(|time| (time.as_nanos(), scan.rest()))
    };
    assert_eq!(read("[    1.234567] x"), Some((1_234_567_000, &b" x"[..])));
    assert_eq!(
        read("[    1.234567][   T17]x"),
        Some((1_234_567_000, &b"x"[..]))
    );
    assert_eq!(
        read("[1.000000] [ C0] x"),
        Some((1_000_000_000, &b" x"[..]))
    );
    assert_eq!(
        read("[1.000000] [UFW BLOCK] x"),
        Some((1_000_000_000, &b" [UFW BLOCK] x"[..]))
    );
    for no in ["[netfilter] ", "[1] ", "[1.] ", "[.5] ", "[1.5", "( 1.5)"] {
        assert_eq!(read(no), None, "{no}");
    }
}

#[test]
fn an_instant_has_more_forms_than_one() {
    for text in [
        "1795943838 fw",
        "29/Nov/2026:10:17:18 +0100 x",
        "[2026-11-29T09:17:18+00:00] fw",
        "2026-11-29T09:17:18Z\tfw",
    ] {
        assert_eq!(utc_nanos(text), Some(1_795_943_838_000_000_000), "{text}");
    }
    assert_eq!(
        utc_nanos("1795943838.25 fw"),
        Some(1_795_943_838_250_000_000)
    );
    for no in [
        "179594383 fw",
        "17959438380 fw",
        "1795943838x fw",
        "31/Feb/2026:10:17:18 +0100",
        "[2026-11-29T09:17:18+00:00 fw",
        "2026 Feb 30 10:17:18 fw",
    ] {
        assert_eq!(header_of(no), None, "{no}");
    }
}

#[test]
fn dmesgs_brackets_hold_a_stamp_a_delta_or_both() {
    let read = |text: &'static str| {
        let mut scan = Scan::new(text.as_bytes());
        console(&mut scan).map(|(stamp, uptime)| (stamp.is_some(), uptime.is_some(), scan.rest()))
    };
    for (text, stamp, uptime) in [
        ("[    1.272358 <    0.002204>] x", false, true),
        ("[    1.272358               ] x", false, true),
        ("[Sun Nov 29 16:30:40 2026 <    0.002204>] x", true, false),
        ("[<    0.002204>] x", false, false),
        ("[  +0.002204] x", false, false),
        ("[Nov29 16:30] x", false, false),
    ] {
        assert_eq!(read(text), Some((stamp, uptime, &b" x"[..])), "{text}");
    }
    for no in [
        "[] x",
        "[   ] x",
        "[x] x",
        "[+1] x",
        "[<1.0] x",
        "[Nov29] x",
        "[Nov 29 16:30:40] x",
    ] {
        assert_eq!(read(no), None, "{no}");
    }
}
