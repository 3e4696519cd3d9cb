//! Headers that syslog daemons and dmesg put in front of a message.
//!
//! In: a line. Out: its [`Record`]. The order of what may come: `<PRI>`, a stamp, a host, a tag,
//! printk's stamp, the message. Each may be missing, and a word that could be two of them is taken for
//! what does not let another program speak as the kernel: `evil: kernel: …` is evil's.

use super::super::scan::Scan;
use super::{Record, Stamp, Writer, body, rfc5424, stamp};

const KERNEL: &[u8] = b"kernel:";

pub(super) fn read(text: &[u8]) -> Record<'_> {
    let mut scan = Scan::new(text);
    scan.blanks();
    headed(scan)
        .or_else(|| headed(behind_file_name(scan)?))
        .or_else(|| tagged(scan, Record::bare(text)))
        .map_or_else(|| body(Record::bare(text)), body)
}

/// A line that begins with a priority or a stamp.
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
        return Some(tagged(scan, record).unwrap_or_else(|| hosted_kernel(scan, record)));
    }
    let stamp = stamp::bracketed_date(&mut scan);
    let uptime = stamp::uptime(&mut scan);
    if stamp.is_none() && uptime.is_none() {
        priority?;
        let bare = Record::bare(text);
        return Some(tagged(scan, bare).unwrap_or(bare));
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
    Some(tagged(scan, record).unwrap_or_else(|| hosted_kernel(scan, record)))
}

/// Takes `<PRI>`.
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
fn from(scan: Scan<'_>, stamp: Stamp) -> Record<'_> {
    let record = Record {
        stamp: Some(stamp),
        ..Record::bare(scan.rest())
    };
    let mut ahead = scan;
    let first = ahead.token();
    let second = Scan::new(ahead.rest()).token();
    if is_tag(first) && !(first == KERNEL && second == KERNEL) {
        return tag(scan, record);
    }
    if is_facility_and_level(first) {
        return tag(ahead, record);
    }
    if !is_host(first) && second != KERNEL {
        return record;
    }
    if second == first && second != KERNEL {
        ahead.token(); // a relay put its own name for the sender in front
    }
    if is_facility_and_level(Scan::new(ahead.rest()).token()) {
        ahead.token();
    }
    let record = Record {
        host: first,
        ..record
    };
    tag(ahead, record)
}

/// The tag, where there is one, and the message behind it.
fn tag<'a>(scan: Scan<'a>, record: Record<'a>) -> Record<'a> {
    let mut ahead = scan;
    let tag = ahead.token();
    let (writer, message) = if tag == KERNEL {
        (Writer::Kernel, ahead.rest())
    } else if is_tag(tag) {
        (Writer::Program, ahead.rest())
    } else {
        (Writer::Untagged, scan.rest())
    };
    let tagged = match writer {
        Writer::Program => scan.rest(),
        Writer::Kernel | Writer::Untagged => message,
    };
    Record {
        writer,
        message,
        tagged,
        ..record
    }
}

/// A tag where no host was: only `kernel:` and `name[pid]:`, since any other word may begin a prefix.
pub(super) fn tagged<'a>(scan: Scan<'a>, record: Record<'a>) -> Option<Record<'a>> {
    let first = Scan::new(scan.rest()).token();
    (first == KERNEL || names_a_process(first)).then(|| tag(scan, record))
}

/// `host kernel:` behind printk's stamp (`journalctl -o short-monotonic`).
fn hosted_kernel<'a>(scan: Scan<'a>, record: Record<'a>) -> Record<'a> {
    let mut ahead = scan;
    let host = ahead.token();
    if is_host(host) && Scan::new(ahead.rest()).token() == KERNEL {
        return tag(ahead, Record { host, ..record });
    }
    record
}

fn is_tag(word: &[u8]) -> bool {
    matches!(word, [_, .., b':'])
}

/// `name[pid]:`
fn names_a_process(word: &[u8]) -> bool {
    let Some(inner) = word.strip_suffix(b"]:") else {
        return false;
    };
    let digits = inner.iter().rev().take_while(|byte| byte.is_ascii_digit());
    let digits = digits.count();
    let name = inner.len().saturating_sub(digits + 1);
    digits > 0 && name > 0 && inner.get(name) == Some(&b'[')
}

fn is_host(word: &[u8]) -> bool {
    let allowed = |byte: &u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'%')
    };
    !word.is_empty() && word.iter().all(allowed)
}

/// `kern.warn`, as busybox writes it.
fn is_facility_and_level(word: &[u8]) -> bool {
    let Some(dot) = memchr::memchr(b'.', word) else {
        return false;
    };
    let (facility, level) = word.split_at_checked(dot).unwrap_or_default();
    is_facility(facility) && is_level(level)
}

fn is_facility(word: &[u8]) -> bool {
    match word {
        [b'l', b'o', b'c', b'a', b'l', digit] => (b'0'..=b'7').contains(digit),
        b"kern" | b"user" | b"mail" | b"daemon" | b"auth" | b"syslog" | b"lpr" | b"news"
        | b"uucp" | b"cron" | b"authpriv" | b"security" | b"ftp" | b"ntp" => true,
        _ => false,
    }
}

/// A severity with the dot in front of it.
fn is_level(word: &[u8]) -> bool {
    matches!(
        word,
        b".emerg"
            | b".panic"
            | b".alert"
            | b".crit"
            | b".err"
            | b".error"
            | b".warn"
            | b".warning"
            | b".notice"
            | b".info"
            | b".debug"
    )
}
