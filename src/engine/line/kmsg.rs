//! Saved records of `/dev/kmsg`: `pri,seq,usec,flags[,more…];text`.
//!
//! The one framing whose head the kernel itself writes: a user's text cannot have facility 0 here.
//! Fields behind the flags (`caller=T17`, and whatever comes) are skipped, as the kernel's ABI asks.

use super::super::scan::Scan;
use super::super::time::Time;
use super::{Record, Writer};

/// The header of a kmsg record, before its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KmsgHead {
    /// The syslog facility; 0 is the kernel's own.
    pub facility: u16,
    /// The record's number since the boot.
    pub seq: u64,
    /// The kernel's stamp.
    pub usecs: u64,
}

impl KmsgHead {
    /// The head of a kmsg record; `None` when `line` is none.
    pub fn of(line: &[u8]) -> Option<Self> {
        head(&mut Scan::new(super::trim(line)))
    }
}

pub(super) fn read(text: &[u8]) -> Option<Record<'_>> {
    let mut scan = Scan::new(text);
    let head = head(&mut scan)?;
    let message = scan.rest();
    let nanos = head.usecs.saturating_mul(1000);
    let writer = match head.facility {
        0 => Writer::Kernel,
        _ => Writer::Facility,
    };
    Some(Record {
        uptime: Some(Time::from_nanos(nanos.try_into().unwrap_or(i64::MAX))),
        writer,
        ..Record::bare(message)
    })
}

fn head(scan: &mut Scan<'_>) -> Option<KmsgHead> {
    let priority: u16 = scan.number()?;
    scan.need(b",")?;
    let seq = scan.number()?;
    scan.need(b",")?;
    let usecs = scan.number()?;
    scan.need(b",")?;
    let flags = scan.run(|byte| byte != b';' && byte != b' ');
    scan.need(b";")?;
    (!flags.is_empty()).then_some(KmsgHead {
        facility: priority >> 3,
        seq,
        usecs,
    })
}
