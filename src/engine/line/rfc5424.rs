//! The header of RFC 5424, behind its priority.
//!
//! In: a text that may begin with one. Out: the [`Record`] of the line. Structured data is skipped, with
//! its quoting obeyed: nothing in a quoted value may pass for the message.

use super::super::scan::Scan;
use super::{Record, Writer, stamp, tag};

/// `1 STAMP HOST APP PROCID MSGID SD[ MSG]`, `-` for what is not known.
pub(super) fn read(scan: Scan<'_>) -> Option<Record<'_>> {
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
    let message = ahead.rest();
    let record = Record {
        stamp,
        host: if host == b"-" { b"" } else { host },
        ..Record::bare(message)
    };
    Some(match (app, process) {
        (b"kernel", b"-") => Record {
            writer: Writer::Kernel,
            ..record
        },
        (b"-", b"-") => tag::alone(ahead, record).unwrap_or(record),
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
