//! Years that are left out, zones, and how a time is written.

use super::*;

fn at(text: &str) -> Time {
    let format = &time::format_description::well_known::Rfc3339;
    let nanos = OffsetDateTime::parse(text, format)
        .unwrap()
        .unix_timestamp_nanos();
    Time::from_nanos(i64::try_from(nanos).unwrap())
}

fn civil(month: u8, day: u8, hour: u8) -> Stamp {
    Stamp::Local(Civil {
        year: None,
        month,
        day,
        hour,
        minute: 30,
        second: 15,
        nanos: 0,
    })
}

fn resolved(zone: Zone, written: &str, stamp: Stamp) -> Option<String> {
    Calendar::new(zone, at(written))
        .resolve(stamp)
        .map(|wall| rfc3339(wall.time()))
}

const UTC: Zone = Zone::Fixed(UtcOffset::UTC);

#[test]
fn a_minute_is_that_of_the_zone() {
    let east = Zone::Fixed(UtcOffset::from_hms(5, 30, 0).unwrap());
    let time = at("2025-12-31T23:30:15Z");
    assert_eq!(minute(time, UTC), "2025-12-31 23:30");
    assert_eq!(minute(time, east), "2026-01-01 05:00");
}

#[test]
fn december_in_a_file_of_january_is_last_years() {
    assert_eq!(
        resolved(UTC, "2026-01-01T08:00:00Z", civil(12, 31, 23)).unwrap(),
        "2025-12-31T23:30:15Z"
    );
    assert_eq!(
        resolved(UTC, "2026-01-01T08:00:00Z", civil(1, 1, 7)).unwrap(),
        "2026-01-01T07:30:15Z"
    );
}

#[test]
fn a_line_may_be_a_day_ahead_of_its_file_but_not_more() {
    assert_eq!(
        resolved(UTC, "2025-12-31T23:59:00Z", civil(1, 1, 0)).unwrap(),
        "2026-01-01T00:30:15Z"
    );
    assert_eq!(
        resolved(UTC, "2025-12-31T23:59:00Z", civil(1, 2, 1)).unwrap(),
        "2025-01-02T01:30:15Z"
    );
}

#[test]
fn the_29th_of_february_is_the_last_one_there_was() {
    assert_eq!(
        resolved(UTC, "2027-03-01T00:00:00Z", civil(2, 29, 1)).unwrap(),
        "2024-02-29T01:30:15Z"
    );
    assert_eq!(
        resolved(UTC, "2028-03-01T00:00:00Z", civil(2, 29, 1)).unwrap(),
        "2028-02-29T01:30:15Z"
    );
    assert_eq!(resolved(UTC, "2028-03-01T00:00:00Z", civil(2, 30, 1)), None);
}

#[test]
fn the_zone_is_taken_off() {
    let zone = Zone::Fixed(UtcOffset::from_hms(5, 30, 0).unwrap());
    assert_eq!(
        resolved(zone, "2026-06-01T00:00:00Z", civil(5, 30, 3)).unwrap(),
        "2026-05-29T22:00:15Z"
    );
}

#[test]
fn decimals_are_as_many_as_needed() {
    assert_eq!(
        rfc3339(at("2026-11-20T21:00:00.120000+01:00")),
        "2026-11-20T20:00:00.12Z"
    );
    assert_eq!(rfc3339(at("2026-11-20T21:00:00Z")), "2026-11-20T21:00:00Z");
}
