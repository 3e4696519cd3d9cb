//! Headers that syslog daemons and dmesg put in front of a message.
//!
//! In: a line. Out: its [`Record`]. The order of what may come: `<PRI>`, a stamp, a host, a tag,
//! printk's stamp, the message. Each may be missing, and a word that could be two of them is taken for
//! what does not let another program speak as the kernel: `evil: kernel: …` is evil's.

use super::super::scan::Scan;
use super::tag::{self, KERNEL};
use super::{Record, Stamp, Writer, body, rfc5424, stamp};

pub(super) fn read(text: &[u8]) -> Record<'_> {
    let mut scan = Scan::new(text);
    scan.blanks();
    headed(scan)
        .or_else(|| headed_behind_file_name(scan))
        .or_else(|| tag::alone(scan, Record::bare(text)))
        .map_or_else(|| body(Record::bare(text)), body)
}

#[inline(never)]
fn headed_behind_file_name(scan: Scan<'_>) -> Option<Record<'_>> {
    headed(behind_file_name(scan)?)
}

/// A line that begins with a priority or a stamp.
#[inline(always)]
fn headed(mut scan: Scan<'_>) -> Option<Record<'_>> {
    let line = scan.rest();
    let priority = priority(&mut scan);
    let text = scan.rest();
    if let Some(record) = rfc5424::read(scan) {
        return Some(record);
    }
    if let Some(stamp) = stamp::header(&mut scan) {
        scan.blanks();
        if self::priority(&mut scan).is_none() {
            return Some(from(scan, stamp));
        }
        // multilog put its stamp in front of what the kernel's console has
        let record = Record {
            stamp: Some(stamp),
            ..Record::bare(scan.rest())
        };
        return Some(tag::alone(scan, record).unwrap_or_else(|| tag::behind_host(scan, record)));
    }
    let stamp = stamp::bracketed_date(&mut scan);
    let uptime = stamp::uptime(&mut scan);
    if stamp.is_none() && uptime.is_none() {
        priority?;
        let bare = Record::bare(text);
        return Some(tag::alone(scan, bare).unwrap_or(bare));
    }
    scan.take(b" ");
    let record = Record {
        stamp,
        uptime,
        ..Record::bare(scan.rest())
    };
    // In front of printk's own stamp the priority is printk's too (`dmesg -r`), and the kernel's own
    // records are below 8: those of facility 0.
    if priority.is_some_and(|priority| priority >= 8) {
        return Some(Record {
            writer: Writer::Program,
            tagged: line,
            ..record
        });
    }
    Some(tag::alone(scan, record).unwrap_or_else(|| tag::behind_host(scan, record)))
}

/// Takes `<PRI>`.
#[inline]
pub(super) fn priority(scan: &mut Scan<'_>) -> Option<u16> {
    let mut ahead = *scan;
    ahead.need(b"<")?;
    let priority = ahead.number().filter(|&priority| priority <= 191)?;
    ahead.need(b">")?;
    *scan = ahead;
    Some(priority)
}

/// What `grep` puts in front: `file:`, `file:12:`; some tools write `address#`.
fn behind_file_name(scan: Scan<'_>) -> Option<Scan<'_>> {
    let mut ahead = scan;
    loop {
        ahead.run(|byte| !matches!(byte, b':' | b'#' | b' '));
        if !ahead.take(b":") {
            ahead.need(b"#")?;
        }
        let mut probe = ahead;
        if priority(&mut probe).is_some()
            || stamp::header(&mut probe).is_some()
            || stamp::uptime(&mut probe).is_some()
            || stamp::bracketed_date(&mut probe).is_some()
        {
            return Some(ahead);
        }
    }
}

/// Host and tag behind the stamp of RFC 3164 and its many cousins.
#[inline(always)]
fn from(scan: Scan<'_>, stamp: Stamp) -> Record<'_> {
    let record = Record {
        stamp: Some(stamp),
        ..Record::bare(scan.rest())
    };
    let mut ahead = scan;
    let first = ahead.token();
    let second = Scan::new(ahead.rest()).token();
    if tag::is_tag(first) && !(first == KERNEL && second == KERNEL) {
        return tag::read(scan, record);
    }
    if tag::is_facility_and_level(first) {
        return tag::read(ahead, record);
    }
    if second != KERNEL && !tag::is_host(first) {
        return record;
    }
    if second != KERNEL && second == first {
        ahead.token(); // a relay put its own name for the sender in front
    }
    if second != KERNEL && tag::is_facility_and_level(Scan::new(ahead.rest()).token()) {
        ahead.token();
    }
    let record = Record {
        host: first,
        ..record
    };
    tag::read(ahead, record)
}
