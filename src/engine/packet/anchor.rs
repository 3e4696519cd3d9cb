//! Where a packet's own fields begin: at a pair `IN=<name> OUT=<name>`.
//!
//! In: a message. Out: its log prefix and the rest. The prefix is free text that may itself hold `IN=`,
//! brackets and quotes, and nothing need separate it from `IN=`; hence the pair, and the last one.

use memchr::{memchr_iter, memmem, memrchr, memrchr_iter};

/// The log prefix, and the fields from the last `IN=` that has an `OUT=` behind it.
pub(super) fn split(message: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = memrchr_iter(b'=', message).find_map(|equals| pair_at(message, equals))?;
    message.split_at_checked(start)
}

/// The same where there is no `OUT=`: from the first `IN=` that has addresses and a protocol behind it.
pub(super) fn split_alone(message: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = match memmem::find(message, b" IN=") {
        Some(_) if message.starts_with(b"IN=") => 0,
        Some(blank) => blank + 1,
        None => 0,
    };
    let (prefix, body) = message.split_at_checked(start)?;
    let rest = body.strip_prefix(b"IN=")?;
    let rest = rest.get(memmem::find(rest, b" SRC=")?..)?;
    let rest = rest.get(memmem::find(rest, b" DST=")?..)?;
    memmem::find(rest, b" PROTO=")?;
    Some((prefix, body))
}

/// Whether any pair is there at all.
pub(super) fn stands_in(message: &[u8]) -> bool {
    memchr_iter(b'=', message).any(|equals| pair_at(message, equals).is_some())
}

/// Where the pair begins whose `OUT=` ends at `equals`.
#[inline]
fn pair_at(message: &[u8], equals: usize) -> Option<usize> {
    let head = message.get(..equals)?.strip_suffix(b" OUT")?;
    let start = memrchr(b' ', head).map_or(0, |blank| blank + 1);
    let word = head.get(start..)?;
    if word.starts_with(b"IN=") {
        return Some(start);
    }
    let glued = word.windows(3).rposition(|window| window == b"IN=")?;
    (!word.get(..glued)?.ends_with(b"PHYS")).then_some(start + glued)
}

/// Whether `prefix` can be one: it has no control character, which could hide a second line, and no
/// whole record stands in it (an old kernel's interleaved output, two lines run together, a forgery).
pub(super) fn is_prefix(prefix: &[u8]) -> bool {
    let control = |&byte: &u8| byte.is_ascii_control() && byte != b'\t';
    if prefix.iter().any(control) {
        return false;
    }
    let Some((_, fields)) = split(prefix) else {
        return true;
    };
    !fields.windows(5).any(|window| window == b" SRC=")
}
