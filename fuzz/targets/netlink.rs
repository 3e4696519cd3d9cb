//! Lines up to the first NUL as a command that may be one of the nft backend, the rest as the kernel's answers.

use logknock::firewall::netlink::{Batch, Verdict};

pub(crate) fn run(data: &[u8]) {
    let mut parts = data.splitn(2, |&byte| byte == 0);
    let command = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let answers = parts.next().unwrap_or_default();
    let argv: Vec<_> = command.split('\n').map(str::to_owned).collect();
    let Some(batch) = Batch::of(&argv) else {
        return;
    };
    is_whole(&batch.bytes());
    let (begin, _) = answers.split_at(answers.len() / 2);
    let refused = |answers| match batch.verdict(answers) {
        Some(Verdict::Refused(number)) => Some(number),
        Some(Verdict::Done) | None => None,
    };
    let first = refused(begin);
    assert_ne!(first, Some(0), "refused for no reason");
    assert!(
        first.is_none() || first == refused(answers),
        "an answer takes back the one before"
    );
}

/// One message behind another, between the begin and the end of a batch.
fn is_whole(mut bytes: &[u8]) {
    let mut kinds = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let length = usize::try_from(u32::from_ne_bytes(*length)).unwrap_or(usize::MAX);
        let kind = rest.first_chunk().copied().map(u16::from_ne_bytes);
        kinds.push(kind);
        assert!((20..=bytes.len()).contains(&length), "{length}");
        bytes = bytes.get(length..).unwrap_or_default();
    }
    assert!(bytes.is_empty() && kinds.len() > 2, "{kinds:?}");
    assert_eq!(kinds.first(), Some(&Some(0x10)));
    assert_eq!(kinds.last(), Some(&Some(0x11)));
}
