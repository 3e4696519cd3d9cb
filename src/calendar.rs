//! Header stamps → UTC: the zone of this machine, and the year that RFC 3164 leaves out.
//!
//! In: a [`Stamp`] as the line has it, and a moment that the line is not later than (now, or when its file was last
//! written). Out: UTC. The year is the latest one with which the stamp is at most a day after that moment. So
//! December in a file of January is last year's, and 29 February is of the last leap year.

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, Month, OffsetDateTime, UtcOffset};

use crate::engine::line::{Civil, Stamp};
use crate::engine::time::Time;
use crate::engine::timeline::Wall;

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400 * SECOND;
/// Years tried backwards for a date: 29 February is never further away.
const YEARS: i32 = 9;

/// A time zone with its last answer, because log lines come in order.
#[derive(Clone, Debug)]
pub struct Calendar {
    zone: Zone,
    /// No line is later than this by more than a day.
    not_after: Time,
    last: Option<(Civil, Time)>,
}

/// The time zone of a local clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// As this machine is set (`TZ`, `/etc/localtime`).
    Local,
    /// Always so far from UTC.
    Fixed(UtcOffset),
}

impl Calendar {
    /// A calendar for lines that were written at `not_after` or before.
    pub fn new(zone: Zone, not_after: Time) -> Self {
        Self {
            zone,
            not_after,
            last: None,
        }
    }

    /// Sets the latest time that a line can have.
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
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]");
    let at = utc(time).map(|at| at.to_offset(zone.offset(at)));
    at.and_then(|at| at.format(format).ok()).unwrap_or_default()
}

/// The RFC 3339 time in `text` as local time of `zone`: the date with the zone, and the time of day in milliseconds.
pub fn millisecond(text: &str, zone: Zone) -> Option<(String, String)> {
    let date =
        format_description!("[year]-[month]-[day] UTC[offset_hour sign:mandatory]:[offset_minute]");
    let clock = format_description!("[hour]:[minute]:[second].[subsecond digits:3]");
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    let at = at.to_offset(zone.offset(at));
    Some((at.format(date).ok()?, at.format(clock).ok()?))
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
    let text = utc(time).and_then(|at| at.format(&Rfc3339).ok());
    text.unwrap_or_default()
}

#[cfg(test)]
#[path = "calendar_test.rs"]
mod tests;
