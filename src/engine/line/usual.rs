//! The framing that nearly every packet line has: `STAMP HOST kernel: [secs.usecs] `.
//!
//! In: a line. Out: its [`Record`], or `None` for the other readers to decide. Where this gives a record
//! they give the same one, but they first ask for everything else that a line could begin with.

use super::super::scan::Scan;
use super::{REPEATED, Record, Writer, stamp, tag};

#[inline(always)]
pub(super) fn read(line: &[u8]) -> Option<Record<'_>> {
    let mut scan = Scan::new(line);
    let stamp = stamp::usual(&mut scan)?;
    scan.need(b" ")?;
    let host = scan.until_blank();
    scan.need(b" kernel: ")?;
    let uptime = stamp::uptime(&mut scan)?;
    scan.take(b" ");
    let message = scan.rest();
    // A second blank or priority, a tag, or busybox's level; what wraps a message, and half a line's end.
    if matches!(host, [] | [b'<', ..] | [.., b':'])
        || tag::is_facility_and_level(host)
        || message.starts_with(REPEATED)
        || message.ends_with(b"\r")
    {
        return None;
    }
    Some(Record {
        stamp: Some(stamp),
        uptime: Some(uptime),
        host,
        writer: Writer::Kernel,
        repeated: None,
        message,
        tagged: message,
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::damage::damage;
    use super::super::any;
    use super::*;

    /// Each shape there is, and a host like everything else that may stand there.
    const LINES: [&str; 10] = [
        "2026-11-20T00:00:00.123456+00:00 gw kernel: [ 1000.000000] KNOCK: IN=eth0",
        "2026-11-20T00:00:00Z a-long-name.example.org kernel: [12345.678901] KNOCK: IN=eth0",
        "2026-11-20 23:59:60 192.0.2.1 kernel: [    0.5][   T17] KNOCK: IN=eth0",
        "Nov 20 21:00:00 fw kernel: [ 1234.000000] [UFW BLOCK] IN=eth0",
        "Mon Nov  2 21:00:00 2026 fw kernel: [ 1234.000000]  IN=eth0",
        "Nov 20 21:00:00 kern.warn kernel: [ 1234.000000] KNOCK: IN=eth0",
        "Nov 20 21:00:00 kernel: kernel: [ 1234.000000] KNOCK: IN=eth0",
        "Nov 20 21:00:00 <4> kernel: [ 1234.000000] KNOCK: IN=eth0",
        "Nov 20 21:00:00 fw kernel: [ 1234.000000] message repeated 2 times: [ KNOCK: IN=eth0]",
        "Nov 20 21:00:00 fw kernel: [ 1234.000000] KNOCK: IN=eth0\r",
    ];

    /// What it gives, if it gives anything, is what the other readers give.
    fn agrees(line: &[u8]) -> bool {
        let Some(record) = read(line) else {
            return false;
        };
        assert_eq!(record, any(line), "{}", line.escape_ascii());
        true
    }

    #[test]
    fn what_rsyslog_writes_for_the_kernel_is_usual() {
        for line in &LINES[..5] {
            assert!(agrees(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn whatever_byte_is_changed_or_put_in_between_the_other_readers_agree() {
        for line in LINES {
            damage(line.as_bytes(), b" <>[]:.,-+0123456789TkK\t\r", |line| {
                agrees(line);
            });
        }
    }
}
