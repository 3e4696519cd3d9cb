//! Header stamps → UTC: the zone of this machine, and the year that RFC 3164 leaves out.
//!
//! In: a [`Stamp`] as the line has it, and a moment that the line is not later than (now, or when
//! its file was last written). Out: UTC. The year is the latest one that makes the stamp no later
//! than that moment, but for a day: so December in a file of January is last year's, and 29 February
//! is the last one there was.

use time::{Date, Month, OffsetDateTime, UtcOffset};

use crate::engine::line::{Civil, Stamp};
use crate::engine::time::Time;
use crate::engine::timeline::Wall;

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400 * SECOND;
/// Years tried backwards for a date: 29 February is never further away.
const YEARS: i32 = 9;

/// A zone, and what it was asked last: log lines come in order.
#[derive(Clone, Debug)]
pub struct Calendar {
    zone: Zone,
    /// No line is later than this by more than a day.
    not_after: Time,
    last: Option<(Civil, Time)>,
}

/// Where the clock on the wall hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// As this machine is set (`TZ`, `/etc/localtime`).
    Local,
    /// Always so far from UTC.
    Fixed(UtcOffset),
}

impl Calendar {
    /// A calendar for lines that were written by `not_after`.
    pub fn new(zone: Zone, not_after: Time) -> Self {
        Self {
            zone,
            not_after,
            last: None,
        }
    }

    /// Moves the moment that no line is later than.
    pub fn set_not_after(&mut self, not_after: Time) {
        self.not_after = not_after;
        self.last = None;
    }

    /// The stamp in UTC; `None` for a date that no year has.
    pub fn resolve(&mut self, stamp: Stamp) -> Option<Wall> {
        match stamp {
            Stamp::Utc(time) => Some(Wall::Exact(time)),
            Stamp::Local(civil) => self.local(civil).map(Wall::Assumed),
        }
    }

    fn local(&mut self, civil: Civil) -> Option<Time> {
        let minute = Civil {
            second: 0,
            nanos: 0,
            ..civil
        };
        let start = match self.last {
            Some((last, start)) if last == minute => start,
            _ => {
                let start = match civil.year {
                    Some(year) => self.in_year(minute, i32::from(year))?,
                    None => self.latest(minute)?,
                };
                self.last = Some((minute, start));
                start
            }
        };
        let within = i64::from(civil.second) * SECOND + i64::from(civil.nanos);
        Some(Time::from_nanos(start.as_nanos().checked_add(within)?))
    }

    fn latest(&self, civil: Civil) -> Option<Time> {
        let limit = self.not_after.as_nanos().saturating_add(DAY);
        let year = utc(Time::from_nanos(limit))?.year();
        (0..YEARS)
            .filter_map(|back| self.in_year(civil, year + 1 - back))
            .find(|time| time.as_nanos() <= limit)
    }

    fn in_year(&self, civil: Civil, year: i32) -> Option<Time> {
        let date =
            Date::from_calendar_date(year, Month::try_from(civil.month).ok()?, civil.day).ok()?;
        let wall = date.with_hms(civil.hour, civil.minute, civil.second).ok()?;
        // The zone is asked for an instant, which is what is sought: twice is enough, as no two
        // changes of a zone are within a day.
        let guess = self.offset(wall.assume_utc());
        let offset = self.offset(wall.assume_offset(guess));
        let nanos = wall.assume_offset(offset).unix_timestamp_nanos();
        Some(Time::from_nanos(i64::try_from(nanos).ok()?))
    }

    fn offset(&self, at: OffsetDateTime) -> UtcOffset {
        self.zone.offset(at)
    }
}

impl Zone {
    fn offset(self, at: OffsetDateTime) -> UtcOffset {
        match self {
            Self::Local => UtcOffset::local_offset_at(at).unwrap_or(UtcOffset::UTC),
            Self::Fixed(offset) => offset,
        }
    }
}

/// `time`, counted from the Unix epoch, as a clock on the wall of `zone` shows it: `2026-11-21 16:15`.
pub fn minute(time: Time, zone: Zone) -> String {
    let Some(at) = utc(time) else {
        return String::new();
    };
    let at = at.to_offset(zone.offset(at));
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, _) = at.to_hms();
    format!(
        "{year:04}-{:02}-{day:02} {hour:02}:{minute:02}",
        u8::from(month)
    )
}

/// `time`, counted from the Unix epoch, as syslog(3) writes it in `zone`: `Nov  1 16:15:09`.
pub fn syslog(time: Time, zone: Zone) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let Some(at) = utc(time) else {
        return String::new();
    };
    let at = at.to_offset(zone.offset(at));
    let (hour, minute, second) = at.to_hms();
    let month = MONTHS
        .get(usize::from(u8::from(at.month())) - 1)
        .unwrap_or(&"");
    let day = at.day();
    format!("{month} {day:2} {hour:02}:{minute:02}:{second:02}")
}

/// `time`, counted from the Unix epoch, as a date and time of day.
pub fn utc(time: Time) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(time.as_nanos())).ok()
}

/// `time` as RFC 3339 in UTC, with as many decimals as it needs.
pub fn rfc3339(time: Time) -> String {
    let Some(at) = utc(time) else {
        return String::new();
    };
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second, nanos) = at.to_hms_nano();
    let mut text = format!(
        "{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}",
        u8::from(month)
    );
    if nanos > 0 {
        text.push_str(format!(".{nanos:09}").trim_end_matches('0'));
    }
    text.push('Z');
    text
}

#[cfg(test)]
mod tests {
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
}
