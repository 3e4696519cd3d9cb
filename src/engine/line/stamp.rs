//! Time stamps at the start of a text.
//!
//! In: bytes. Out: a stamp and what stands behind it. Knows calendars, not clocks: a stamp without a
//! zone or year stays without. A date that does not exist is no stamp at all, so its line is read as
//! if it had no header.

use super::super::scan::Scan;
use super::super::time::Time;
use super::date::{at, exists, utc};
use super::{Civil, Stamp};

/// Takes a stamp as rsyslog writes it: RFC 3339, or RFC 3164's with its kin.
#[inline(always)]
pub(super) fn usual(scan: &mut Scan<'_>) -> Option<Stamp> {
    if scan.rest().first()?.is_ascii_digit() {
        return iso(scan);
    }
    let mut ahead = *scan; // this one stands in memory, for the call
    let date = calendar(&mut ahead)?;
    *scan = ahead;
    Some(Stamp::Local(date))
}

/// Takes a header's stamp of either form, which a blank or the end must follow.
pub(super) fn header(scan: &mut Scan<'_>) -> Option<Stamp> {
    let mut ahead = *scan;
    let stamp = match ahead.rest().first()? {
        b'0'..=b'9' => iso(&mut ahead)?,
        b'A'..=b'Z' => named_zone(&mut ahead).or_else(|| calendar(&mut ahead).map(Stamp::Local))?,
        _ => return None,
    };
    if !matches!(ahead.rest().first(), None | Some(b' ')) {
        return None;
    }
    *scan = ahead;
    Some(stamp)
}

/// Takes `Www yyyy-mm-dd hh:mm:ss ZONE` (`journalctl -o short-full`). Only UTC can be told by its name.
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

/// The stamp that is all of `text`, in the form of RFC 3339 or of ISO 8601.
pub(super) fn whole(text: &[u8]) -> Option<Stamp> {
    let mut scan = Scan::new(text);
    let stamp = iso(&mut scan)?;
    scan.rest().is_empty().then_some(stamp)
}

/// Takes `[Www Mon dd hh:mm:ss yyyy]` (`dmesg -T`).
pub(super) fn bracketed_date(scan: &mut Scan<'_>) -> Option<Stamp> {
    let mut ahead = *scan;
    ahead.need(b"[")?;
    let date = calendar(&mut ahead)?;
    ahead.need(b"]")?;
    date.year?;
    *scan = ahead;
    Some(Stamp::Local(date))
}

/// Takes `[secs.usecs]`, printk's stamp: padded to the left, and perhaps with a caller behind it
/// (`CONFIG_PRINTK_CALLER`: `[   T17]` or `[    C0]`).
#[inline(always)]
pub(super) fn uptime(scan: &mut Scan<'_>) -> Option<Time> {
    let mut ahead = *scan;
    ahead.need(b"[")?;
    let time = seconds(&mut ahead)?;
    *scan = ahead;
    Some(time)
}

fn seconds(ahead: &mut Scan<'_>) -> Option<Time> {
    ahead.blanks();
    let seconds: u32 = ahead.number()?;
    ahead.need(b".")?;
    let nanos = ahead.nanos()?;
    ahead.need(b"]")?;
    caller(ahead);
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

#[cfg(test)]
mod tests {
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
}
