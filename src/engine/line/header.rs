//! Headers that syslog daemons, dmesg and journalctl put in front of a message.
//!
//! In: a line. Out: its [`Record`]. A header is a priority or `facility.level`, a stamp, a host, a tag and
//! printk's stamp, in this order; each may be missing. A word that could be two of them is taken for what keeps
//! another program from speaking as the kernel: `evil: kernel: …` is evil's. A second header counts only at
//! once behind a relay's host, and only if it ends with the kernel's tag. RFC 5424's structured data is skipped
//! with its quoting obeyed: nothing in a quoted value may pass for the message.

use super::super::scan::Scan;
use super::{Record, Stamp, Writer, body, stamp};

const KERNEL: &[u8] = b"kernel:";

/// The framing that nearly every packet line has: `STAMP HOST kernel: [secs.usecs] `. Where this gives a record
/// the other readers give the same one, but they first ask for everything else that a line could begin with.
#[inline(always)]
pub(super) fn fast_path(line: &[u8]) -> Option<Record<'_>> {
    let mut scan = Scan::new(line);
    if !matches!(line, [b'0'..=b'9' | b'A'..=b'Z', second, ..] if *second != b' ') {
        return None;
    }
    let stamp = stamp::header(&mut scan)?;
    scan.need(b" ")?;
    let host = scan.until_blank();
    scan.need(b" kernel: ")?;
    let uptime = stamp::uptime(&mut scan)?;
    scan.take(b" ");
    let message = scan.rest();
    if matches!(host, [] | [b'<', ..])
        || is_tag(host)
        || Facility::named(host).is_some()
        || message.starts_with(b"message repeated ")
        || message.ends_with(b"\r")
    {
        return None;
    }
    Some(Record {
        stamp: Some(stamp),
        uptime: Some(uptime),
        host,
        writer: Writer::Kernel,
        ..Record::bare(message)
    })
}

pub(super) fn read(text: &[u8]) -> Record<'_> {
    let mut scan = Scan::new(text);
    scan.blanks();
    let bare = Record::bare(text);
    let record = headed(scan)
        .or_else(|| headed(behind_file_name(scan)?))
        .or_else(|| alone(scan, bare));
    body(record.unwrap_or(bare))
}

/// A line that begins with a priority, a facility or a stamp.
#[inline(always)]
fn headed(mut scan: Scan<'_>) -> Option<Record<'_>> {
    let level = priority(&mut scan);
    let mut facility = level.map_or(Facility::Unknown, Facility::of_priority);
    let mut is_dmesgs = false;
    if scan.rest().first().is_some_and(u8::is_ascii_lowercase) {
        if let Some(padded) = Facility::padded(&mut scan) {
            (facility, is_dmesgs) = (padded, true);
        } else if let Some(word) = Facility::word(&mut scan) {
            facility = word;
        }
    }
    if let Some(record) = rfc5424(scan) {
        return Some(facility.judge(record));
    }
    if let Some(stamp) = stamp::header(&mut scan) {
        return Some(behind_stamp(scan, stamp, facility));
    }
    if let Some(record) = proxmox(scan) {
        return Some(facility.judge(record));
    }
    let bare = Record::bare(scan.rest());
    let Some((stamp, uptime)) = stamp::console(&mut scan) else {
        let record = alone(scan, bare);
        return match level {
            None if facility == Facility::Unknown => None,
            None if is_dmesgs => Some(facility.of_printk().judge(record.unwrap_or(bare))),
            None => record.map(|record| facility.judge(record)),
            Some(_) => Some(facility.judge(record.unwrap_or(bare))),
        };
    };
    scan.take(b" ");
    let record = Record {
        stamp,
        uptime,
        ..Record::bare(scan.rest())
    };
    let record = alone(scan, record).unwrap_or_else(|| behind_host(scan, record));
    Some(facility.of_printk().judge(record))
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
#[inline(never)]
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
            || stamp::console(&mut probe).is_some()
        {
            return Some(ahead);
        }
    }
}

/// Host and tag behind the stamp of RFC 3164 and its many cousins.
#[inline(always)]
fn behind_stamp(mut scan: Scan<'_>, stamp: Stamp, mut facility: Facility) -> Record<'_> {
    if scan.rest().starts_with(b"\t") {
        return facility.judge(tabbed(scan, stamp));
    }
    scan.blanks();
    let level = priority(&mut scan);
    let mut record = Record {
        stamp: Some(stamp),
        ..Record::bare(scan.rest())
    };
    if let Some(level) = level {
        // multilog wrote its stamp in front of the console's line
        facility = facility.max(Facility::of_priority(level));
        let record = alone(scan, record).unwrap_or_else(|| behind_host(scan, record));
        return facility.judge(record);
    }
    let mut ahead = scan;
    let first = ahead.token();
    let second = Scan::new(ahead.rest()).token();
    if is_tag(first) && !(first == KERNEL && second == KERNEL) {
        return match first.strip_suffix(b":").and_then(Facility::named) {
            // socklog has this instead of a tag
            Some(named) => facility.max(named).of_printk().judge(Record {
                writer: Writer::Kernel,
                ..with_text(record, ahead)
            }),
            None => facility.judge(tag(scan, record)),
        };
    }
    if let Some(named) = Facility::named(first) {
        return facility.max(named).judge(tag(ahead, record));
    }
    if second != KERNEL {
        if !is_host(first) {
            return facility.judge(record);
        }
        if second == first {
            ahead.token(); // a relay put its own name for the sender in front
        }
        facility = facility.max(Facility::word(&mut ahead).unwrap_or(Facility::Unknown));
    }
    record.host = first;
    if let Some((record, relays)) = relayed(ahead, record) {
        return facility.max(relays).of_printk().judge(record);
    }
    if matches!(stamp, Stamp::Utc(_)) && ahead.take(b"kernel - - - ") {
        return facility.judge(Record {
            writer: Writer::Kernel,
            is_padded: true,
            ..with_text(record, ahead)
        });
    }
    facility.judge(tag(ahead, record))
}

/// The sender's own header behind a relay's host, if it ends with the kernel's tag: the sender's host and
/// facility, under the relay's stamp.
#[inline(always)]
fn relayed<'a>(scan: Scan<'a>, record: Record<'a>) -> Option<(Record<'a>, Facility)> {
    if scan.rest().starts_with(KERNEL) {
        return None;
    }
    inner_header(scan, record)
}

#[inline(never)]
fn inner_header<'a>(mut scan: Scan<'a>, relay: Record<'a>) -> Option<(Record<'a>, Facility)> {
    let facility = priority(&mut scan).map_or(Facility::Unknown, Facility::of_priority);
    let record = rfc5424(scan).or_else(|| {
        stamp::header(&mut scan)?;
        scan.need(b" ")?;
        let host = scan.token();
        is_host(host).then(|| tag(scan, Record { host, ..relay }))
    })?;
    let record = Record {
        stamp: relay.stamp,
        ..record
    };
    (record.writer == Writer::Kernel).then_some((record, facility))
}

/// `STAMP HOST TAG MESSAGE` with tabs between, as rsyslog's templates for tables write it.
#[inline(never)]
fn tabbed(mut scan: Scan<'_>, stamp: Stamp) -> Record<'_> {
    let mut cell = || {
        scan.need(b"\t")?;
        Some(scan.run(|byte| !matches!(byte, b'\t' | b' ')))
    };
    let (host, tag) = (cell().unwrap_or_default(), cell().unwrap_or_default());
    let writer = match tag {
        KERNEL if scan.take(b"\t") => Writer::Kernel,
        _ => Writer::Program,
    };
    Record {
        stamp: Some(stamp),
        host,
        writer,
        is_padded: true,
        ..Record::bare(scan.rest())
    }
}

/// `VM LEVEL CHAIN STAMP `, as Proxmox VE's firewall logger writes it.
#[inline(never)]
fn proxmox(mut scan: Scan<'_>) -> Option<Record<'_>> {
    scan.number::<u32>()?;
    scan.need(b" ")?;
    scan.number::<u8>().filter(|&level| level < 8)?;
    scan.need(b" ")?;
    scan.token();
    let stamp = stamp::header(&mut scan)?;
    scan.need(b" ")?;
    Some(Record {
        stamp: Some(stamp),
        is_proxmox: true,
        ..Record::bare(scan.rest())
    })
}

/// `1 STAMP HOST APP PROCID MSGID SD[ MSG]`, `-` for what is not known.
fn rfc5424(scan: Scan<'_>) -> Option<Record<'_>> {
    let mut ahead = scan;
    ahead.need(b"1 ")?;
    let stamp = if ahead.take(b"- ") {
        None
    } else {
        let stamp = stamp::header(&mut ahead)?;
        ahead.need(b" ")?;
        Some(stamp)
    };
    let host = ahead.token();
    let from_app = ahead.rest();
    let app = ahead.token();
    let process = ahead.token();
    ahead.token();
    structured_data(&mut ahead)?;
    if !ahead.rest().is_empty() {
        ahead.need(b" ")?;
    }
    ahead.take(b"\xef\xbb\xbf");
    let record = Record {
        stamp,
        host: if host == b"-" { b"" } else { host },
        is_padded: true,
        ..Record::bare(ahead.rest())
    };
    Some(match (app, process) {
        (b"kernel", b"-") => Record {
            writer: Writer::Kernel,
            ..record
        },
        (b"-", b"-") => alone(ahead, record).unwrap_or(record),
        _ => Record {
            writer: Writer::Program,
            tagged: from_app,
            ..record
        },
    })
}

/// Takes `-` or `[id name="value" …]…`; in a value `\"` and `\]` do not end anything.
fn structured_data(scan: &mut Scan<'_>) -> Option<()> {
    if scan.take(b"-") {
        return Some(());
    }
    scan.need(b"[")?;
    loop {
        scan.run(|byte| !matches!(byte, b'"' | b']'));
        if scan.take(b"\"") {
            quoted(scan)?;
        } else {
            scan.need(b"]")?;
            if !scan.take(b"[") {
                return Some(());
            }
        }
    }
}

fn quoted(scan: &mut Scan<'_>) -> Option<()> {
    loop {
        scan.run(|byte| !matches!(byte, b'"' | b'\\'));
        if scan.take(b"\"") {
            return Some(());
        }
        scan.need(b"\\")?;
        if !scan.take(b"\"") {
            scan.take(b"\\");
        }
    }
}

/// The tag, where there is one, and the message behind it.
#[inline(always)]
fn tag<'a>(scan: Scan<'a>, record: Record<'a>) -> Record<'a> {
    let mut ahead = scan;
    let word = ahead.token();
    if word == KERNEL {
        let writer = Writer::Kernel;
        return Record {
            writer,
            ..with_text(record, ahead)
        };
    }
    let record = with_text(record, scan);
    if !is_tag(word) {
        return record;
    }
    Record {
        writer: Writer::Program,
        message: ahead.rest(),
        ..record
    }
}

/// A tag where no host was: only `kernel:` and `name[pid]:`, since any other word may begin a prefix.
#[inline(never)]
fn alone<'a>(scan: Scan<'a>, record: Record<'a>) -> Option<Record<'a>> {
    let first = Scan::new(scan.rest()).token();
    (first == KERNEL || names_a_process(first)).then(|| tag(scan, record))
}

/// `host kernel:` behind printk's stamp (`journalctl -o short-monotonic`).
#[inline(never)]
fn behind_host<'a>(scan: Scan<'a>, record: Record<'a>) -> Record<'a> {
    let mut ahead = scan;
    let host = ahead.token();
    if is_host(host) && Scan::new(ahead.rest()).token() == KERNEL {
        return tag(ahead, Record { host, ..record });
    }
    record
}

fn with_text<'a>(record: Record<'a>, scan: Scan<'a>) -> Record<'a> {
    Record {
        message: scan.rest(),
        tagged: scan.rest(),
        ..record
    }
}

/// A word that ends with a colon.
#[inline]
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

/// A name or an address, with a zone perhaps.
fn is_host(word: &[u8]) -> bool {
    let allowed = |byte: &u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'%')
    };
    !word.is_empty() && word.iter().all(allowed)
}

/// What a header says of its facility, in the order of doubt: of two, the greater one holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Facility {
    Unknown,
    Kernel,
    /// The default, and those of local use: some routers send the kernel's lines under one of them.
    User,
    /// A daemon's: mail, auth, cron …
    Other,
}

impl Facility {
    fn of_priority(priority: u16) -> Self {
        match priority >> 3 {
            0 => Self::Kernel,
            1 | 16.. => Self::User,
            _ => Self::Other,
        }
    }

    /// `kern.warn`, as busybox writes it; rsyslog once wrote `kern.warn<4>`.
    #[inline]
    fn named(word: &[u8]) -> Option<Self> {
        let dot = word.iter().position(|&byte| byte == b'.')?;
        let (facility, level) = word.split_at_checked(dot)?;
        let end = level.iter().position(|&byte| byte == b'<');
        let level = level.get(..end.unwrap_or(level.len()))?;
        is_level(level.get(1..)?).then_some(())?;
        Self::of_name(facility)
    }

    #[inline(never)]
    fn of_name(name: &[u8]) -> Option<Self> {
        match name {
            b"kern" => Some(Self::Kernel),
            b"user" | [b'l', b'o', b'c', b'a', b'l', b'0'..=b'7'] => Some(Self::User),
            b"mail" | b"daemon" | b"auth" | b"syslog" | b"lpr" | b"news" | b"uucp" | b"cron"
            | b"authpriv" | b"security" | b"ftp" | b"ntp" => Some(Self::Other),
            _ => None,
        }
    }

    /// Takes `kern.warn ` or `kern.warn: `.
    fn word(scan: &mut Scan<'_>) -> Option<Self> {
        let mut ahead = *scan;
        let word = ahead.token();
        let facility = Self::named(word.strip_suffix(b":").unwrap_or(word))?;
        *scan = ahead;
        Some(facility)
    }

    /// Takes `kern  :warn  : ` (`dmesg -x`).
    #[inline(never)]
    fn padded(scan: &mut Scan<'_>) -> Option<Self> {
        let mut ahead = *scan;
        let facility = Self::of_name(ahead.run(|byte| byte.is_ascii_lowercase()))?;
        ahead.blanks();
        ahead.need(b":")?;
        is_level(ahead.run(|byte| byte.is_ascii_lowercase())).then_some(())?;
        ahead.blanks();
        ahead.need(b": ")?;
        *scan = ahead;
        Some(facility)
    }

    /// Where the kernel's own records would have theirs: what is the user's there is not the kernel's.
    fn of_printk(self) -> Self {
        match self {
            Self::User => Self::Other,
            other => other,
        }
    }

    /// The record, unless its facility is known and not the kernel's.
    #[inline(always)]
    fn judge(self, record: Record<'_>) -> Record<'_> {
        match self {
            Self::Other => Record {
                writer: Writer::Facility,
                ..record
            },
            Self::Unknown | Self::Kernel | Self::User => record,
        }
    }
}

fn is_level(word: &[u8]) -> bool {
    matches!(
        word,
        b"emerg"
            | b"panic"
            | b"alert"
            | b"crit"
            | b"err"
            | b"error"
            | b"warn"
            | b"warning"
            | b"notice"
            | b"info"
            | b"debug"
    )
}
