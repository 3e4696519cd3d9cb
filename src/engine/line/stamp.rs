//! Time stamps at the start of a text.
//!
//! In: bytes. Out: a stamp and what stands behind it. Knows calendars, not clocks: a stamp without a
//! zone or year stays without. A date that does not exist is no stamp at all, so its line is read as
//! if it had no header.

use super::super::scan::Scan;
use super::super::time::Time;
use super::{Civil, Stamp};

/// What can be seconds since the Unix epoch: from 2001 to 2286, ten digits.
const SECONDS: std::ops::Range<i64> = 1_000_000_000..10_000_000_000;

/// Takes a header's stamp of any form, which a blank, a tab or the end must follow.
#[inline(always)]
pub(super) fn header(scan: &mut Scan<'_>) -> Option<Stamp> {
    let mut ahead = *scan;
    let stamp = match ahead.rest().first()? {
        b'0'..=b'9' => iso(&mut ahead).or_else(|| {
            let (stamp, behind) = numeric(ahead)?;
            ahead = behind;
            Some(stamp)
        })?,
        b'A'..=b'Z' => {
            let (stamp, behind) = lettered(ahead)?; // a scan that a call changes is kept in memory
            ahead = behind;
            stamp
        }
        b'[' => {
            let (stamp, behind) = bracketed(ahead)?;
            ahead = behind;
            stamp
        }
        _ => return None,
    };
    if !matches!(ahead.rest().first(), None | Some(b' ' | b'\t')) {
        return None;
    }
    *scan = ahead;
    Some(stamp)
}

#[inline(never)]
fn lettered(mut scan: Scan<'_>) -> Option<(Stamp, Scan<'_>)> {
    let stamp = named_zone(&mut scan).or_else(|| calendar(&mut scan).map(Stamp::Local))?;
    Some((stamp, scan))
}

/// Takes `[yyyy-mm-ddThh:mm:ss+zz:zz]` (a template of syslog-ng).
#[inline(never)]
fn bracketed(mut scan: Scan<'_>) -> Option<(Stamp, Scan<'_>)> {
    scan.need(b"[")?;
    let stamp = iso(&mut scan)?;
    scan.need(b"]")?;
    Some((stamp, scan))
}

/// Takes a number of seconds since the Unix epoch (`journalctl -o short-unix`), `yyyy Mon dd hh:mm:ss`
/// (syslog-ng's `$FULLDATE`), or `dd/Mon/yyyy:hh:mm:ss +zzzz` (the log of a web server, and Proxmox).
#[inline(never)]
fn numeric(scan: Scan<'_>) -> Option<(Stamp, Scan<'_>)> {
    let mut year = scan;
    if let Some(number) = year.digits::<4>()
        && year.take(b" ")
    {
        let mut date = calendar(&mut year).filter(|date| date.year.is_none())?;
        date.year = Some(number);
        return exists(date).then_some((Stamp::Local(date), year));
    }
    let mut day = scan;
    if let Some(number) = day.digits::<2>()
        && day.take(b"/")
    {
        let month = month(&mut day)?;
        day.need(b"/")?;
        let year = day.digits::<4>()?;
        day.need(b":")?;
        let mut date = time_of_day(&mut day)?;
        (date.year, date.month, date.day) = (Some(year), month, number.try_into().ok()?);
        let mut behind = day;
        let offset = behind.need(b" ").and_then(|()| zone(&mut behind));
        let stamp = offset.map_or(Stamp::Local(date), |offset| Stamp::Utc(utc(date, offset)));
        let behind = if offset.is_some() { behind } else { day };
        return exists(date).then_some((stamp, behind));
    }
    let mut ahead = scan;
    let seconds: i64 = ahead.number().filter(|seconds| SECONDS.contains(seconds))?;
    let nanos = if ahead.take(b".") { ahead.nanos()? } else { 0 };
    Some((Stamp::Utc(at(seconds, nanos)), ahead))
}

/// Takes `Www yyyy-mm-dd hh:mm:ss ZONE` (`journalctl -o short-full`). Only UTC is known by its name.
#[inline(never)]
fn named_zone(scan: &mut Scan<'_>) -> Option<Stamp> {
    let mut ahead = *scan;
    weekday(&mut ahead)?;
    let stamp = iso(&mut ahead)?;
    ahead.need(b" ")?;
    let zone = ahead.run(|byte| byte.is_ascii_uppercase());
    if zone.is_empty() {
        return None;
    }
    *scan = ahead;
    Some(match stamp {
        Stamp::Local(date) if zone == b"UTC" => Stamp::Utc(utc(date, 0)),
        stamp => stamp,
    })
}

fn weekday(scan: &mut Scan<'_>) -> Option<()> {
    let mut ahead = *scan;
    let name = ahead.bytes()?;
    if !matches!(
        name,
        b"Mon" | b"Tue" | b"Wed" | b"Thu" | b"Fri" | b"Sat" | b"Sun"
    ) {
        return None;
    }
    ahead.need(b" ")?;
    *scan = ahead;
    Some(())
}

fn month(scan: &mut Scan<'_>) -> Option<u8> {
    Some(match scan.bytes()? {
        b"Jan" => 1,
        b"Feb" => 2,
        b"Mar" => 3,
        b"Apr" => 4,
        b"May" => 5,
        b"Jun" => 6,
        b"Jul" => 7,
        b"Aug" => 8,
        b"Sep" => 9,
        b"Oct" => 10,
        b"Nov" => 11,
        b"Dec" => 12,
        _ => return None,
    })
}

/// The stamp that is all of `text`.
pub(super) fn whole(text: &[u8]) -> Option<Stamp> {
    let mut scan = Scan::new(text);
    let stamp = header(&mut scan)?;
    scan.rest().is_empty().then_some(stamp)
}

/// Takes what dmesg and `journalctl -o short-delta` have in brackets: printk's stamp or a date, and
/// perhaps how long after the record before; or that alone, which says nothing, as does a minute.
#[inline(never)]
pub(super) fn console(scan: &mut Scan<'_>) -> Option<(Option<Stamp>, Option<Time>)> {
    let mut ahead = *scan;
    ahead.need(b"[")?;
    let mut date = ahead;
    let stamps = if let Some(uptime) = seconds(&mut ahead) {
        delta(&mut ahead);
        (None, Some(uptime))
    } else if let Some(civil) = calendar(&mut date).filter(|date| date.year.is_some()) {
        ahead = date;
        delta(&mut ahead);
        (Some(Stamp::Local(civil)), None)
    } else {
        minute(&mut ahead).or_else(|| delta(&mut ahead))?;
        (None, None)
    };
    ahead.need(b"]")?;
    caller(&mut ahead);
    *scan = ahead;
    Some(stamps)
}

/// Takes `Nov29 16:51` (`dmesg -e`).
fn minute(scan: &mut Scan<'_>) -> Option<()> {
    let mut ahead = *scan;
    month(&mut ahead)?;
    ahead.digits::<2>()?;
    ahead.need(b" ")?;
    ahead.digits::<2>()?;
    ahead.need(b":")?;
    ahead.digits::<2>()?;
    *scan = ahead;
    Some(())
}

/// Takes ` <    0.000012>`, `  +0.000012`, or the blanks instead of it.
fn delta(scan: &mut Scan<'_>) -> Option<()> {
    scan.blanks();
    let mut ahead = *scan;
    let is_closed = ahead.take(b"<");
    if !is_closed {
        ahead.need(b"+")?;
    }
    ahead.blanks();
    ahead.number::<u32>()?;
    ahead.need(b".")?;
    ahead.nanos()?;
    if is_closed {
        ahead.blanks();
        ahead.need(b">")?;
        ahead.blanks();
    }
    *scan = ahead;
    Some(())
}

/// Takes `[secs.usecs]`, printk's stamp: padded to the left, and perhaps with a caller behind it
/// (`CONFIG_PRINTK_CALLER`: `[   T17]` or `[    C0]`).
#[inline(always)]
pub(super) fn uptime(scan: &mut Scan<'_>) -> Option<Time> {
    let mut ahead = *scan;
    ahead.need(b"[")?;
    let time = seconds(&mut ahead)?;
    ahead.need(b"]")?;
    caller(&mut ahead);
    *scan = ahead;
    Some(time)
}

#[inline(always)]
fn seconds(scan: &mut Scan<'_>) -> Option<Time> {
    let mut ahead = *scan;
    ahead.blanks();
    let seconds: u32 = ahead.number()?;
    ahead.need(b".")?;
    let nanos = ahead.nanos()?;
    *scan = ahead;
    Some(at(seconds.into(), nanos))
}

fn caller(scan: &mut Scan<'_>) -> Option<()> {
    let mut ahead = *scan;
    ahead.take(b" "); // dmesg puts a blank between the two, the console does not
    ahead.need(b"[")?;
    ahead.blanks();
    if !ahead.take(b"T") {
        ahead.need(b"C")?;
    }
    ahead.number::<u32>()?;
    ahead.need(b"]")?;
    *scan = ahead;
    Some(())
}

/// `[Www ]Mon dd [yyyy ]hh:mm:ss[.frac]`, with a weekday perhaps ` yyyy` behind it.
#[inline(never)]
fn calendar(scan: &mut Scan<'_>) -> Option<Civil> {
    let weekday = weekday(scan).is_some();
    let month = month(scan)?;
    scan.need(b" ")?;
    scan.take(b" "); // RFC 3164 pads the day with a blank, others with a zero or not at all
    let day = scan.digits::<2>().or_else(|| scan.digits::<1>())?;
    let day = day.try_into().ok()?;
    scan.need(b" ")?;
    let mut year = year_before_time(scan);
    let mut date = time_of_day(scan)?;
    if weekday && year.is_none() {
        let mut ahead = *scan;
        year = ahead.need(b" ").and_then(|()| ahead.digits::<4>());
        if year.is_some() {
            *scan = ahead;
        }
    }
    (date.year, date.month, date.day) = (year, month, day);
    exists(date).then_some(date)
}

fn year_before_time(scan: &mut Scan<'_>) -> Option<u16> {
    let mut ahead = *scan;
    let year = ahead.digits::<4>()?;
    ahead.need(b" ")?;
    *scan = ahead;
    Some(year)
}

/// `yyyy-mm-ddThh:mm:ss[.frac][zone]`, a blank allowed for the `T`.
#[inline(always)]
fn iso(scan: &mut Scan<'_>) -> Option<Stamp> {
    let mut ahead = *scan;
    let [century, _, of_century, _, _, month, ..] = ahead.pairs(*b"0000-00-")?;
    let &[tens, units, b'T' | b' ' | b't'] = ahead.bytes()? else {
        return None;
    };
    let mut date = time_of_day(&mut ahead)?;
    date.year = Some(u16::from(century) * 100 + u16::from(of_century));
    (date.month, date.day) = (month, pair(tens, units)?);
    *scan = ahead;
    if !exists(date) {
        return None;
    }
    Some(match zone(scan) {
        Some(offset) => Stamp::Utc(utc(date, offset)),
        None => Stamp::Local(date),
    })
}

/// The time of day, in a date that is still to be filled in.
#[inline(always)]
fn time_of_day(scan: &mut Scan<'_>) -> Option<Civil> {
    let [hour, _, _, minute, _, _, second, _] = scan.pairs(*b"00:00:00")?;
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let nanos = if scan.take(b".") || scan.take(b",") {
        scan.nanos()?
    } else {
        0
    };
    Some(Civil {
        year: None,
        month: 0,
        day: 0,
        hour,
        minute,
        second: second.min(59),
        nanos,
    })
}

/// Two digits as a number.
#[inline]
fn pair(tens: u8, units: u8) -> Option<u8> {
    let (tens, units) = (tens.wrapping_sub(b'0'), units.wrapping_sub(b'0'));
    (tens <= 9 && units <= 9).then_some(tens.wrapping_mul(10).wrapping_add(units))
}

/// Takes a zone: its seconds east of Greenwich.
#[inline(always)]
fn zone(scan: &mut Scan<'_>) -> Option<i64> {
    if scan.take(b"Z") || scan.take(b"z") {
        return Some(0);
    }
    let &[sign, h1, h2, ref rest @ ..] = scan.rest() else {
        return None;
    };
    let sign = match sign {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (&[m1, m2], rest) = rest
        .strip_prefix(b":")
        .unwrap_or(rest)
        .split_first_chunk()?;
    let (hours, minutes) = (pair(h1, h2)?, pair(m1, m2)?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    *scan = Scan::new(rest);
    Some(sign * (i64::from(hours) * 3600 + i64::from(minutes) * 60))
}

/// Whether the day is in the calendar; 29 February is when the year is unknown.
#[inline]
fn exists(date: Civil) -> bool {
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

/// When it is `date`, a number of seconds east of Greenwich.
#[inline]
fn utc(date: Civil, offset: i64) -> Time {
    let day_seconds =
        i64::from(date.hour) * 3600 + i64::from(date.minute) * 60 + i64::from(date.second);
    let seconds = days_since_epoch(date) * 86_400 + day_seconds - offset;
    at(seconds, date.nanos)
}

/// `seconds` and `nanos` after the origin, a sum that the seconds may already fill.
fn at(seconds: i64, nanos: u32) -> Time {
    let whole = Time::from_secs(seconds).as_nanos();
    Time::from_nanos(whole.saturating_add(nanos.into()))
}

/// Days from 1970-01-01 in the Gregorian calendar. Years begin in March here, so that the leap day is the last day of
/// its year. They are counted from 400 years before year 0, so that no sum is negative.
#[inline]
fn days_since_epoch(date: Civil) -> i64 {
    let month = u32::from(date.month);
    let year = 400 + u32::from(date.year.unwrap_or(1970)) - u32::from(month <= 2);
    let months_since_march = if month <= 2 { month + 9 } else { month - 3 };
    let day_of_year = (153 * months_since_march + 2) / 5 + u32::from(date.day);
    let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year;
    i64::from(days) - 146_097 - 719_469
}

#[cfg(test)]
#[path = "stamp_test.rs"]
mod tests;
