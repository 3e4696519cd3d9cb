//! Who a line says wrote it: the tag in front of the message, and the words that may stand before it.
//!
//! In: a text where a tag may be. Out: the [`Record`] with its writer and message. `kernel:` is the
//! kernel's, any other word with a colon a program's.

use super::super::scan::Scan;
use super::{Record, Writer};

pub(super) const KERNEL: &[u8] = b"kernel:";

/// The tag, where there is one, and the message behind it.
#[inline(always)]
pub(super) fn read<'a>(scan: Scan<'a>, record: Record<'a>) -> Record<'a> {
    let mut ahead = scan;
    let word = ahead.token();
    let (writer, message) = if word == KERNEL {
        (Writer::Kernel, ahead.rest())
    } else if is_tag(word) {
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
#[inline(never)]
pub(super) fn alone<'a>(scan: Scan<'a>, record: Record<'a>) -> Option<Record<'a>> {
    let first = Scan::new(scan.rest()).token();
    (first == KERNEL || names_a_process(first)).then(|| read(scan, record))
}

/// `host kernel:` behind printk's stamp (`journalctl -o short-monotonic`).
#[inline(never)]
pub(super) fn behind_host<'a>(scan: Scan<'a>, record: Record<'a>) -> Record<'a> {
    let mut ahead = scan;
    let host = ahead.token();
    if is_host(host) && Scan::new(ahead.rest()).token() == KERNEL {
        return read(ahead, Record { host, ..record });
    }
    record
}

/// A word that ends with a colon.
#[inline]
pub(super) fn is_tag(word: &[u8]) -> bool {
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
pub(super) fn is_host(word: &[u8]) -> bool {
    let allowed = |byte: &u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'%')
    };
    !word.is_empty() && word.iter().all(allowed)
}

/// `kern.warn`, as busybox writes it.
pub(super) fn is_facility_and_level(word: &[u8]) -> bool {
    let Some(dot) = word.iter().position(|&byte| byte == b'.') else {
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
