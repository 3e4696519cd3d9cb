//! The arithmetic of the Gregorian calendar.
//!
//! In: dates whose fields are within their ranges. Out: whether there is such a day, and how far from the
//! Unix epoch it is.

use super::super::time::Time;
use super::Civil;

/// Whether the day is in the calendar; 29 February is when the year is unknown.
#[inline]
pub(super) fn exists(date: Civil) -> bool {
    let leap = date
        .year
        .is_none_or(|year| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
    let days = match date.month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    (1..=days).contains(&date.day)
}

/// When it is `date` so many seconds east of Greenwich.
#[inline]
pub(super) fn utc(date: Civil, offset: i64) -> Time {
    let day_seconds =
        i64::from(date.hour) * 3600 + i64::from(date.minute) * 60 + i64::from(date.second);
    let seconds = days_since_epoch(date) * 86_400 + day_seconds - offset;
    at(seconds, date.nanos)
}

/// `seconds` and `nanos` after the origin, a sum that the seconds may already fill.
pub(super) fn at(seconds: i64, nanos: u32) -> Time {
    let whole = Time::from_secs(seconds).as_nanos();
    Time::from_nanos(whole.saturating_add(nanos.into()))
}

/// Days from 1970-01-01 in the Gregorian calendar. Counted in years that begin in March, so that the
/// leap day is the last day of its year, and from 400 years before year 0, so that no sum is negative.
#[inline]
fn days_since_epoch(date: Civil) -> i64 {
    let month = u32::from(date.month);
    let year = 400 + u32::from(date.year.unwrap_or(1970)) - u32::from(month <= 2);
    let months_since_march = if month <= 2 { month + 9 } else { month - 3 };
    let day_of_year = (153 * months_since_march + 2) / 5 + u32::from(date.day);
    let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year;
    i64::from(days) - 146_097 - 719_469
}
