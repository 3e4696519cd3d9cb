//! Saved records of `/dev/kmsg`: `pri,seq,usec,flags[,more…];text`.
//!
//! The one framing whose head the kernel itself writes: a user's text cannot have facility 0 here.
//! Fields behind the flags (`caller=T17`, and whatever comes) are skipped, as the kernel's ABI asks.

use super::super::scan::Scan;
use super::super::time::Time;
use super::{Record, Writer};

struct Head {
    facility: u16,
    usecs: u64,
}

/// The syslog facility of a saved kmsg record; `None` when `line` is none.
pub fn facility(line: &[u8]) -> Option<u16> {
    Some(head(&mut Scan::new(super::trim(line)))?.facility)
}

pub(super) fn read(text: &[u8]) -> Option<Record<'_>> {
    let mut scan = Scan::new(text);
    let head = head(&mut scan)?;
    let message = scan.rest();
    let nanos = head.usecs.saturating_mul(1000);
    let (writer, tagged) = match head.facility {
        0 => (Writer::Kernel, message),
        _ => (Writer::Program, text),
    };
    Some(Record {
        uptime: Some(Time::from_nanos(nanos.try_into().unwrap_or(i64::MAX))),
        writer,
        tagged,
        ..Record::bare(message)
    })
}

fn head(scan: &mut Scan<'_>) -> Option<Head> {
    let priority: u16 = scan.number()?;
    scan.need(b",")?;
    scan.number::<u64>()?;
    scan.need(b",")?;
    let usecs = scan.number()?;
    scan.need(b",")?;
    let flags = scan.run(|byte| byte != b';' && byte != b' ');
    scan.need(b";")?;
    (!flags.is_empty()).then_some(Head {
        facility: priority >> 3,
        usecs,
    })
}
